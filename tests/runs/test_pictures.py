"""Videos: --format mp4 keeps the picture beside every stem, and says where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import fake_separator, write_song
from videos import pictures, write_video

from stemsplit.errors import OutputError, UsageError
from stemsplit.files.inputs import find_inputs
from stemsplit.options import WITHOUT_TEMPLATE, SeparateOptions, TimeRange
from stemsplit.runs.separate import Separating, check_options, plan

Sound = Callable[..., np.ndarray]


def split(source: Path, **asked: Any) -> tuple[list[Path], list[str]]:
    options = SeparateOptions(output=source.parent / "out", format="mp4", **asked)
    check_options(options)
    separator = fake_separator(options)
    (job,) = plan(find_inputs([source], options.output), separator, options)
    warnings: list[str] = []
    Separating(separator, options).carry_out(job, on_warning=warnings.append)
    return list(job.targets.values()), warnings


def test_the_picture_is_in_every_stem(tmp_path: Path, sound: Sound) -> None:
    video = write_video(tmp_path / "clip.mp4", sound(2, 44100))
    (backing,), warnings = split(video, without="vocals", template=WITHOUT_TEMPLATE)
    assert (backing.name, warnings) == ("clip (no vocals).mp4", [])
    stems, _ = split(video)
    for path in (backing, *stems):
        assert pictures(path)[0] == pictures(video)[0]


def test_a_song_without_a_picture_is_sound_alone(tmp_path: Path, sound: Sound) -> None:
    paths, warnings = split(write_song(tmp_path / "song.wav", sound(2, 10000)))
    assert [path.suffix for path in paths] == [".mp4"] * 4
    assert warnings == ["there is no picture in it: an mp4 of sound alone"]


def test_what_an_mp4_cannot_hold_is_refused_before_any_work(tmp_path: Path, sound: Sound) -> None:
    video = write_video(tmp_path / "clip.webm", sound(2, 48000, 48000), 48000, codec="libvpx")
    with pytest.raises(OutputError, match="an mp4 cannot hold its picture, which is vp8: use --format m4a"):
        split(video)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="keeps the whole picture: leave out --time-range"):
        check_options(SeparateOptions(format="mp4", time_range=TimeRange(1.0)))
