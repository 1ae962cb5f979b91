"""The published TS-BSMamba2 state dict ⇄ ours: the same numbers, stacked over bands and named as in our code.

Published keys, with i a band, n a block, w a band's width in bins:

    BN_mask|BN_map.{i}.0|1                    → split_mask|split_map     norm and linear map of a band
    separator_mask|separator_map.{n}.…        → blocks_mask|blocks_map   band_rnn: time, band_comm: bands
    in_conv                                   → fusion
    mask|map.{i}.0|1|3|5                      → heads_mask|heads_map     norm and three maps of a band
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from stemsplit.errors import CheckpointError
from stemsplit.networks.bsmamba import CONFIGS, BSMambaConfig
from stemsplit.networks.layers.bands import BandHeads

WRAPPERS = ("state", "state_dict", "model_state_dict")
"""Keys under which trainers put the state dict."""

_PATHS = {"time": "band_rnn", "band": "band_comm"}
_TAC = {"transform": "TAC_input.0", "average": "TAC_mean.0", "concatenate": "TAC_output.0"}
_MAMBA_NAMES = (
    "dt_bias", "A_log", "D", "in_proj.weight", "conv1d.weight", "conv1d.bias", "norm.weight", "out_proj.weight",
)  # fmt: skip


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys look like the authors' network."""
    return any(key.startswith("BN_mask.") for key in state)


def published_config(state: Mapping[str, Tensor]) -> BSMambaConfig:
    """Read the configuration off the tensors' shapes; what shapes do not tell is the published full model's.

    Raises: CheckpointError naming the tensors that are needed and missing.
    """
    base = CONFIGS["ts-bsmamba2"]
    mamba = "separator_mask.0.band_rnn.rnn.forward_mamba2"
    conv, out = f"{mamba}.conv1d.weight", f"{mamba}.out_proj.weight"
    needed = ("BN_mask.0.0.weight", "mask.0.1.weight", "mask.0.5.weight", f"{mamba}.A_log", conv, out)
    refuse(missing=[key for key in needed if key not in state])
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


def from_published(state: Mapping[str, Tensor], config: BSMambaConfig) -> dict[str, Tensor]:
    """Return our state dict for the published one.

    Raises: CheckpointError naming missing, unknown and misshapen keys.
    """
    check_fit(state, published_shapes(config))
    ours = {"fusion.weight": state["in_conv.weight"].squeeze(-1), "fusion.bias": state["in_conv.bias"]}
    for stage in ("mask", "map"):
        ours |= {f"split_{stage}.{name}": value for name, value in _split(state, f"BN_{stage}", config).items()}
        ours |= {f"heads_{stage}.{name}": value for name, value in _heads(state, stage, config).items()}
    ours |= {our: state[their] for our, their in _block_names(config)}
    return {key: value.contiguous() for key, value in ours.items()}


def published_shapes(config: BSMambaConfig) -> dict[str, tuple[int, ...]]:
    """Return every published key with its shape."""
    d, h, stems = config.dim, config.head_expand * config.dim, len(config.stems)
    inner = h // BandHeads.GROUPS
    shapes: dict[str, tuple[int, ...]] = {"in_conv.weight": (d, 2 * d, 1), "in_conv.bias": (d,)}
    for stage in ("mask", "map"):
        for i, width in enumerate(config.bands):
            shapes |= _affine(f"BN_{stage}.{i}.0", (2 * width,), 2 * width)
            shapes |= _affine(f"BN_{stage}.{i}.1", (d, 2 * width, 1), d)
            shapes |= _affine(f"{stage}.{i}.0", (d,), d)
            shapes |= _affine(f"{stage}.{i}.1", (h, d, 1), h)
            shapes |= _affine(f"{stage}.{i}.3", (h, inner, 1), h)
            shapes |= _affine(f"{stage}.{i}.5", (4 * stems * width, inner, 1), 4 * stems * width)
        for n in range(_blocks(config, stage)):
            shapes |= _block_shapes(f"separator_{stage}.{n}", config)
    return shapes


