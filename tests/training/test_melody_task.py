"""Examples, targets and the training of the melody network, on voices made of harmonics."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from stemsplit.errors import UsageError
from stemsplit.networks.melody_cnn import MelodyCNN, MelodyCNNConfig, peak_frequencies
from stemsplit.training.examples.clips import Clips, MelodyMixing, draw_examples, find_clips, play_f0
from stemsplit.training.loop import run_recipe
from stemsplit.training.melody_task import MelodyRecipe, frame_counts, pitch_loss, pitch_target
from stemsplit.training.schedule import Schedule
from stemsplit.weights.checkpoint import load_network

RATE = 16000
NETWORK = MelodyCNNConfig(
    kernels=16, kernel_samples=(64, 480), positions=(4, 3), module_channels=(3, 4), bottleneck=2, time_channels=8,
    time_dilations=(1,), lowest_hz=100.0, bin_cents=50.0, bins=48,
)  # fmt: skip
PLAIN = MelodyMixing(
    crop_seconds=0.5, semitones=0, sung=0, separated=0, alone=1, unsung=0, equalizer=0, reverberation=0, noise=0,
    gain_db=(0.0, 0.0),
)  # fmt: skip


def write_clip(path: Path, hertz: float, seconds: float = 2.0) -> None:
    """A clip that is silent in its first half, and sings `hertz` in its second."""
    time = np.arange(round(seconds * RATE)) / RATE
    on = time >= seconds / 2
    voice = on * sum(np.sin(2 * np.pi * k * hertz * time) / k for k in range(1, 6))
    f0 = np.where(np.arange(1 + len(time) // 160) * 160 >= len(time) / 2, hertz, 0.0)
    arrays = {"voice": 6000 * voice, "accompaniment": 2000 * np.sin(2 * np.pi * 330 * time), "separated": 5000 * voice}
    np.savez(path, f0=f0.astype(np.float32), **{key: value.astype(np.int16) for key, value in arrays.items()})


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number, hertz in enumerate((110, 150, 200, 260, 300)):
        write_clip(folder / f"singer{number}_1_01.npz", hertz)
    np.savez(folder / "song_train_0.npz", accompaniment=np.ones(2 * RATE, np.int16))
    return folder


def recipe_for(clips: Path, steps: int = 6, **settings: object) -> MelodyRecipe:
    schedule = Schedule(steps=steps, batch_size=4, warmup_steps=2, decay_steps=steps // 2, learning_rate=1e-2, ema=0.9)
    base = MelodyRecipe(
        "test", clips, NETWORK, PLAIN, schedule, clips.parent / "run", pretraining_steps=4, dev_singers=("singer0",),
        log_steps=2, dev_steps=steps,
    )  # fmt: skip
    return dataclasses.replace(base, **settings)  # type: ignore[arg-type]


def test_examples_are_repeatable_and_their_pitch_is_that_of_their_sound(clips: Path) -> None:
    found = Clips([clip for clip in find_clips(clips) if clip.singer == "singer2"])
    mixing = dataclasses.replace(PLAIN, semitones=4)
    first, again = (draw_examples(found, 8, mixing, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    assert first[0].shape == (8, 8000)
    assert first[1].shape == (8, 51)
    for sound, f0 in zip(*first, strict=True):
        inside = np.flatnonzero(f0 > 0)
        if len(inside) < 30:
            continue
        assert 200 * 2 ** (-4 / 12) <= f0[inside[5]] <= 200 * 2 ** (4 / 12)
        part = sound[inside[2] * 160 : inside[-2] * 160]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 65536))
        assert spectrum[:2000].argmax() * RATE / 65536 == pytest.approx(f0[inside[5]], rel=0.01)


def test_every_kind_of_example_is_finite_and_has_its_frames(clips: Path) -> None:
    found = Clips(find_clips(clips))
    mixing = MelodyMixing(crop_seconds=0.7, sung=0.3, separated=0.3, equalizer=1, reverberation=1, noise=1, unsung=0.2)
    sounds, f0 = draw_examples(found, 40, mixing, np.random.default_rng(0))
    assert np.isfinite(sounds).all()
    assert sounds.shape == (40, 11200)
    assert f0.shape == (40, 71)
    assert (f0 == 0).all(1).any()  # accompaniment alone


def test_music_alone_has_no_pitch_and_crops_longer_than_a_clip_end_in_silence(clips: Path) -> None:
    found = Clips(find_clips(clips))
    _, nothing = draw_examples(found, 5, dataclasses.replace(PLAIN, unsung=1), np.random.default_rng(0))
    assert not nothing.any()
    sounds, f0 = draw_examples(found, 5, dataclasses.replace(PLAIN, crop_seconds=4.0), np.random.default_rng(0))
    assert not sounds[:, 2 * RATE + 2000 :].any()
    assert not f0[:, 210:].any()


def test_pitch_of_faster_playing_is_higher_and_keeps_gaps_and_ignorance() -> None:
    f0 = np.array([0, 0, 100, 110, 120, np.nan, 130, 0, 0, 0], np.float32)
    np.testing.assert_array_equal(play_f0(f0, 1.0, 10), f0)
    faster = play_f0(f0, 2.0, 6)
    np.testing.assert_allclose(faster, [0, 200, 240, 260, 0, 0])
    slower = play_f0(f0, 0.5, 8)
    assert slower[5] == pytest.approx(52.5)
    assert np.isnan(play_f0(f0, 0.5, 12)[10])


def test_the_target_is_a_distribution_around_the_pitch() -> None:
    f0 = torch.tensor([[0.0, 100.0, 100 * 2 ** (1 / 12), float("nan"), 50.0, 3000.0]])
    target, known = pitch_target(f0, NETWORK)
    assert known.tolist() == [[1, 1, 1, 0, 0, 0]]
    torch.testing.assert_close(target[0, :3].sum(-1), torch.ones(3))
    assert target[0, 0, 0] == 1
    assert target[0, 1].argmax() == 1
    assert target[0, 2].argmax() == 3  # a semitone is two bins of 50 cents


def test_the_loss_is_least_for_the_truth_and_blind_to_unknown_frames() -> None:
    f0 = torch.tensor([[0.0, 150.0, float("nan")]])
    target, _ = pitch_target(f0, NETWORK)
    best = pitch_loss((target + 1e-9).log(), f0, NETWORK)
    worse = pitch_loss(torch.zeros(1, 3, 49), f0, NETWORK)
    assert best < worse
    assert worse == pytest.approx(np.log(49), rel=1e-5)
    logits = torch.zeros(1, 3, 49)
    logits[0, 2] = torch.randn(49)
    assert pitch_loss(logits, f0, NETWORK) == worse
    torch.testing.assert_close(pitch_loss(torch.zeros(1, 2, 3, 49), f0, NETWORK), worse)
    frames, right, voiced, pitched, _ = frame_counts((target + 1e-9).log(), f0, NETWORK)
    assert (frames, right, voiced, pitched) == (2, 2, 1, 1)


@pytest.mark.parametrize("start", ["pretrained", "cosine", "random"])
def test_a_run_leaves_a_model_that_loads(clips: Path, start: str) -> None:
    events: list[dict[str, object]] = []
    folder = run_recipe(recipe_for(clips, start=start), on_event=events.append)
    network = load_network(folder)
    assert isinstance(network, MelodyCNN)
    assert network.config == NETWORK
    assert set(events[-1]["dev"]) == {"loss", "overall", "pitch"}  # type: ignore[call-overload]
    assert (clips.parent / "run" / "pretraining" / "kernels.pt").exists() == (start == "pretrained")


def test_the_network_starts_from_the_sorted_pretrained_kernels(clips: Path) -> None:
    recipe = recipe_for(clips)
    alone, _ = recipe.phases()
    kernels = torch.load(run_recipe(dataclasses.replace(alone, start="random")), weights_only=True)
    network = recipe.build()
    assert torch.equal(network.stage1.banks[1].weight, kernels["banks.1.weight"])  # type: ignore[union-attr, index]
    assert (peak_frequencies(kernels["banks.1.weight"], RATE).diff() >= 0).all()


def test_training_learns_two_notes_and_silence(clips: Path) -> None:
    events: list[dict[str, object]] = []
    recipe = recipe_for(clips, steps=60, start="cosine", dev_steps=1000)
    run_recipe(recipe, on_event=events.append)
    losses = [float(str(event["loss"])) for event in events]
    assert losses[-1] < losses[0] - 1


def test_a_stopped_run_goes_on_in_the_phase_that_it_was_in(clips: Path) -> None:
    whole = recipe_for(clips, output=clips.parent / "whole")
    broken = recipe_for(clips, output=clips.parent / "broken")
    run_recipe(whole)

    class KillError(Exception):
        pass

    def kill(event: dict[str, object]) -> None:
        raise KillError

    for _ in range(3):
        with pytest.raises(KillError):
            run_recipe(broken, on_event=kill)
    run_recipe(broken)
    ends = [torch.load(run.output / "last.pt", weights_only=True)["average"] for run in (whole, broken)]
    for key, value in ends[0].items():
        assert torch.equal(value, ends[1][key]), key


def test_a_folder_without_voices_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no clips with a voice"):
        find_clips(tmp_path)
