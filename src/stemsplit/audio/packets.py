"""One pass over the packets of a file's sound track: what is decoded, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from stemsplit.audio.containers.frames import frame_bytes
from stemsplit.audio.containers.speakers import fit_channels, to_wav_order
from stemsplit.audio.findings import Findings
from stemsplit.audio.info import LOSSY, AudioInfo, form_problem
from stemsplit.audio.resample import Resampler
from stemsplit.errors import DecodeError

_SAMPLES: dict[str, tuple[float, float]] = {  # FFmpeg sample format → (offset, scale) that bring it to ±1
    "u8": (128.0, 2.0**7), "s16": (0.0, 2.0**15), "s32": (0.0, 2.0**31), "s64": (0.0, 2.0**63),
    "flt": (0.0, 1.0), "dbl": (0.0, 1.0),
}  # fmt: skip
_HOLE_SECONDS = 0.1  # timestamps of some programs are less exact than this
_LONGEST_HOLE = 600.0  # seconds; a longer one is a clock that was set, as between recordings
_MOST_HOLE_SECONDS = 300.0  # if the holes so far are longer, and longer than the sound, they are no damage
_MOST_HOLES = 0.1  # share of the length
_FRAMED = ("aac", "ac3", "eac3", "mp3", "mpegts", "mpeg")  # formats whose packets are frames with headers
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # stand between the parts of joined files
_PLANES = 8  # PyAV counts the planes of a frame until a null pointer, which does not stand behind the eighth
_MOST_ERRORS = 20  # of reading, one after the other


class Pass:
    """One pass over the packets of a sound track.

    A damaged packet of a lossy codec becomes silence, and so does a hole in the timestamps. More than a few damaged
    packets are refused, and so is a damaged packet of a lossless codec.

    Attributes:
        packets: how many the track had.
        end: the end of the last packet of the track, in its time base.
        latest: the end of the last packet of any track, in seconds.
    """

    def __init__(self, info: AudioInfo, container: Any, stream: Any, findings: Findings) -> None:
        self._info, self._container, self._stream, self._findings = info, container, stream, findings
        self._fitting = _Fitting(info, stream, findings)
        self.end, self.latest = 0, 0.0
        self._timed = False  # whether `end` is known
        self.packets = self._bytes = 0
        self._damaged = self._flagged = self._holes = 0
        self._hole_seconds = 0.0
        self._refused = False

    def frames(self) -> Iterator[np.ndarray]:
        """Yield the sound as float32 (channels, n), as it comes. Raises: DecodeError."""
        for packet in self._demuxed():
            self._note_time(packet)
            if packet.stream.index == self._stream.index:  # the last packets, which are empty, have no other index
                yield from self._heard(packet)
        yield from self._fitting.finish()
        self._tell()

    def _demuxed(self) -> Iterator[Any]:
        """Yield the packets of all tracks. After damage some containers find their way again."""
        import av

        errors = 0
        while errors < _MOST_ERRORS:
            try:
                for packet in self._container.demux():
                    errors = 0
                    yield packet
                return
            except av.error.FFmpegError:
                errors += 1
                if errors == 1:
                    self._damage("damaged or cut off", 1)

    def _heard(self, packet: Any) -> Iterator[np.ndarray]:
        if packet.size:
            self.packets += 1
            self._bytes += packet.size
            self._flagged += bool(packet.is_corrupt)
            yield from self._silence(self._hole(packet))
        yield from self._decoded(packet)
        if packet.pts is not None and packet.size:
            self.end, self._timed = max(self.end, packet.pts + (packet.duration or 0)), True

    def _note_time(self, packet: Any) -> None:
        if packet.pts is not None and packet.time_base:
            self.latest = max(self.latest, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def _hole(self, packet: Any) -> float:
        """Return the seconds that are missing between the packet before and this one."""
        if packet.pts is None or not self._timed:
            return 0.0
        seconds = float((packet.pts - self.end) * self._stream.time_base)
        if not packet.duration:  # then `end` is the start of the packet before
            seconds -= 1.0
        if seconds < _HOLE_SECONDS:
            return 0.0
        if seconds > _LONGEST_HOLE:
            self._findings.note(f"its clock jumps by {seconds:.0f} s on the way")
            return 0.0
        self._holes += 1
        self._hole_seconds += seconds
        if self._hole_seconds < max(_MOST_HOLE_SECONDS, float(self.end * self._stream.time_base) / 2):
            return seconds
        if not self._refused:  # silence of days would come of a few packets
            self._refused = True
            self._findings.refuse(f"damaged: {self._hole_seconds:.0f} s of sound are missing on the way")
        return 0.0

    def _decoded(self, packet: Any) -> Iterator[np.ndarray]:
        import av

        if packet.size and packet.pts is None and self._stream.codec_context.name == "flac":
            self._damage("damaged")  # the parser gives no time to frames that are not whole; they leave a hole
            return
        lost = self._lost_frames(packet)
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            yield from self._lost(packet, max(1, lost), error)
            return
        if lost:
            yield from self._lost(packet, lost)
        for frame in frames:
            yield from self._fitting.push(frame)

    def _lost_frames(self, packet: Any) -> int:
        """Return how many frames may have been in the bytes of a packet that belong to none, or not to a whole one."""
        data = bytes(packet) if self._info.container in _FRAMED else b""
        size = frame_bytes(self._stream.codec_context.name, data[:7]) if data else None
        if size is None or packet.size == size:
            return 0
        if packet.size < size:
            self._findings.note("a frame of it is not whole, as at the end of a file that was cut off")
            return 0
        strange = data[size:]
        followed = size > 0 and strange.startswith(data[:2])  # by another frame
        if followed or strange.startswith(_TAGS) or not any(strange):
            return 0
        usual = max(1, self._bytes // self.packets)
        return max(1, round(len(strange) / usual))

    def _lost(self, packet: Any, count: int, error: Exception | None = None) -> Iterator[np.ndarray]:
        """Note that so many packets are lost, and yield silence for them."""
        self._damage("damaged, or not audio", count, error)
        yield from self._silence(min(float((packet.duration or 0) * self._stream.time_base), 1.0) * count)

    def _damage(self, text: str, count: int = 1, error: Exception | None = None) -> None:
        self._damaged += count
        lossless = self._info.bit_depth != LOSSY
        if not self._refused and (lossless or self._damaged > 5 + self.packets // 50):
            self._refused = True
            self._findings.refuse(text, error)

    def _silence(self, seconds: float) -> Iterator[np.ndarray]:
        left = round(seconds * self._info.sample_rate)
        while left > 0:
            some = min(left, 65536)
            yield np.zeros((self._info.channels, some), dtype=np.float32)
            left -= some

    def _tell(self) -> None:
        """Say what was found on the way."""
        if self._damaged:
            self._findings.note(f"{self._damaged} damaged packets were read as silence")
        if self._flagged:
            self._findings.note(f"{self._flagged} packets are marked as damaged; they may be heard")
        if self._holes:
            text = f"{self._hole_seconds:.2f} s are missing on the way, in {self._holes} places"
            length = float(self.end * self._stream.time_base)
            if self._hole_seconds > _MOST_HOLES * length and not self._refused:
                self._findings.refuse(f"damaged: {text}")
            self._findings.note(f"{text}: silence stands there")


class _Fitting:
    """Brings frames to the form that the file began with: joined files may change their rate and channels."""

    def __init__(self, info: AudioInfo, stream: Any, findings: Findings) -> None:
        self._info, self._layout, self._findings = info, stream.codec_context.layout, findings
        self._form = info.sample_rate, info.channels
        self._resampler: Resampler | None = None
        self._told = False

    def push(self, frame: Any) -> Iterator[np.ndarray]:
        """Yield a frame as float32 (channels, n)."""
        form = frame.sample_rate, len(frame.layout.channels)
        if form != self._form:
            yield from self.finish()
            self._begin(form)
        try:
            samples = self._mixed(frame)
        except ValueError as error:
            raise DecodeError(f"{self._info.path}: {error}") from error
        if self._resampler is None:
            yield samples
        else:
            yield from self._resampler.pieces(samples)

    def finish(self) -> Iterator[np.ndarray]:
        """Yield what a conversion still holds."""
        if self._resampler is not None:
            yield self._resampler.finish()
            self._resampler = None

    def _begin(self, form: tuple[int, int]) -> None:
        wanted = self._info.sample_rate, self._info.channels
        if problem := form_problem(*form):
            raise DecodeError(f"{self._info.path}: changes on the way to {problem}")
        if not self._told:
            self._told = True
            before, now = (f"{rate} Hz × {channels}" for rate, channels in (wanted, form))
            self._findings.note(f"changes from {before} to {now} on the way: all of it is read as {before}")
        self._form = form
        if form[0] != wanted[0]:
            self._resampler = Resampler(form[0], *wanted)

    def _mixed(self, frame: Any) -> np.ndarray:
        """Return the samples of a frame with the channels of the file."""
        import av

        have, want = len(frame.layout.channels), self._info.channels
        if have == want or 1 in (have, want):
            return fit_channels(planar(frame), want)
        frame.pts = None
        mixed = av.AudioResampler("fltp", self._layout, frame.sample_rate).resample(frame)
        return np.concatenate([planar(part) for part in mixed], axis=1)


def planar(frame: Any) -> np.ndarray:
    """Return the samples of one FFmpeg frame as float32 (channels, n), in our order of channels.

    Raises: ValueError for a type of samples that is not known.
    """
    kind = frame.format.name.rstrip("p")
    if kind not in _SAMPLES:
        raise ValueError(f"{kind} samples cannot be read")
    speakers = [channel.name for channel in frame.layout.channels]
    if frame.format.is_planar and len(speakers) >= _PLANES:
        frame = _interleaved(frame)
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, len(speakers)).T
    if len(speakers) > 2 and (order := to_wav_order(speakers)) is not None:
        data = data[order]
    offset, scale = _SAMPLES[kind]
    if data.dtype != np.float32:
        data = (data.astype(np.float64) - offset) / scale
    with np.errstate(over="ignore"):  # a double too large for float32 becomes infinite; `read.blocks` reports that
        return np.ascontiguousarray(data, dtype=np.float32)


def _interleaved(frame: Any) -> Any:
    """Return a planar frame with the samples of all channels in one plane."""
    import av

    frame.pts = None
    kind = frame.format.name.removesuffix("p")
    (whole,) = av.AudioResampler(kind, frame.layout, frame.sample_rate).resample(frame)
    return whole
