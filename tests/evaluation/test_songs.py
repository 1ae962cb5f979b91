"""The SDR family against naive float64 sums, on arrays and on files."""

from __future__ import annotations

import importlib.util
import math
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from stemsplit.cli import main
from stemsplit.errors import AudioError, UsageError
from stemsplit.evaluation import scores
from stemsplit.evaluation.scores import Part, SongScore, StemScore, mean_scores, median_scores, score_stems
from stemsplit.evaluation.sdr import measure
from stemsplit.evaluation.songs import evaluate_song, pair_songs

RATE = 8000


class Evaluation(NamedTuple):
    songs: tuple[SongScore, ...]
    missing: tuple[str, ...]


def evaluate_folders(reference: Path, estimate: Path) -> Evaluation:
    pairs, missing = pair_songs(reference, estimate)
    return Evaluation(tuple(evaluate_song(pair) for pair in pairs), missing)


def noise(seed: int, samples: int = 4000, channels: int = 2, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).normal(size=(channels, samples))).astype(np.float32)


def sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    return measure(reference, estimate).sdr_db


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    return measure(reference, estimate).si_sdr_db


def naive_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    r, e = reference.astype(np.float64), estimate.astype(np.float64)
    return float(10 * np.log10(np.sum(r**2) / np.sum((r - e) ** 2)))


def naive_si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    r, e = reference.astype(np.float64), estimate.astype(np.float64)
    target = r * np.sum(r * e) / np.sum(r * r)
    return float(10 * np.log10(np.sum(target**2) / np.sum((target - e) ** 2)))


@given(
    seed=st.integers(0, 10_000),
    samples=st.integers(1, 300),
    channels=st.integers(1, 3),
    error=st.floats(1e-3, 30),
    gain=st.floats(0.01, 5),
)
@settings(deadline=None, max_examples=60)
def test_both_agree_with_the_definitions(seed: int, samples: int, channels: int, error: float, gain: float) -> None:
    reference = noise(seed, samples + 2, channels)
    estimate = gain * reference + noise(seed + 1, samples + 2, channels, 0.1 * error)
    assert sdr(reference, estimate) == pytest.approx(naive_sdr(reference, estimate), abs=1e-6)
    assert si_sdr(reference, estimate) == pytest.approx(naive_si_sdr(reference, estimate), abs=1e-6)


def test_known_values() -> None:
    reference = noise(0)
    assert sdr(reference, np.zeros_like(reference)) == 0
    assert sdr(reference, 0.9 * reference.astype(np.float64)) == pytest.approx(20)
    assert sdr(reference, -reference) == pytest.approx(-6.0206, abs=1e-3)
    orthogonal = np.stack([reference[0], np.zeros(4000, np.float32)])
    swapped = orthogonal[::-1]
    assert si_sdr(orthogonal, orthogonal + swapped) == pytest.approx(0)


@pytest.mark.parametrize("gain", [1e-4, 0.3, -0.3, 7.0, 1e4])
def test_si_sdr_is_scale_invariant_and_sdr_is_not(gain: float) -> None:
    reference, estimate = noise(0), noise(0) + noise(1, level=0.02)
    assert si_sdr(reference, gain * estimate) == pytest.approx(si_sdr(reference, estimate), abs=1e-4)
    assert si_sdr(gain * reference, estimate) == pytest.approx(si_sdr(reference, estimate), abs=1e-4)
    assert sdr(reference, gain * estimate) < sdr(reference, estimate) - 1


def test_si_sdr_shares_one_scale_among_channels_and_keeps_the_mean() -> None:
    reference = noise(0)
    assert si_sdr(reference, reference * np.array([[1.0], [0.5]])) < 15
    assert si_sdr(reference, reference + 0.1) < 5


def test_the_limits_are_infinite_not_errors() -> None:
    reference, silence = noise(0), np.zeros((2, 4000), np.float32)
    assert sdr(reference, reference) == math.inf
    assert si_sdr(reference, reference) == math.inf
    assert si_sdr(reference, 0.25 * reference) == math.inf
    assert si_sdr(reference, 3.7 * reference.astype(np.float64)) == math.inf
    assert si_sdr(reference, silence) == -math.inf
    assert sdr(silence, reference) == -math.inf
    assert math.isnan(sdr(silence, silence))
    assert math.isnan(si_sdr(silence, reference))


def test_a_nearly_perfect_estimate_is_still_measured() -> None:
    reference = noise(0, samples=100_000)
    estimate = reference + noise(1, samples=100_000, level=1e-6)  # 100 dB below
    assert sdr(reference, estimate) == pytest.approx(100, abs=0.1)
    assert si_sdr(reference, estimate) == pytest.approx(100, abs=0.1)


