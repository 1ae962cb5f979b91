"""Addresses on the command line: a real S3 server on loopback, local:// with processes, and what cannot be."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from said import Run
from stores import emptied, put_songs
from tiny import STEMS, save_tiny

PLAIN = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny(tmp_path_factory.mktemp("models") / "tiny"))


class Server(logging.Handler):
    """An S3 server; it notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.threaded = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
        self.threaded.start()
        host, port = self.threaded.get_host_and_port()
        self.url = f"http://{host}:{port}"
        urlopen(Request(f"{self.url}/moto-api/reset", method="POST")).close()  # other servers share its buckets

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.search(r'["m]([A-Z]+) (\S+) HTTP/1', record.getMessage()):
            self.asked.append(f"{found[1]} {found[2]}")

    def kinds(self, start: str = "") -> dict[str, int]:
        return dict(Counter(asked.split()[0] for asked in self.asked if asked.split()[1].startswith(start)))


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A bucket on a server of this machine."""
    s3fs = pytest.importorskip("s3fs")
    server, log = Server(), logging.getLogger("werkzeug")
    level, handlers = log.level, log.handlers[:]
    log.handlers[:] = [server]
    log.setLevel(logging.INFO)
    for name, value in {**PLAIN, "AWS_ENDPOINT_URL": server.url, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("bucket")
    yield server
    log.handlers[:] = handlers
    log.setLevel(level)
    server.threaded.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def rows(out: str) -> dict[str, dict[str, Any]]:
    return {row["track"]: row for row in map(json.loads, out.splitlines())}


@pytest.mark.timeout(900)
def test_songs_of_a_bucket_get_their_stems_there(run: Run, tiny: str, tmp_path: Path, s3: Server) -> None:
    import s3fs

    put_songs(tmp_path, "s3://bucket/songs", ["a/one.wav", "two ä.wav"])
    command = ("separate", "s3://bucket/songs", "-m", tiny, "-o", "s3://bucket/out", "--json")
    s3.asked.clear()
    said = run(*command)
    assert said.code == 0, said.err
    made = rows(said.out)
    assert made["a/one"]["outputs"]["bass"] == "s3://bucket/out/a/one/bass.wav"
    assert made["a/one"]["source"] == "s3://bucket/songs/a/one.wav"
    uploads = len(STEMS) + 2
    assert s3.kinds("/bucket/out/a/one/") == {"PUT": uploads, "DELETE": 1}
    assert s3.kinds("/bucket/songs/") == {"GET": 2}
    assert len(s3.asked) <= 2 * (uploads + 2) + 10, s3.asked  # ten to begin
    s3.asked.clear()
    said = run(*command)
    assert {row["status"] for row in rows(said.out).values()} == {"skipped"}
    assert len(s3.asked) <= 2 * 2 + 11, s3.asked
    assert run("separate", tmp_path / "made", "-m", tiny, "-o", tmp_path / "here").code == 0
    stem = tmp_path / "here" / "a" / "one" / "vocals.wav"
    assert s3fs.S3FileSystem().cat_file("bucket/out/a/one/vocals.wav") == stem.read_bytes()


@pytest.mark.timeout(900)
def test_what_is_wrong_with_a_store_is_said_plainly(
    run: Run, tiny: str, tmp_path: Path, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    put_songs(tmp_path, "s3://bucket/songs", ["one.wav"])
    here = ("-m", tiny, "-o", tmp_path / "out")
    said = run("separate", "s3://nosuch/songs", *here)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert said.err.startswith("stemsplit: error: s3://nosuch/songs: no such ")
    said = run("separate", tmp_path / "made", "-m", tiny, "-o", "s3://nosuch/out")
    assert said.code == 1
    assert "s3://nosuch/out: no such bucket there" in said.err
    said = run("separate", "s3://bucket/songs/one.wav", "s3://bucket/songs/two.wav", *here)
    assert said.code == 1
    assert "s3://bucket/songs/two.wav: no such file or folder there" in said.err
    assert (tmp_path / "out" / "one" / "vocals.wav").exists()
    for name in PLAIN:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    said = run("separate", "s3://bucket/songs", *here)
    assert said.code == 1
    assert "s3://bucket/songs: no credentials for it: " in said.err


@pytest.mark.timeout(900)
def test_processes_share_a_store(run: Run, tiny: str, tmp_path: Path) -> None:
    songs, out = tmp_path / "songs", tmp_path / "out"
    put_songs(tmp_path, f"file://{songs}", ["a/one.wav", "two.wav"])
    command = ("separate", f"file://{songs}", "-m", tiny, "-o", f"file://{out}", "--jobs", 2, "--json")
    said = run(*command)
    assert said.code == 0, said.err
    made = rows(said.out)
    assert made["two"]["outputs"]["bass"] == f"file://{out}/two/bass.wav"
    assert {path.name for path in (out / "two").iterdir()} == {"stemsplit.json", *(f"{stem}.wav" for stem in STEMS)}
    parts = [run(*command, "--dry-run", "--shard", f"{index}/2").out for index in (1, 2)]
    assert {row["status"] for row in rows("".join(parts)).values()} == {"skipped"}
    assert sorted(rows("".join(parts))) == ["a/one", "two"]


def test_a_song_at_an_address_goes_through_a_pipe(run: Run, tiny: str, tmp_path: Path) -> None:
    emptied()
    put_songs(tmp_path, "counted://songs", ["one.wav"])
    said = run("separate", "counted://songs/one.wav", "-m", tiny, "--stems", "vocals", "-o", "-", "--format", "raw")
    assert said.code == 0, said.err


def test_a_list_names_a_song_at_an_address(run: Run, tiny: str, tmp_path: Path) -> None:
    emptied()
    put_songs(tmp_path, "counted://songs", ["one.wav"])
    (tmp_path / "mix.m3u").write_text("counted://songs/one.wav\n")
    for command, made in (
        ("separate", "one/vocals.wav"),
        ("analyse", "one/analysis.json"),
        ("karaoke", "one/no_vocals.flac"),
    ):
        said = run(command, tmp_path / "mix.m3u", "-m", tiny, "-o", tmp_path / command)
        assert said.code == 0, said.err
        assert (tmp_path / command / made).is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("separate", "a.wav", "-o", "s3://b/c", "--player"), "--player and --daw write beside stems on this machine"),
        (("mix", "s3://b/a.wav", "--without", "vocals"), "s3://b/a.wav is an address: download it first"),
        (("separate", "nowhere://b/a.wav"), "nowhere://b/a.wav: no such kind of address"),
        (("melody", "a.wav", "--separated", "s3://b/c"), "s3://b/c is an address: download it first"),
    ],
)
def test_what_makes_no_sense_at_an_address_is_refused(run: Run, arguments: tuple[str, ...], told: str) -> None:
    said = run(*arguments)
    assert (said.code, told in said.err) == (2, True), said.err
