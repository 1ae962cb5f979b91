"""The published RoFormer checkpoints → ours: the same numbers under the same names, and the trainer's YAML → a config.

Weights of lucidrains' package and of ZFTurbo's trainer. The rotary frequencies that every attention repeats are
computed here, and are left out. Shapes tell neither the names of the stems nor the hop, so that a config is needed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from stemsplit.errors import CheckpointError
from stemsplit.networks.layers.roformer.attention import Attention, rotary_frequencies
from stemsplit.networks.roformer import BANDS_62, RoFormer, RoFormerConfig

_SIGNS = ("band_split.to_features.0.0.gamma", "mask_estimators.0.to_freqs.0.0.0.weight", "layers.0.0.layers.0.0.")
_ROTARY = "rotary_embed.freqs"
_NO_WEIGHTS = re.compile(
    r"(.*\.)?(rotary_embed\.(cached_\w+|dummy|scale)|freq_indices|freqs_per_band|num_freqs_per_band|num_bands_per_freq)"
)
_ONLY = {"linear_transformer_depth": 0, "stft_normalized": False, "skip_connection": False, "zero_dc": False}
"""Settings of which one value alone is computed here."""
_NEEDLESS = re.compile(
    r"multi_stft_.*|(attn|ff)_dropout|flash_attn|sage_attention|use_torch_checkpoint|dim_freqs_in|match_input_audio_length"
)
"""Settings of training and of speed."""


def matches(keys: Collection[str]) -> bool:
    """Return whether the keys look like a RoFormer."""
    return all(any(key.startswith(sign) for key in keys) for sign in _SIGNS)


def chosen(state: Mapping[str, Tensor], *, raw: bool) -> dict[str, Tensor]:
    """Return a state dict without the tables that some versions keep in it. There is only one kind of weights."""
    return {key: value for key, value in state.items() if not _NO_WEIGHTS.fullmatch(key)}


def config(state: Mapping[str, Tensor]) -> RoFormerConfig:
    """Refuse, since the shapes tell too little.

    Raises: CheckpointError.
    """
    raise CheckpointError(
        "a RoFormer's weights do not tell the names of its stems: its YAML or a config is needed beside it, "
        "or named as in model.ckpt#config=FILE.yaml"
    )


def shapes(config: RoFormerConfig) -> dict[str, tuple[int, ...]]:
    """Return every published key of a network with its shape."""
    with torch.device("meta"):
        network = RoFormer(config)
    found = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    for name, part in network.named_modules():
        if isinstance(part, Attention):
            found[f"{name}.{_ROTARY}"] = (config.head_dim // 2,)
    return found


def convert(state: Mapping[str, Tensor], config: RoFormerConfig) -> dict[str, Tensor]:
    """Return our state dict for a published one that has the keys and shapes of `shapes`; in its type.

    Raises: CheckpointError if its rotary frequencies are not the usual ones.
    """
    usual = rotary_frequencies(config.head_dim)
    for key, value in state.items():
        # They may be rounded to half precision.
        if key.endswith(_ROTARY) and not torch.allclose(value.float(), usual, rtol=1e-2, atol=1e-6):
            raise CheckpointError(f"its rotary frequencies are not the usual ones: {key} differs")
    return {key: value for key, value in state.items() if not key.endswith(_ROTARY)}


def configured(settings: Mapping[str, Any]) -> RoFormerConfig:
    """Return the config that the YAML of ZFTurbo's trainer describes: `model`, `audio`, `training` and `inference`.

    Raises: CheckpointError naming a setting that is missing, or that has a value which we do not compute.
    """
    model, audio, inference = (_section(settings, name) for name in ("model", "audio", "inference"))
    if "dim" not in model or "depth" not in model:
        raise CheckpointError("the YAML is no RoFormer's: it lacks model.dim or model.depth")
    mel = "num_bands" in model
    values = _sizes(model, mel=mel)
    if mel:
        values["mel_bands"] = _count(model, "num_bands", 60)
    else:
        bands = model.get("freqs_per_bands", BANDS_62)
        if not isinstance(bands, (list, tuple)) or not all(isinstance(width, int) for width in bands):
            raise CheckpointError(f"model.freqs_per_bands is {bands}, and not a list of widths")
        values["bands"] = tuple(bands)
    rate = _count(audio, "sample_rate", 44100)
    if mel and _count(model, "sample_rate", 44100) != rate:
        raise CheckpointError(f"model.sample_rate is {model.get('sample_rate', 44100)} and audio.sample_rate {rate}")
    chunk = inference if "chunk_size" in inference else audio  # which the trainer prefers, too
    names, rest = _stems(_section(settings, "training"), _count(model, "num_stems", 1))
    values |= {
        "stems": names,
        "rest": rest,
        "sample_rate": rate,
        "chunk_samples": _count(chunk, "chunk_size", RoFormerConfig.chunk_samples),
        "overlap": 1 - 1 / max(1, _count(inference, "num_overlap", 2)),
    }
    _refuse_unknown(model, values["n_fft"])
    try:
        return RoFormerConfig.from_dict(values)
    except ValueError as error:
        raise CheckpointError(f"the YAML describes no network: {error}") from error


_SIZES = {  # ours: theirs, and its default in lucidrains' package
    "dim": ("dim", 0),
    "depth": ("depth", 0),
    "time_layers": ("time_transformer_depth", 2),
    "band_layers": ("freq_transformer_depth", 2),
    "heads": ("heads", 8),
    "head_dim": ("dim_head", 64),
    "n_fft": ("stft_n_fft", 2048),
    "hop_length": ("stft_hop_length", 512),
    "mask_scale": ("mlp_expansion_factor", 4),
}


def _sizes(model: Mapping[str, Any], *, mel: bool) -> dict[str, Any]:
    """Return the sizes that both kinds have. Mel-band networks count one map less than there are."""
    found: dict[str, Any] = {ours: _count(model, theirs, default) for ours, (theirs, default) in _SIZES.items()}
    depth = _count(model, "mask_estimator_depth", 1 if mel else 2)
    return found | {"mask_maps": depth + mel, "channels": 2 if model.get("stereo", False) else 1}


def _stems(training: Mapping[str, Any], count: int) -> tuple[tuple[str, ...], str | None]:
    """Return the stems, and which one is the rest."""
    names, target = training.get("instruments"), training.get("target_instrument")
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"training.instruments is {names}, and not a list of names")
    if target is None and len(names) == count and count > 1:
        return tuple(names), None
    if target is None and len(names) == 1:
        target = names[0]
    if not isinstance(target, str) or count != 1:
        raise CheckpointError(
            f"model.num_stems is {count}, which does not fit training.instruments, {', '.join(names)}, "
            f"and target_instrument, {target}"
        )
    others = [name for name in names if name != target]
    left = others[0] if len(others) == 1 else "rest" if target == "other" else "other"
    return (target, left), left


def _refuse_unknown(model: Mapping[str, Any], n_fft: int) -> None:
    known = {theirs for theirs, _ in _SIZES.values()}
    known |= {"num_stems", "stereo", "num_bands", "freqs_per_bands", "sample_rate", "mask_estimator_depth"}
    for name, value in model.items():
        expected = n_fft if name == "stft_win_length" else _ONLY.get(name)
        if expected is not None and value != expected:
            raise CheckpointError(f"model.{name} is {value}; only {expected} is known here")
        if expected is None and name not in known and not _NEEDLESS.fullmatch(name):
            raise CheckpointError(f"model.{name} is not known here")


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = settings.get(name, {})
    if not isinstance(found, Mapping):
        raise CheckpointError(f"the YAML's {name} is {found}, and not a section")
    return found


def _count(section: Mapping[str, Any], name: str, default: int) -> int:
    value = section.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CheckpointError(f"{name} is {value}, and not a whole number")
    return value
