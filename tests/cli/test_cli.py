"""The command line as a user meets it: streams, exit codes, pipes, signals."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile
import torch
import typer
from said import Run
from tiny import STEMS, files_in, read_song, save_tiny, write_song

import stemsplit
from stemsplit.audio import FORMATS
from stemsplit.cli import app
from stemsplit.cli.flags import shared
from stemsplit.cli.flags.shared import Precision
from stemsplit.cli.flags.stems import BitDepth, Format
from stemsplit.cli.layout import screen
from stemsplit.machine import signals
from stemsplit.machine.device import PRECISIONS, chunks_side_by_side
from stemsplit.options import CLIPS, PACKS, PICTURED, Clip
from stemsplit.weights.catalog import DEFAULT_MODEL

Sound = Callable[..., np.ndarray]
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and terminals")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path.parent / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def song(sound: Sound) -> Path:
    return write_song(Path("song.wav"), sound(2, 9000, 8000), 8000)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "stemsplit", *(str(argument) for argument in arguments)]


# --- separate


def test_a_song_is_split(run: Run, song: Path, tiny: str) -> None:
    said = run("separate", song, "-m", tiny)
    assert said.code == 0
    assert said.out == ""
    assert said.err.startswith("song.wav → separated/song: drums, bass, other, vocals (")
    assert files_in(Path("separated/song")) == {"stemsplit.json", *(f"{stem}.wav" for stem in STEMS)}
    again = run("separate", song, "-m", tiny)
    assert (again.code, again.out) == (0, "")
    assert "done already" in again.err


def test_a_lone_file_is_named_where_a_template_puts_it(run: Run, song: Path, tiny: str) -> None:
    said = run("separate", song, "-m", tiny, "--without", "vocals", "-f", "WAV")
    assert said.err.startswith("song.wav → separated/song (no vocals).wav (")
    again = run("separate", song, "-m", tiny, "--without", "Vocals")
    assert "done already in separated/song (no vocals).wav (--force" in again.err
    flat = run("separate", song, "-m", tiny, "-o", "flat", "--template", "{artist} - {title} - {stem}.{ext}")
    assert flat.err.startswith("song.wav → flat: drums, bass, other, vocals (")
    assert Path("flat/unknown artist - song - bass.wav").is_file()


def test_quiet_says_nothing_and_verbose_more(run: Run, song: Path, tiny: str) -> None:
    assert run("separate", song, "-m", tiny, "-q") == (0, "", "")
    said = run("separate", song, "-m", tiny, "-v", "--force", "--overlap", "0.25", "--chunk-seconds", "0.5")
    assert "SHA-256" in said.err
    at_once = chunks_side_by_side(torch.device("cpu"), 1000)
    assert f"chunks of 0.50 s, overlap 0.25, {at_once} at once" in said.err


def test_json_is_one_object_a_song_on_stdout(run: Run, song: Path, tiny: str) -> None:
    Path("bad.mp3").write_bytes(b"no song")
    said = run("separate", song, "bad.mp3", "-m", tiny, "--json", "--stems", "vocals")
    assert said.code == 1
    done, failed = said.objects
    assert done["outputs"] == {"vocals": "separated/song/vocals.wav"}
    assert (done["source"], done["track"], done["status"], done["error"]) == ("song.wav", "song", "done", None)
    assert (done["gain"], done["warnings"], done["audio_seconds"]) == (1.0, [], 1.125)
    assert done["precision"] in ("bf16", "fp32")
    assert json.loads(Path(done["manifest"]).read_text())["samples"] == 9000
    assert (failed["status"], failed["outputs"], failed["manifest"]) == ("failed", {}, None)
    assert failed["error"]["type"] == "DecodeError"
    assert said.err.count("\n") == 1
    assert said.err.startswith("stemsplit: error: bad.mp3: ")
    (again,) = run("separate", song, "-m", tiny, "--json", "--stems", "vocals").objects
    assert again | {"status": "done", "seconds": 0} == done | {"seconds": 0}


def test_a_folder_keeps_its_subfolders(run: Run, sound: Sound, tiny: str) -> None:
    for name in ("in/a/song.flac", "in/b/søng [live].wav"):
        write_song(Path(name), sound(1, 4000, 8000), 8000)
    said = run("separate", "in", "-m", tiny, "-o", "out", "--stems", "bass", "--format", "flac", "--json")
    assert said.code == 0
    assert [one["outputs"]["bass"] for one in said.objects] == ["out/a/song/bass.flac", "out/b/søng [live]/bass.flac"]
    assert soundfile.info("out/b/søng [live]/bass.flac").frames == 4000


def test_a_dry_run_writes_nothing(run: Run, song: Path, tiny: str) -> None:
    said = run("separate", song, "-m", tiny, "--dry-run", "--two-stems", "vocals")
    assert said.out.splitlines() == [
        "would write  separated/song/vocals.wav",
        "would write  separated/song/no_vocals.wav",
    ]
    assert (said.code, files_in(Path())) == (0, {"song.wav"})
    (planned,) = run("separate", song, "-m", tiny, "--dry-run", "--json").objects
    assert planned["status"] == "planned"
    run("separate", song, "-m", tiny, "-q")
    assert run("separate", song, "-m", tiny, "--dry-run", "--json").objects[0]["status"] == "skipped"
    assert run("separate", song, "-m", tiny, "--dry-run", "--json", "--force").objects[0]["status"] == "planned"


def test_every_option_reaches_the_files(run: Run, sound: Sound, tiny: str) -> None:
    write_song(Path("song.wav"), sound(2, 16000, 16000), 16000)
    said = run(
        "separate", "song.wav", "-m", tiny, "-o", "out", "--mix", "a=drums+bass", "--mix", "b=vocals+other",
        "--exact-sum", "--format", "flac", "--bit-depth", "24", "--sample-rate", "8000", "--clip", "none",
        "--template", "{stem}-{track}.{ext}", "--chunk-seconds", "0.5", "--overlap", "0.75", "--batch-size", "2",
        "--device", "cpu", "--precision", "fp32", "--json",
    )  # fmt: skip
    assert said.code == 0
    aside = {".stemsplit", ".stemsplit/song.json"}
    assert files_in(Path("out")) == {*aside, *(f"{n}-song.flac" for n in (*STEMS, "a", "b"))}
    manifest = json.loads(Path("out/.stemsplit/song.json").read_text())
    assert manifest["settings"] | {"outputs": None} == {
        "outputs": None, "chunk_samples": 4000, "overlap": 0.75, "exact_sum": True, "format": "flac",
        "bit_depth": "24", "sample_rate": 8000, "clip": "none", "precision": "fp32",
    }  # fmt: skip
    info = soundfile.info("out/a-song.flac")
    assert (info.samplerate, info.frames, info.subtype) == (8000, 8000, "PCM_24")


def test_warnings_go_to_stderr_and_into_the_manifest(run: Run, tiny: str) -> None:
    write_song(Path("song.wav"), np.zeros((1, 4000)), 8000)
    said = run("separate", "song.wav", "-m", tiny, "--stems", "vocals,bass", "--json")
    assert said.err == "stemsplit: warning: song.wav: silent: vocals, bass\n"
    assert said.objects[0]["warnings"] == ["silent: vocals, bass"]


# --- pipes


class _Bytes(io.TextIOWrapper):
    """Standard input as a test fills it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))

    def isatty(self) -> bool:
        return False