# --- seconds


def naive_frames(reference: np.ndarray, estimate: np.ndarray, rate: int) -> list[float]:
    whole = max(reference.shape[1] // rate, 1)
    return [naive_sdr(*(x[:, k * rate : (k + 1) * rate] for x in (reference, estimate))) for k in range(whole)]


def test_csdr_is_the_median_over_whole_seconds() -> None:
    reference = noise(0, samples=4500) * np.repeat([1, 3, 0.2, 1, 9], 900)
    estimate = reference + noise(1, samples=4500, level=0.02)
    (scored,) = score_stems({"a": reference}, {"a": estimate}, sample_rate=1000)
    frames = naive_frames(reference, estimate, 1000)
    assert len(frames) == 4
    assert scored.csdr_db == pytest.approx(np.median(frames), abs=1e-4)
    (short,) = score_stems({"a": reference[:, :300]}, {"a": estimate[:, :300]}, sample_rate=1000)
    assert short.csdr_db == pytest.approx(short.sdr_db)


def songs_with_pauses() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]:
    """Six seconds and a half in which the bass pauses, the estimated vocals do, and a second is perfect."""
    rate = 2000
    true = {stem: noise(seed, samples=13000) for seed, stem in enumerate(("bass", "drums", "vocals"))}
    true["bass"][:, 2000:4000] = 0
    mine = {stem: sound + noise(9, 13000, level=0.03) * (1 + seed) for seed, (stem, sound) in enumerate(true.items())}
    mine["vocals"][:, 6000:8000] = 0
    mine["drums"][:, :2000] = true["drums"][:, :2000]
    return true, mine, rate


@pytest.mark.parametrize("taps", [32, pytest.param(512, marks=pytest.mark.slow)])  # 512 is museval's default
def test_csdr_is_that_of_museval(taps: int) -> None:
    if importlib.util.find_spec("museval") is None:
        pytest.skip("museval is not installed")
    true, mine, rate = songs_with_pauses()
    stacks = [np.stack([sound.T for sound in kind.values()]).astype(float) for kind in (true, mine)]
    found, *_ = scores.museval_metrics().bss_eval(*stacks, window=rate, hop=rate, filters_len=taps)
    assert found.shape == (3, 6)
    assert np.isnan(found[:, [1, 3]]).all()
    assert found[1, 0] > 200
    for frame_sdr in (None, scores.museval_frame_sdr()):
        scored = scores.score_parts(list(parts_of(true, mine, rate)), frame_sdr)
        for row, stem in zip(found, scored, strict=True):
            assert stem.csdr_db == pytest.approx(np.nanmedian(row), abs=1e-6)
    assert scores.score_parts(list(parts_of(true, mine, rate))) == score_stems(true, mine, sample_rate=rate)


def parts_of(true: dict[str, np.ndarray], mine: dict[str, np.ndarray], rate: int) -> Iterator[Part]:
    mixture = np.sum(list(true.values()), axis=0)
    for start in range(0, mixture.shape[1], rate):
        cut = slice(start, start + rate)
        yield Part({k: v[:, cut] for k, v in true.items()}, {k: v[:, cut] for k, v in mine.items()}, mixture[:, cut])


def test_a_stem_that_is_silent_throughout_spoils_no_other_ones_frames() -> None:
    true, mine, rate = songs_with_pauses()
    expected = {stem.stem: stem.csdr_db for stem in score_stems(true, mine, sample_rate=rate)}
    true["choir"] = np.zeros_like(true["bass"])
    mine["choir"] = noise(5, 13000)
    found = {stem.stem: stem for stem in score_stems(true, mine, sample_rate=rate)}
    assert found["choir"].csdr_db is None
    assert {stem: found[stem].csdr_db for stem in expected} == expected


def test_a_missing_museval_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"stemsplit-mamba\[eval\]"):
        scores.museval_frame_sdr()


def test_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        sdr(noise(0), noise(0)[:, :-1])
    with pytest.raises(ValueError, match="differ in shape"):
        sdr(noise(0, channels=1), noise(0))


def test_improvement_is_measured_against_the_mixture() -> None:
    vocals, other = noise(0), noise(1)
    (scored,) = score_stems({"vocals": vocals, "other": other}, {"vocals": vocals + 0.1 * other})
    assert scored.stem == "vocals"
    assert scored.si_sdr_db == pytest.approx(20, abs=0.2)
    assert scored.si_sdr_improvement_db == pytest.approx(20, abs=0.2)
    assert scored.leakage_db is None
    (unseparated,) = score_stems({"vocals": vocals}, {"vocals": vocals + other}, vocals + other)
    assert unseparated.si_sdr_improvement_db == 0


