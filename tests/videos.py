"""Videos of a second or so, for tests."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np


def write_video(
    path: Path, samples: np.ndarray, rate: int = 44100, *, frames: int = 30, codec: str = "mpeg4", late: float = 0.0
) -> Path:
    """Grey pictures, 25 in a second, with the sound (channels, n), which begins `late` seconds after them."""
    with av.open(str(path), "w") as file:
        picture = file.add_stream(codec, rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        kind = "libopus" if path.suffix == ".webm" else "aac"
        sound = file.add_stream(kind, rate=rate, layout="stereo" if len(samples) == 2 else "mono")
        for number in range(frames):
            image = np.full((48, 64, 3), 8 * number % 256, np.uint8)
            file.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(picture.encode(None))
        layout = "stereo" if len(samples) == 2 else "mono"
        heard = np.ascontiguousarray(samples.astype(np.float32))
        frame = av.AudioFrame.from_ndarray(heard, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, round(late * rate)
        for one in av.AudioResampler(sound.codec_context.format.name, layout, rate).resample(frame):
            file.mux(sound.encode(one))
        file.mux(sound.encode(None))
    return path


def pictures(path: Path) -> tuple[list[bytes], list[float]]:
    """The packets of the picture as they are coded, and their times in seconds."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        found = [packet for packet in file.demux(stream) if packet.dts is not None]
        return [bytes(packet) for packet in found], [float(packet.pts * stream.time_base) for packet in found]
