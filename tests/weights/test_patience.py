"""Servers that drip, and what is said of the bytes that came: on loopback, with short limits."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_hub import FakeHub, FakeServer

from stemsplit.errors import CheckpointError, DownloadError, HashError, OutputError, UnknownModelError
from stemsplit.weights import transfer
from stemsplit.weights.catalog import locate
from stemsplit.weights.download import download

BODY = bytes(range(256)) * 1024  # 256 KiB
SHA256 = hashlib.sha256(BODY).hexdigest()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(transfer, "WAITS_SECONDS", (0.001, 0.001))
    monkeypatch.setattr(transfer, "SLOW_SECONDS", 0.3)
    monkeypatch.setattr(transfer, "ANSWER_SECONDS", 0.3)


@contextmanager
def serving(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads a request and then does what `talk` does."""
    over = threading.Event()

    def one(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                talk(connection)
            except OSError:
                pass  # the client has gone

    def serve(listener: socket.socket) -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/model.ckpt"
        over.set()


def drip(head: bytes, piece: bytes = b"x") -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(400):
            connection.sendall(piece)
            time.sleep(0.02)

    return talk


@pytest.mark.parametrize(
    ("talk", "says"),
    [
        (drip(HEAD + b"\r\n"), "sends less than"),
        (drip(HEAD[:17] + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), "sends less than"),
        (drip(HEAD[:17] + b"Transfer-Encoding: chunked\r\n\r\n", b"0"), "sends less than"),  # the size of a chunk
        (drip(HEAD + b"X-Header: "), "did not answer within"),
        (drip(b"", b"H"), "did not answer within|protocol|invalid|illegal"),
    ],
)
def test_a_server_that_drips_is_given_up(tmp_path: Path, talk: Callable[[socket.socket], None], says: str) -> None:
    start = time.monotonic()
    with serving(talk) as url, pytest.raises(DownloadError, match=says):
        download(url, tmp_path / "model.ckpt")
    assert time.monotonic() - start < 10


def test_a_transfer_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MOST_SECONDS", 0.2)
    monkeypatch.setattr(transfer, "SLOW_BYTES", 0)
    with serving(drip(HEAD + b"\r\n")) as url, pytest.raises(DownloadError, match="takes longer than"):
        download(url, tmp_path / "model.ckpt")


def test_a_server_that_sends_a_little_at_each_attempt_is_given_up(tmp_path: Path) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(HEAD + b'ETag: "v"\r\n\r\n' + b"x" * 100)

    with serving(talk) as url, pytest.raises(DownloadError, match=r"broke|closed"):
        download(url, tmp_path / "model.ckpt")


def test_a_body_of_unknown_size_leaves_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def full(folder: Path, size: int) -> None:
        asked.append(size)
        if len(asked) > 1:
            raise OutputError("no room")

    monkeypatch.setattr(transfer, "SPACE_BYTES", 100_000)
    monkeypatch.setattr(transfer, "require_space", full)
    with FakeServer() as server, pytest.raises(OutputError, match="no room"):
        download(server.add("/model.ckpt", BODY, chunked=True), tmp_path / "model.ckpt")
    assert (tmp_path / "model.ckpt.partial").stat().st_size < 200_000


@pytest.mark.parametrize("length", ["\xb2", "-1", "9" * 5000, "0x5", "3, 4"])
def test_sizes_that_are_none(tmp_path: Path, length: str) -> None:
    def talk(connection: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode("latin-1") + b"xxxx")

    with serving(talk) as url, pytest.raises(DownloadError) as caught:
        download(url, tmp_path / "model.ckpt")
    assert str(caught.value).startswith(f"Cannot download {url}: ")


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ({"cuts": [100_000, *[0] * 9]}, True),  # it goes on in the middle, as the later attempts show
        ({"cuts": [100_000] * 9, "ranges": False}, False),
        ({"cuts": [100_000] * 9, "etag": None}, False),
    ],
)
def test_bytes_are_said_to_be_kept_only_if_they_are(tmp_path: Path, how: dict[str, object], kept: bool) -> None:
    with FakeServer() as server:
        url = server.add("/model.ckpt", BODY, **how)
        with pytest.raises(DownloadError) as caught:
            download(url, tmp_path / "model.ckpt")
        assert ("are kept" in str(caught.value)) == kept
        sent = server.bytes_sent
        server.files["/model.ckpt"].cuts.clear()
        assert download(url, tmp_path / "model.ckpt").sha256 == SHA256
        assert server.bytes_sent - sent == len(BODY) - 100_000 * kept


def test_nothing_is_kept_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stemsplit.machine.disk.try_lock", lambda _: False)
    with FakeServer() as server, pytest.raises(DownloadError) as caught:
        download(server.add("/model.ckpt", BODY, cuts=[100_000, *[0] * 9]), tmp_path / "model.ckpt")
    assert "are kept" not in str(caught.value)
    assert not list(tmp_path.glob("*.partial*"))


