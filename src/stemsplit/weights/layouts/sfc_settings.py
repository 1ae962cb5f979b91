"""`merged_config.yaml` of the authors' trainer → a config of ours. What we cannot compute is refused by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from stemsplit.errors import CheckpointError
from stemsplit.networks.sfc import Codec, SFCConfig

SETTINGS_NAME = "merged_config.yaml"
_CODECS: dict[str, Codec] = {"crossattn": "attention", "mamba": "mamba", "bandsplit": "split"}
_STEMS = {name: name for name in ("bass", "drums", "vocals", "other", "speech", "music")} | {"sfx": "effects"}
_ONLY = {  # settings of which we compute one value alone
    "task.model.scaling": True,
    "task.model.model.norm_type": "rmsgroupnorm",
    "task.model.model.tf_order": "ft",
    "task.model.model.eps": 1e-5,
    "task.model.model.conv1d_shift": 1,
    "task.model.model.ffn_type": ["swiglu_conv1d", "swiglu_conv1d"],
} | {
    f"task.model.model.{side}.{name}": value
    for side in ("encoder", "decoder")
    for name, value in (
        ("band_config", "musical"), ("mask_outside_bands", False), ("bidirectional", True), ("d_conv", 4)
    )
}  # fmt: skip


def configured(settings: Mapping[str, Any]) -> SFCConfig:
    """Return the config that the trainer's settings describe.

    Raises: CheckpointError naming a setting that is missing, or that has a value which we do not compute.
    """
    for place, expected in _ONLY.items():
        if (found := _find(settings, place, None)) is not None and not _same(found, expected):
            raise CheckpointError(f"{SETTINGS_NAME}: {place} is {found}; only {expected} is known here")
    outer, inner = "task.model", "task.model.model"
    encoder = f"{inner}.encoder"
    codec = _codec(_text(settings, f"{encoder}._target_"), _text(settings, f"{inner}.decoder._target_"))
    rate, hop_length = _count(settings, f"{outer}.fs"), _count(settings, f"{outer}.hop_length")
    segment, shift = (_number(settings, f"{outer}.css_{name}_size") for name in ("segment", "shift"))
    channels = _count(settings, f"{encoder}.n_chan")
    widths = _find(settings, f"{inner}.ffn_hidden_dim")
    if not isinstance(widths, list) or len({*map(str, widths)}) != 1:
        raise CheckpointError(f"{SETTINGS_NAME}: {inner}.ffn_hidden_dim is {widths}; only equal widths are known here")
    values: dict[str, Any] = {
        "codec": codec,
        "sample_rate": rate,
        "channels": channels,
        "stems": _stems(settings, _count(settings, f"{inner}.n_src")),
        "n_fft": _count(settings, f"{outer}.n_fft"),
        "hop_length": hop_length,
        "chunk_samples": max(1, round(segment * rate / hop_length)) * hop_length,
        "overlap": 1 - shift / segment if segment else 0,
        "dim": _count(settings, f"{inner}.emb_dim"),
        "blocks": _count(settings, f"{inner}.n_layers"),
        "heads": _count(settings, f"{inner}.n_heads"),
        "groups": _count(settings, f"{inner}.num_groups"),
        "hidden": int(widths[0]),
        "kernel": _count(settings, f"{inner}.conv1d_kernel"),
        "bands": _count(settings, f"{encoder}.n_bands"),
    }
    if codec != "split":
        values["inner"] = _count(settings, f"{encoder}.d_inner")
        values["adaptive"] = _text(settings, f"{encoder}.query_type") == "adaptive"
    if codec == "attention":
        values["codec_heads"] = _count(settings, f"{encoder}.n_heads")
    if codec == "mamba":
        values |= {name: _count(settings, f"{encoder}.{name}") for name in ("d_state", "expand")}
    try:
        return SFCConfig.from_dict(values)
    except ValueError as error:
        raise CheckpointError(f"{SETTINGS_NAME}: {error}") from error


def _codec(encoder: str, decoder: str) -> Codec:
    kind, other = (
        next((kind for word, kind in _CODECS.items() if word in _plain(name)), None) for name in (encoder, decoder)
    )
    if kind is None or kind != other:
        raise CheckpointError(f"{SETTINGS_NAME}: the codec of {encoder} and {decoder} is not known here")
    return kind


def _stems(settings: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Return the stems in the order in which the trainer reads their data sets."""
    place = "datamodule.train_dataset_path"
    paths = _find(settings, place)
    if isinstance(paths, Mapping):
        paths = list(paths.values())
    names = [_stem(str(path)) for path in paths] if isinstance(paths, list) else []
    if len(names) != count or None in names:
        raise CheckpointError(f"{SETTINGS_NAME}: {place} does not name the {count} stems in order: {paths}")
    return tuple(name for name in names if name is not None)


def _stem(path: str) -> str | None:
    """Return the stem in the name of a data set, such as train_bass_8s or tr_speech."""
    words = re.split(r"[^a-z]+", path.rpartition("/")[2].lower())
    return next((_STEMS[word] for word in words if word in _STEMS), None)


def _find(settings: Mapping[str, Any], place: str, *otherwise: Any) -> Any:
    value: Any = settings
    for name in place.split("."):
        if not isinstance(value, Mapping) or name not in value:
            if otherwise:
                return otherwise[0]
            raise CheckpointError(f"{SETTINGS_NAME} lacks {place}")
        value = value[name]
    return value


def _number(settings: Mapping[str, Any], place: str) -> float:
    try:
        return float(_find(settings, place))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{SETTINGS_NAME}: {place} is no number") from error


def _count(settings: Mapping[str, Any], place: str) -> int:
    number = _number(settings, place)
    if number != int(number) or number < 1:
        raise CheckpointError(f"{SETTINGS_NAME}: {place} is {number}, no count")
    return int(number)


def _text(settings: Mapping[str, Any], place: str) -> str:
    return str(_find(settings, place))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.rpartition(".")[2].lower())


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float):
        try:
            return float(found) == expected  # YAML reads 1e-5 as text
        except (TypeError, ValueError):
            return False
    if isinstance(expected, list):
        return isinstance(found, Iterable) and not isinstance(found, str) and list(found) == expected
    return bool(found == expected)
