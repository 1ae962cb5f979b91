"""Several models as one: the means are right, a pick has the bytes of its model, and only one works at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import FakeConfig, FakeNetwork

import stemsplit.separation.ensemble as ensembles
from stemsplit.errors import TargetCollisionError, UnknownStemError, UsageError
from stemsplit.files.spool import Spool
from stemsplit.options import SeparateOptions
from stemsplit.separation.ensemble import Ensemble, make_ensemble
from stemsplit.separation.picks import Pick
from stemsplit.separation.separator import make_separator
from stemsplit.separation.source import Source, open_source
from stemsplit.weights.model import Model

Sound = Callable[..., np.ndarray]
RATE = 8000
SMALL = FakeConfig(sample_rate=RATE, chunk_samples=2000)


def model(name: str, gains: Sequence[float], config: FakeConfig = SMALL, *, calls: list[str] | None = None) -> Model:
    seen = [] if calls is None else calls
    return Model(name, name * 8, FakeNetwork(config, gains, lambda mixture: seen.append(name)))


def ensemble(*picks: Pick, **asked: Any) -> Ensemble:
    return make_ensemble(picks, SeparateOptions(device="cpu", precision="fp32", **asked))


def array_source(samples: np.ndarray, rate: int = RATE) -> Source:
    return open_source(samples, rate)[0]


def stems_of(made: Ensemble, samples: np.ndarray, rate: int = RATE, **how: Any) -> dict[str, np.ndarray]:
    said: list[str] = how.pop("said", [])
    blocks = made.rendered(array_source(samples, rate), rate, on_warning=said.append, **how)
    whole = np.concatenate([block.outputs for block in blocks], axis=-1)
    return {output.name: stem for output, stem in zip(made.outputs, whole, strict=True)}


A, B = (0.5, 0.25, -0.125, 0.3), (0.1, 0.75, 0.5, -0.3)


def test_a_stem_is_the_mean_of_the_models(sound: Sound) -> None:
    song = sound(2, 9001, RATE)
    found = stems_of(ensemble(Pick(None, model("a", A)), Pick(None, model("b", B))), song)
    assert list(found) == list(SMALL.stems)
    for name, one, other in zip(SMALL.stems, A, B, strict=True):
        np.testing.assert_allclose(found[name], (one + other) / 2 * song, atol=1e-6)


def test_three_models_are_added_in_order_and_a_stem_that_one_lacks_is_the_mean_of_the_others(sound: Sound) -> None:
    song = sound(1, 7003, RATE)
    few = replace(SMALL, stems=("Vocals", "guitar"))
    found = stems_of(
        ensemble(Pick(None, model("a", A)), Pick(None, model("b", B)), Pick(None, model("c", (0.9, 0.7), few))), song
    )
    assert list(found) == [*SMALL.stems, "guitar"]
    np.testing.assert_allclose(found["vocals"], (0.3 - 0.3 + 0.9) / 3 * song, atol=1e-6)
    np.testing.assert_allclose(found["drums"], (0.5 + 0.1) / 2 * song, atol=1e-6)
    np.testing.assert_allclose(found["guitar"], 0.7 * song, atol=1e-6)


def test_picked_stems_are_bit_for_bit_those_of_their_models(sound: Sound) -> None:
    song = sound(2, 9001, RATE)
    one, other = model("a", A), model("b", B)
    found = stems_of(ensemble(Pick("vocals", one), Pick("rest", other)), song)
    assert set(found) == set(SMALL.stems)
    for name, stem in found.items():
        alone = make_separator(one if name == "vocals" else other, SeparateOptions(device="cpu", stems=name))
        (block,) = (
            np.concatenate([b.outputs for b in alone.rendered(array_source(song), RATE, on_warning=print)], -1),
        )
        assert np.array_equal(stem, block[0])


def test_a_stem_that_is_picked_twice_is_a_mean(sound: Sound) -> None:
    song = sound(1, 3000, RATE)
    one, other = model("a", A), model("b", B)
    found = stems_of(ensemble(Pick("bass", one), Pick("bass", other), Pick("rest", one)), song)
    np.testing.assert_allclose(found["bass"], 0.5 * song, atol=1e-6)
    np.testing.assert_allclose(found["drums"], 0.5 * song, atol=1e-6)


def test_models_of_other_rates_and_chunks_are_converted(sound: Sound) -> None:
    times = np.arange(16001) / 16000
    song = (0.3 * np.sin(2 * np.pi * 200 * times))[None].astype(np.float32)
    other = replace(SMALL, sample_rate=16000, chunk_samples=3001, overlap=0.25)
    made = ensemble(Pick(None, model("a", A)), Pick(None, model("b", B, other)))
    found = stems_of(made, song, 16000)
    assert found["bass"].shape == song.shape
    np.testing.assert_allclose(found["bass"][:, 500:-500], 0.5 * song[:, 500:-500], atol=1e-3)
    assert made.chunk_settings() == {"chunk_samples": [2000, 3001], "overlap": [0.5, 0.25]}


def test_outputs_are_of_the_common_stems(sound: Sound) -> None:
    song = sound(2, 5000, RATE)
    picks = (Pick("vocals", model("a", A)), Pick("rest", model("b", B)))
    np.testing.assert_allclose(
        stems_of(ensemble(*picks, without="vocals"), song)["no vocals"], (0.1 + 0.75 + 0.5) * song, atol=1e-6
    )
    exact = stems_of(ensemble(*picks, exact_sum=True), song)
    np.testing.assert_allclose(sum(exact.values()), song, atol=1e-6)
    with pytest.raises(UnknownStemError, match="guitar"):
        ensemble(*picks, stems="guitar")
    with pytest.raises(TargetCollisionError):
        ensemble(*picks, mix=("vocals=drums+bass",))


def test_models_run_one_after_another_and_only_those_that_are_needed(sound: Sound) -> None:
    song, calls = sound(1, 9000, RATE), list[str]()
    picks = (Pick("vocals", model("a", A, calls=calls)), Pick("rest", model("b", B, calls=calls)))
    stems_of(ensemble(*picks), song)
    assert calls == sorted(calls)
    assert set(calls) == {"a", "b"}
    calls.clear()
    found = stems_of(ensemble(*picks, stems="vocals"), song)
    assert set(calls) == {"a"}
    assert list(found) == ["vocals"]


def test_progress_is_that_of_one_run_and_a_warning_comes_once(sound: Sound) -> None:
    song = sound(2, 16000, RATE)
    song[0] = 0
    told, said = list[float](), list[str]()
    picks = [Pick(None, model(name, A)) for name in "abc"]
    stems_of(ensemble(*picks), song, said=said, on_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(2.0)
    assert len([text for text in said if "left channel is silent" in text]) == 1


def test_what_waits_lies_in_the_folder_and_goes_away(
    sound: Sound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path | None] = []
    opened: list[Spool] = []

    class Noted(Spool):
        def __init__(self, channels: int, folder: Path | None = None) -> None:
            super().__init__(channels, folder)
            folders.append(folder)
            opened.append(self)

    monkeypatch.setattr(ensembles, "Spool", Noted)
    blocks = ensemble(*(Pick(None, model(name, A)) for name in "abc")).rendered(
        array_source(sound(1, 9000, RATE)), RATE, on_warning=print, folder=tmp_path
    )
    next(blocks)
    blocks.close()
    assert folders == [tmp_path] * 8  # four stems after the first model, four after the second
    assert all(spool._file.closed for spool in opened)
    assert not list(tmp_path.iterdir())


def test_what_a_manifest_says() -> None:
    one, other = model("a", A), model("b", B)
    made = ensemble(Pick("vocals", one), Pick("rest", other))
    said = made.about_model()
    assert said["reference"] == "vocals=a, rest=b"
    assert said["stems"] == ["vocals", "drums", "bass", "other"]
    rest = {"drums": 1.0, "bass": 1.0, "other": 1.0}
    assert said["models"] == [
        {"reference": "a", "sha256": "a" * 8, "stems": list(SMALL.stems), "share": {"vocals": 1.0}},
        {"reference": "b", "sha256": "b" * 8, "stems": list(SMALL.stems), "share": rest},
    ]
    assert made.sha256 == said["sha256"] == ensemble(Pick("vocals", one), Pick("rest", other)).sha256
    others = (ensemble(Pick(None, one), Pick(None, other)), ensemble(Pick("drums", one), Pick("rest", other)))
    assert len({made.sha256, *(each.sha256 for each in others), "a" * 8, "b" * 8}) == 5
    assert made.precision_name == "fp32"
    assert made.device == torch.device("cpu")


def test_options_that_one_model_cannot_have_are_refused() -> None:
    with pytest.raises(UsageError, match="chunk"):
        ensemble(Pick(None, model("a", A)), Pick(None, model("b", B)), chunk_seconds=0.0)
