"""The published TS-BSMamba2 state dict → ours: the same numbers, stacked over bands and named as in our code.

Published keys, with i a band, n a block, w a band's width in bins:

    BN_mask|BN_map.{i}.0|1                    → split_mask|split_map     norm and linear map of a band
    separator_mask|separator_map.{n}.…        → blocks_mask|blocks_map   band_rnn: time, band_comm: bands
    in_conv                                   → fusion
    mask|map.{i}.0|1|3|5                      → heads_mask|heads_map     norm and three maps of a band
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from stemsplit.errors import CheckpointError
from stemsplit.networks.bsmamba import CONFIGS, BSMamba, BSMambaConfig

_PATHS = {"time": "band_rnn", "band": "band_comm"}
_TAC = {"transform": "TAC_input.0", "average": "TAC_mean.0", "concatenate": "TAC_output.0"}
_MAMBA_NAMES = (
    "dt_bias", "A_log", "D", "in_proj.weight", "conv1d.weight", "conv1d.bias", "norm.weight", "out_proj.weight",
)  # fmt: skip


def matches(keys: Collection[str]) -> bool:
    """Return whether the keys look like the authors' network."""
    return any(key.startswith("BN_mask.") for key in keys)


def config(state: Mapping[str, Tensor]) -> BSMambaConfig:
    """Read the configuration off the tensors' shapes; what shapes do not tell is the published full model's.

    Raises: CheckpointError naming the tensors that are needed and missing.
    """
    base = CONFIGS["ts-bsmamba2"]
    mamba = "separator_mask.0.band_rnn.rnn.forward_mamba2"
    conv, out = f"{mamba}.conv1d.weight", f"{mamba}.out_proj.weight"
    needed = ("BN_mask.0.0.weight", "mask.0.1.weight", "mask.0.5.weight", f"{mamba}.A_log", conv, out)
    if missing := [key for key in needed if key not in state]:
        raise CheckpointError(f"the weights do not fit the network: {len(missing)} missing ({', '.join(missing[:3])})")
    bands = tuple(state[f"BN_mask.{i}.0.weight"].numel() // 2 for i in range(_count(state, "BN_mask")))
    dim, d_inner = state[out].shape
    hidden = state["mask.0.1.weight"].shape[0]
    stems = state["mask.0.5.weight"].shape[0] // (4 * bands[0])
    if stems != len(base.stems):
        raise CheckpointError(f"the checkpoint separates {stems} stems; only the published order of 4 is known")
    return BSMambaConfig(
        bands=bands,
        n_fft=2 * (sum(bands) - 1),
        hop_length=(sum(bands) - 1) // 2,
        dim=dim,
        blocks_mask=_count(state, "separator_mask"),
        blocks_map=_count(state, "separator_map"),
        d_state=(state[conv].shape[0] - d_inner) // 2,
        d_conv=state[conv].shape[-1],
        expand=d_inner // dim,
        headdim=d_inner // state[f"{mamba}.A_log"].numel(),
        head_expand=hidden // dim,
    )


def shapes(config: BSMambaConfig) -> dict[str, tuple[int, ...]]:
    """Return every published key of a network with its shape."""
    with torch.device("meta"):
        network = BSMamba(config)
        return {place.key: place.shape for place in _places(network.state_dict(), config)}


def convert(state: Mapping[str, Tensor], config: BSMambaConfig) -> dict[str, Tensor]:
    """Return our state dict for a published one that has the keys and shapes of `shapes`; in its type."""
    with torch.device("meta"):
        network = BSMamba(config)
    kind = next(iter(state.values())).dtype
    ours = {key: torch.empty(value.shape, dtype=kind) for key, value in network.state_dict().items()}
    for place in _places(ours, config):
        place.ours.copy_(state[place.key].reshape(place.ours.shape))
    return ours


class _Place(NamedTuple):
    """Where the numbers of a published tensor stand in ours: a view of one of our tensors, row by row the same."""

    key: str
    ours: Tensor
    shape: tuple[int, ...]


def _places(ours: Mapping[str, Tensor], config: BSMambaConfig) -> Iterator[_Place]:
    yield _pointwise("in_conv.weight", ours["fusion.weight"])
    yield _same("in_conv.bias", ours["fusion.bias"])
    for stage, blocks in (("mask", config.blocks_mask), ("map", config.blocks_map)):
        split = {name: ours[f"split_{stage}.{name}"] for name in ("norm_weight", "norm_bias", "weight", "bias")}
        heads = {key.split(".")[1]: value for key, value in ours.items() if key.startswith(f"heads_{stage}.")}
        for i, stop in enumerate(accumulate(config.bands)):
            band = slice(stop - config.bands[i], stop)
            yield from _split_places(f"BN_{stage}.{i}", split, i, band)
            yield from _head_places(f"{stage}.{i}", heads, i, band)
        for our_key, their_key in _block_keys(stage, blocks):
            yield _same(their_key, ours[our_key])


def _split_places(prefix: str, ours: Mapping[str, Tensor], i: int, band: slice) -> Iterator[_Place]:
    """Yield norm and linear map of band i: real parts of its bins, then imaginary ones."""
    for part in ("weight", "bias"):
        yield _flat(f"{prefix}.0.{part}", ours[f"norm_{part}"][:, band])
    yield _pointwise(f"{prefix}.1.weight", ours["weight"][:, :, band])
    yield _same(f"{prefix}.1.bias", ours["bias"][i])


def _head_places(prefix: str, ours: Mapping[str, Tensor], i: int, band: slice) -> Iterator[_Place]:
    """Yield norm and three maps of band i; the last map's outputs run over groups, stems and bins."""
    for part in ("weight", "bias"):
        yield _same(f"{prefix}.0.{part}", ours[f"norm_{part}"][i])
    yield _pointwise(f"{prefix}.1.weight", ours["weight1"][i])
    yield _same(f"{prefix}.1.bias", ours["bias1"][i])
    yield _rows(f"{prefix}.3.weight", ours["weight2"][i])
    yield _same(f"{prefix}.3.bias", ours["bias2"][i])
    yield _rows(f"{prefix}.5.weight", ours["weight3"][:, :, band])
    yield _flat(f"{prefix}.5.bias", ours["bias3"][:, :, band])


def _same(key: str, ours: Tensor) -> _Place:
    return _Place(key, ours, tuple(ours.shape))


def _flat(key: str, ours: Tensor) -> _Place:
    return _Place(key, ours, (ours.numel(),))


def _pointwise(key: str, ours: Tensor) -> _Place:
    """Turn a 1×1 convolution there into a linear map here: outputs first, then all that is read."""
    return _Place(key, ours, (ours.shape[0], ours[0].numel(), 1))


def _rows(key: str, ours: Tensor) -> _Place:
    """Split a 1×1 convolution in groups there: outputs of all groups first, then what one group reads."""
    return _Place(key, ours, (ours[..., 0].numel(), ours.shape[-1], 1))


def _block_keys(stage: str, blocks: int) -> Iterator[tuple[str, str]]:
    """Yield (our key, published key) of all blocks of a stage; these tensors are the same on both sides."""
    for n in range(blocks):
        ours, theirs = f"blocks_{stage}.{n}", f"separator_{stage}.{n}"
        for our_path, their_path in _PATHS.items():
            for part in ("weight", "bias"):
                yield f"{ours}.{our_path}.norm_{part}", f"{theirs}.{their_path}.norm.{part}"
                yield f"{ours}.{our_path}.proj.{part}", f"{theirs}.{their_path}.proj.{part}"
            for name in (f"{way}_mamba2.{leaf}" for way in ("forward", "backward") for leaf in _MAMBA_NAMES):
                yield f"{ours}.{our_path}.{name}", f"{theirs}.{their_path}.rnn.{name}"
        for part in ("weight", "bias"):
            yield f"{ours}.channel.norm_{part}", f"{theirs}.channel_comm.input_norm.{part}"
            for our_map, their_map in _TAC.items():
                yield f"{ours}.channel.{our_map}.{part}", f"{theirs}.channel_comm.{their_map}.{part}"


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """Return how many numbered children `prefix` has."""
    found = (re.match(rf"{prefix}\.(\d+)\.", key) for key in state)
    return 1 + max((int(match[1]) for match in found if match), default=-1)
