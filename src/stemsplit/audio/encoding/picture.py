"""The moving picture of a video, copied beside new sound as it is.

Where the sound of the video begins later than its picture, that of the copy does, too. Then FFmpeg cannot say in the
file that AAC begins with 1024 samples of silence: they stand before the sound, which is in its place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

HELD = ("h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "mpeg1video")
"""Kinds of pictures that players expect in an MP4."""


def picture_kind(path: Path) -> str | None:
    """Return how the moving picture of a file is coded; None if it has none, or cannot be opened."""
    import av

    try:
        with av.open(str(path)) as container:
            stream = _moving(container)
            return None if stream is None else str(stream.codec_context.name)
    except (av.error.FFmpegError, OSError):
        return None


def _moving(container: Any) -> Any:
    """Return the first picture that moves: covers are streams, too."""
    streams = (s for s in container.streams.video if not s.disposition & type(s.disposition).attached_pic)
    return next(streams, None)


class Picture:
    """Copies the picture of one file into another, in step with its sound.

    Args:
        path: the file with the picture.
        container: the other one, open to be written.
        track: which of the file's sound tracks the new sound takes the place of, from 1.

    Attributes:
        late: seconds from the start of the file to that of this track.
    """

    def __init__(self, path: Path, container: Any, track: int | None = None) -> None:
        import av

        self._input: Any = av.open(str(path))
        source, sounds = _moving(self._input), self._input.streams.audio
        sound = sounds[(track or 1) - 1] if sounds else None
        start = 0.0 if sound is None or sound.time_base is None else float((sound.start_time or 0) * sound.time_base)
        self.late = max(0.0, start)
        self._container, self._stream = container, container.add_stream_from_template(source)
        self._packets = (packet for packet in self._input.demux(source) if packet.dts is not None)
        self._next = next(self._packets, None)

    def copy(self, seconds: float) -> None:
        """Copy what is due before a time."""
        while self._next is not None and float(self._next.dts * self._next.time_base) < seconds:
            packet, self._next = self._next, None
            packet.stream = self._stream
            self._container.mux(packet)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the file with the picture."""
        self._input.close()
