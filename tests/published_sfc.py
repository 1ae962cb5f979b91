"""SFC as its authors' trainer leaves it: settings, and checkpoints with raw and averaged weights."""

from __future__ import annotations

import io
from typing import Any

import torch
import yaml
from torch import Tensor

from stemsplit.networks.sfc import SFCConfig
from stemsplit.weights.layouts import sfc as layout

CLASSES = {
    "attention": ("crossattn_enc_dec.CrossAttnEncoder", "crossattn_enc_dec.CrossAttnDecoder"),
    "mamba": ("mamba_enc_dec.MambaEncoder", "mamba_enc_dec.MambaDecoder"),
    "split": ("bandsplit.BandSplitEncoder", "bandsplit.BandSplitDecoder"),
}
PACKAGE = "spectral_feature_compression.core.model."
TINY = SFCConfig(
    n_fft=128, hop_length=32, sample_rate=8000, bands=8, inner=8, dim=8, heads=2, groups=2, codec_heads=2, blocks=1,
    hidden=6, kernel=4, chunk_samples=3000 * 32,
)  # fmt: skip


def settings(config: SFCConfig) -> dict[str, Any]:
    """merged_config.yaml of a network."""
    codec = {
        "d_model": config.dim,
        "n_chan": config.channels,
        "n_bands": config.bands,
        "band_config": "musical",
    }
    if config.codec != "split":
        query = "adaptive" if config.adaptive else "learnable"
        codec |= {"d_inner": config.inner, "query_type": query, "mask_outside_bands": False}
    if config.codec == "attention":
        codec |= {"n_heads": config.codec_heads, "slope": [1, 1], "learnable_slope": False, "learnable_pos_bias": True}
    if config.codec == "mamba":
        codec |= {"d_state": config.d_state, "expand": config.expand, "bidirectional": True}
    encoder, decoder = CLASSES[config.codec]
    inner = {
        "_target_": f"{PACKAGE}bslocoformer.BSLocoformer",
        "n_src": len(config.stems),
        "n_chan": 2,
        "n_layers": config.blocks,
        "emb_dim": config.dim,
        "norm_type": "rmsgroupnorm",
        "num_groups": config.groups,
        "tf_order": "ft",
        "n_heads": config.heads,
        "flash_attention": True,
        "attention_dim": config.dim,
        "ffn_type": ["swiglu_conv1d", "swiglu_conv1d"],
        "ffn_hidden_dim": [config.hidden, config.hidden],
        "conv1d_kernel": config.kernel,
        "conv1d_shift": 1,
        "dropout": 0.1,
        "eps": "1e-5",
        "encoder": {"_target_": PACKAGE + encoder, **codec},
        "decoder": {"_target_": PACKAGE + decoder, "n_src": len(config.stems), **codec},
    }
    names = {"effects": "sfx"}
    return {
        "seed": 0,
        "datamodule": {"train_dataset_path": [f"/data/train_{names.get(stem, stem)}_8s" for stem in config.stems]},
        "task": {
            "model": {
                "_target_": f"{PACKAGE}model_wrapper.ModelWrapper",
                "n_fft": config.n_fft,
                "hop_length": config.hop_length,
                "fs": config.sample_rate,
                "scaling": True,
                "css_segment_size": 12,
                "css_shift_size": 6,
                "model": inner,
            }
        },
    }


def settings_file(config: SFCConfig) -> bytes:
    return yaml.safe_dump(settings(config)).encode()


def weights(config: SFCConfig, seed: int) -> dict[str, Tensor]:
    """Random weights under the published keys, with the constants as they are."""
    torch.manual_seed(seed)
    state = {key: torch.randn(shape) for key, shape in layout.shapes(config).items()}
    constants = layout._shares(config) if config.codec == "split" else {}
    ones = {key: torch.ones(value.shape) for key, value in state.items() if key.endswith(".slope")}
    return state | ones | {key: value.float() for key, value in constants.items()}


def checkpoint(config: SFCConfig, averaged: int = 1, raw: int = 2) -> dict[str, Tensor]:
    """The state dict of a trainer: raw weights, their average, windows."""
    window = torch.hann_window(config.n_fft)
    state = {"stft.0.window": window, "ema_model.n_averaged": torch.tensor(7)}
    for prefix, seed in (("model.", raw), ("ema_model.module.", averaged)):
        state |= {f"{prefix}stft.0.window": window, f"{prefix}istft.window": window}
        state |= {f"{prefix}model.{key}": value for key, value in weights(config, seed).items()}
    return state


def as_bytes(content: Any) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def folder_of(config: SFCConfig, prefix: str = "") -> dict[str, bytes]:
    """A trainer's folder: two checkpoints, and one to go on from."""
    return {
        f"{prefix}merged_config.yaml": settings_file(config),
        f"{prefix}checkpoints/epoch=1.ckpt": as_bytes({"state_dict": checkpoint(config, 1), "epoch": 1}),
        f"{prefix}checkpoints/epoch=2.pth": as_bytes(checkpoint(config, 3)),
        f"{prefix}checkpoints/last.ckpt": b"to go on from",
    }
