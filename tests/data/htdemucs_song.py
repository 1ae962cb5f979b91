"""Make htdemucs_song.npz: what PyPI's demucs makes of a whole song, by a seeded network and by bags of them.

Needs `pip install demucs==4.1.0 torchaudio`. python tests/data/htdemucs_song.py
"""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from seeded_state import seeded_audio, seeded_tensor

STEMS = ["drums", "bass", "other", "vocals"]
TINY = {"sources": STEMS, "channels": 8, "bottom_channels": 16, "t_layers": 2, "t_heads": 4, "dconv_mode": 3}
SEGMENT, SHORT_SEGMENT = Fraction(39, 5), Fraction(1, 4)
SONG_SAMPLES = 19 * 44100 + 4321
"""Two segments of it lack samples."""
LENGTHS = {"bag": 40001, "one_segment": 11025, "three_quarters": 8269, "short": 3000, "tiny": 2}
"""Of what the bag is applied to."""
WEIGHTS = {
    "bag": [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
    "mixed": [[1.0, 2.0, 0.5, 0.0], [3.0, 1.0, 0.5, 1.0]],
}
EVERY, EVERY_OF_BAGS = 23, 5


def main() -> None:
    """Write the stems, computed in float32 as by the program itself, but for a part of their samples."""
    from demucs.apply import BagOfModels

    torch.set_num_threads(1)
    kept = {"song": separated(network(0, SEGMENT), song(SONG_SAMPLES))[..., ::EVERY]}
    for name, weights in WEIGHTS.items():
        bag = BagOfModels([network(seed, SHORT_SEGMENT) for seed in range(len(weights))], weights)
        for length, samples in LENGTHS.items() if name == "bag" else {name: LENGTHS["bag"]}.items():
            kept[length] = separated(bag, song(samples))[..., ::EVERY_OF_BAGS]
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **kept)


def song(samples: int) -> np.ndarray:
    """Return a song (2, samples) whose mean is not 0, as loud as old records are."""
    return (0.3 * seeded_audio(samples / 44100)[:, :samples] + 0.02).astype(np.float32)


def separated(model: object, mixture: np.ndarray) -> np.ndarray:
    """Return the stems (K, 2, n) as `demucs --shifts 0` makes them: of the song at a mean of 0 and a deviation of 1."""
    from demucs.apply import apply_model

    heard = torch.from_numpy(mixture)
    mono = heard.mean(0)
    mean, deviation = mono.mean(), mono.std() + 1e-8
    with torch.no_grad():
        stems = apply_model(model, ((heard - mean) / deviation)[None], shifts=0)[0]
    return (stems * deviation + mean).numpy()


def network(seed: int, segment: Fraction) -> object:
    """Return the authors' network with seeded weights."""
    from demucs.htdemucs import HTDemucs

    built = HTDemucs(**TINY, segment=segment).eval()
    built.load_state_dict({key: weight(key, tuple(value.shape), seed) for key, value in built.state_dict().items()})
    return built


def weight(name: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Return a parameter; the factors of residuals are large enough for their branches to be heard."""
    return torch.from_numpy(seeded_tensor(name, shape, seed) + np.float32(0.3 if name.endswith("scale") else 0.0))


if __name__ == "__main__":
    main()
