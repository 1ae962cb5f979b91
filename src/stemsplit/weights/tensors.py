"""Files of tensors, safetensors and pickles: what they hold is compared before memory is taken for it."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch
from torch import Tensor

from stemsplit.errors import CheckpointError
from stemsplit.networks.rules import shown

WRAPPERS = ("state", "state_dict", "model_state_dict")
"""Keys under which trainers put the state dict."""
_FLOATS = ("F16", "BF16", "F32", "F64")
_WHOLES = ("I8", "I16", "I32", "I64", "U8")
_MOST_SHARED = 4
"""How often a tensor of a pickle may occur, on average: weights that two layers share are stored once."""


_MADE = ("klass", "args", "kwargs")
"""What Demucs writes beside the weights: how their network was made."""
_KLASSES = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs")
_STAND_INS: dict[str, type] = {
    name: type(name.rpartition(".")[2], (), {"__module__": name.rpartition(".")[0], "__slots__": ()})
    for name in _KLASSES
}
"""What the names of Demucs' classes in a pickle lead to: classes that do nothing."""


class Package(NamedTuple):
    """A published file: its tensors, and how their network was made, if the file says that."""

    state: dict[str, Tensor]
    made: Mapping[str, Any] = {}


class Spec(NamedTuple):
    """What a tensor is like: its shape, and "float" or "whole", or the name of another type of numbers."""

    shape: tuple[int, ...]
    kind: str = "float"

    @classmethod
    def of(cls, value: Tensor) -> Spec:
        """Return that of a tensor."""
        if value.is_floating_point() and value.dtype.itemsize > 1:
            return cls(tuple(value.shape))
        whole = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
        return cls(tuple(value.shape), "whole" if whole else str(value.dtype).removeprefix("torch."))

    def __str__(self) -> str:
        return f"{self.shape}{'' if self.kind == 'float' else f' {self.kind}'}"


def check_fit(found: Mapping[str, Spec], needed: Mapping[str, Spec]) -> None:
    """Compare the keys, shapes and types of tensors with those that are needed.

    Raises: CheckpointError naming missing, unknown and misshapen keys.
    """
    kinds = {
        "missing": [key for key in needed if key not in found],
        "unknown": [shown(key).strip("'") for key in found if key not in needed],
        "misshapen": [
            f"{key} {found[key]} instead of {spec}"
            for key, spec in needed.items()
            if key in found and found[key] != spec
        ],
    }
    problems = [
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for kind, keys in kinds.items()
        if keys
    ]
    if problems:
        raise CheckpointError(f"the weights do not fit the network: {'; '.join(problems)}")


class SafeFile:
    """An open safetensors file. `specs` are those of its tensors, by its header alone."""

    def __init__(self, opened: Any) -> None:
        self._opened = opened
        self.metadata: dict[str, str] = opened.metadata() or {}
        slices = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118  (it is no dict)
        self.specs = {key: Spec(tuple(one.get_shape()), _kind(one.get_dtype())) for key, one in slices.items()}

    def read(self) -> dict[str, Tensor]:
        """Read all tensors."""
        return {key: self._opened.get_tensor(key) for key in self.specs}


@contextmanager
def open_safetensors(path: Path) -> Iterator[SafeFile]:
    """Open a file of our format. Raises: CheckpointError, also for what is damaged while it is read in the block."""
    try:
        with safetensors.safe_open(path, framework="pt") as opened:  # type: ignore[no-untyped-call, unused-ignore]
            yield SafeFile(opened)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from error


def _kind(name: str) -> str:
    return "float" if name in _FLOATS else "whole" if name in _WHOLES else name


def read_package(path: Path) -> Package:
    """Return what is in a published file, a pickle or Demucs' safetensors. Raises: CheckpointError."""
    if path.suffix.lower() != ".safetensors":
        return _read_pickle(path)
    with open_safetensors(path) as file:
        told = file.metadata
        try:
            made = {name: _with_fractions(json.loads(told[name])) for name in ("args", "kwargs")}
            return Package(file.read(), {"klass": told["klass"], **made})
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{path} does not say how its network was made: {_MADE} are no JSON in it") from error