# ---- what is damaged in the cache ----

CONFIG = b'{"format": 1, "architecture": "x", "network": {}, "weights": {"sha256": "%s"}}' % SHA256.encode()
MODEL = {"config.json": CONFIG, "README.md": b"# A model\n", "model.safetensors": BODY}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield running


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("name", ["config.json", "README.md", "model.safetensors"])
def test_the_advice_for_a_damaged_hub_cache_works_at_the_first_try(hub: FakeHub, name: str, pinned: bool) -> None:
    commit = hub.add_model("me/model", MODEL)
    reference = f"hf:me/model@{commit}" if pinned else "hf:me/model"
    file = locate(reference).path / name
    file.resolve().write_bytes(bytes(len(MODEL[name])))  # as long as before
    if name != "README.md":  # which nothing depends on
        with pytest.raises((HashError, CheckpointError), match=f"stemsplit models download {reference}"):
            locate(reference)
    found = locate(reference, check=True)  # what `models download` does
    assert {path.name: path.read_bytes() for path in found.path.iterdir()} == MODEL
    del hub.requests[:]
    assert locate(reference, check=True) == found
    assert hub.asked("GET", "/storage/") == []


def test_a_damaged_download_is_fetched_again(tmp_path: Path) -> None:
    with FakeServer() as server:
        url = server.add("/model.ckpt", BODY)
        found = locate(url)
        found.weights.write_bytes(bytes(len(BODY)))
        with pytest.raises(HashError, match=f"Fetch it again with: stemsplit models download {url}"):
            locate(url)
        assert locate(url, check=True).sha256 == SHA256
        assert found.weights.read_bytes() == BODY


@pytest.mark.parametrize("url", [None, "https://example.org/model.safetensors"])
def test_the_advice_for_a_damaged_folder_fits(tmp_path: Path, url: str | None) -> None:
    address = f', "url": "{url}"' if url else ""
    (tmp_path / "config.json").write_bytes(CONFIG.replace(b'"sha256"', f'"size": 1{address}, "sha256"'.encode()))
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    advice = "Delete it and run: stemsplit models download" if url else "Copy it again from where it came"
    with pytest.raises(HashError, match=advice):
        locate(tmp_path)


# ---- what a listing says ----


@pytest.mark.parametrize(
    "name",
    ["\x1b[31m.ckpt", "new\nline.ckpt", "\ud800.ckpt", "\u202e.ckpt", "n" * 300 + ".ckpt", "a/" * 400 + "x.ckpt",
     "a//b", "a/", "./a", "\0.ckpt", None, 5],
)  # fmt: skip
def test_odd_names_of_a_listing_are_left_out(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, name: object) -> None:
    hub.add_model("me/model", {"best.ckpt": BODY, "odd": b""})
    plain = {"rfilename": "best.ckpt", "size": len(BODY)}
    monkeypatch.setattr("fake_hub._sibling", lambda path, _: {"rfilename": name} if path == "odd" else plain)
    assert locate("hf:me/model").path.name == "best.ckpt"


@pytest.mark.parametrize(
    "odd",
    [{"size": -1}, {"size": "x"}, {"size": 1.5}, {"lfs": {"sha256": "x", "size": 1, "pointerSize": 1}}, {"lfs": 5}],
)
def test_odd_values_of_a_listing_are_those_of_no_hub(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, odd: dict[str, object]
) -> None:
    hub.add_model("me/model", {"best.ckpt": BODY})
    monkeypatch.setattr("fake_hub._sibling", lambda path, _: {"rfilename": path, **odd})
    with pytest.raises(DownloadError, match="does not answer like a Hub"):
        locate("hf:me/model")


@pytest.mark.parametrize("reference", ["~nosuchuser/x", "x" * 5000, "x/" * 3000, "https://" + "a" * 70 + ".b/z.ckpt"])
def test_references_that_lead_nowhere(reference: str) -> None:
    with pytest.raises((UnknownModelError, DownloadError)):
        locate(reference)


@pytest.mark.parametrize("endpoint", ["http://[::1", "http://127.0.0.1:9/\x1b", "http://é.\udce9", "garbage", "://"])
def test_endpoints_that_are_no_address(endpoint: str) -> None:
    with pytest.raises(DownloadError, match="HF_ENDPOINT"):
        locate("hf:me/model", endpoint=endpoint)


def test_a_cache_of_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", "~nosuchuser/cache")
    with pytest.raises(OutputError, match="STEMSPLIT_CACHE is ~nosuchuser/cache"):
        locate("https://example.org/a.ckpt")