def test_a_song_comes_in_on_stdin(run: Run, song: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run("separate", song, "-m", tiny, "-q")
    monkeypatch.setattr(sys, "stdin", _Bytes(song.read_bytes()))
    (done,) = run("separate", "-", "-m", tiny, "--json").objects
    assert (done["source"], done["track"]) == ("-", "stdin")
    assert Path("separated/stdin/bass.wav").read_bytes() == Path("separated/song/bass.wav").read_bytes()
    monkeypatch.setattr(sys, "stdin", _Bytes(b"no song"))
    said = run("separate", "-", "-m", tiny, "--force")
    assert said.code == 1
    assert said.err.startswith("stemsplit: error: standard input: ")


def test_bare_samples_come_in_on_stdin(run: Run, song: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run("separate", song, "-m", tiny, "-q")
    samples, _ = soundfile.read(song, dtype="int16")
    monkeypatch.setattr(sys, "stdin", _Bytes(samples.tobytes()))
    assert run("separate", "-", "--raw", "8000:2:s16le", "-m", tiny, "-q").code == 0
    assert np.array_equal(read_song(Path("separated/stdin/bass.wav")), read_song(Path("separated/song/bass.wav")))


def test_one_stem_goes_out_on_stdout(run: Run, song: Path, tiny: str) -> None:
    run("separate", song, "-m", tiny, "-q", "--exact-sum")
    wav = command("separate", "-", "-m", tiny, "--stems", "bass", "-o", "-")
    done = subprocess.run(wav, input=song.read_bytes(), capture_output=True, check=True)
    samples, rate = soundfile.read(io.BytesIO(done.stdout), always_2d=True)
    assert rate == 8000
    assert np.array_equal(samples.T, read_song(Path("separated/song/bass.wav")))
    raw = command("separate", song, "-m", tiny, "--stems", "bass", "-o", "-", "--format", "raw")
    bare = subprocess.run(raw, capture_output=True, check=True)
    assert np.array_equal(np.frombuffer(bare.stdout, "<i2").reshape(-1, 2) / 2**15, samples)
    assert (done.stderr, bare.stderr) == (b"", b"")
    assert files_in(Path()) == {"song.wav", "separated"} | {f"separated/{name}" for name in files_in(Path("separated"))}


def test_a_stream_s_error_names_its_source_and_the_way_on(run: Run, song: Path, tiny: str) -> None:
    song.write_bytes(song.read_bytes()[:-5000])
    asked = ("-m", tiny, "--stems", "bass", "-o", "-")
    said = subprocess.run(command("separate", song, *asked), capture_output=True, check=False)
    assert (said.returncode, said.stdout) == (1, b"")
    assert said.stderr == (
        b"stemsplit: error: song.wav: cut off: the last 5000 bytes are missing; --salvage takes what is there\n"
    )
    from_pipe = command("separate", "-", *asked)
    came = subprocess.run(from_pipe, input=song.read_bytes(), capture_output=True, check=False)
    assert came.stderr.startswith(b"stemsplit: error: standard input: cut off: ")


def test_a_file_called_dash_is_no_pipe(run: Run, song: Path, tiny: str) -> None:
    song.rename("-")
    for name in ("./-", ".//-", str(Path.cwd() / "-")):
        said = run("separate", name, "-m", tiny, "--stems", "bass", "-o", "./-dir", "--dry-run")
        assert (said.code, said.err) == (0, "")
        assert said.out == f"would write  {Path('-dir/-/bass.wav')}\n"
    Path("-").rename(song)
    assert run("separate", song, "-m", tiny, "--stems", "bass", "-o", "./-", "-q").code == 0
    assert Path("./-/song/bass.wav").is_file()


@posix
@pytest.mark.parametrize("arguments", [("--stems", "bass", "-o", "-"), ("--json",)])
def test_a_reader_that_goes_away_ends_it_quietly(sound: Sound, tiny: str, arguments: tuple[str, ...]) -> None:
    songs = ["long.wav"] if "-o" in arguments else ["long.wav", "b.wav", "c.wav"]
    for name in songs:
        write_song(Path(name), sound(2, 160000, 8000), 8000)
    process = subprocess.Popen(
        command("separate", *songs, "-m", tiny, "-q", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.read(8)
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 141
    assert not Path("separated/c").exists()


# --- signals


def wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, "ended too early"
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


@posix
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, b"interrupted"), (signal.SIGTERM, 143, b"terminated"), (signal.SIGHUP, 129, b"terminated")],
)
def test_a_signal_keeps_what_is_finished_and_leaves_nothing_else(
    sound: Sound, tiny: str, number: signal.Signals, code: int, word: bytes
) -> None:
    write_song(Path("a.wav"), sound(2, 4000, 8000), 8000)
    write_song(Path("long.wav"), sound(2, 8000 * 600, 8000), 8000)
    process = subprocess.Popen(
        command("separate", "a.wav", "long.wav", "-m", tiny, "--overlap", "0.9"), stderr=subprocess.PIPE
    )
    wait_for(Path("separated/a/stemsplit.json"), process)
    wait_for(Path("separated/long"), process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err.splitlines()[-1].startswith(b"stemsplit: " + word)
    assert len(err.splitlines()) == 2
    assert b"Traceback" not in err
    assert files_in(Path("separated")) == {"a", "a/stemsplit.json", *(f"a/{stem}.wav" for stem in STEMS)}


@pytest.mark.parametrize("module", ["soundfile", "stemsplit.audio.containers.callbacks", "elsewhere"])
def test_a_signal_inside_a_callback_of_c_waits_until_it_is_over(module: str) -> None:
    reached: list[str] = []
    scope = {"__name__": module, "raise_signal": signal.raise_signal, "reached": reached}
    exec("def vio_read():\n    raise_signal(2)\n    reached.append('the end')", scope)
    with signals.interruptible():
        if module == "elsewhere":
            with pytest.raises(KeyboardInterrupt):
                scope["vio_read"]()  # type: ignore[operator]
        else:
            scope["vio_read"]()  # type: ignore[operator]
        assert reached == ([] if module == "elsewhere" else ["the end"])
        with pytest.raises(KeyboardInterrupt):
            signals.check()


# --- what a person sees


Terminal = Callable[..., tuple[int, str, str]]


@pytest.fixture
def terminal() -> Terminal:
    """Run a command with a terminal as stderr: exit code, stdout, and what the terminal got."""
    pty = pytest.importorskip("pty")

    def run(*arguments: object, **environment: str) -> tuple[int, str, str]:
        ours, theirs = pty.openpty()
        env = {"TERM": "xterm-256color", "COLUMNS": "100", **os.environ, **environment}
        process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL, env=env
        )
        os.close(theirs)
        screen = b""
        try:
            while block := os.read(ours, 65536):
                screen += block
        except OSError:  # Linux says EIO where others say end of file
            pass
        assert process.stdout is not None
        with process.stdout:
            out = process.stdout.read().decode()
        os.close(ours)
        return process.wait(), out, screen.decode()

    return run


@posix
def test_a_person_sees_progress_and_a_table(song: Path, tiny: str, terminal: Terminal) -> None:
    code, out, seen = terminal("separate", song, "-m", tiny)
    assert (code, out) == (0, "")
    assert "real time" in seen
    assert "━" in seen
    assert "peak dB" in seen
    assert "separated/song/vocals.wav" in seen
    code, out, seen = terminal("separate", song, "-m", tiny, "--force", "--json", NO_COLOR="1")
    assert json.loads(out)["status"] == "done"
    assert "peak dB" not in seen
    assert "0%" in re.sub(r"\x1b\[[0-9]m", "", seen)
    assert "\x1b[3" not in seen  # no colour


def test_what_is_said_is_one_harmless_line() -> None:
    assert screen.one_line("a\nb\x1b[31m\r\udce9é") == "a\\nb\\x1b[31m\\r\\udce9é"
    assert screen.one_line("\x9b1m \u202egpj.wav \u2066 \x7f") == "\\x9b1m \\u202egpj.wav \\u2066 \\x7f"
    assert screen.one_line("歌\u3000曲 👩\u200d🎤 n\u0303") == "歌\u3000曲 👩\u200d🎤 n\u0303"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.3, "12 s"), (185, "3:05"), (59.7, "1:00"), (3723, "1:02:03")],
)
def test_durations(seconds: float, text: str) -> None:
    assert screen.duration(seconds) == text


