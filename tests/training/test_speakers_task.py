"""A network of two speakers learns from a recipe, and is scored on people that it never heard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import write_song
from torch import Tensor

from stemsplit.errors import UsageError
from stemsplit.evaluation.sdr import measure
from stemsplit.networks.s4m import S4M
from stemsplit.training.loop import run_recipe
from stemsplit.training.recipe import load_recipe
from stemsplit.training.speakers_task import SpeakersRecipe, si_sdr
from stemsplit.weights.checkpoint import load_network

RATE = 1000
ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(8):
        noise = np.fft.rfft(rng.normal(0, 0.2, 6 * RATE))
        noise[np.abs(np.arange(len(noise)) / 6 - 40 * (number + 1)) > 30] = 0
        write_song(tmp_path / "speech" / "x" / str(number) / "0.wav", 5 * np.fft.irfft(noise)[None], RATE)
    (tmp_path / "speech" / "speakers.csv").write_text(
        "speaker,sex\n" + "".join(f"{n},{'FM'[n % 2]}\n" for n in range(8))
    )
    (tmp_path / "heldout.txt").write_text("x/0\nx/1\nx/2\nx/3\n")
    folder = tmp_path.as_posix()
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'kind = "speakers"\nname = "two"\nspeakers = "{folder}/speech"\nheldout = "{folder}/heldout.txt"\n'
        f'output = "{folder}/run"\ndev_mixtures = 4\nlog_steps = 2\ndev_steps = 4\n[about]\nlicense = "CC0-1.0"\n'
        f"[network]\nsample_rate = {RATE}\nkernel_size = 8\nstride = 4\nbasis = 9\ndim = 8\nhidden = 12\nscales = 3\n"
        "passes = 2\nd_state = 4\nchunk_samples = 2000\n[mixing]\ncrop_seconds = 0.5\n"
        "[schedule]\nsteps = 8\nbatch_size = 2\nwarmup_steps = 2\ndecay_steps = 2\nweight_decay = 0.0\n"
    )
    return recipe


def test_it_is_trained_and_exported(recipe_file: Path) -> None:
    events: list[dict[str, object]] = []
    left = run_recipe(load_recipe(recipe_file), on_event=events.append)
    network = load_network(left)
    assert isinstance(network, S4M)
    assert network.config.stems == ("speaker1", "speaker2")
    dev = next(event["dev"] for event in events if "dev" in event)
    assert isinstance(dev, dict)
    assert set(dev) == {"loss", "si_sdri", "si_sdri_same", "si_sdri_other"}


def test_nobody_is_both_trained_on_and_scored(recipe_file: Path) -> None:
    task = load_recipe(recipe_file)
    assert isinstance(task, SpeakersRecipe)
    trained, scored = ({s.name for s in voices.speakers} for voices in (task._voices, task._dev_voices))
    assert trained == {"4", "5", "6", "7"}
    assert scored == {"0", "1", "2", "3"}
    assert sorted(map(bool, task._dev_same)) == [False, False, True, True]


def test_the_order_costs_nothing_and_silence_is_finite(recipe_file: Path) -> None:
    task = load_recipe(recipe_file)
    assert isinstance(task, SpeakersRecipe)
    speakers = torch.randn(2, 2, 1, 400)
    speakers[1, 1] = 0
    estimate = (speakers + 0.1 * torch.randn_like(speakers)).requires_grad_()
    mixture = speakers.sum(1)

    def network(_: Tensor) -> Tensor:
        return estimate

    one, other = task.loss_of(network, speakers, mixture), task.loss_of(network, speakers.flip(1), mixture)
    torch.testing.assert_close(one, other)
    assert one < -9
    one.backward()
    assert torch.isfinite(estimate.grad).all()


def test_the_figure_is_that_of_evaluate() -> None:
    reference, estimate = torch.randn(2, 300, dtype=torch.float64)
    estimate = reference + 0.3 * estimate
    found = measure(reference[None].numpy(), estimate[None].numpy()).si_sdr_db
    assert si_sdr(estimate, reference).item() == pytest.approx(found, abs=1e-6)


def test_recipes_that_cannot_be_run_are_refused(recipe_file: Path) -> None:
    text = recipe_file.read_text()
    for change, reason in (
        (("batch_size = 2", "batch_size = 3\n[schedule2]"), "unknown|schedule2"),
        (('name = "two"', 'name = "two"\nworkers = 3'), "3 workers"),
        (("passes = 2", 'passes = 2\nstems = ["a", "b", "c"]'), "two speakers"),
        (('kind = "speakers"', 'kind = "speaker"'), "kind is"),
    ):
        recipe_file.write_text(text.replace(*change))
        with pytest.raises(UsageError, match=reason):
            load_recipe(recipe_file)


def test_the_recipe_that_ships_names_the_held_out_speakers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for path in sorted((ROOT / "recipes").glob("s4m*.toml")):
        task = load_recipe(path)
        assert isinstance(task, SpeakersRecipe)
        assert len(set(task._heldout)) == 24


def test_a_run_starts_from_weights_and_scores_them_first(recipe_file: Path, tmp_path: Path) -> None:
    task = load_recipe(recipe_file)
    assert isinstance(task, SpeakersRecipe)
    model = run_recipe(task)
    events: list[dict[str, Any]] = []
    warm = replace(task, weights=str(model), output=tmp_path / "warm", schedule=replace(task.schedule, steps=1))
    run_recipe(warm, on_event=events.append)
    assert events[0] == {"step": 0, "dev": task.dev(load_network(model), torch.device("cpu"))}
    with pytest.raises(UsageError, match="another network"):
        replace(warm, network=replace(task.network, dim=16)).build()