def read_pickle(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file that torch.save wrote; anything but tensors in it is refused, not run.

    Raises: CheckpointError.
    """
    return _read_pickle(path).state


def _read_pickle(path: Path) -> Package:
    _check_archive(path)
    try:
        with torch.serialization.safe_globals([*_STAND_INS.values(), _fraction]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, or is damaged; it was not opened: code in it could do anything"
        ) from error
    except Exception as error:  # a damaged pickle can call what it may call with any arguments
        told = (str(error) or type(error).__name__).partition("\n")[0][:200]
        raise CheckpointError(f"{path} is damaged or no checkpoint: {told}") from error
    made = _how_made(path, loaded)
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
            break
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(f"{path} holds no state dict, plain or under {', '.join(WRAPPERS)}")
    if strange := [shown(key).strip("'") for key, value in loaded.items() if not _is_plain(key, value)]:
        raise CheckpointError(f"{path} holds more than tensors: {', '.join(strange[:5])}")
    if sum(value.numel() * value.element_size() for value in loaded.values()) > _MOST_SHARED * path.stat().st_size:
        raise CheckpointError(f"{path} is damaged: its tensors are larger than the file")
    return Package(dict(loaded), made)


def _how_made(path: Path, loaded: Any) -> dict[str, Any]:
    """Return how the network in a file of Demucs was made, in plain values; nothing for any other file.

    Raises: CheckpointError.
    """
    if not isinstance(loaded, Mapping) or not all(name in loaded for name in _MADE):
        return {}
    klass = next((name for name, stand_in in _STAND_INS.items() if stand_in is loaded["klass"]), None)
    made = {"klass": klass or str(loaded["klass"]), "args": loaded["args"], "kwargs": loaded["kwargs"]}
    if not isinstance(made["args"], (list, tuple)) or not isinstance(made["kwargs"], dict) or not _is_data(made):
        raise CheckpointError(f"{path} does not say how its network was made: its args are more than plain values")
    state = loaded.get("state")
    if isinstance(state, Mapping) and state.get("__quantized"):
        raise CheckpointError(f"{path} holds quantized weights, which are not known here: take the model without _q")
    return made


def _is_data(value: Any, deepest: int = 8) -> bool:
    if isinstance(value, (list, tuple)):
        return deepest > 0 and all(_is_data(item, deepest - 1) for item in value)
    if isinstance(value, dict):
        return deepest > 0 and all(isinstance(key, str) and _is_data(item, deepest - 1) for key, item in value.items())
    return value is None or isinstance(value, (bool, int, float, str, Fraction))


def _fraction(*parts: Any) -> Fraction:
    """Return a fraction of a pickle: its text, or two whole numbers. Raises: ValueError for any other."""
    if len(parts) == 1 and isinstance(parts[0], str) and len(parts[0]) <= 40:
        parts = tuple(map(int, parts[0].split("/")))
    if not 1 <= len(parts) <= 2 or not all(isinstance(part, int) and abs(part) < 1 << 53 for part in parts):
        raise ValueError("a fraction that is none")
    return Fraction(*parts)


_fraction.__module__, _fraction.__name__, _fraction.__qualname__ = "fractions", "Fraction", "Fraction"
"""By these PyTorch finds what a name in a pickle leads to."""


def _with_fractions(value: Any) -> Any:
    """Return a JSON value in which Demucs' way to write fractions is undone."""
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return _fraction(value.get("numerator"), value.get("denominator"))
        return {key: _with_fractions(item) for key, item in value.items()}
    return [_with_fractions(item) for item in value] if isinstance(value, list) else value


def _is_plain(key: Any, value: Any) -> bool:
    """Return whether an entry is a name, and a tensor whose numbers are in memory one by one."""
    return (
        isinstance(key, str)
        and isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and not value.is_nested
        and value.device.type == "cpu"
    )


def _check_archive(path: Path) -> None:
    """Check a checkpoint that is a zip archive, as all newer ones are: PyTorch compares no checksums.

    A checksum of 0 is none: PyTorch can be told to write no others. Older checkpoints are no archives.
    Raises: CheckpointError.
    """
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            packed = any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries)
            if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise CheckpointError(f"{path} is no checkpoint: it is packed, which torch.save never does")
            for entry in entries:
                if entry.CRC:
                    _read_through(archive, entry)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
        raise CheckpointError(f"{path} is damaged: {error or 'it ends early'}") from error


def _read_through(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Read an entry, by which its checksum is compared. Raises: zipfile.BadZipFile."""
    with archive.open(entry) as file:
        while file.read(1 << 20):
            pass
