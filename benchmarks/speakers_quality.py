"""Score a model of two speakers on mixtures of people whom it has not heard, beside an oracle and the mixture itself.

    python benchmarks/speakers_quality.py --speech DIR --heldout FILE [--model REF] [--mixtures N] [--seconds LOW HIGH]
        [--level-db DB] [--threads N] [--json OUT]

DIR holds a folder of recordings per speaker somewhere below, and a *speakers.csv with their sexes if there is one; FILE
lists the speakers to mix. Every mixture is of two of them who talk all the time, with no more than DB between them. The
table goes to stdout: medians over all mixtures, and over those of two people of the same sex and of different ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import numpy as np
import torch
from scipy.signal import istft, stft

from stemsplit.evaluation.speakers import SpeakerScore, score_speakers
from stemsplit.separation.stream import separate_array
from stemsplit.training.examples.speakers import (
    SpeakerMixing,
    Voices,
    draw_example,
    find_speakers,
    load_voices,
    read_names,
    sexes_of,
)
from stemsplit.weights.checkpoint import load_network

RECORDED_RATE = 16000
PLAIN = SpeakerMixing(wide=0, speed=0, turns=0, single=0, room=0, noise=0)
WINDOW_SECONDS = 0.032
METRICS = {"si_sdr_db": "SI-SDR", "si_sdr_improvement_db": "SI-SDRi", "sdr_db": "SDR"}
KINDS = ("all", "same sex", "different")

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Mixture (1, n), true speakers (2, 1, n) → estimates (2, 1, n)."""


class Talk(NamedTuple):
    speakers: np.ndarray  # (2, 1, n)
    mixture: np.ndarray  # (1, n)
    kind: str


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    methods: dict[str, Method] = {"oracle mask": ideal_ratio_mask(options.rate), "mixture": twice}
    rate = options.rate
    if options.model:
        network = load_network(options.model)
        rate = network.config.sample_rate
        methods = {
            "model": lambda mixture, speakers: separate_array(network, mixture),
            "oracle mask": ideal_ratio_mask(rate),
            "mixture": twice,
        }
    talks = mixtures(options, rate)
    results, spent = run(methods, talks)
    seconds = sum(talk.mixture.shape[1] for talk in talks) / rate
    report(results, {name: value / seconds for name, value in spent.items()}, talks, rate)
    if options.json:
        rows = {name: [[vars(one.figures) for one in scores] for scores in found] for name, found in results.items()}
        options.json.write_text(json.dumps({"kinds": [talk.kind for talk in talks], "scores": rows}, indent=1) + "\n")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="folder with a folder of recordings per speaker")
    parser.add_argument("--heldout", type=Path, required=True, help="list of the speakers to mix")
    parser.add_argument("--model", help="any model reference that `stemsplit separate --model` takes")
    parser.add_argument("--mixtures", type=int, default=100, help="how many (100)")
    parser.add_argument("--seconds", type=float, nargs=2, default=(4.0, 6.0), help="their shortest and longest (4 6)")
    parser.add_argument("--level-db", type=float, default=2.5, help="most that speakers differ by (2.5)")
    parser.add_argument("--rate", type=int, default=8000, help="Hz, where there is no model (8000)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network (1)")
    parser.add_argument("--json", type=Path, help="also write every score here")
    return parser.parse_args()


def mixtures(options: argparse.Namespace, rate: int) -> list[Talk]:
    """Half of them of two people of the same sex, as far as sexes are known."""
    everyone, sexes = find_speakers([options.speech]), sexes_of([options.speech])
    names = [name for name in read_names(options.heldout) if name in everyone]
    voices = load_voices({name: everyone[name] for name in names}, RECORDED_RATE)
    rng = np.random.default_rng(0)
    pairs = list(combinations(range(len(voices.speakers)), 2))
    chosen: dict[str, list[tuple[int, int]]] = {"same sex": [], "different": [], "all": []}
    for index in rng.permutation(len(pairs)):
        first, second = (sexes.get(voices.speakers[one].name) for one in pairs[index])
        kind = "all" if first is None or second is None else "same sex" if first == second else "different"
        chosen[kind].append(pairs[index])
    rows = [*((pair, kind) for both in zip(chosen["same sex"], chosen["different"], strict=False)
              for pair, kind in zip(both, KINDS[1:], strict=True)),
            *((pair, "all") for pair in chosen["all"])]  # fmt: skip
    return [
        drawn(Voices(tuple(voices.speakers[one] for one in pair), RECORDED_RATE), kind, options, rate, number)
        for number, (pair, kind) in enumerate(rows[: options.mixtures])
    ]


