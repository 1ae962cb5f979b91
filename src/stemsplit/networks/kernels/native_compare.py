"""How far the stems of both stages are from the true ones, with gradients, in C++ on the CPU: see native/compare.h.

The last maps of both stages' heads, the masks, their products with the mixture and the squared differences are one call
forward and one back. Nothing with a value per bin is stored, while torch writes and reads about fifteen such tensors.

Tests compare this with `BSMamba.estimates_compared`, which is used where the library cannot be used.
"""

from __future__ import annotations

from ctypes import POINTER, Structure, byref, c_int32, c_int64, c_void_p
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stemsplit.networks.kernels import native_scan
from stemsplit.networks.kernels.native_library import INSTRUCTION_SETS, OK


class Pointers(Structure):
    """`stemsplit_last_map` and `stemsplit_last_gradient` in native/abi.h: a stage's last map, or its gradients."""

    _fields_ = tuple((name, c_void_p) for name in ("hidden", "weight", "bias"))


class Compare(Structure):
    """`stemsplit_compare` in native/abi.h."""

    _fields_ = (
        *((name, c_int64) for name in ("bands", "bins", "inner", "stems", "channels", "compared", "items", "steps")),
        ("widths", c_void_p),
        ("maps", Pointers * 2),
        *((name, c_void_p) for name in ("spectrum", "spectrum_at", "known", "known_at", "factor", "fold")),
    )


class LastMap(NamedTuple):
    """The last map of a stage's heads, and what it maps; I inner values."""

    hidden: Tensor  # (K, 4, items · T, I); an item is a group of channels of an example
    weight: Tensor  # (4, N, F, I); N = stems · channels of a group
    bias: Tensor  # (4, N, F)


class Truth(NamedTuple):
    """What the stems of both stages are made of and compared with. Bins are contiguous, and frames lie F apart."""

    spectrum: Tensor  # (B, C, F, T), complex: of the mixtures
    known: Tensor  # (B, S, C or 1, F, T), complex: the true stems
    factor: Tensor  # (B,), which the true stems are multiplied by
    fold: Tensor  # (B, S, S), which the estimated stems are multiplied by


def usable(tokens: Tensor) -> bool:
    """Return whether `energies` works for the device and type of `tokens`, and no other backend is asked for."""
    return native_scan.usable(tokens)


def energies(masks: LastMap, added: LastMap, truth: Truth, widths: tuple[int, ...]) -> Tensor:
    """Return energies (3, B, S, C) of rows of all bins and frames, in float32.

    They are those of what stage 1, and of what both stages together lack from the truth, and that of the truth, which
    has no gradient. If the truth has one channel, it is compared with the mean over the estimated channels.

    Args:
        masks: the last map of stage 1.
        added: the last map of stage 2.
        truth: see `Truth`.
        widths: of the bands, in bins.

    Raises:
        RuntimeError: the library reports an error.
        ValueError: the channels of the truth are neither one nor those of the mixture.
    """
    found: Tensor = _Energies.apply(truth, widths, *masks, *added)
    return found


class _Energies(torch.autograd.Function):
    """The two calls of the library as a function of autograd."""

    @staticmethod
    def forward(ctx: Any, truth: Truth, widths: tuple[int, ...], *tensors: Tensor) -> Tensor:
        call = _Call(truth, widths, tensors)
        found = torch.empty(len(widths), 3, *call.compared, dtype=torch.float64)
        call("stemsplit_compare_run", found.data_ptr(), gradient=False)
        ctx.save_for_backward(*tensors)
        ctx.truth, ctx.widths = truth, widths
        return call.arranged(found.sum(0).float())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        call = _Call(ctx.truth, ctx.widths, ctx.saved_tensors)
        slopes = call.flat(grad[:2])
        found = [torch.empty_like(value) for value in call.tensors]
        pointers = [value.data_ptr() for value in found]
        gradients = (Pointers * 2)(Pointers(*pointers[:3]), Pointers(*pointers[3:]))
        call("stemsplit_compare_gradient", slopes.data_ptr(), gradients, gradient=True)
        own = (value.to(tensor.dtype) for value, tensor in zip(found, ctx.saved_tensors, strict=True))
        return None, None, *own