def check_fit(state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Hold a state dict against the shapes that a network has.

    Raises: CheckpointError naming missing, unknown and misshapen keys.
    """
    refuse(
        missing=[key for key in shapes if key not in state],
        unknown=[key for key in state if key not in shapes],
        misshapen=[
            f"{key} {tuple(state[key].shape)} instead of {shape}"
            for key, shape in shapes.items()
            if key in state and tuple(state[key].shape) != shape
        ],
    )


def refuse(**found: list[str]) -> None:
    """Raise one CheckpointError that names what does not fit, by kind, if anything."""
    problems = [
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for kind, keys in found.items()
        if keys
    ]
    if problems:
        raise CheckpointError(f"the weights do not fit the network: {'; '.join(problems)}")


def _split(state: Mapping[str, Tensor], prefix: str, config: BSMambaConfig) -> dict[str, Tensor]:
    bands = range(len(config.bands))

    def over_bins(name: str, *lead: int) -> Tensor:
        return torch.cat([state[f"{prefix}.{i}.{name}"].reshape(*lead, 2, -1) for i in bands], dim=-1)

    return {
        "norm_weight": over_bins("0.weight"),
        "norm_bias": over_bins("0.bias"),
        "weight": over_bins("1.weight", config.dim),
        "bias": torch.stack([state[f"{prefix}.{i}.1.bias"] for i in bands]),
    }


def _heads(state: Mapping[str, Tensor], prefix: str, config: BSMambaConfig) -> dict[str, Tensor]:
    bands, stems, groups = range(len(config.bands)), len(config.stems), BandHeads.GROUPS
    inner = config.head_expand * config.dim // groups

    def stacked(name: str) -> Tensor:
        return torch.stack([state[f"{prefix}.{i}.{name}"].squeeze(-1) for i in bands])

    def over_bins(name: str, *tail: int) -> Tensor:
        return torch.cat([state[f"{prefix}.{i}.{name}"].reshape(groups, stems, -1, *tail) for i in bands], dim=2)

    return {
        "norm_weight": stacked("0.weight"),
        "norm_bias": stacked("0.bias"),
        "weight1": stacked("1.weight"),
        "bias1": stacked("1.bias"),
        "weight2": stacked("3.weight").unflatten(1, (groups, inner)),
        "bias2": stacked("3.bias"),
        "weight3": over_bins("5.weight", inner),
        "bias3": over_bins("5.bias"),
    }


def _block_names(config: BSMambaConfig) -> Iterable[tuple[str, str]]:
    """Pairs (our key, published key) of all blocks; these tensors are the same on both sides."""
    for stage in ("mask", "map"):
        for n in range(_blocks(config, stage)):
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


def _block_shapes(prefix: str, config: BSMambaConfig) -> dict[str, tuple[int, ...]]:
    d, hidden = config.dim, 3 * config.dim
    d_inner = config.expand * d
    heads, mixed = d_inner // config.headdim, d_inner + 2 * config.d_state
    mamba = (
        (heads,),
        (heads,),
        (heads,),
        (d_inner + mixed + heads, d),
        (mixed, 1, config.d_conv),
        (mixed,),
        (d_inner,),
    )
    shapes: dict[str, tuple[int, ...]] = {}
    for path in _PATHS.values():
        shapes |= _affine(f"{prefix}.{path}.norm", (d,), d) | _affine(f"{prefix}.{path}.proj", (d, 2 * d), d)
        for way in ("forward", "backward"):
            names = (f"{prefix}.{path}.rnn.{way}_mamba2.{leaf}" for leaf in _MAMBA_NAMES)
            shapes |= dict(zip(names, (*mamba, (d, d_inner)), strict=True))
    tac = f"{prefix}.channel_comm"
    shapes |= _affine(f"{tac}.input_norm", (d,), d)
    shapes |= _affine(f"{tac}.TAC_input.0", (hidden, d), hidden)
    shapes |= _affine(f"{tac}.TAC_mean.0", (hidden, hidden), hidden)
    return shapes | _affine(f"{tac}.TAC_output.0", (d, 2 * hidden), d)


def _affine(prefix: str, weight: tuple[int, ...], bias: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.weight": weight, f"{prefix}.bias": (bias,)}


def _blocks(config: BSMambaConfig, stage: str) -> int:
    return config.blocks_mask if stage == "mask" else config.blocks_map


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered children `prefix` has."""
    found = (re.match(rf"{prefix}\.(\d+)\.", key) for key in state)
    return 1 + max((int(match[1]) for match in found if match), default=-1)
