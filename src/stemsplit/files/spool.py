"""Temporary storage of a stem on disk, until the gain of the whole track is known and the stem can be encoded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from stemsplit.errors import OutputError, reason


class Spool:
    """The float32 samples of one stem, in a temporary file that the system removes even after a crash.

    It is a context manager.

    Args:
        channels: how many.
        folder: where the file is; by default the system's temporary folder.

    Attributes:
        frames: samples per channel so far.
        peak: the largest absolute sample so far; NaN if any sample is NaN.
    """

    def __init__(self, channels: int, folder: Path | None = None) -> None:
        self.channels, self.frames = channels, 0
        self.peak = 0.0
        self._folder = folder
        try:
            self._file = tempfile.TemporaryFile(dir=folder, prefix=".stemsplit-")  # noqa: SIM115
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def write(self, block: np.ndarray) -> None:
        """Append float32 (channels, n). Raises: OutputError, for example if the disk is full."""
        if not block.shape[1]:
            return
        frames = np.ascontiguousarray(block.T, dtype=np.float32)
        try:
            self._file.seek(self.frames * self.channels * 4)
            self._file.write(frames.data)
        except OSError as error:
            raise self._failed(error) from error
        self.frames += len(frames)
        self.peak = float(np.maximum(self.peak, np.abs(frames).max()))

    def blocks(self, block_samples: int = 65536, gain: float = 1.0) -> Iterator[np.ndarray]:
        """Yield everything from the start as float32 (channels, n), multiplied by `gain`. May be called repeatedly."""
        for start in range(0, self.frames, block_samples):
            count = min(block_samples, self.frames - start) * self.channels
            try:
                self._file.seek(start * self.channels * 4)
                data = self._file.read(count * 4)
            except OSError as error:
                raise self._failed(error) from error
            frames = np.frombuffer(data, dtype=np.float32).reshape(-1, self.channels)
            yield np.ascontiguousarray(frames.T) * np.float32(gain)

    def _failed(self, error: OSError) -> OutputError:
        folder = self._folder or tempfile.gettempdir()
        return OutputError(f"cannot keep stems in {folder}: {reason(error)}")
