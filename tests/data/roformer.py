"""Make roformer.npz: what lucidrains' RoFormers compute under seeded weights, and librosa's mel bands.

Needs `pip install BS-RoFormer==0.3.10 librosa`: the layout of the published checkpoints. python tests/data/roformer.py
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from seeded_state import seeded_audio, seeded_tensor

COMMON = {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "stft_n_fft": 512, "stft_win_length": 512}
BANDS = (2,) * 8 + (5,) * 12 + (16,) * 8 + (53,)
CASES = {
    "bands": {"freqs_per_bands": BANDS, "stft_hop_length": 110, "num_stems": 1, "stereo": True,
              "time_transformer_depth": 1, "freq_transformer_depth": 2, "mask_estimator_depth": 2},
    "mel": {"num_bands": 20, "stft_hop_length": 128, "num_stems": 3, "stereo": True, "sample_rate": 44100,
            "time_transformer_depth": 1, "freq_transformer_depth": 1, "mask_estimator_depth": 2},
    "mono": {"num_bands": 16, "stft_hop_length": 110, "num_stems": 2, "stereo": False, "sample_rate": 22050,
             "time_transformer_depth": 2, "freq_transformer_depth": 1, "mask_estimator_depth": 1},
}  # fmt: skip
LENGTHS = {"whole": 11000, "odd": 4001}
MEL_BANKS = ((60, 44100, 2048), (64, 44100, 4096), (20, 44100, 512), (16, 22050, 512), (40, 48000, 2048))
EVERY = 2


def main() -> None:
    """Write all cases, in float64 computed and as float32 kept, every second sample."""
    import librosa
    from bs_roformer import BSRoformer, MelBandRoformer

    kept = {}
    for name, settings in CASES.items():
        kind = BSRoformer if "freqs_per_bands" in settings else MelBandRoformer
        with torch.random.fork_rng():
            network = kind(**COMMON, **settings, stft_window_fn=window).double().eval()
        network.load_state_dict({key: seeded(key, value) for key, value in network.state_dict().items()})
        for length, samples in LENGTHS.items():
            mixture = torch.from_numpy(noisy(1 + settings["stereo"], samples)).double()
            with torch.no_grad():
                found = network(mixture).view(settings["num_stems"], mixture.shape[1], -1)
            kept[f"{name}_{length}"] = found.numpy()[..., ::EVERY].astype(np.float32)
    for bands, rate, n_fft in MEL_BANKS:
        bank = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bands) > 0
        kept[f"mel_{bands}_{rate}_{n_fft}"] = np.packbits(bank, axis=1)
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **kept)


def noisy(channels: int, samples: int) -> np.ndarray:
    """Return a mixture (1, channels, samples) with noise in every band; in silent ones rounding errors would grow."""
    noise = np.random.Generator(np.random.Philox(key=0)).standard_normal((channels, samples), np.float32)
    return (0.7 * seeded_audio(0.25)[:channels, :samples] + 0.05 * noise)[None].astype(np.float32)


def window(samples: int, device: torch.device) -> torch.Tensor:
    """Return the Hann window, which is rounded to float32 in every type."""
    return torch.hann_window(samples, device=device).double()


def seeded(key: str, value: torch.Tensor) -> torch.Tensor:
    """Return a parameter; rotary frequencies are no parameters and stay as they are."""
    if key.endswith("rotary_embed.freqs"):
        return value
    found = torch.from_numpy(seeded_tensor(key, tuple(value.shape)))
    return found + 1 if key.endswith("gamma") else found


if __name__ == "__main__":
    main()
