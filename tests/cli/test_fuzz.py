"""No input makes a command say that something unexpected happened: arguments, manifests and HTTP answers at random."""

from __future__ import annotations

import copy
import json
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from said import Run, Said
from tiny import save_tiny, write_song

from stemsplit.weights import hub, transfer

LONG, DIGITS, EVIL = "x" * 300, "9" * 5000, "\x1b]0;x\x07\u202e\x9b\n\udce9"
NUMBERS = ["0", "-1", "1e9", "1e308", "nan", "inf", "-inf", DIGITS, "²", "٣", "0x10", "", " ", "a", "1,5", "2", EVIL]
NAMES = ["", "/", "..", "{track}", "{", "}", "{}", "{track!r}", "{track:9999999999}", "{stem.__class__}", EVIL, LONG,
         f"{LONG}.{{ext}}", "a/" * 3000 + "{stem}.{ext}", "{stem}.{ext}", f"{EVIL}{{stem}}.{{ext}}", "/a/{stem}.{ext}",
         "vocals", "Vocals", "vocals,vocals", "drums,,bass", "x=drums", "=drums", "x=", f"{LONG}=drums",
         "{track}=drums", "..=drums", "a/b=drums", f"{EVIL}=drums", "x=drums+nope", "a=b=c"]  # fmt: skip
MODELS = ["", "~nosuchuser/x", "~", "./nope.ckpt", "hf:", "hf:a/b", f"hf:{LONG}/b", "hf:é/ü", f"hf:a/b@{LONG}", "https://",
          "https://x.y/z", "https://x.y/z.ckpt#sha256=1", f"https://{'a' * 70}.b/z.ckpt", "https://a..b/z.ckpt",
          "ftp://x/y.ckpt", "https://[::1/x.ckpt", "x/" * 3000, LONG, EVIL, "song.wav", "tiny/config.json", "-", "a\0b",
          "https://user:secret@x.y/z.ckpt", "http://127.0.0.1:99999/x.ckpt", "HF:a/b", "/dev/null"]  # fmt: skip
PATHS = ["", "nope.wav", "-", "./-", LONG, "x/" * 3000, "a\0b", "/dev/null", "tiny", EVIL, "https://x.y/z.mp3",
         "song.wav/x", "~nosuchuser/x", "*.wav", "tiny/config.json", "."]  # fmt: skip
DEVICES = ["cpu", "cuda:", "cuda:x", "cuda:-1", f"cuda:{DIGITS}", "cuda:²", "mps:3", "meta", "tpu", "", "CPU", EVIL]
WORDS = ["wav", "WAV", "raw", "m4a", "", "16", "32f", "rescale", "CLAMP", "bf16", "csv", EVIL]
RAW = ["44100:2:s16le", "0:0:0", f"{DIGITS}:2:s16le", f"44100:{DIGITS}:s16le", "²:2:s16le", "::", "a:b:c", EVIL]
SEPARATE = {
    "-o": PATHS, "-m": MODELS, "--stems": NAMES, "--two-stems": NAMES, "--mix": NAMES, "--format": WORDS,
    "--bit-depth": WORDS, "--sample-rate": NUMBERS, "--clip": WORDS, "--template": NAMES, "--raw": RAW,
    "--audio-track": NUMBERS, "--chunk-seconds": NUMBERS, "--overlap": NUMBERS, "--batch-size": NUMBERS,
    "--device": DEVICES, "--precision": WORDS,
}  # fmt: skip
MELODY = {
    "-o": PATHS, "-m": MODELS, "--separator": MODELS, "--format": WORDS, "--hop-ms": NUMBERS, "--tuning": NUMBERS,
    "--fmin": NUMBERS, "--fmax": NUMBERS, "--voicing-threshold": NUMBERS, "--smooth": WORDS, "--device": DEVICES,
}  # fmt: skip
TRAIN = {"--minutes": NUMBERS, "--decay-minutes": NUMBERS, "--loaders": NUMBERS, "--device": DEVICES}
DEMO = {"--seconds": NUMBERS, "--seed": NUMBERS, "-o": PATHS, "--device": DEVICES}


@pytest.fixture(autouse=True)
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(transfer, "WAITS_SECONDS", ())
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    save_tiny(Path("tiny"))
    write_song(Path("song.wav"), np.random.default_rng(0).normal(0, 0.1, (2, 2000)), 8000)


def held(said: Said, what: object) -> None:
    """It ended well or was refused, in lines that command no terminal."""
    shown = f"{what!r:.2000}: {said}"
    assert said.code in (0, 1, 2), shown
    assert "unexpected" not in said.err + said.out, shown
    assert "Traceback" not in said.err, shown
    assert all(letter.isprintable() or letter == "\n" for letter in said.err + said.out), shown


def chosen(rng: random.Random, options: dict[str, list[str]], count: int) -> list[str]:
    return [word for name in rng.sample(list(options), count) for word in (name, rng.choice(options[name]))]


def command(rng: random.Random) -> list[str]:
    path = rng.choice([*PATHS, *["song.wav"] * 20])
    kind = rng.choice(["separate"] * 4 + ["melody"] * 2 + ["models", "evaluate", "demo", "train"])
    if kind == "separate":
        given = chosen(rng, SEPARATE, rng.randint(1, 2))
        return [kind, path, *given, *([] if "-m" in given else ["-m", "./tiny"]), "--dry-run"]
    if kind == "melody":
        return [kind, path, "--vocals", *chosen(rng, MELODY, 1), "--dry-run"]
    if kind == "models":
        action = rng.choice(["info", "path", "download", "verify", "convert"])
        return [kind, action, rng.choice(MODELS), *(["new"] if action == "convert" else [])]
    if kind == "evaluate":
        return [kind, path, rng.choice(PATHS), "--scores", rng.choice([*PATHS, "song.wav"])]
    if kind == "demo":
        return [kind, "-m", "./nope", *chosen(rng, DEMO, 2)]
    return [kind, path, *chosen(rng, TRAIN, 1)]


