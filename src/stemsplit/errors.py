"""Every error that stemsplit raises on purpose, as one tree.

    StemsplitError                  a problem that the user can understand and act upon; the CLI prints it as one line
    ├── UsageError          exit 2  found while planning, before anything was written
    │   ├── UnknownStemError        a stem that the model does not have
    │   ├── UnknownModelError       a model name or reference that leads nowhere
    │   ├── TargetCollisionError    two inputs would write the same files
    │   └── DeviceError             a device or precision that is not available here
    ├── AudioError          exit 1  a file that cannot be read, or that holds nothing to separate
    │   ├── DecodeError             corrupt, or of an unknown format
    │   │   ├── MissingFileError    there is no such file; a FileNotFoundError too
    │   │   └── DamagedError        a part of it is missing; `salvage` reads the rest
    │   └── EmptyAudioError         no samples
    ├── OutputError         exit 1  a target that cannot be written (folder, disk, format limits)
    ├── ModelError          exit 1  a model that cannot be found, read or trusted
    │   ├── CheckpointError         weights that do not fit their config, or that hold more than tensors
    │   ├── HashError               a file whose hash is not the expected one
    │   └── DownloadError           no network, or a server that refused
    ├── OutOfMemoryError    exit 1  not enough memory even for the smallest batch and chunk
    ├── WorkerError         exit 1  a process or machine that works for this one is lost again and again
    └── PlaceError          exit 1  an address that cannot be reached, read or written

A message names the thing, the reason and, where there is one, the next command to try.
"""

from __future__ import annotations


class StemsplitError(Exception):
    """Base of every error that is shown without a traceback."""

    exit_code = 1


class UsageError(StemsplitError):
    """A request that cannot be carried out; nothing was started."""

    exit_code = 2


class UnknownStemError(UsageError):
    """A stem that the model does not separate, `stem`."""

    def __init__(self, message: str, stem: str = "") -> None:
        super().__init__(message)
        self.stem = stem


class UnknownModelError(UsageError):
    """A model name or reference that leads to no model."""


class TargetCollisionError(UsageError):
    """Two inputs that would write to the same place."""


class DeviceError(UsageError):
    """A device or precision that is not available here."""


class AudioError(StemsplitError):
    """A file that cannot be read, or that holds nothing to separate."""


class DecodeError(AudioError):
    """Audio that no decoder understands."""


class MissingFileError(DecodeError, FileNotFoundError):
    """A file that is not there."""


class DamagedError(DecodeError):
    """Audio of which a part is missing. What is there can be read with `salvage`."""


class EmptyAudioError(AudioError):
    """A file without samples."""


class OutputError(StemsplitError):
    """A target that cannot be written."""


class NotDerivableError(StemsplitError):
    """Stems of an earlier run are no use for other outputs; the message is empty if there are none."""


class ModelError(StemsplitError):
    """A model that cannot be found, read or trusted."""


class CheckpointError(ModelError):
    """Weights that do not fit their config, or that hold more than tensors."""


class HashError(ModelError):
    """A file whose hash is not the expected one."""


class DownloadError(ModelError):
    """A model that could not be fetched."""


class OutOfMemoryError(StemsplitError):
    """Not enough memory, even after smaller batches, smaller chunks and the CPU were tried."""


class WorkerError(StemsplitError):
    """A process or machine that works for this one is lost again and again."""


class PlaceError(StemsplitError):
    """An address, as of a file in an object store, that cannot be reached, read or written."""


def reason(error: OSError) -> str:
    """Return the system's own words for an error, without a capital, such as "no space left on device"."""
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def in_words(error: BaseException, *, debug: bool = False) -> str:
    """Return what a person is told about an error, without its name where it is no fault of the program.

    Args:
        error: what was raised.
        debug: whether its traceback is shown already.
    """
    if isinstance(error, StemsplitError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return f"{' and '.join(names)}: {reason(error)}" if names else reason(error)
    if isinstance(error, MemoryError):
        return "not enough memory"
    text = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {text}{'' if debug else '; run it with --debug for the whole story'}"
