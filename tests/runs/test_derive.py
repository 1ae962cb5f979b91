"""What an earlier run left is used instead of the network: the bytes are the same, or as near as the rule says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import fake_separator, read_song, write_song
from tiny_melody import fake_reader, vocals_separator

from stemsplit.files.inputs import find_inputs
from stemsplit.files.manifest import MANIFEST_NAME, read_manifest
from stemsplit.melody.contour import Contour
from stemsplit.melody.formats import read_contour
from stemsplit.options import MelodyOptions, SeparateOptions
from stemsplit.runs.jobs import Outcome, run
from stemsplit.runs.separate import Separating, plan
from stemsplit.runs.transcribe import Transcribing, plan_melodies

Sound = Callable[..., np.ndarray]


class Runs:
    """Runs on one song; `calls` of the network, `details` as -v tells them."""

    def __init__(self, song: Path) -> None:
        self.song, self.calls = song, 0
        self.details: list[str] = []

    def _count(self, mixture: object) -> None:
        self.calls += 1

    def __call__(self, output: str = "out", *, sha256: str = "5" * 64, **asked: Any) -> Outcome:
        """Do what is asked, from nothing but what is in the folder `output`."""
        options = SeparateOptions(output=self.song.parent / output, device="cpu", **asked)
        separator = fake_separator(options, on_call=self._count, sha256=sha256)
        jobs = plan(find_inputs([self.song], options.output), separator, options)
        self.calls, self.details = 0, []
        (outcome,) = run(jobs, Separating(separator, options, self.details.append))
        assert outcome.error is None, outcome.error
        return outcome


@pytest.fixture(params=["PCM_16", "PCM_24", "FLOAT"])
def runs(request: pytest.FixtureRequest, tmp_path: Path, sound: Sound) -> Runs:
    """On a song of two blocks that is not a whole number of chunks, of each bit depth."""
    return Runs(write_song(tmp_path / "song.wav", sound(2, 70001), 44100, request.param))


@pytest.fixture
def on24(tmp_path: Path, sound: Sound) -> Runs:
    return Runs(write_song(tmp_path / "song.wav", sound(2, 12001), 44100, "PCM_24"))


def contents(outcome: Outcome) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in outcome.outputs.items()}


SELECTIONS: list[dict[str, Any]] = [
    {"stems": "drums"},
    {"stems": "vocals,bass"},
    {"template": "{track}/x {stem}.{ext}"},
]


@pytest.mark.parametrize("asked", SELECTIONS, ids=str)
def test_stems_at_their_own_depth_have_the_bytes_of_a_run(runs: Runs, asked: dict[str, Any]) -> None:
    fresh = runs("fresh", **asked)
    assert runs.calls
    runs()
    derived = runs(**asked)
    assert not runs.calls
    assert contents(derived) == contents(fresh)
    assert all(entry["exact"] for entry in derived.manifest["derived_from"].values())  # type: ignore[index]


@pytest.mark.parametrize("depth", ["16", "24"])
@pytest.mark.parametrize("format", ["wav", "flac", "aiff"])
def test_every_lossless_format_has_the_bytes_of_a_run(on24: Runs, format: str, depth: str) -> None:
    fresh = on24("fresh", format=format, bit_depth=depth)
    on24(bit_depth=depth)
    derived = on24(format=format, bit_depth=depth, template="{track}/as {stem}.{ext}")
    assert not on24.calls
    assert list(contents(derived).values()) == list(contents(fresh).values())


MIXES: list[dict[str, Any]] = [{"without": "vocals"}, {"two_stems": "bass"}, {"mix": ("rhythm=drums+bass",)}]


@pytest.mark.parametrize("format", ["wav", "flac", "aiff", "mp3", "ogg"])
def test_from_32f_everything_has_the_bytes_of_a_run(on24: Runs, format: str) -> None:
    asked: dict[str, Any] = {"two_stems": "bass", "mix": ("rhythm=drums+bass",)}
    fresh = on24("fresh", format=format, **asked)
    on24(bit_depth="32f")
    derived = on24(format=format, **asked)
    assert not on24.calls
    assert contents(derived) == contents(fresh)
    assert all(entry["exact"] for entry in derived.manifest["derived_from"].values())  # type: ignore[index]


@pytest.mark.parametrize(("stored", "wanted"), [("16", "16"), ("24", "24"), ("24", "16")])
@pytest.mark.parametrize("asked", MIXES, ids=str)
def test_a_mix_of_integers_is_as_near_as_the_rule_says(
    on24: Runs, asked: dict[str, Any], stored: str, wanted: str
) -> None:
    fresh = on24("fresh", bit_depth=wanted, **asked)
    on24(bit_depth=stored)
    derived = on24(bit_depth=wanted, **asked)
    assert not on24.calls
    sources = derived.manifest["derived_from"]  # type: ignore[index]
    for name, path in derived.outputs.items():
        steps = np.abs(read_song(path) - read_song(fresh.outputs[name])) * 2 ** (int(wanted) - 1)
        count = len(sources[name]["stems"])
        assert steps.max() <= (count + 1) / 2
        assert sources[name]["exact"] == (count == 1 and stored == wanted)


def test_a_mix_that_clips_is_turned_down_as_by_a_run(tmp_path: Path, sound: Sound) -> None:
    on = Runs(write_song(tmp_path / "song.wav", sound(1, 20000, amplitude=0.8), 44100, "FLOAT"))
    fresh = on("fresh", bit_depth="24", mix=("loud=drums+bass",))
    on()
    derived = on(bit_depth="24", mix=("loud=drums+bass",))
    assert not on.calls
    assert fresh.manifest["gain"] == derived.manifest["gain"] < 1  # type: ignore[index]
    assert contents(derived) == contents(fresh)
    on(bit_depth="24", stems="bass")
    assert on.calls  # what was turned down is no use, and the 32f are overwritten


def test_what_may_be_clipped_is_no_use(tmp_path: Path, sound: Sound) -> None:
    on = Runs(write_song(tmp_path / "song.wav", sound(1, 12000, amplitude=0.8), 44100, "FLOAT"))
    on(bit_depth="24", clip="clamp", mix=("loud=drums+bass",))
    on(bit_depth="24", mix=("again=drums+bass",), stems="drums")
    assert on.calls
    assert "may be clipped" in on.details[0]


WHYS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"bit_depth": "16"}, {"without": "vocals"}, "16 bits"),
    ({"bit_depth": "16"}, {"format": "mp3"}, "16 bits"),
    ({"format": "mp3"}, {"without": "vocals"}, "lossy"),
    ({"overlap": 0.25}, {"without": "vocals"}, "other settings"),
    ({"sample_rate": 22050}, {"without": "vocals"}, "22050 Hz"),
    ({}, {"without": "vocals", "sha256": "6" * 64}, "another model"),
    ({}, {"format": "opus"}, "44100 Hz"),
    ({"stems": "drums"}, {"without": "vocals"}, "bass, other is not there"),
    ({}, {"two_stems": "vocals", "exact_sum": True}, "other settings"),
    ({"exact_sum": True}, {"two_stems": "vocals", "exact_sum": True}, "an exact sum"),
]


@pytest.mark.parametrize(("first", "then", "why"), WHYS, ids=str)
def test_what_will_not_do_is_separated_anew_with_a_word_why(
    on24: Runs, first: dict[str, Any], then: dict[str, Any], why: str
) -> None:
    fresh = on24("fresh", **then)
    on24(**first)
    again = on24(**then)
    assert on24.calls
    assert len(on24.details) == 1
    assert why in on24.details[0]
    assert contents(again) == contents(fresh)
    assert "derived_from" not in again.manifest  # type: ignore[operator]


def test_changed_or_missing_stems_are_no_use(on24: Runs) -> None:
    drums = on24().outputs["drums"]
    drums.write_bytes(drums.read_bytes()[:-1] + b"x")
    on24(without="vocals")
    assert on24.calls
    assert "drums.wav is gone, or was changed" in on24.details[0]


def test_a_song_that_changed_is_separated_anew(on24: Runs, sound: Sound) -> None:
    on24()
    write_song(on24.song, sound(2, 20000), 44100, "PCM_24")
    outcome = on24(without="vocals")
    assert on24.calls
    assert "another song" in on24.details[0]
    assert "selections" not in outcome.manifest  # type: ignore[operator]


def test_force_runs_the_network(on24: Runs) -> None:
    on24()
    on24(without="vocals", force=True)
    assert on24.calls
    assert not on24.details


def test_an_exact_sum_in_another_format(on24: Runs) -> None:
    fresh = on24("fresh", exact_sum=True, format="flac")
    on24(exact_sum=True)
    derived = on24(exact_sum=True, format="flac")
    assert not on24.calls
    assert contents(derived) == contents(fresh)


def test_every_selection_is_remembered(on24: Runs) -> None:
    stems = on24()
    on24(without="vocals")
    again = on24()
    assert again.status == "skipped"
    assert again.outputs == stems.outputs
    third = on24(mix=("rhythm=drums+bass",), template="{track}/3 {stem}.{ext}")
    assert not on24.calls
    assert len(third.manifest["selections"]) == 2  # type: ignore[index]
    assert on24(without="vocals").status == "skipped"
    listed = set(third.manifest["earlier"])  # type: ignore[index]
    assert listed == {"drums.wav", "bass.wav", "other.wav", "vocals.wav", "no vocals.wav"}


def test_what_was_written_over_is_forgotten(on24: Runs) -> None:
    on24()
    on24(stems="drums", bit_depth="16")
    assert not on24.calls
    manifest = read_manifest(on24.song.parent / "out" / "song" / MANIFEST_NAME) or {}
    assert list(manifest["selections"][0]["outputs"]) == ["bass", "other", "vocals"]
    on24(stems="drums", format="flac", bit_depth="16")
    assert on24.calls  # its 16 bits came from 24: roundings do not add up
    on24(two_stems="drums")
    assert on24.calls


@pytest.mark.parametrize(
    "broken",
    [
        {"outputs": 3},
        {"settings": {}},
        {"bit_depth": None},
        {"model": []},
        {"derived_from": {"drums": 1}},
        {"salvaged": ["its end"]},
    ],
    ids=str,
)
def test_a_manifest_that_somebody_edited_or_of_a_salvaged_song_is_no_use(on24: Runs, broken: dict[str, Any]) -> None:
    place = on24().job.manifest
    place.write_text(json.dumps(json.loads(place.read_text()) | broken))
    on24(without="vocals", template="{track}/new {stem}.{ext}")
    assert on24.calls
    assert on24.details


# --- melodies


def sing(song: Path, folder: Path, separated: Path | None, **asked: Any) -> tuple[Outcome, Contour, int]:
    """The outcome, the contour, and how often the separator's network was called."""
    calls: list[object] = []
    options = MelodyOptions(output=folder, device="cpu", separated=separated, **asked)
    reader = fake_reader(options, separator=vocals_separator(gain=0.3, on_call=calls.append))
    (outcome,) = run(plan_melodies(find_inputs([song], folder), options), Transcribing(reader, options))
    assert outcome.error is None, outcome.error
    return outcome, read_contour(outcome.outputs["f0"]), len(calls)