# --- help

MARKUP = re.compile(r"(?<!\\)\[/?[a-z]+\]")


def all_commands() -> list[tuple[str, Any]]:
    """("models list", command) of every command, with the program itself as ""."""
    root = typer.main.get_command(app)
    found = [("", root)]
    for name, inner in root.commands.items():  # type: ignore[attr-defined]
        found.append((name, inner))
        found += [(f"{name} {sub}", leaf) for sub, leaf in getattr(inner, "commands", {}).items()]
    return found


def test_the_commands_are_those_of_the_contract() -> None:
    names = {name for name, _ in all_commands()}
    assert names >= {"separate", "melody", "evaluate", "train", "doctor", "demo"} | {
        f"models {name}" for name in ("list", "info", "download", "verify", "convert", "publish", "path")
    }


@pytest.mark.parametrize(("name", "inner"), all_commands())
def test_every_option_is_explained(run: Run, name: str, inner: Any) -> None:
    for parameter in inner.params:
        assert getattr(parameter, "help", None), f"{name} {parameter.name} has no help"
        assert parameter.help.rstrip().endswith((".", ":")), f"{name} {parameter.name}: {parameter.help}"
        assert not MARKUP.search(parameter.help), f"rich takes a word out of {name} {parameter.name}: {parameter.help}"
    assert not MARKUP.search(inner.help or ""), f"rich takes a word out of {name}: {inner.help}"
    said = run(*name.split(), "--help")
    assert (said.code, said.err) == (0, "")
    assert "Usage: stemsplit" in said.out