class _Call:
    """The structure that both calls take, and the tensors that its pointers point to."""

    def __init__(self, truth: Truth, widths: tuple[int, ...], tensors: tuple[Tensor, ...]) -> None:
        self.tensors = [value.detach().float().contiguous() for value in tensors]
        hidden, weight = self.tensors[:2]
        batch, channels, bins, steps = truth.spectrum.shape
        stems = truth.known.shape[1]
        self.group = weight.shape[1] // stems
        self.batch, self.groups, self.stems = batch, channels // self.group, stems
        self.kept = self.group if truth.known.shape[2] == channels else 1  # channels of a group that are compared
        if truth.known.shape[2] != self.kept * self.groups:
            raise ValueError(f"{truth.known.shape[2]} channels of true stems for {channels} of the mixture")
        self.compared = (batch * self.groups, stems * self.kept)
        spectrum, known = _by_frame(truth.spectrum), _by_frame(truth.known)
        pointers = [value.data_ptr() for value in self.tensors]
        self._others = [
            torch.tensor(widths),
            *(spectrum, self._places(spectrum.unsqueeze(1), self.group)),
            *(known, self._places(known, self.kept)),
            truth.factor.float().repeat_interleave(self.groups),
            self._folds(truth.fold),
        ]
        widths_at, *rest = (value.data_ptr() for value in self._others)
        maps = (Pointers * 2)(Pointers(*pointers[:3]), Pointers(*pointers[3:]))
        sizes = (len(widths), bins, hidden.shape[-1], stems, self.group, self.compared[1], self.compared[0], steps)
        self._structure = Compare(*sizes, widths_at, maps, *rest)

    def __call__(self, name: str, *pointers: Any, gradient: bool) -> None:
        chosen = native_scan._chosen()
        library, number = _functions(), INSTRUCTION_SETS.index(str(chosen))
        threads = _threads()
        each = library.stemsplit_compare_scratch(number, byref(self._structure), gradient)
        scratch = torch.empty(each * threads, dtype=torch.float32)
        status = getattr(library, name)(
            number, byref(self._structure), *pointers, threads, scratch.data_ptr(), scratch.numel()
        )
        if status != OK:
            raise RuntimeError(f"the native kernels refused (status {status})")

    def arranged(self, found: Tensor) -> Tensor:
        """Energies (3, items, M) → (3, B, S, C)."""
        return found.view(-1, self.batch, self.groups, self.stems, self.kept).transpose(2, 3).flatten(3)

    def flat(self, energies: Tensor) -> Tensor:
        """Energies (2, B, S, C) → (2, items, M)."""
        return energies.float().unflatten(3, (self.groups, self.kept)).transpose(2, 3).contiguous()

    def _places(self, spectra: Tensor, channels: int) -> Tensor:
        """Return (items, rows · channels): how many floats from the start the spectra (B, rows, C, F, T) lie."""
        counts = (self.batch, spectra.shape[1], self.groups, channels)
        along = [torch.arange(count) for count in counts]
        strides = spectra.stride()
        b, row, group, channel = torch.meshgrid(*along, indexing="ij")
        places = 2 * (b * strides[0] + row * strides[1] + (group * channels + channel) * strides[2])
        return places.transpose(1, 2).contiguous()

    def _folds(self, fold: Tensor) -> Tensor:
        """Return (items, M, N) of matrices (B, S, S), for the channels of a group."""
        mix = torch.eye(self.group) if self.kept == self.group else torch.full((1, self.group), 1 / self.group)
        wide = torch.einsum("bij,kl->bikjl", fold.float(), mix)
        return wide.reshape(self.batch, -1).repeat_interleave(self.groups, dim=0)


def _by_frame(spectra: Tensor) -> Tensor:
    """Return spectra (…, F, T), copied if the bins of a frame or the frames are not one after the other."""
    if spectra.stride()[-2:] == (1, spectra.shape[-2]):
        return spectra
    return spectra.transpose(-1, -2).contiguous().transpose(-1, -2)


def _threads() -> int:
    return torch.get_num_threads()


@cache
def _functions() -> Any:
    """Return the library with the types of this module's functions."""
    library = native_scan._library()._library
    scratch = (c_int32, c_void_p, c_int64)
    library.stemsplit_compare_scratch.argtypes = (c_int32, POINTER(Compare), c_int32)
    library.stemsplit_compare_scratch.restype = c_int64
    library.stemsplit_compare_run.argtypes = (c_int32, POINTER(Compare), c_void_p, *scratch)
    library.stemsplit_compare_gradient.argtypes = (c_int32, POINTER(Compare), c_void_p, POINTER(Pointers), *scratch)
    for function in (library.stemsplit_compare_run, library.stemsplit_compare_gradient):
        function.restype = c_int32
    return library