def test_a_silent_reference_gives_leakage_only() -> None:
    other = noise(1)
    dither = np.full_like(other, 2**-15)  # a 16-bit stem that holds nothing is not always all zeros
    for silence in (np.zeros_like(other), dither):
        scores = score_stems({"vocals": silence, "other": other}, {"vocals": 0.01 * other, "other": 0.99 * other})
        assert scores[0].leakage_db == pytest.approx(-40, abs=0.1)
        assert (scores[0].sdr_db, scores[0].si_sdr_db, scores[0].si_sdr_improvement_db) == (None,) * 3
        assert scores[1].sdr_db == pytest.approx(40, abs=0.1)
    (kept_silent,) = score_stems({"vocals": np.zeros_like(other)}, {"vocals": np.zeros_like(other)}, other)
    assert kept_silent.leakage_db == -math.inf


def test_a_quiet_reference_is_not_silent() -> None:
    quiet = noise(0, level=3e-4)  # −70 dBFS
    (scored,) = score_stems({"vocals": quiet}, {"vocals": 0.9 * quiet})
    assert scored.sdr_db == pytest.approx(20, abs=0.01)


def test_medians_skip_what_was_not_measured() -> None:
    def song(value: float | None, leakage: float | None) -> SongScore:
        return SongScore("s", (StemScore("vocals", value, value, value, leakage),))

    (median,) = median_scores([song(1, None), song(5, None), song(None, -30), song(2, None)])
    assert median == StemScore("vocals", 2, 2, 2, -30)
    assert median_scores([song(1, None), song(4, None)])[0].sdr_db == 2.5
    assert median_scores([song(math.inf, None), song(math.inf, None)])[0].sdr_db == math.inf
    assert median_scores([song(None, -30)])[0].sdr_db is None
    assert median_scores([]) == ()
    (mean,) = mean_scores([song(1, None), song(5, None), song(None, -30), song(3, None)])
    assert mean == StemScore("vocals", 3, 3, 3, -30)
    assert mean_scores([song(None, -30)])[0].sdr_db is None


# --- files


