"""Losses, random mixes, recipes and the loop, on songs made of tones."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stemsplit.errors import UsageError
from stemsplit.networks.bsmamba import BSMambaConfig
from stemsplit.networks.contract import Supervision
from stemsplit.training import loop
from stemsplit.training.curve import read_log
from stemsplit.training.examples.mixes import Library, Mixing, draw_batch
from stemsplit.training.examples.songs import find_songs
from stemsplit.training.losses import snr_loss
from stemsplit.training.recipe import decay_of, load_recipe
from stemsplit.training.schedule import Schedule
from stemsplit.training.separator_task import Recipe, filter_gains, fold_of
from stemsplit.weights.checkpoint import load_network, save

STEMS = ("low", "high")
RATE = 2000
NETWORK = BSMambaConfig(
    stems=STEMS, sample_rate=RATE, n_fft=64, hop_length=16, bands=(3, 5, 25), dim=8, blocks_mask=1, blocks_map=1,
    d_state=4, expand=1, headdim=8, head_expand=2, normalize=True,
)  # fmt: skip


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    time = np.arange(2 * RATE) / RATE
    for number in range(4):
        folder = tmp_path / "songs" / f"{number:04d}"
        folder.mkdir(parents=True)
        for stem, (lowest, highest) in zip(STEMS, ((50, 150), (400, 800)), strict=True):
            tone = np.sin(2 * np.pi * rng.uniform(lowest, highest) * time)
            stereo = 8000 * tone[:, None] * rng.uniform(0.3, 1, 2)
            np.save(folder / f"{stem}.npy", stereo.astype(np.int16))
    return tmp_path / "songs"


def recipe_for(songs: Path, steps: int = 8, **settings: object) -> Recipe:
    schedule = Schedule(steps=steps, batch_size=2, warmup_steps=2, decay_steps=2, learning_rate=5e-3)
    mixing = Mixing(crop_seconds=0.5, stereo=0.5)
    base = Recipe(
        "test", (songs,), NETWORK, mixing, schedule, songs.parent / "run", dev_songs=1, log_steps=2, dev_steps=4
    )
    return dataclasses.replace(base, **settings)  # type: ignore[arg-type]


def test_the_loss_of_a_scaled_estimate_is_its_snr() -> None:
    reference = torch.randn(2, 3, 2, 500, dtype=torch.float64)
    found = snr_loss(1.1 * reference, reference, reference.sum(1))
    assert found.item() == pytest.approx(10 * np.log10(0.1**2 + 1e-3), abs=1e-6)


def test_the_loss_does_not_depend_on_the_level_and_is_finite_in_silence() -> None:
    reference = torch.randn(1, 2, 2, 500, dtype=torch.float64)
    reference[:, 1] = 0
    estimate = reference + 0.1 * torch.randn_like(reference)
    loud = snr_loss(estimate, reference, reference.sum(1))
    quiet = snr_loss(estimate / 50, reference / 50, reference.sum(1) / 50)
    torch.testing.assert_close(loud, quiet)
    nothing = torch.zeros(1, 2, 2, 500, requires_grad=True)
    loss = snr_loss(nothing, torch.zeros(1, 2, 2, 500), torch.zeros(1, 2, 500))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(nothing.grad).all()


def test_leaking_into_a_silent_stem_costs_more_than_silence() -> None:
    reference = torch.randn(1, 2, 1, 500)
    reference[:, 1] = 0
    mixture = reference.sum(1)
    leaking = reference + 0.3 * mixture.unsqueeze(1)
    assert snr_loss(leaking[:, 1:], reference[:, 1:], mixture) > snr_loss(reference[:, 1:], reference[:, 1:], mixture)


def test_what_leaks_into_silence_costs_what_the_schedule_says() -> None:
    reference = torch.zeros(1, 2, 1, 100)
    reference[:, 0] = 1
    estimate = reference + 0.1
    losses = [snr_loss(estimate[:, 1:], reference[:, 1:], reference.sum(1), weight) for weight in (0.1, 0.3)]
    assert losses[1].item() == pytest.approx(3 * losses[0].item())


def test_batches_are_mixes_of_the_right_shape_and_repeatable(songs: Path) -> None:
    found = find_songs(songs, STEMS)
    assert [song.name for song in found] == ["0000", "0001", "0002", "0003"]
    first = draw_batch(Library(found), STEMS, 3, Mixing(crop_seconds=0.5), RATE, np.random.default_rng(1)).stems
    again = draw_batch(Library(found), STEMS, 3, Mixing(crop_seconds=0.5), RATE, np.random.default_rng(1)).stems
    other = draw_batch(Library(found), STEMS, 3, Mixing(crop_seconds=0.5), RATE, np.random.default_rng(2)).stems
    assert first.shape == (3, 2, 2, RATE // 2)
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_mono_batches_dropout_and_songs_shorter_than_a_crop(songs: Path) -> None:
    found = find_songs(songs, STEMS)
    rng = np.random.default_rng(0)
    mono = draw_batch(Library(found), STEMS, 2, Mixing(crop_seconds=0.5, stereo=0.0), RATE, rng).stems
    assert mono.shape == (2, 2, 1, RATE // 2)
    assert not draw_batch(Library(found), STEMS, 2, Mixing(crop_seconds=0.5, dropout=1.0), RATE, rng).stems.any()
    longer = draw_batch(Library(found), STEMS, 1, Mixing(crop_seconds=3.0, dropout=0.0), RATE, rng).stems
    assert longer.shape[-1] == 3 * RATE
    assert longer[..., : 2 * RATE].any()
    assert not longer[..., 2 * RATE :].any()


def test_speed_changes_the_pitch_and_not_the_length(songs: Path) -> None:
    found = find_songs(songs, STEMS)[:1]
    still, moved = (Mixing(crop_seconds=1.0, in_song=1.0, dropout=0.0, swap=0.0, speed=speed) for speed in (0.0, 0.3))
    plain = draw_batch(Library(found), STEMS, 1, still, RATE, np.random.default_rng(0)).stems
    shifted = draw_batch(Library(found), STEMS, 6, moved, RATE, np.random.default_rng(0)).stems
    assert shifted.shape[1:] == plain.shape[1:]
    pitches = [int(np.abs(np.fft.rfft(low[0, 0])).argmax()) for low in shifted]
    pitch = int(np.abs(np.fft.rfft(plain[0, 0, 0])).argmax())
    assert len(set(pitches)) > 2
    assert all(pitch * 0.72 <= found <= pitch * 1.38 for found in pitches)


def test_in_song_examples_keep_the_songs_own_levels(songs: Path) -> None:
    mixing = Mixing(crop_seconds=2.0, in_song=1.0, dropout=0.0, swap=0.0)
    batch = draw_batch(Library(find_songs(songs, STEMS)[2:3]), STEMS, 1, mixing, RATE, np.random.default_rng(0)).stems
    stored = np.load(songs / "0002" / "low.npy").T / 32768
    np.testing.assert_allclose(batch[0, 0], stored, atol=1e-6)


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    """Two recordings, the first with its vocals."""
    for number in range(2):
        folder = tmp_path / "backing" / f"{number:04d}"
        folder.mkdir(parents=True)
        np.save(folder / "accompaniment.npy", np.full((2 * RATE, 2), 4000, np.int16))
    np.save(tmp_path / "backing" / "0000" / "vocals.npy", np.full((2 * RATE, 2), 500, np.int16))
    return tmp_path / "backing"


def test_of_a_recording_the_sum_of_all_but_the_vocals_is_known(songs: Path, backing: Path) -> None:
    sung = songs.parent / "sung"
    songs.rename(sung)
    for path in list(sung.glob("*/high.npy")):
        path.rename(path.with_name("vocals.npy"))
    library = Library(find_songs(sung, ("low", "vocals")), find_songs(backing, ("accompaniment",)))
    stems = ("low", "middle", "vocals")
    kept = Mixing(crop_seconds=0.5, backing=1.0, own_voice=1.0, dropout=0.0)
    batch = draw_batch(library, stems, 8, kept, RATE, np.random.default_rng(0))
    assert batch.merged.all()
    assert not batch.stems[:, 1].any()
    np.testing.assert_allclose(batch.stems[:, 0], 4000 / 32768)
    vocals = batch.stems[:, 2]
    own = np.ptp(vocals, axis=(1, 2)) < 1e-6  # the recording's own are constant, the songs' are tones
    assert own.any()
    assert not own.all()


def test_vocals_of_another_song_are_about_as_loud_as_the_rest(songs: Path) -> None:
    for path in list(songs.glob("*/high.npy")):
        path.rename(path.with_name("vocals.npy"))
    found = find_songs(songs, ("low", "vocals"))
    mixing = Mixing(crop_seconds=1.0, in_song=1.0, other_voice=1.0, dropout=0.0, swap=0.0, gain_db=6.0)
    stems = draw_batch(Library(found), ("low", "vocals"), 20, mixing, RATE, np.random.default_rng(0)).stems
    levels = 10 * np.log10(np.square(stems).mean((2, 3)))
    gaps = levels[:, 1] - levels[:, 0]
    assert np.abs(gaps).max() < 6.01
    assert np.ptp(gaps) > 6


def test_merged_estimates_are_scored_on_vocals_and_the_rest(songs: Path) -> None:
    stems = ("drums", "vocals", "other")
    estimate = torch.randn(2, 3, 2, 100)
    fold = fold_of(torch.tensor([False, True]), stems)
    found = Supervision(fold=fold).folded(estimate)
    assert torch.equal(found[0], estimate[0])
    torch.testing.assert_close(found[1, 0], estimate[1, 0] + estimate[1, 2])
    assert torch.equal(found[1, 1], estimate[1, 1])
    assert not found[1, 2].any()


def test_backing_needs_a_network_that_sings(songs: Path, backing: Path) -> None:
    with pytest.raises(ValueError, match="backing needs vocals"):
        recipe_for(songs, backing=(backing,))


def test_no_backing_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no songs with accompaniment .*real_songs\.py"):
        find_songs(tmp_path, ("accompaniment",), made_by="real_songs.py")


def test_vocals_alone_are_sung_over_songs(songs: Path, tmp_path: Path) -> None:
    for path in list(songs.glob("*/high.npy")):
        path.rename(path.with_name("vocals.npy"))
    (tmp_path / "solo" / "0000").mkdir(parents=True)
    np.save(tmp_path / "solo" / "0000" / "vocals.npy", np.full((2 * RATE, 2), 500, np.int16))
    library = Library(find_songs(songs, ("low", "vocals")), (), find_songs(tmp_path / "solo", ("vocals",)))
    mixing = Mixing(crop_seconds=0.5, in_song=0.0, dropout=0.0)
    vocals = draw_batch(library, ("low", "vocals"), 30, mixing, RATE, np.random.default_rng(0)).stems[:, 1]
    of_solo = np.ptp(vocals, axis=(1, 2)) < 1e-6  # constant
    assert 0 < of_solo.sum() < 15
    with pytest.raises(UsageError, match="no songs with vocals"):
        find_songs(tmp_path, ("vocals",))


def test_filters_have_their_gains_at_octaves_and_lines_between() -> None:
    gains = torch.tensor([[6.0, -6.0, 0, 0, 0, 3.0, 0, 0, 0, 12.0]])
    found = 20 * torch.log10(filter_gains(gains, torch.arange(4097) * 32000 / 8192))[0]
    hertz = torch.arange(4097) * 32000 / 8192
    for frequency, wanted in ((0, 6), (31.25, 6), (62.5, -6), (1000, 3), (1000 * 2**0.5, 1.5), (16000, 12)):
        assert found[(hertz - frequency).abs().argmin()].item() == pytest.approx(wanted, abs=0.02)


def test_filtered_examples_are_what_filtered_stems_are(songs: Path) -> None:
    recipe = recipe_for(songs, loss="spectrum", mixing=Mixing(crop_seconds=0.5, equalise_db=6.0))
    batch = [torch.from_numpy(array) for array in recipe.draw(2, np.random.default_rng(0))]
    octaves = batch[2]
    assert octaves.shape == (2, 2, 10)
    assert octaves.abs().max() > 3
    torch.testing.assert_close(octaves.mean(-1), torch.zeros(2, 2), atol=1e-5, rtol=0)
    network = recipe.build().eval()
    level = torch.full_like(octaves, 6.0)  # the same gain everywhere: louder stems
    louder = recipe.loss_of(network, batch[0], batch[1], level)
    torch.testing.assert_close(louder, recipe.loss_of(network, batch[0] * 10 ** (6 / 20), batch[1], 0 * level))
    assert not torch.isclose(louder, recipe.loss_of(network, *batch))


def test_a_network_is_trained_by_muon_and_goes_on(songs: Path) -> None:
    schedule = dataclasses.replace(recipe_for(songs).schedule, optimizer="muon")
    whole = recipe_for(songs, schedule=schedule, output=songs.parent / "whole")
    loop.train(whole)
    broken = recipe_for(songs, schedule=schedule, output=songs.parent / "broken", log_steps=1)

    def stop(event: dict[str, object]) -> None:
        if event["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(broken, on_event=stop)
    loop.train(broken)
    states = [torch.load(run.output / "last.pt", weights_only=True)["average"] for run in (whole, broken)]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_dev_songs_of_their_own_leave_all_songs_to_training(songs: Path) -> None:
    recipe = recipe_for(songs, dev_folder=(songs,))
    assert len(recipe._shelf.library().songs) == 4
    assert set(recipe.dev(recipe.build(), torch.device("cpu"))) == {*STEMS, "loss"}


def test_no_songs_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no songs with low, high"):
        find_songs(tmp_path, STEMS)


def test_training_learns_to_tell_low_from_high(songs: Path) -> None:
    events: list[dict[str, object]] = []
    recipe = recipe_for(songs, steps=60)
    loop.train(recipe, on_event=events.append)
    losses = [float(str(event["loss"])) for event in events if "loss" in event]
    assert losses[-1] < losses[0] - 4
    assert set(events[-1]["dev"]) == {*STEMS, "loss"}  # type: ignore[call-overload]
    lines = (recipe.output / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == events


def test_a_run_that_was_broken_off_ends_where_the_unbroken_one_ends(songs: Path) -> None:
    whole = recipe_for(songs, output=songs.parent / "whole")
    loop.train(whole)
    broken = recipe_for(songs, output=songs.parent / "broken")

    class KillError(Exception):
        pass

    def kill(event: dict[str, object]) -> None:
        if event["step"] == 4:
            raise KillError

    with pytest.raises(KillError):
        loop.train(dataclasses.replace(broken, save_minutes=0), on_event=kill)
    assert 0 < torch.load(broken.output / "last.pt", weights_only=True)["step"] < 8
    model = loop.train(broken)
    ends = [torch.load(run.output / "last.pt", weights_only=True) for run in (whole, broken)]
    assert ends[0]["step"] == ends[1]["step"] == 8
    for name in ("network", "average"):
        for key, value in ends[0][name].items():
            assert torch.equal(value, ends[1][name][key]), key
    exported = load_network(model).state_dict()
    assert all(torch.equal(value, ends[1]["average"][key].half().float()) for key, value in exported.items())


def test_two_processes_train_one_network(songs: Path) -> None:
    """Two processes with an example each move the weights as one process with both examples would."""
    alone, shared = (recipe_for(songs, steps=3, output=songs.parent / name) for name in ("alone", "shared"))
    loop.train(dataclasses.replace(shared, workers=2))
    state = loop.start(alone, torch.device("cpu"))
    found = find_songs(songs, STEMS)[1:]
    for step in range(3):
        gradients: list[list[torch.Tensor]] = []
        for number in range(2):
            batch = draw_batch(
                Library(found), STEMS, 1, alone.mixing, RATE, np.random.default_rng((0, step, number))
            ).stems
            gradients.append(_gradients(state, torch.from_numpy(batch)))
        for value, *parts in zip(state.network.parameters(), *gradients, strict=True):
            value.grad = torch.stack(parts).mean(0)
        for group in state.optimizer.param_groups:
            group["lr"] = alone.schedule.learning_rate_at(step)
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), alone.schedule.clip)
        state.optimizer.step()
    saved = torch.load(shared.output / "last.pt", weights_only=True)["network"]
    for key, value in state.network.state_dict().items():
        torch.testing.assert_close(saved[key], value, atol=1e-4, rtol=1e-3)


def _gradients(state: loop.State, stems: torch.Tensor) -> list[torch.Tensor]:
    mixture = stems.sum(1)
    estimates = state.network.estimates(mixture)  # type: ignore[operator]
    loss = 0.5 * snr_loss(estimates.two_stage, stems, mixture) + 0.5 * snr_loss(estimates.masked, stems, mixture)
    return list(torch.autograd.grad(loss, list(state.network.parameters())))


def test_the_loss_on_spectra_is_about_the_loss_on_waveforms(songs: Path) -> None:
    """Estimates are not quite spectra of waveforms, so the two differ, by less than what a step is worth."""
    waves, spectra = recipe_for(songs), recipe_for(songs, loss="spectrum")
    network = loop.start(waves, torch.device("cpu")).network
    batch = [torch.from_numpy(part) for part in waves.draw(4, np.random.default_rng(0))]
    found, expected = (recipe.loss_of(network, *batch).item() for recipe in (spectra, waves))
    assert found == pytest.approx(expected, abs=0.5)
    with pytest.raises(ValueError, match="waveform or spectrum"):
        recipe_for(songs, loss="hearing")


def test_a_loss_that_is_not_finite_does_not_spoil_the_weights(songs: Path) -> None:
    recipe = recipe_for(songs)
    state = loop.start(recipe, torch.device("cpu"))
    before = {key: value.clone() for key, value in state.network.state_dict().items()}
    loss = recipe.loss_of(state.network, torch.full((1, 2, 2, 500), torch.nan))
    loop.take_step(state, recipe.schedule, loss, 0)
    for key, value in state.network.state_dict().items():
        assert torch.equal(value, before[key])


def test_the_learning_rate_rises_stays_and_falls_to_zero() -> None:
    schedule = Schedule(steps=100, warmup_steps=10, decay_steps=20, learning_rate=1.0)
    rates = [schedule.learning_rate_at(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:80] == [1.0] * 70
    assert rates[90] == pytest.approx(0.5)
    assert rates[100] == 0.0


def test_a_run_starts_from_weights_and_scores_them_first(songs: Path) -> None:
    recipe = recipe_for(songs, dev_folder=(songs,), output=songs.parent / "warm")
    network = loop.start(recipe, torch.device("cpu")).network
    save(network, songs.parent / "model")
    for song in sorted(songs.iterdir()):
        (song / "song.json").write_text(json.dumps({"style": "odd" if int(song.name) % 2 else "even"}))
    events: list[dict[str, Any]] = []
    warm = dataclasses.replace(recipe, weights=str(songs.parent / "model"), schedule=Schedule(steps=2, seed=5))
    loop.train(warm, on_event=events.append)
    assert events[0]["step"] == 0
    assert events[0]["dev"] == warm.dev(network, torch.device("cpu"))
    figures = events[0]["dev"]
    assert {"odd/low", "even/high", "low", "loss"} <= set(figures)
    assert figures["low"] == pytest.approx((figures["odd/low"] + figures["even/low"]) / 2, abs=2e-3)
    assert figures["loss"] == pytest.approx((figures["low"] + figures["high"]) / 2, abs=1e-3)
    other = dataclasses.replace(warm, network=dataclasses.replace(NETWORK, dim=16))
    with pytest.raises(UsageError, match="another network"):
        other.build()


def test_a_decay_is_a_run_of_its_own_that_ends_at_a_rate_of_zero(songs: Path) -> None:
    run = recipe_for(songs, steps=6)
    with pytest.raises(UsageError, match="saved or logged nothing"):
        decay_of(dataclasses.replace(run, output=songs.parent / "decay"), run.output, 1)
    loop.train(run)
    before = {path: path.read_bytes() for path in run.output.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="folder of its own"):
        decay_of(run, run.output, 1)
    rates = [event["audio_per_second"] for event in read_log(run.output / "log.jsonl") if "loss" in event]
    minutes = 5 * run.schedule.batch_size * 0.5 / 60 / float(np.median(rates))
    decay = decay_of(dataclasses.replace(run, output=songs.parent / "decay"), run.output, minutes)
    assert (decay.schedule.steps, decay.schedule.decay_steps) == (11, 5)
    assert [decay.schedule.learning_rate_at(step) for step in (6, 11)] == [run.schedule.learning_rate, 0]
    loop.train(decay)
    assert torch.load(decay.output / "last.pt", weights_only=True)["step"] == 11
    assert {path: path.read_bytes() for path in run.output.rglob("*") if path.is_file()} == before
    again = decay_of(dataclasses.replace(run, output=songs.parent / "decay"), run.output, 99)
    assert again.schedule == decay.schedule


def test_songs_that_appear_while_a_run_goes_on_are_taken_in(songs: Path) -> None:
    late = songs.parent / "late"
    recipe = recipe_for(late, dev_folder=(songs,), rescan_minutes=1e-9)
    recipe = dataclasses.replace(recipe, songs=(late, songs.parent / "none"))
    with pytest.raises(UsageError, match="no finished songs"):
        recipe.draw(1, np.random.default_rng(0))
    songs.rename(late)
    with pytest.raises(UsageError, match="no finished songs"):
        recipe.draw(1, np.random.default_rng(0))
    (late / "0001" / "song.json").write_text("{}")
    assert recipe.draw(1, np.random.default_rng(0)).stems.any()
    assert [song.name for song in recipe._shelf.library().songs] == ["0001"]


def test_the_recipes_of_the_repository_are_valid() -> None:
    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
    assert recipes
    for path in recipes:
        assert load_recipe(path).name == path.stem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not valid TOML"),
        ('name = "x"\nsongs = "s"\n', "output"),
        ('name = "x"\nsongs = "s"\noutput = "o"\nspeed = 3\n', "unknown settings speed"),
        ('name = "x"\nsongs = "s"\noutput = "o"\n[schedule]\nprecision = "fp8"\n', "fp32 or bf16"),
        ('name = "x"\nsongs = "s"\noutput = "o"\n[schedule]\noptimizer = "luck"\n', "adamw or muon"),
        ('name = "x"\nsongs = "s"\noutput = "o"\n[mixing]\nequalise_db = 6.0\n', "works on spectra"),
        ('name = "x"\nsongs = "s"\noutput = "o"\nworkers = 3\n', "3 workers cannot share"),
        ('name = "x"\nsongs = "s"\noutput = "o"\n[network]\nbands = [1]\n', "bands hold 1 bins"),
        ('name = "x"\nkind = "chords"\n', "separator or melody or speakers, not chords"),
        ('name = "x"\nkind = "melody"\noutput = "o"\n', "clips"),
        ('name = "x"\nkind = "melody"\nclips = "s"\noutput = "o"\nstart = "luck"\n', "pretrained, cosine, random"),
        ('name = "x"\nkind = "melody"\nclips = "s"\noutput = "o"\n[network]\nkernels = 10\n', "cannot be halved"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_recipe(tmp_path / "r.toml")


def test_a_missing_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_recipe(tmp_path / "none.toml")
