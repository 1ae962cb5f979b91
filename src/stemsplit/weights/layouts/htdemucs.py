"""The published HTDemucs weights → ours: the same numbers under the same names; class and arguments → a config.

A file holds what the authors' network was made with, `klass`, `args` and `kwargs`, beside its `state`. The networks of
a bag are files of their own, and a YAML says what each one counts. Here they are `models.0.…`, `models.1.…`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from stemsplit.errors import CheckpointError
from stemsplit.networks.htdemucs import HTDemucs, HTDemucsConfig

_SIGNS = ("crosstransformer.", "encoder.0.conv.", "tencoder.0.conv.")
_KLASS = "demucs.htdemucs.HTDemucs"
_SIZES: Mapping[str, tuple[str, Any]] = {  # ours: theirs, and its default there
    "sample_rate": ("samplerate", 44100),
    "channels": ("audio_channels", 2),
    "n_fft": ("nfft", 4096),
    "channels_first": ("channels", 48),
    "depth": ("depth", 4),
    "residual_depth": ("dconv_depth", 2),
    "residual_compression": ("dconv_comp", 8),
    "bottom_channels": ("bottom_channels", 0),
    "transformer_layers": ("t_layers", 5),
    "transformer_heads": ("t_heads", 8),
    "transformer_hidden_scale": ("t_hidden_scale", 4.0),
}
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "growth": (2,), "wiener_iters": (0,), "end_iters": (0,), "cac": (True,), "rewrite": (True,),
    "multi_freqs": (None, []), "freq_emb": (0.2,), "emb_scale": (10,), "kernel_size": (8,), "stride": (4,),
    "context": (1,), "context_enc": (0,), "t_emb": ("sin",), "t_norm_in": (True,), "t_norm_in_group": (False,),
    "t_group_norm": (False,), "t_norm_first": (True,), "t_norm_out": (True,), "t_max_period": (10000,),
    "t_layer_scale": (True,), "t_gelu": (True,), "t_weight_pos_embed": (1,), "t_sparse_self_attn": (False,),
    "t_sparse_cross_attn": (False,), "t_cross_first": (False,), "use_train_segment": (True,),
}  # fmt: skip
"""Settings of which a few values alone are computed here. What else there is concerns the training, or nothing."""


def matches(keys: Collection[str]) -> bool:
    """Return whether the keys look like the authors' network."""
    return all(any(key.startswith(sign) for key in keys) for sign in _SIGNS)


def joined(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the state dicts of all networks of a bag as one."""
    if len(states) == 1:
        return dict(states[0])
    return {f"models.{number}.{key}": value for number, state in enumerate(states) for key, value in state.items()}


def config(state: Mapping[str, Tensor]) -> HTDemucsConfig:
    """Refuse, since the shapes tell too little.

    Raises: CheckpointError.
    """
    raise CheckpointError(
        "an HTDemucs' weights do not tell its stems and its segment: klass, args and kwargs are missing beside them, "
        "which the published files have, or a config.json"
    )


def described(made: Sequence[Mapping[str, Any]], bag: Mapping[str, Any]) -> HTDemucsConfig:
    """Return the config of the networks that were made so, `klass`, `args` and `kwargs` of each, and of their bag.

    Raises: CheckpointError naming what is missing, or has a value which we do not compute.
    """
    first, *others = map(_alone, made)
    for number, other in enumerate(others, 2):
        differing = [name for name, value in first.items() if other[name] != value]
        if differing:
            raise CheckpointError(f"the networks of the bag differ: {', '.join(differing)} of number {number}")
    segment = _segment(bag.get("segment"), "segment of the bag")
    if segment is not None:
        first["chunk_samples"] = min(first["chunk_samples"], int(segment * first["sample_rate"]))
    if len(made) > 1:
        first["bag"] = _weights(bag.get("weights"), len(made), len(first["stems"]))
    try:
        return HTDemucsConfig.from_dict(first)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"its args and kwargs describe no network: {error}") from error


def shapes(config: HTDemucsConfig) -> dict[str, tuple[int, ...]]:
    """Return every published key of a network, or of all of a bag, with its shape."""
    with torch.device("meta"):
        network = HTDemucs(config)
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def convert(state: Mapping[str, Tensor], config: HTDemucsConfig) -> dict[str, Tensor]:
    """Return our state dict, which is the published one."""
    return dict(state)


def _alone(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of one network."""
    if (klass := made.get("klass")) != _KLASS:
        raise CheckpointError(f"it is a network of the class {klass}; of Demucs' networks only {_KLASS} is known here")
    args, kwargs = list(made.get("args", ())), dict(made.get("kwargs", {}))
    if len(args) > 1:
        raise CheckpointError(f"its args are {len(args)}; only sources may be one of them")
    stems = kwargs.get("sources", args[0] if args else None)
    if not isinstance(stems, (list, tuple)) or not stems:
        raise CheckpointError("its args and kwargs lack sources, the names of the stems")
    for name, known in _ONLY.items():
        if name in kwargs and kwargs[name] not in known:
            raise CheckpointError(f"its {name} is {kwargs[name]}; only {known[0]} is known here")
    values = {ours: kwargs.get(theirs, default) for ours, (theirs, default) in _SIZES.items()}
    if kwargs.get("channels_time") not in (None, values["channels_first"]):
        raise CheckpointError(f"its channels_time is {kwargs['channels_time']}; only that of channels is known here")
    if kwargs.get("norm_starts", 4) < values["depth"]:
        raise CheckpointError(
            f"its norm_starts is {kwargs['norm_starts']}; only {values['depth']} or more is known here"
        )
    segment, mode = _segment(kwargs.get("segment", 10), "segment"), kwargs.get("dconv_mode", 1)
    if mode not in (0, 1, 2, 3) or segment is None:
        raise CheckpointError(f"its dconv_mode is {mode}, and its segment {segment}")
    return values | {
        "stems": list(stems),
        "chunk_samples": int(segment * values["sample_rate"]),
        "residual_encoder": bool(mode & 1),
        "residual_decoder": bool(mode & 2),
    }


def _segment(value: Any, what: str) -> Fraction | float | None:
    if value is None or (isinstance(value, (int, float, Fraction)) and 0 < value < 1000):
        return value
    raise CheckpointError(f"the {what} is {value}, and no length in seconds")


def _weights(rows: Any, networks: int, stems: int) -> list[list[float]]:
    """Return what each network of a bag counts for every stem. Without a word about it they count the same."""
    if rows is None:
        return [[1.0] * stems] * networks
    if not isinstance(rows, (list, tuple)) or len(rows) != networks:
        raise CheckpointError(f"weights of the bag has not the {networks} rows of its networks")
    return [list(row) if isinstance(row, (list, tuple)) else [] for row in rows]