def drawn(pair: Voices, kind: str, options: argparse.Namespace, rate: int, number: int) -> Talk:
    rng = np.random.default_rng((1, number))
    samples = round(rng.uniform(*options.seconds) * rate)
    example = draw_example(pair, samples, replace(PLAIN, level_db=options.level_db), rate, rng)
    return Talk(example.speakers, example.mixture, kind)


def ideal_ratio_mask(rate: int) -> Method:
    """The mixture's spectrogram shared out by the true magnitudes."""
    window = round(WINDOW_SECONDS * rate)
    how = {"fs": rate, "nperseg": window, "noverlap": window * 3 // 4}

    def separate(mixture: np.ndarray, speakers: np.ndarray) -> np.ndarray:
        magnitudes = np.abs(stft(speakers, **how)[2])
        masked = magnitudes / (magnitudes.sum(0) + 1e-10) * stft(mixture, **how)[2]
        return istft(masked, **how)[1][..., : mixture.shape[-1]].astype(np.float32)

    return separate


def twice(mixture: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    return np.stack([mixture, mixture])


def run(
    methods: dict[str, Method], talks: list[Talk]
) -> tuple[dict[str, list[tuple[SpeakerScore, ...]]], dict[str, float]]:
    """The scores of every method, talk by talk, and the seconds that it took."""
    results: dict[str, list[tuple[SpeakerScore, ...]]] = {name: [] for name in methods}
    spent = dict.fromkeys(methods, 0.0)
    for number, talk in enumerate(talks, start=1):
        for name, method in methods.items():
            start = time.perf_counter()
            found = method(talk.mixture, talk.speakers)
            spent[name] += time.perf_counter() - start
            results[name].append(score_speakers(named(talk.speakers), named(found), talk.mixture))
        print(f"[{number}/{len(talks)}]", file=sys.stderr, end="\r", flush=True)
    return results, spent


def named(sounds: np.ndarray) -> dict[str, np.ndarray]:
    return {f"speaker{number}": sound for number, sound in enumerate(sounds, start=1)}


def report(
    results: dict[str, list[tuple[SpeakerScore, ...]]], spent: dict[str, float], talks: list[Talk], rate: int
) -> None:
    counts = {kind: sum(kind in ("all", talk.kind) for talk in talks) for kind in KINDS}
    print(f"{len(talks)} mixtures at {rate} Hz: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()))
    for metric, title in METRICS.items():
        print(f"\n{'median ' + title + ', dB':24}" + "".join(f"{kind:>12}" for kind in KINDS))
        for name, scores in results.items():
            cells = [figure(metric, kind, scores, talks) for kind in KINDS]
            print(f"{name:24}" + "".join(f"{cell:>12}" for cell in cells))
    print("\nseconds of work per second of audio")
    for name, seconds in spent.items():
        print(f"{name:24}{seconds:>12.3f}")


def figure(metric: str, kind: str, scores: list[tuple[SpeakerScore, ...]], talks: list[Talk]) -> str:
    """The median over mixtures of a kind, of the mean of both speakers."""
    values = [
        mean(getattr(one.figures, metric) for one in both)
        for both, talk in zip(scores, talks, strict=True)
        if kind in ("all", talk.kind)
    ]
    return f"{median(values):.2f}" if values else "–"


if __name__ == "__main__":
    main()
