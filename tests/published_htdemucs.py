"""HTDemucs files as their authors publish them, with seeded weights: .th, safetensors, and bags."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import safetensors.torch
import torch
from data.htdemucs_song import weight

from stemsplit.networks.htdemucs import HTDemucs, HTDemucsConfig

STEMS = ["drums", "bass", "other", "vocals"]
KWARGS: dict[str, Any] = {
    "sources": STEMS, "audio_channels": 2, "samplerate": 44100, "segment": Fraction(1, 4), "channels": 8,
    "channels_time": None, "growth": 2, "nfft": 4096, "wiener_iters": 0, "end_iters": 0, "cac": True, "depth": 4,
    "rewrite": True, "multi_freqs": [], "multi_freqs_depth": 3, "freq_emb": 0.2, "emb_scale": 10, "emb_smooth": True,
    "kernel_size": 8, "stride": 4, "time_stride": 2, "context": 1, "context_enc": 0, "norm_starts": 4,
    "norm_groups": 4, "dconv_mode": 3, "dconv_depth": 2, "dconv_comp": 8, "dconv_init": 1e-3, "bottom_channels": 16,
    "t_layers": 2, "t_hidden_scale": 4.0, "t_heads": 4, "t_dropout": 0.02, "t_layer_scale": True, "t_gelu": True,
    "t_emb": "sin", "t_max_positions": 10000, "t_norm_in": True, "t_norm_first": True, "t_norm_out": True,
    "t_weight_pos_embed": 1.0, "t_lr": None, "t_sparse_self_attn": False, "t_cross_first": False, "rescale": 0.1,
}  # fmt: skip
"""What the arguments of the published networks are, but for sizes."""
CONFIG = HTDemucsConfig(
    chunk_samples=11025, channels_first=8, bottom_channels=16, transformer_layers=2, transformer_heads=4
)
SIX = [*STEMS, "guitar", "piano"]
NAMES = ("f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d")


@lru_cache
def state_of(seed: int, config: HTDemucsConfig = CONFIG) -> dict[str, torch.Tensor]:
    """Return seeded weights in half precision."""
    with torch.device("meta"):
        network = HTDemucs(config)
    return {key: weight(key, tuple(value.shape), seed).half() for key, value in network.state_dict().items()}


def save_th(folder: Path, name: str = "955717e8", seed: int = 0, made: str = "HTDemucs", **content: Any) -> Path:
    """Write NAME-HASH.th; `content` replaces parts of it. Return its path."""
    kwargs = {**KWARGS, **content.pop("kwargs", {})}
    with _module("demucs.htdemucs", made) as module:
        package = {"klass": getattr(module, made), "args": (), "kwargs": kwargs, "state": state_of(seed)}
        buffer = io.BytesIO()
        torch.save({**package, "training_args": {"epochs": 360, "dset": {"segment": 11}}, **content}, buffer)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(buffer.getvalue()).hexdigest()[:8]}.th"
    path.write_bytes(buffer.getvalue())
    return path


def save_on_the_hub(folder: Path, name: str = "955717e8", seed: int = 0, **changed: str) -> Path:
    """Write NAME.safetensors and return its path; `changed` replaces metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": json.dumps(KWARGS, default=_as_json)}
    path = folder / f"{name}.safetensors"
    safetensors.torch.save_file(state_of(seed), path, metadata={**metadata, **changed})
    return path


def save_bag(folder: Path, *, on_the_hub: bool = False) -> Path:
    """Write four networks and htdemucs_ft.yaml, and return the folder."""
    for seed, name in enumerate(NAMES):
        (save_on_the_hub if on_the_hub else save_th)(folder, name, seed)
    rows = ",\n".join(f"  [{', '.join('1.' if stem == number else '0.' for stem in range(4))}]" for number in range(4))
    text = f"models: {list(NAMES)}\nweights: [\n{rows},\n]\n"
    (folder / "htdemucs_ft.yaml").write_text(text, encoding="utf-8")
    return folder


def _as_json(value: Fraction) -> Mapping[str, Any]:
    return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}


@contextmanager
def _module(name: str, klass: str) -> Iterator[ModuleType]:
    """Let a module of this name be there, with a class, so that pickle finds it."""
    package, module = ModuleType(name.partition(".")[0]), ModuleType(name)
    setattr(module, klass, type(klass, (), {"__module__": name}))
    before = {key: sys.modules.get(key) for key in (package.__name__, name)}
    sys.modules.update({package.__name__: package, name: module})
    try:
        yield module
    finally:
        for key, old in before.items():
            sys.modules.pop(key)
            if old is not None:
                sys.modules[key] = old
