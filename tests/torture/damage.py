"""Damage to bytes: what disks, cables and bad writers do to files, and worse."""

from __future__ import annotations

import random
from collections.abc import Callable

EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x01\0\0\0")

Damage = Callable[[bytearray, random.Random], None]


def cut(data: bytearray, rng: random.Random) -> None:
    """End too early."""
    del data[rng.randrange(len(data)) :]


def flip(data: bytearray, rng: random.Random) -> None:
    """Change some bits."""
    for _ in range(rng.choice((1, 3, 30))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_head(data: bytearray, rng: random.Random) -> None:
    """Change a byte of the header."""
    data[rng.randrange(min(len(data), 128))] = rng.randrange(256)


def extreme(data: bytearray, rng: random.Random) -> None:
    """Put an extreme number where a size may stand."""
    at = rng.randrange(max(1, min(len(data) - 4, 512)))
    data[at : at + 4] = rng.choice(EXTREMES)


def drop(data: bytearray, rng: random.Random) -> None:
    """Lose a run of bytes."""
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 100, 5000))]


def zero(data: bytearray, rng: random.Random) -> None:
    """Zero a run of bytes."""
    at = rng.randrange(len(data))
    end = min(len(data), at + rng.choice((4, 512, 4096)))
    data[at:end] = bytes(end - at)


def double(data: bytearray, rng: random.Random) -> None:
    """Have a run of bytes twice."""
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + rng.choice((16, 1000))]


def noise(data: bytearray, rng: random.Random) -> None:
    """Put noise into the middle."""
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.choice((3, 700)))


def in_front(data: bytearray, rng: random.Random) -> None:
    """Begin with something else."""
    data[0:0] = rng.choice((b"\0" * 33, b"ID3\x04\0\0\x7f\x7f\x7f\x7f", b"RIFF", rng.randbytes(50)))


DAMAGES: tuple[Damage, ...] = (cut, flip, flip_head, extreme, drop, zero, double, noise, in_front)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return a copy with one or two damages."""
    copy = bytearray(data)
    for _ in range(rng.choice((1, 1, 2))):
        if copy:
            rng.choice(DAMAGES)(copy, rng)
    return bytes(copy)
