"""The shared library of native kernels: find it, check it, and call it through ctypes. See native/abi.h."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Array, Structure, c_char_p, c_int32, c_int64, c_uint32, c_void_p
from enum import IntEnum
from functools import lru_cache
from pathlib import Path

from stemsplit.networks.kernels.native.build import LIBRARY, source_hash

ABI = 6
BUILD_COMMAND = "python -m stemsplit.networks.kernels.native.build"
INSTRUCTION_SETS = ("portable", "avx2", "avx512", "avx512bf16", "amx")
"""The instruction sets, in the order of the library's numbers for them."""

OK = 0


class Shape(Structure):
    """`stemsplit_shape` in native/abi.h: the sizes of a block, some of them padded."""

    _fields_ = (
        ("features", c_int64),
        ("inner", c_int64),
        ("state", c_int64),
        ("heads", c_int64),
        ("channels", c_int64),
        ("taps", c_int64),
        ("heads_padded", c_int64),
    )


class Direction(Structure):
    """`stemsplit_direction` in native/abi.h: the weights of one direction."""

    _fields_ = tuple((name, c_void_p) for name in ("mixed", "gate", "out", "conv", "conv_bias", "dt_bias", "a", "skip"))


class BlockWeights(Structure):
    """`stemsplit_block_weights` in native/abi.h: the weights of a block."""

    _fields_ = (
        ("shape", Shape),
        ("by_row", c_int64),
        ("norm_weight", c_void_p),
        ("norm_bias", c_void_p),
        ("straight", c_void_p),
        ("bias", c_void_p),
        ("direction", Direction * 2),
    )


class Places(Structure):
    """`stemsplit_places` in native/abi.h: where sequences lie."""

    _fields_ = tuple(
        (name, c_int64) for name in ("sequences", "inner", "group_stride", "sequence_stride", "step_stride")
    )


class SplitBand(Structure):
    """`stemsplit_split_band` in native/abi.h: the weights of one band of the band split."""

    _fields_ = (
        *((name, c_int64) for name in ("first", "width")),
        *((name, c_void_p) for name in ("norm_weight", "norm_bias", "map", "bias")),
    )


class Split(Structure):
    """`stemsplit_split` in native/abi.h: the band split."""

    _fields_ = (
        *((name, c_int64) for name in ("features", "channels", "bins", "bands")),
        ("band", POINTER(SplitBand)),
    )


class Head(Structure):
    """`stemsplit_head` in native/abi.h: the weights of one band of the heads."""

    _fields_ = (
        *((name, c_int64) for name in ("first", "width")),
        *((name, c_void_p) for name in ("norm_weight", "norm_bias", "map1", "bias1", "map2", "bias2", "map3", "bias3")),
    )


class Heads(Structure):
    """`stemsplit_heads` in native/abi.h: the heads."""

    _fields_ = (
        *((name, c_int64) for name in ("features", "inner", "stems", "channels", "bins", "bands", "slice")),
        ("band", POINTER(Head)),
    )


class Exchange(Structure):
    """`stemsplit_exchange` in native/abi.h: the exchange between channels."""

    _fields_ = (
        *((name, c_int64) for name in ("features", "hidden")),
        *(
            (name, c_void_p)
            for name in (
                *("norm_weight", "norm_bias", "transform", "transform_bias", "average", "average_bias"),
                *("concatenate_own", "concatenate_shared", "bias"),
            )
        ),
    )


class Selective(Structure):
    """`stemsplit_selective` in native/abi.h: a Mamba-1 layer without its projections."""

    _fields_ = (
        *((name, c_int64) for name in ("inner", "state", "low", "taps")),
        *((name, c_void_p) for name in ("conv", "conv_bias", "mix", "dt", "dt_bias", "a", "skip")),
    )


class Finish(IntEnum):
    """What becomes of the values that the heads make; see native/abi.h."""

    PLAIN = 0
    MASK = 1
    ADD = 2


class ScanShape(Structure):
    """`stemsplit_scan_shape` in native/abi.h: the sizes of a Mamba-2 layer, without padding."""

    _fields_ = tuple((name, c_int64) for name in ("heads", "channels", "state", "taps"))


class ScanParameters(Structure):
    """`stemsplit_scan_weights` and `stemsplit_scan_gradients` in native/abi.h: parameters or gradients of one layer."""

    _fields_ = tuple((name, c_void_p) for name in ("conv", "conv_bias", "dt_bias", "a_log", "skip"))


