"""The published BSMamba2 state dict, of MSST and of the authors (under `model.`) → ours: the same numbers.

Theirs → ours:

    band_split.to_features.{band}.{0,1}                   → splits.{band}.{0,1}
    layers.{i}.{0,1}.{forward,backward}_blocks.0          → layers.{i}.{0,1}.{forward,backward}_block
    layers.{i}.{0,1}.linear.weight (2D, D, 1)             → (D, 2D), as it is a transposed convolution there
    mask_estimators.{stem}.to_freqs.{band}.0.{0,2}        → masks.{stem}.{band}.{inner,outer}
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from stemsplit.errors import CheckpointError
from stemsplit.networks.bsmamba2 import BSMamba2, BSMamba2Config

PREFIX = "model."
_RENAMED = (
    (r"splits\.(\d+)", r"band_split.to_features.\1"),
    (r"(layers\.\d+\.\d+\.\w+)_block\.", r"\1_blocks.0."),
    (r"masks\.(\d+)\.(\d+)\.inner", r"mask_estimators.\1.to_freqs.\2.0.0"),
    (r"masks\.(\d+)\.(\d+)\.outer", r"mask_estimators.\1.to_freqs.\2.0.2"),
)
_CHANNELS, _HOP_LENGTH = 2, 441


def matches(keys: Collection[str]) -> bool:
    """Return whether the keys look like the authors' network."""
    signs = ("band_split.to_features.0.", "layers.0.0.forward_blocks.")
    return any(all(any(key.startswith(prefix + sign) for key in keys) for sign in signs) for prefix in ("", PREFIX))


def chosen(state: Mapping[str, Tensor], *, raw: bool) -> dict[str, Tensor]:
    """Return the weights without their prefix. There is one kind of them."""
    return {key.removeprefix(PREFIX): value for key, value in state.items()}


def config(state: Mapping[str, Tensor]) -> BSMamba2Config:
    """Read the configuration off the shapes; what shapes do not tell is the published network's.

    Raises: CheckpointError naming the tensors that are needed and missing.
    """
    mamba = "layers.0.0.forward_blocks.0.mixer"
    conv, out, inner = f"{mamba}.conv1d.weight", f"{mamba}.out_proj.weight", "mask_estimators.0.to_freqs.0.0.0.weight"
    if missing := [key for key in (conv, out, inner, f"{mamba}.A_log") if key not in state]:
        raise CheckpointError(f"the weights do not fit the network: {len(missing)} missing ({', '.join(missing[:3])})")
    bands = {
        int(match[1]): value.numel() // (2 * _CHANNELS)
        for key, value in state.items()
        if (match := re.fullmatch(r"band_split\.to_features\.(\d+)\.0\.gamma", key))
    }
    stems = _count(state, r"mask_estimators\.(\d+)\.")
    if stems != 1:
        raise CheckpointError(f"the checkpoint estimates {stems} stems; only the published one, vocals, is known")
    dim, d_inner = state[out].shape
    return BSMamba2Config(
        bands=tuple(bands[i] for i in sorted(bands)),
        n_fft=2 * (sum(bands.values()) - 1),
        hop_length=_HOP_LENGTH,
        dim=dim,
        layers=_count(state, r"layers\.(\d+)\."),
        d_state=(state[conv].shape[0] - d_inner) // 2,
        d_conv=state[conv].shape[-1],
        expand=d_inner // dim,
        headdim=d_inner // state[f"{mamba}.A_log"].numel(),
        hidden=state[inner].shape[0],
    )


def shapes(config: BSMamba2Config) -> dict[str, tuple[int, ...]]:
    """Return every published key of a network with its shape."""
    with torch.device("meta"):
        ours = BSMamba2(config).state_dict()
    return {_published(key): _their_shape(key, tuple(value.shape)) for key, value in ours.items()}


def convert(state: Mapping[str, Tensor], config: BSMamba2Config) -> dict[str, Tensor]:
    """Return our state dict for a published one that has the keys and shapes of `shapes`; in its type."""
    with torch.device("meta"):
        keys = BSMamba2(config).state_dict().keys()
    return {key: _ours(key, state[_published(key)]) for key in keys}


def _published(key: str) -> str:
    for pattern, theirs in _RENAMED:
        key = re.sub(f"^{pattern}", theirs, key)
    return key


def _is_transposed(key: str) -> bool:
    return key.startswith("layers.") and key.endswith(".linear.weight")


def _their_shape(key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*reversed(shape), 1) if _is_transposed(key) else shape


def _ours(key: str, value: Tensor) -> Tensor:
    return value.squeeze(-1).t().contiguous() if _is_transposed(key) else value


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    found = (re.match(pattern, key) for key in state)
    return 1 + max((int(match[1]) for match in found if match), default=-1)
