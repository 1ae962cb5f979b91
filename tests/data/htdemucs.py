"""Make htdemucs.npz: what PyPI's demucs computes under seeded weights. Needs `pip install demucs==4.1.0 torchaudio`.

python tests/data/htdemucs.py
"""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from seeded_state import seeded_audio, seeded_tensor

STEMS = ["drums", "bass", "other", "vocals", "guitar", "piano"]
COMMON = {"channels": 8, "t_heads": 4, "segment": Fraction(1, 4)}
CASES = {
    "four": {**COMMON, "sources": STEMS[:4], "bottom_channels": 16, "t_layers": 3, "dconv_mode": 3, "nfft": 4096},
    "six": {**COMMON, "sources": STEMS, "bottom_channels": 0, "t_layers": 2, "dconv_mode": 1, "nfft": 2048},
}
SHORT, EVERY = 4001, 4


def main() -> None:
    """Write both cases, in float64 computed and as float32 kept, every fourth sample."""
    from demucs.htdemucs import HTDemucs

    kept = {}
    for name, settings in CASES.items():
        network = HTDemucs(**settings).double().eval()
        state = {key: torch.from_numpy(seeded(key, tuple(value.shape))) for key, value in network.state_dict().items()}
        network.load_state_dict(state)
        mixture = torch.from_numpy(seeded_audio(0.25)).double()[None]
        with torch.no_grad():
            kept[name] = network(mixture)[0, ..., ::EVERY].numpy().astype(np.float32)
            kept[f"{name}_short"] = network(mixture[..., :SHORT])[0, ..., ::EVERY].numpy().astype(np.float32)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **kept)


def seeded(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a parameter; the factors of residuals are large enough for their branches to be heard."""
    return seeded_tensor(name, shape) + np.float32(0.3 if name.endswith("scale") else 0.0)


if __name__ == "__main__":
    main()