def test_choices_are_those_of_the_modules_behind() -> None:
    assert set(get_args(Format)) == {*FORMATS, *PACKS, *PICTURED, "raw"}
    assert set(get_args(BitDepth)) == {"auto"} | {d for row in FORMATS.values() for d in row.depths} - {"lossy"}
    assert get_args(Precision) == PRECISIONS
    assert get_args(Clip) == CLIPS
    assert shared.DEFAULT_MODEL == DEFAULT_MODEL


def test_version_and_bare_call(run: Run) -> None:
    assert run("--version") == (0, f"stemsplit {stemsplit.__version__}\n", "")
    for arguments in ((), ("models",)):
        said = run(*arguments)
        assert said.code == 0
        assert "Commands" in said.out


def test_completion_is_on() -> None:
    env = {**os.environ, "_STEMSPLIT_COMPLETE": "complete_bash", "COMP_WORDS": "stemsplit sep", "COMP_CWORD": "1"}
    done = subprocess.run([*command()], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["separate"]


def test_debug_shows_where_it_happened(run: Run, tiny: str) -> None:
    Path("bad.mp3").write_bytes(b"no song")
    assert "Traceback" in run("separate", "bad.mp3", "-m", tiny, "--debug").err
    assert "Traceback" in run("separate", "nope.mp3", "--debug").err


# --- the other commands


def test_models_are_listed_shown_and_found(run: Run, tiny: str) -> None:
    assert "ts-bsmamba2-musdb18" in run("models", "list").out
    assert {card["name"] for card in json.loads(run("models", "list", "--json").out)} >= {"ts-bsmamba2-musdb18"}
    assert "35,517,480" in run("models", "info", "ts-bsmamba2-musdb18").out
    about = json.loads(run("models", "info", tiny, "--json").out)
    assert (about["name"], about["license"], about["stems"]) == ("tiny", "CC0-1.0", list(STEMS))
    assert run("models", "path", tiny) == (0, f"{tiny}\n", "")
    assert run("models", "download", tiny) == (0, f"{tiny}\n", "")
    assert run("models", "verify", tiny) == (0, f"{about['sha256']}  {tiny}\n", "")


def test_models_are_converted_and_published(run: Run, tiny: str) -> None:
    assert run("models", "convert", tiny, "mine") == (0, "mine\n", "")
    assert run("models", "verify", "./mine").code == 0
    said = run("models", "publish", "mine", "hf:me/mine", "--dry-run")
    assert (said.code, said.out) == (0, "hf:me/mine\n")
    assert "would upload config.json" in said.err


def test_stems_are_evaluated(run: Run, sound: Sound) -> None:
    for name in ("vocals", "bass"):
        write_song(Path("true") / f"{name}.wav", sound(1, 8000 + len(name), 8000)[:, :8000], 8000, "FLOAT")
        write_song(Path("mine") / f"{name}.wav", 0.9 * sound(1, 8000 + len(name), 8000)[:, :8000], 8000, "FLOAT")
    said = run("evaluate", "true", "mine")
    assert said.code == 0
    assert [line.split()[1:3] for line in said.out.splitlines()[1:]] == [["bass", "20.00"], ["vocals", "20.00"]]
    found = json.loads(run("evaluate", "true", "mine", "--json").out)
    assert found["songs"][0]["stems"][0]["sdr_db"] == pytest.approx(20.0, abs=0.01)
    assert json.loads(run("evaluate", "true", "true", "--json").out)["median"][0]["sdr_db"] == "inf"


def test_the_demo_writes_a_song_and_its_stems(run: Run, tiny: str) -> None:
    said = run("demo", "-m", tiny, "--seconds", "1", "-o", "here")
    assert said.code == 0
    paths = [Path(line) for line in said.out.splitlines()]
    *sounds, page = paths
    assert sounds == [Path("here/song.wav"), *(Path(f"here/song/{stem}.wav") for stem in sorted(STEMS))]
    assert {soundfile.info(path).frames for path in sounds} == {44100}
    assert page == Path("here/song/player.html")
    assert page.is_file()


def test_a_recipe_is_trained(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(recipe: Any, *, device: Any, pace: Any, on_event: Any) -> Path:
        assert (recipe, str(device), pace.minutes) == ("the recipe", "cpu", 1.5)
        on_event({"step": 10, "loss": 0.123456})
        return Path("runs/last.pt")

    monkeypatch.setattr("stemsplit.training.recipe.load_recipe", lambda path: "the recipe")
    monkeypatch.setattr("stemsplit.training.loop.run_recipe", fake)
    said = run("train", "recipe.toml", "--minutes", "1.5", "--device", "cpu")
    assert said == (0, "runs/last.pt\n", "step 10  loss 0.1235\n")
    assert run("train", "recipe.toml", "--minutes", "1.5", "--device", "cpu", "--json").objects == [
        {"step": 10, "loss": 0.123456}
    ]
