"""A tiny RoFormer as lucidrains' package writes it, with the YAML of ZFTurbo's trainer."""

from __future__ import annotations

import torch
from data.roformer import BANDS, seeded

from stemsplit.networks.layers.roformer.attention import rotary_frequencies
from stemsplit.networks.roformer import RoFormer, RoFormerConfig

TINY = RoFormerConfig(dim=8, depth=1, heads=2, head_dim=4, n_fft=512, hop_length=128, bands=BANDS, chunk_samples=4096)
TEXT = (
    "audio: {chunk_size: 4096}\nmodel:\n  dim: 8\n  depth: 1\n  heads: 2\n  dim_head: 4\n  stft_n_fft: 512\n"
    "  stft_hop_length: 128\n  stereo: true\n  time_transformer_depth: 1\n  freq_transformer_depth: 1\n"
    f"  freqs_per_bands: !!python/tuple{''.join(f'{chr(10)}  - {width}' for width in BANDS)}\n"
    "training: {instruments: [vocals, other], target_instrument: vocals}\ninference: {num_overlap: 2}\n"
)


def published() -> dict[str, torch.Tensor]:
    """A tiny state dict as it is published, with rotary frequencies in every attention."""
    state = {key: seeded(key, value) for key, value in RoFormer(TINY).state_dict().items()}
    for axis in (0, 1):
        state[f"layers.0.{axis}.layers.0.0.rotary_embed.freqs"] = rotary_frequencies(4)
    return state
