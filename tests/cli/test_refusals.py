"""Everything that is refused: one clear line, an exit code, no traceback, and nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import files_in, save_tiny, write_song

from stemsplit.cli import main

M = ("-m", "tiny")


class Trap:
    """Pickled, this would run a command when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch trapped",)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def _world(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, sound: Callable[..., np.ndarray]) -> None:
    """A folder with a good song, a good model, and everything that can be wrong."""
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path.parent / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    shutil.copytree(model, "tiny")
    write_song(Path("song.wav"), sound(2, 4000, 8000), 8000)
    write_song(Path("other/song.flac"), sound(2, 4000, 8000), 8000)
    write_song(Path("six.wav"), sound(6, 4000, 8000), 8000)
    write_song(Path("zero.wav"), np.zeros((2, 0)), 8000)
    Path("empty.wav").touch()
    Path("noise.mp3").write_bytes(bytes(range(256)) * 20)
    Path("cut.flac").write_bytes(Path("other/song.flac").read_bytes()[:5000])
    Path("notes").mkdir()
    Path("notes/todo.txt").write_text("nothing")
    Path("file").touch()
    _broken_models()


def _broken_models() -> None:
    for name in ("damaged", "unfit", "foreign", "no_weights"):
        shutil.copytree("tiny", name)
    weights = Path("damaged/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    for name, change in (("unfit", {"dim": 16}), ("foreign", {"flavour": "sweet"})):
        config = json.loads(Path(name, "config.json").read_text())
        config["network"] |= change
        Path(name, "config.json").write_text(json.dumps(config))
    Path("no_weights/model.safetensors").unlink()
    with Path("trap.ckpt").open("wb") as file:
        pickle.dump({"weights": Trap()}, file)
    torch.save({"state_dict": {"weights": Trap()}}, "trap2.ckpt")
    torch.save({"some.layer": torch.zeros(3)}, "stranger.ckpt")


REFUSED = [
    # inputs
    (2, "nope.wav: no such file or folder", ("separate", "nope.wav", *M)),
    (2, "nope.wav: no such file or folder; notes: no audio", ("separate", "nope.wav", "notes", *M)),
    (2, "notes: no audio in this folder", ("separate", "notes", *M)),
    (1, "noise.mp3", ("separate", "noise.mp3", *M)),
    (1, "cut.flac", ("separate", "cut.flac", *M)),
    (1, "empty.wav: the file is empty", ("separate", "empty.wav", *M)),
    (1, "zero.wav: no samples in it", ("separate", "zero.wav", *M)),
    (1, "notes/todo.txt", ("separate", "notes/todo.txt", *M)),
    (2, "both write", ("separate", "song.wav", "other/song.flac", *M)),
    (2, "Missing argument", ("separate",)),
    # outputs
    (2, "not one of", ("separate", "song.wav", "--format", "wma", *M)),
    (2, "flac cannot hold", ("separate", "song.wav", "--format", "flac", "--bit-depth", "32f", *M)),
    (2, "opus cannot hold 44100 Hz", ("separate", "song.wav", "--format", "opus", "--sample-rate", "44100", *M)),
    (2, "--sample-rate fast", ("separate", "song.wav", "--sample-rate", "fast", *M)),
    (1, "six.wav: mp3 holds", ("separate", "six.wav", "--format", "mp3", *M)),
    (1, "cannot write to file", ("separate", "song.wav", "-o", "file", *M)),
    (1, "cannot write to file/below", ("separate", "song.wav", "-o", "file/below", *M)),
    (2, "{flavour} is unknown", ("separate", "song.wav", "--template", "{flavour}.{ext}", *M)),
    (2, "leads out of the output folder", ("separate", "song.wav", "--template", "../{stem}.{ext}", *M)),
    (2, "put {stem} into --template", ("separate", "song.wav", "--template", "{track}.{ext}", *M)),
    (2, "--exact-sum needs wav", ("separate", "song.wav", "--exact-sum", "--format", "mp3", *M)),
    (2, "--exact-sum needs the whole song", ("separate", "song.wav", "--exact-sum", "--stems", "bass", *M)),
    # stems and numbers
    (2, "no stem 'flute': it separates drums", ("separate", "song.wav", "--stems", "flute", *M)),
    (2, "no stem 'flute'", ("separate", "song.wav", "--two-stems", "flute", *M)),
    (2, "cannot read the mix", ("separate", "song.wav", "--mix", "everything", *M)),
    (2, "exclude each other", ("separate", "song.wav", "--stems", "bass", "--two-stems", "bass", *M)),
    (2, "overlap", ("separate", "song.wav", "--overlap", "1", *M)),
    (2, "too short", ("separate", "song.wav", "--chunk-seconds", "0.001", *M)),
    (2, "batch", ("separate", "song.wav", "--batch-size", "0", *M)),
    # devices
    (2, "unknown device 'tpu'", ("separate", "song.wav", "--device", "tpu", *M)),
    (2, "no cuda:99 here", ("separate", "song.wav", "--device", "cuda:99", *M)),
    (2, "no fp16 on the CPU", ("separate", "song.wav", "--device", "cpu", "--precision", "fp16", *M)),
    # models
    (2, "There is no model tinny", ("separate", "song.wav", "-m", "tinny")),
    (2, "There is no file or folder ./nope.ckpt", ("separate", "song.wav", "-m", "./nope.ckpt")),
    (2, "holds no model", ("separate", "song.wav", "-m", "./notes")),
    (2, "hf:", ("separate", "song.wav", "-m", "hf:oops")),
    (1, "SHA-256", ("separate", "song.wav", "-m", "./damaged")),
    (1, "SHA-256", ("models", "verify", "./damaged")),
    (1, "unfit", ("separate", "song.wav", "-m", "./unfit")),
    (1, "flavour", ("separate", "song.wav", "-m", "./foreign")),
    (1, "missing", ("separate", "song.wav", "-m", "./no_weights")),
    (1, "trap.ckpt", ("separate", "song.wav", "-m", "./trap.ckpt")),
    (1, "trap2.ckpt", ("separate", "song.wav", "-m", "./trap2.ckpt")),
    (1, "stranger.ckpt", ("separate", "song.wav", "-m", "./stranger.ckpt")),
    (1, "downloads are off", ("separate", "song.wav", "-m", "hf:nobody/nothing")),
    (2, "Did you mean ts-bsmamba2-musdb18", ("models", "info", "ts-bsmamba2-musdb19")),
    (2, "holds a model already", ("models", "convert", "./tiny", "damaged")),
    (2, "nowhere: no such folder", ("models", "publish", "nowhere", "me/mine")),
    (2, "OWNER/REPO", ("models", "publish", "tiny", "mine", "--dry-run")),
    # pipes
    (2, "takes one input, not 2", ("separate", "song.wav", "six.wav", "-o", "-", "--stems", "bass", *M)),
    (2, "takes one stem, not 4", ("separate", "song.wav", "-o", "-", *M)),
    (2, "writes wav or raw, not flac", ("separate", "song.wav", "-o", "-", "--format", "flac", *M)),
    (2, "excludes --json", ("separate", "song.wav", "-o", "-", "--stems", "bass", "--json", *M)),
    (2, "needs a pipe", ("separate", "song.wav", "--format", "raw", *M)),
    (2, "--raw describes standard input", ("separate", "song.wav", "--raw", "8000:2:s16le", *M)),
    (2, "is not RATE:CHANNELS:FORMAT", ("separate", "-", "--raw", "8000", *M)),
    (2, "only once", ("separate", "-", "-", *M)),
    # what names nothing, or something else
    (2, "a path is empty", ("separate", "", *M)),
    (2, "a path is empty", ("separate", "song.wav", "-o", "", *M)),
    (2, "a path is empty", ("evaluate", "", "notes")),
    (2, "https://x.y/z.mp3 is an address of the web: download it first", ("separate", "https://x.y/z.mp3", *M)),
    (2, "is written ./-17.wav", ("separate", "-17.wav", *M)),
    (2, "No such option: --stem", ("separate", "song.wav", "--stem=a.b", *M)),
    (2, "'--format': 'wma' is not one of", ("separate", "song.wav", "--format", "wma", *M)),
    (2, "Did you mean 'list'? Try: stemsplit models", ("models", "lst")),
    (2, "too many arguments: b. Try", ("models", "list", "b")),
    (2, "There is no file or folder ./nope.ckpt.\n", ("separate", "song.wav", "-m", "./nope.ckpt")),
    (2, "There is no model ~nosuchuser/x: there is no such user", ("separate", "song.wav", "-m", "~nosuchuser/x")),
    (2, "too long: choose at most 3600 s", ("separate", "song.wav", "--chunk-seconds", "1e9", *M)),
    (2, "--sample-rate 999", ("separate", "song.wav", "--sample-rate", "9" * 5000, *M)),
    (2, "is no file of scores", ("evaluate", "notes", "notes", "--scores", "song.wav")),
    (2, "is no file of scores", ("evaluate", "notes", "notes", "--scores", "notes/todo.txt")),
    # the rest
    (2, "No such command 'separat'", ("separat", "song.wav")),
    (2, "No such option: --stem", ("separate", "song.wav", "--stem", "bass", *M)),
    (2, "nope.toml", ("train", "nope.toml")),
    (2, "nope: no such folder", ("evaluate", "nope", "notes")),
    (2, "--seconds 0", ("demo", "--seconds", "0", *M)),
    (2, "no stem in common", ("evaluate", "notes", "other")),
    (2, "other/song.flac looks like a song", ("evaluate", "other", "other")),
    (2, "song.wav is a file: give a folder of stems", ("evaluate", "song.wav", "song.wav")),
    (2, "song.wav needs a command before it: stemsplit separate song.wav", ("song.wav",)),
    (2, "'--overlap': it is not a number. Try", ("separate", "song.wav", "--overlap", "abc", *M)),
    (2, "'--seed': choose 0 or more. Try", ("demo", "--seed", "-1")),
    (2, "the name of a stem is empty", ("separate", "song.wav", "--stems", "", *M)),
    (2, "speech is a stem of sfc-ca-medium-dnr", ("separate", "song.wav", "--stems", "speech", *M)),
    (2, "no model of the catalog has it", ("separate", "song.wav", "--without", "kazoo", *M)),
]


def assert_refused(code: int, out: str, err: str, expected: int, text: str) -> None:
    assert code == expected, err
    assert out == ""
    assert text in err
    assert err.startswith("stemsplit: error: "), err
    assert err.count("\n") == 1, err
    assert "Traceback" not in err


@pytest.mark.parametrize(("expected", "text", "arguments"), REFUSED)
def test_it_is_refused_in_one_line(
    expected: int, text: str, arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    before = files_in(Path())
    code = main(list(arguments))
    assert_refused(code, *capfd.readouterr(), expected, text)
    assert files_in(Path()) == before


@pytest.mark.parametrize(
    ("expected", "text", "arguments"),
    [
        (2, "nope.wav: no such file", ("separate", "nope.wav", *M)),
        (1, "noise.mp3", ("separate", "noise.mp3", *M)),
        (1, "trap.ckpt", ("separate", "song.wav", "-m", "./trap.ckpt")),
        (1, "standard input: nothing came", ("separate", "-", *M)),
    ],
)
def test_it_is_refused_by_the_real_program(expected: int, text: str, arguments: tuple[str, ...]) -> None:
    before = files_in(Path())
    done = subprocess.run(
        [sys.executable, "-m", "stemsplit", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert_refused(done.returncode, done.stdout, done.stderr, expected, text)
    assert files_in(Path()) == before


def test_help_is_a_command_too(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "models", "list"]) == 0
    assert "Usage: stemsplit models list" in capfd.readouterr().out


def test_a_closed_network_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("stemsplit.weights.transfer.WAITS_SECONDS", (0.0,))
    before = files_in(Path())
    code = main(["separate", "song.wav", "-m", "http://127.0.0.1:9/model.ckpt"])
    assert_refused(code, *capfd.readouterr(), 1, "127.0.0.1:9")
    assert files_in(Path()) == before


def test_a_hash_that_does_not_fit_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "download", "https://localhost/m.ckpt#sha256=123"]) == 2
    assert "64 hexadecimal digits" in capfd.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_never_replaced(capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["separate", "song.wav", "--device", "cuda", *M])
    assert_refused(code, *capfd.readouterr(), 2, "no cuda here, only cpu")
    assert not Path("separated").exists()


def test_a_bug_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise ZeroDivisionError("a bug\nin two lines")

    monkeypatch.setattr("stemsplit.weights.model.load_model", fail)
    code = main(["separate", "song.wav", *M])
    assert_refused(
        code, *capfd.readouterr(), 1, "unexpected ZeroDivisionError: a bug in two lines; run it with --debug"
    )


def test_what_is_told_to_type_can_be_pasted(capfd: pytest.CaptureFixture[str]) -> None:
    Path("song.wav").rename("my song (1).wav")
    code = main(["my song (1).wav"])
    assert_refused(code, *capfd.readouterr(), 2, "stemsplit separate 'my song (1).wav'")


def test_a_terminal_is_no_audio(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert_refused(main(["separate", "-", *M]), *capfd.readouterr(), 2, "standard input is a terminal")
    unquoted = ["separate", "01", "-", "song.wav", *M]
    assert_refused(main(unquoted), *capfd.readouterr(), 2, "put a name with spaces into quotes")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    code = main(["separate", "song.wav", "--stems", "bass", "-o", "-", *M])
    assert_refused(code, *capfd.readouterr(), 2, "standard output is a terminal")
