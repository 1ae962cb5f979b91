"""The published SFC checkpoints → ours: the same numbers under nearly the same names.

A trainer's state dict holds the raw weights (`model.model.…`), their running average (`ema_model.module.model.…`), and
windows. Beside it lies `merged_config.yaml`, which tells what shapes do not: heads, groups, stems, chunks.

    encoder|decoder.block.mixer.pos_bias.{pos_bias, slope}   → …mixer.pos_bias, multiplied by the slope
    decoder.freq_weights/{i}                                 constant: 1 / number of bands over each bin of band i
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from stemsplit.errors import CheckpointError
from stemsplit.networks.layers.codecs.musical import bands_over, musical_bands
from stemsplit.networks.sfc import CONFIGS, SFC, SFCConfig
from stemsplit.weights.layouts import sfc_settings

AVERAGED, RAW = ("ema_model.module.model.",), ("model.model.", "model.", "")
"""Prefixes of the weights, the usual ones first."""
_NO_WEIGHTS = re.compile(r"(ema_model\.module\.|model\.)?(stft\.0|istft)\.window|ema_model\.n_averaged")
_SIGNS = ("blocks.0.freq_path.", "encoder.", "decoder.")
configured = sfc_settings.configured


def matches(keys: Collection[str]) -> bool:
    """Return whether the keys look like the authors' network, raw or averaged."""
    return any(all(any(key.startswith(prefix + sign) for key in keys) for sign in _SIGNS) for prefix in AVERAGED + RAW)


def chosen(state: Mapping[str, Tensor], *, raw: bool) -> dict[str, Tensor]:
    """Return the averaged weights of a trainer's state dict, or its raw ones, without their prefix.

    Raises: CheckpointError if the kind that is wanted is missing.
    """
    there = [prefix for prefix in AVERAGED + RAW if any(key.startswith(prefix + _SIGNS[0]) for key in state)]
    if not there:
        raise CheckpointError(f"the weights do not fit the network: 1 missing ({_SIGNS[0]}…)")
    wanted = [prefix for prefix in there if prefix in RAW] if raw else there
    if not wanted:
        raise CheckpointError("the checkpoint holds averaged weights only: leave out --raw")
    others = tuple(prefix for prefix in there if prefix and prefix != wanted[0])
    return {
        key.removeprefix(wanted[0]): value
        for key, value in state.items()
        if not _NO_WEIGHTS.fullmatch(key) and not (key.startswith(others) and not key.startswith(wanted[0] or "\0"))
    }


def config(state: Mapping[str, Tensor]) -> SFCConfig:
    """Read the configuration off the shapes. They are those of a published variant, apart from the number of blocks.

    Raises: CheckpointError if they are not, since heads, groups and stems are not to be seen in shapes.
    """
    blocks = {match[1] for key in state if (match := re.match(r"blocks\.(\d+)\.", key))}
    for known in CONFIGS.values():
        for adaptive in (known.adaptive, not known.adaptive):
            candidate = replace(known, blocks=len(blocks), adaptive=adaptive)
            needed = shapes(candidate)
            if needed.keys() == state.keys() and all(tuple(state[key].shape) == needed[key] for key in needed):
                return candidate
    raise CheckpointError(
        f"its shapes are those of no published SFC network; {sfc_settings.SETTINGS_NAME} is needed beside its folder"
    )


def shapes(config: SFCConfig) -> dict[str, tuple[int, ...]]:
    """Return every published key of a network with its shape."""
    with torch.device("meta"):
        ours = {key: tuple(value.shape) for key, value in SFC(config).state_dict().items()}
    found = {_published(key): shape for key, shape in ours.items()}
    for side in ("encoder", "decoder") if config.codec == "attention" else ():
        found[f"{side}.block.mixer.pos_bias.slope"] = (config.codec_heads, 1, 1)
    if config.codec == "split":
        found |= {key: tuple(value.shape) for key, value in _shares(config).items()}
    return found


def convert(state: Mapping[str, Tensor], config: SFCConfig) -> dict[str, Tensor]:
    """Return our state dict for a published one that has the keys and shapes of `shapes`; in its type.

    Raises: CheckpointError if the bands of a band split are others than ours.
    """
    for key, expected in _shares(config).items() if config.codec == "split" else ():
        if not torch.allclose(state[key].double(), expected, atol=1e-4):
            raise CheckpointError(f"its bands are not the musical ones: {key} differs")
    with torch.device("meta"):
        keys = SFC(config).state_dict().keys()
    return {key: _ours(state, _published(key)) for key in keys}


def _ours(state: Mapping[str, Tensor], key: str) -> Tensor:
    slope = state.get(key.removesuffix("pos_bias") + "slope") if key.endswith("pos_bias.pos_bias") else None
    return state[key] if slope is None else state[key] * slope


def _published(key: str) -> str:
    return f"{key}.pos_bias" if key.endswith(".pos_bias") else key


def _shares(config: SFCConfig) -> dict[str, Tensor]:
    bands = musical_bands(config.bands, config.sample_rate, config.n_fft)
    shares = torch.from_numpy(1 / bands_over(bands, bands[-1].stop))
    return {f"decoder.freq_weights/{i}": shares[band.start : band.stop] for i, band in enumerate(bands)}