@pytest.mark.parametrize("seed", range(3))
def test_arguments(run: Run, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        arguments = command(rng)
        if "demo" in arguments and "--seconds" not in arguments:
            arguments += ["--seconds", "0.1"]
        held(run(*arguments), arguments)


VALUES = [None, True, 0, -1, 1.5, float("nan"), float("inf"), 10**30, 10**400, "", "x", "\ud800", "\x00", EVIL,
          "../../x", "x" * 5000, [], {}, [[]], {"a": 1}]  # fmt: skip
BROKEN = [
    b"",
    b"\xff",
    b"[]",
    b"5",
    b"{",
    b"[" * 100_000,
    b'{"format": 1}',
    b'{"format": 1, "a": ' + b"9" * 5000 + b"}",
]


def edited(value: Any, rng: random.Random) -> Any:
    """A JSON value in which one thing is another one."""
    value = copy.deepcopy(value)
    node: Any = value
    while node:
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if not isinstance(node[key], (dict, list)) or not node[key] or rng.random() < 0.3:
            break
        node = node[key]
    if rng.random() < 0.3:
        del node[key]
    else:
        node[key] = rng.choice(VALUES)
    return value


def test_manifests(run: Run) -> None:
    rng = random.Random(0)
    separate = ("separate", "song.wav", "-m", "./tiny", "-o", "out", "--stems", "bass")
    assert run(*separate).code == 0
    path = Path("out/song/stemsplit.json")
    manifest = json.loads(path.read_text())
    for number in range(30):
        broken = BROKEN[number] if number < len(BROKEN) else json.dumps(edited(manifest, rng)).encode()
        path.write_bytes(broken)
        again = rng.choice(
            [(*separate, "--json"), (*separate, "--dry-run"), ("melody", "out", "--vocals", "--dry-run")]
        )
        held(run(*again), (broken[:2000], again))


STATUSES = ["200 OK", "206 Partial Content", "204 No Content", "302 Found", "400 Bad", "404 None", "416 Range",
            "429 Many", "999 X", "0 x", "abc", "200 \x1b[31m", "200"]  # fmt: skip
HEADERS = ["Content-Length: \xb2", "Content-Length: -1", f"Content-Length: {DIGITS}", "Content-Length: 3",
           "Content-Length: 3\r\nContent-Length: 4", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip",
           f"Content-Range: bytes 0-{DIGITS}/{DIGITS}", "Content-Range: \xb2", "Location: /x.ckpt", "Location: http://\xff/",
           "Location: http://a..b/", "Location: http://127.0.0.1:99999/", "Location: ", "Location: javascript:1",
           "ETag: \x1b[31m", 'ETag: "a"', "Content-Type: text/html", "Content-Encoding: br", "X-Error-Code: GatedRepo",
           "X-Error-Message: \x1b[31m\x9b", "X-HF-Warning: \x1b[2J", "Retry-After: \xb2", "Bad header",
           "\x00: 1"]  # fmt: skip
COMMIT = "a" * 40


def sibling(rng: random.Random) -> Any:
    names = [
        "config.json",
        "model.safetensors",
        "a.ckpt",
        "a",
        "a/b",
        "../x.ckpt",
        "/x.ckpt",
        "\x00.ckpt",
        "\ud800.ckpt",
        EVIL,
        f"{LONG}.ckpt",
        "x/" * 900 + "x.ckpt",
        "",
        ".",
        "a//b.ckpt",
        "a\\b.ckpt",
        None,
    ]
    file: dict[str, Any] = {"rfilename": rng.choice(names)}
    if rng.random() < 0.3:
        file[rng.choice(["size", "blobId", "lfs"])] = rng.choice(
            [*VALUES, {"sha256": EVIL, "size": 1, "pointerSize": 1}]
        )
    return file


def body(rng: random.Random, path: str) -> bytes:
    if path.startswith("/api"):
        listing = {"id": "a/b", "sha": COMMIT, "siblings": [sibling(rng) for _ in range(rng.randint(0, 4))]}
        if rng.random() < 0.3:
            listing[rng.choice(["sha", "siblings", "lastModified", "cardData", "tags", "gated"])] = rng.choice(VALUES)
        return json.dumps(listing).encode()
    return rng.choice([b"{}", b"[]", b"weights", b"\xff", b"[" * 100_000, b'{"weights": {"file": "a.ckpt"}}'])


def answer(rng: random.Random, path: str) -> bytes:
    content = body(rng, path)
    status, headers = "200 OK", [f"Content-Length: {len(content)}", f"X-Repo-Commit: {COMMIT}"]
    if rng.random() < 0.4:
        status, headers = rng.choice(STATUSES), rng.sample(HEADERS, rng.randint(0, 2))
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1")
    return head + content


@pytest.fixture
def server() -> Iterator[str]:
    """Answers every request at random, in an order that only the requests decide."""
    rng = random.Random(0)

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    asked = connection.recv(65536).split(b" ")
                    connection.sendall(answer(rng, asked[1].decode() if len(asked) > 1 else "/"))
                except OSError:
                    continue

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_answers_of_servers(run: Run, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", server)
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(hub, "ASK_SECONDS", 2.0)
    rng = random.Random(1)
    for number in range(50):
        reference = rng.choice([f"{server}/{number}/x.ckpt", f"{server}/{number}/m.safetensors", f"hf:a/b{number}"])
        action = rng.choice(["download", "info", "path"])
        held(run("models", action, reference), (action, reference))
