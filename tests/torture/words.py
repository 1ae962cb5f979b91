"""Names, references, templates and numbers that nobody means well with."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from torture.ended import run_many

WORDS = (
    *("", " ", "-", "--", ".", "..", "/", "//", "~", "~nosuchuser/x", "\\", "*", "?", "%s", "%n", "{", "}", "{}"),
    *("{0}", "{track}", "{stem}.{ext}", "{track.__class__}/{stem}.{ext}", "{track}/{stem}.{ext}" * 40),
    *("{stem!r}.{ext}", "../{stem}.{ext}", "/{stem}.{ext}", "a" * 300, "a" * 5000, "a/" * 2000),
    *("\x1b[31mred", "a\nb", "a\rb", "\u202eb", "\ud800", "café", "\u0301", "²", "٣", "１"),
    *("nan", "inf", "-inf", "1e9", "1e400", "-1", "0", "0x10", "1_000", "9" * 5000, "1", "0.5", "8000", "44100"),
    *("vocals", "VOCALS", "vocals,vocals", ",", "a=b", "a=drums+", "=drums", "a=drums+bass+drums", "x/y=drums"),
    *("hf:", "hf:a", "hf:a/b@", "hf:a/b:../..", "hf:../x", "https://", "http://127.0.0.1:1/x"),
    *("file:///etc/passwd", "model", "./model", "model/config.json", "/dev/null", "/proc/self/mem", "songs", "CON"),
    *("wav", "WAV", "raw", "auto", "16", "cpu", "cuda:99", "fp32", "rescale", "source", "a:b"),
)
OPTIONS = {
    "separate": ("-o", "-m", "--stems", "--two-stems", "--without", "--mix", "--format", "--bit-depth", "--sample-rate",
                 "--clip", "--template", "--raw", "--audio-track", "--chunk-seconds", "--overlap", "--batch-size",
                 "--device", "--precision"),
    "melody": ("-o", "-m", "--format", "--hop-ms", "--tuning", "--fmin", "--fmax", "--voicing-threshold", "--smooth",
               "--separator", "--raw", "--audio-track", "--device", "--tempo"),
    "models": ("list", "info", "download", "verify"),
    "evaluate": ("-m", "--json"),
}  # fmt: skip


def hostile_words(world: Path, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Make `count` calls with odd words; yield the faults of each."""
    calls = [_call(rng) for _ in range(count)]
    for ended in run_many(calls, world):
        yield ended.faults((0, 1, 2))


def _call(rng: random.Random) -> list[str]:
    command = rng.choice(list(OPTIONS))
    if command == "models":
        return [command, rng.choice(OPTIONS[command]), *rng.choices(WORDS, k=rng.choice((0, 1, 1, 2)))]
    words = [rng.choice((*WORDS, "songs/song 0.wav", "songs/song 1.flac")) for _ in range(rng.choice((1, 1, 2)))]
    for option in rng.sample(OPTIONS[command], k=rng.choice((1, 2, 3)) if command != "evaluate" else 1):
        words += [option, rng.choice(WORDS)]
    return [command, *words, "--dry-run"] if command != "evaluate" and rng.random() < 0.7 else [command, *words]