class LibraryError(Exception):
    """The library cannot be used. The message is one line that says why."""


class Library:
    """The functions of the library.

    Raises:
        LibraryError: there is no file, it cannot be loaded, it has another ABI, or it was built from other sources.
    """

    def __init__(self, path: Path = LIBRARY) -> None:
        if not path.exists():
            raise LibraryError(
                "the native kernels were not built: `python -m stemsplit.networks.kernels.native.build` builds them"
            )
        try:
            self._library = ctypes.CDLL(str(path))
            self._declare()
        except (OSError, AttributeError) as error:
            raise LibraryError(f"{path.name} cannot be loaded: {error}") from None
        again = f"`{BUILD_COMMAND}` builds it again"
        if (abi := self._library.stemsplit_abi()) != ABI:
            raise LibraryError(f"{path.name} has interface {abi}, not {ABI}: {again}")
        if self._library.stemsplit_source_hash().decode(errors="replace") != source_hash():
            raise LibraryError(f"{path.name} was built from other sources: {again}")

    def _declare(self) -> None:
        library = self._library
        library.stemsplit_abi.restype = c_int32
        library.stemsplit_source_hash.restype = c_char_p
        library.stemsplit_supported.restype = c_uint32
        library.stemsplit_bfloat16.restype = c_int32
        for function in (library.stemsplit_vector, library.stemsplit_panel):
            function.argtypes, function.restype = (c_int32,), c_int64
        library.stemsplit_scratch.argtypes = (c_int32, POINTER(Shape), c_int64)
        library.stemsplit_scratch.restype = c_int64
        pointers, sizes, scratch = (c_void_p, c_void_p), (c_int64, c_int64, c_int32), (c_void_p, c_int64)
        library.stemsplit_block.argtypes = (
            *(c_int32, POINTER(BlockWeights), *pointers),
            *(POINTER(Places), c_int64, c_int32, *scratch),
        )
        library.stemsplit_block.restype = c_int32
        for layer, kind, sizes_of_scratch, run in (
            ("split", Split, (c_int64,), (*pointers, c_int64, c_int64)),
            ("heads", Heads, (c_int64,), (c_int32, *pointers, c_void_p, c_int64, c_int64, c_int64)),
            ("exchange", Exchange, (c_int64, c_int64), (*pointers, c_int64, c_int64, c_int64, c_int64)),
            ("selective", Selective, (), (*pointers, c_int64, c_int64, c_int32)),
        ):
            measure = getattr(library, f"stemsplit_{layer}_scratch")
            measure.argtypes, measure.restype = (c_int32, POINTER(kind), *sizes_of_scratch), c_int64
            function = getattr(library, f"stemsplit_{layer}_run")
            function.argtypes, function.restype = (c_int32, POINTER(kind), *run, c_int32, *scratch), c_int32
        library.stemsplit_scan_scratch.argtypes = (c_int32, POINTER(ScanShape), c_int64, c_int32, c_int32)
        library.stemsplit_scan_scratch.restype = c_int64
        both = (c_int32, POINTER(ScanShape), POINTER(ScanParameters), c_int32)
        library.stemsplit_scan.argtypes = (*both, *pointers, *sizes, *scratch)
        library.stemsplit_scan_gradient.argtypes = (
            *(*both, *pointers, c_void_p, POINTER(ScanParameters)),
            *(*sizes, *scratch),
        )
        for function in (library.stemsplit_scan, library.stemsplit_scan_gradient):
            function.restype = c_int32

    def instruction_sets(self) -> tuple[str, ...]:
        """Return the instruction sets that the library was compiled for and that this processor has."""
        bits = self._library.stemsplit_supported()
        return tuple(name for number, name in enumerate(INSTRUCTION_SETS) if bits >> number & 1)

    def bfloat16_set(self) -> str | None:
        """Return the instruction set whose products in bfloat16 are faster than those in float32, if there is one."""
        number = int(self._library.stemsplit_bfloat16())
        return None if number < 0 else INSTRUCTION_SETS[number]

    def vector(self, name: str) -> int:
        """Return the number of values in a vector of an instruction set. Widths are padded to multiples of it."""
        return int(self._library.stemsplit_vector(INSTRUCTION_SETS.index(name)))

    def panel(self, name: str) -> int:
        """Return the number of outputs in a panel of a packed matrix, for an instruction set."""
        return int(self._library.stemsplit_panel(INSTRUCTION_SETS.index(name)))

    def scratch(self, name: str, shape: Shape, steps: int) -> int:
        """Return how much temporary memory one thread needs for a block, in words of 4 bytes."""
        return int(self._library.stemsplit_scratch(INSTRUCTION_SETS.index(name), ctypes.byref(shape), steps))

    def run(
        self,
        name: str,
        weights: BlockWeights,
        pointers: tuple[int, int, int],
        places: Places,
        sizes: tuple[int, int],
        scratch_words: int,
    ) -> int:
        """Compute a block, and return the status.

        Args:
            name: the instruction set.
            weights: of the block.
            pointers: to input, output and temporary memory.
            places: of the sequences, in input and output.
            sizes: numbers of steps and threads.
            scratch_words: size of the temporary memory.
        """
        x, out, scratch = pointers
        call = (INSTRUCTION_SETS.index(name), ctypes.byref(weights), x, out, ctypes.byref(places))
        return int(self._library.stemsplit_block(*call, *sizes, scratch, scratch_words))

    def layer_scratch(self, layer: str, name: str, weights: Structure, *sizes: int) -> int:
        """Return how much temporary memory one thread needs for a layer, in words of 4 bytes.

        Args:
            layer: "split", "heads", "exchange" or "selective".
            name: the instruction set.
            weights: a `Split`, `Heads`, `Exchange` or `Selective`.
            sizes: as native/abi.h has them.
        """
        function = getattr(self._library, f"stemsplit_{layer}_scratch")
        return int(function(INSTRUCTION_SETS.index(name), ctypes.byref(weights), *sizes))

    def layer(self, layer: str, name: str, weights: Structure, *arguments: int) -> int:
        """Compute a layer, and return the status.

        Args:
            layer: as in `layer_scratch`.
            name: as in `layer_scratch`.
            weights: as in `layer_scratch`.
            arguments: pointers, sizes, threads, temporary memory, as native/abi.h has them.
        """
        function = getattr(self._library, f"stemsplit_{layer}_run")
        return int(function(INSTRUCTION_SETS.index(name), ctypes.byref(weights), *arguments))

    def scan_scratch(self, name: str, shape: ScanShape, steps: int, threads: int, gradient: bool) -> int:
        """Return how much temporary memory a scan or its gradient needs in all threads, in words of 4 bytes."""
        number = INSTRUCTION_SETS.index(name)
        return int(self._library.stemsplit_scan_scratch(number, ctypes.byref(shape), steps, threads, gradient))

    def scan(
        self,
        name: str,
        shape: ScanShape,
        weights: Array[ScanParameters],
        pointers: tuple[int, int],
        sizes: tuple[int, int, int, int],
        scratch: tuple[int, int],
    ) -> int:
        """Compute the scan of both directions, and return the status.

        Args:
            name: the instruction set.
            shape: the sizes of a layer.
            weights: the parameters of both layers.
            pointers: to the projected rows and to the output.
            sizes: the number of the type, and the numbers of sequences, steps and threads.
            scratch: pointer to the temporary memory, and its size in words.
        """
        kind, *counts = sizes
        number = INSTRUCTION_SETS.index(name)
        return int(
            self._library.stemsplit_scan(number, ctypes.byref(shape), weights, kind, *pointers, *counts, *scratch)
        )

    def scan_gradient(
        self,
        name: str,
        shape: ScanShape,
        weights: Array[ScanParameters],
        pointers: tuple[int, int, int],
        gradients: Array[ScanParameters],
        sizes: tuple[int, int, int, int],
        scratch: tuple[int, int],
    ) -> int:
        """Compute the gradients of the scan, and return the status.

        Args:
            name: the instruction set.
            shape: the sizes of a layer.
            weights: the parameters of both layers.
            pointers: to the projected rows, to the gradient of the output, and to that of the rows, which is written.
            gradients: those of the parameters, which are written.
            sizes: as in `scan`.
            scratch: as in `scan`.
        """
        kind, *counts = sizes
        number = INSTRUCTION_SETS.index(name)
        function = self._library.stemsplit_scan_gradient
        return int(function(number, ctypes.byref(shape), weights, kind, *pointers, gradients, *counts, *scratch))


@lru_cache(maxsize=1)
def load_library() -> Library | LibraryError:
    """Load the library, only once. Return it, or the error that says why it cannot be used."""
    try:
        return Library()
    except LibraryError as error:
        return error


def has_bfloat16() -> bool:
    """Return whether products in bfloat16 are faster than those in float32 on this processor."""
    library = load_library()
    return isinstance(library, Library) and library.bfloat16_set() is not None