def write(folder: Path, stems: dict[str, np.ndarray], suffix: str = "wav", rate: int = RATE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, sound in stems.items():
        soundfile.write(folder / f"{name}.{suffix}", sound.T, rate, subtype="FLOAT" if suffix == "wav" else None)
    return folder


@pytest.fixture
def truth() -> dict[str, np.ndarray]:
    return {name: noise(seed) for seed, name in enumerate(("bass", "vocals"))}


@pytest.mark.parametrize("rate", [1000, 4000, 8000, 65536])  # so many samples are compared at once
def test_files_score_like_arrays_whatever_the_rate(tmp_path: Path, truth: dict[str, np.ndarray], rate: int) -> None:
    estimates = {name: sound + noise(9, level=0.03) for name, sound in truth.items()}
    reference = write(tmp_path / "réf 🎤", truth, rate=rate)
    estimate = write(tmp_path / "est", estimates, rate=rate)
    expected = score_stems(truth, estimates, sample_rate=rate)
    (song,) = evaluate_folders(reference, estimate).songs
    assert song.song == "réf 🎤"
    for found, wanted, whole in zip(song.stems, expected, score_stems(truth, estimates), strict=True):
        assert found.stem == wanted.stem == whole.stem
        assert found.sdr_db == pytest.approx(whole.sdr_db, abs=1e-6)
        assert found.si_sdr_improvement_db == pytest.approx(whole.si_sdr_improvement_db, abs=1e-6)
        assert found.csdr_db == pytest.approx(wanted.csdr_db, abs=1e-6)
        assert whole.csdr_db is None


def test_a_folder_of_songs_across_formats(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    for song in ("one", "two"):
        write(tmp_path / "ref" / song, truth)
        write(tmp_path / "est" / song, {"vocals": 0.9 * truth["vocals"], "drums": noise(5)}, "flac")
    found = evaluate_folders(tmp_path / "ref", tmp_path / "est")
    assert [song.song for song in found.songs] == ["one", "two"]
    assert [stem.stem for stem in found.songs[0].stems] == ["vocals"]
    assert found.songs[1].stems[0].sdr_db == pytest.approx(20, abs=0.1)
    assert found.missing == ("one/bass", "two/bass")


def test_songs_in_the_place_of_stems_are_refused(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    write(tmp_path / "songs", {"song": noise(1)})
    write(tmp_path / "est", {"song": noise(2)})
    with pytest.raises(UsageError, match=r"song\.wav looks like a song"):
        pair_songs(tmp_path / "songs", tmp_path / "est")
    write(tmp_path / "songs", {"second": noise(1)})
    write(tmp_path / "est" / "second", truth)
    with pytest.raises(UsageError, match=r"second\.wav looks like a song.*songs/second/vocals\.wav"):
        pair_songs(tmp_path / "songs", tmp_path / "est")


def test_stems_of_unusual_names_are_scored_with_a_warning(tmp_path: Path) -> None:
    for folder in ("ref", "est"):
        write(tmp_path / folder, {"violin": noise(1), "cello": noise(2)})
    warned: list[str] = []
    pairs, _ = pair_songs(tmp_path / "ref", tmp_path / "est", on_warning=warned.append)
    assert list(pairs[0].references) == ["cello", "violin"]
    assert warned == ["cello, violin are taken for stems of one song: songs have a folder each"]
    write(tmp_path / "ref", {"Drums": noise(3)})
    pair_songs(tmp_path / "ref", tmp_path / "est", on_warning=warned.append)
    assert len(warned) == 1


def test_a_song_without_estimates_is_reported_missing(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    for song in ("one", "two"):
        write(tmp_path / "ref" / song, truth)
    write(tmp_path / "est" / "two", truth)
    found = evaluate_folders(tmp_path / "ref", tmp_path / "est")
    assert [song.song for song in found.songs] == ["two"]
    assert found.missing == ("one/bass", "one/vocals")


def test_the_mixture_file_is_the_mixture_and_no_stem(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    """As in MUSDB, where estimates of mixture.wav lie in a folder named mixture."""
    mixture = truth["bass"] + truth["vocals"] + noise(7, level=0.3)
    write(tmp_path / "ref" / "song", {**truth, "mixture": mixture})
    estimates = {name: 0.9 * sound for name, sound in truth.items()}
    write(tmp_path / "est" / "song" / "mixture", estimates)
    (song,) = evaluate_folders(tmp_path / "ref", tmp_path / "est").songs
    assert [stem.stem for stem in song.stems] == ["bass", "vocals"]
    noisy = truth["vocals"] + noise(9, level=0.03)
    write(tmp_path / "est" / "song" / "mixture", {"vocals": noisy})
    (song,) = evaluate_folders(tmp_path / "ref", tmp_path / "est").songs
    wanted = si_sdr(truth["vocals"], noisy) - si_sdr(truth["vocals"], mixture)
    assert song.stems[1].si_sdr_improvement_db == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sound: sound[:, :-1], "3999 samples"),
        (lambda sound: np.pad(sound, ((0, 0), (0, 70000))), "4000 samples"),
        (lambda sound: sound[:1], "channels 1"),
    ],
)
def test_stems_that_do_not_line_up_are_refused(
    tmp_path: Path, truth: dict[str, np.ndarray], change, message: str
) -> None:
    reference = write(tmp_path / "ref", truth)
    estimate = write(tmp_path / "est", {"vocals": change(truth["vocals"])})
    with pytest.raises(AudioError, match=message):
        evaluate_folders(reference, estimate)


def test_another_rate_is_refused(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    reference = write(tmp_path / "ref", truth)
    estimate = write(tmp_path / "est", truth, rate=16000)
    with pytest.raises(AudioError, match="sample rate 16000"):
        evaluate_folders(reference, estimate)


def test_folders_with_nothing_to_compare_are_refused(tmp_path: Path, truth: dict[str, np.ndarray]) -> None:
    reference = write(tmp_path / "ref", truth)
    with pytest.raises(UsageError, match="no such folder"):
        evaluate_folders(reference, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    for a, b in ((reference, "empty"), ("empty", reference), ("empty", "empty")):
        with pytest.raises(UsageError, match="no stem in common"):
            evaluate_folders(tmp_path / a, tmp_path / b)


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    def peak(samples: int) -> int:
        folder = write(tmp_path / str(samples), {"vocals": noise(0, samples), "bass": noise(1, samples)})
        tracemalloc.start()
        evaluate_folders(folder, folder)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1000)  # imports and caches
    assert peak(1_600_000) < 1.3 * peak(400_000)


def test_the_command_fails_when_an_estimate_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = 0.1 * np.random.default_rng(0).normal(size=(500, 2))
    for folder, stems in (("truth", ("bass", "vocals")), ("estimates", ("bass",))):
        (tmp_path / folder).mkdir()
        for stem in stems:
            soundfile.write(tmp_path / folder / f"{stem}.wav", noise, 44100)
    assert main(["evaluate", str(tmp_path / "truth"), str(tmp_path / "estimates")]) == 1
    told = capsys.readouterr()
    assert "bass" in told.out
    assert "vocals has no estimate" in told.err