def sung(path: Path, rate: int, subtype: str) -> Path:
    """Two seconds that glide an octave up, in faint noise; silent in between."""
    phase = 2 * np.pi * np.cumsum(220 * 2 ** np.linspace(0, 1, 2 * rate)) / rate
    samples = 0.4 * np.sin(phase) * (np.arange(2 * rate) % rate < 0.8 * rate)
    noise = np.random.default_rng(0).normal(0, 1e-3, (2, 2 * rate))
    return write_song(path, samples + noise, rate, subtype)


@pytest.mark.parametrize(("rate", "subtype"), [(44100, "PCM_16"), (48000, "PCM_24"), (22050, "PCM_16")])
def test_a_melody_is_read_from_the_vocals_that_are_there(tmp_path: Path, rate: int, subtype: str) -> None:
    on = Runs(sung(tmp_path / "song.wav", rate, subtype))
    on()
    _, fresh, calls = sing(on.song, tmp_path / "fresh", tmp_path / "nothing")
    assert calls
    outcome, derived, calls = sing(on.song, tmp_path / "melody", tmp_path / "out")
    assert not calls
    assert outcome.manifest["vocals_from"].keys() == {"vocals"}  # type: ignore[index]
    assert outcome.manifest["vocals_from"]["vocals"]["path"] == "../out/song/vocals.wav"  # type: ignore[index]
    assert len(fresh) == len(derived)
    both = fresh.voiced & derived.voiced
    assert both.mean() > 0.7
    assert (fresh.voiced == derived.voiced).mean() > 0.99
    cents = np.abs(1200 * np.log2(derived.frequency[both] / fresh.frequency[both]))
    assert np.median(cents) < 0.1
    assert np.quantile(cents, 0.99) < 5


def test_a_melody_separates_where_the_vocals_will_not_do(tmp_path: Path) -> None:
    on = Runs(sung(tmp_path / "song.wav", 44100, "PCM_16"))
    on(format="ogg", stems="vocals")
    assert sing(on.song, tmp_path / "a", tmp_path / "out")[2]
    on(sha256="6" * 64)
    assert sing(on.song, tmp_path / "b", tmp_path / "out")[2]
    on(force=True)
    assert sing(on.song, tmp_path / "c", tmp_path / "out", force=True)[2]
    assert sing(on.song, tmp_path / "d", None)[2]
    outcome, _, calls = sing(on.song, tmp_path / "e", tmp_path / "out")
    assert not calls
    assert sing(on.song, tmp_path / "e", None)[0].status == "skipped"
    assert outcome.status == "done"
