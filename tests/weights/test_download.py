"""Downloads over real HTTP on loopback: whole, resumed, checked, once."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from fake_hub import FakeServer

from stemsplit.errors import DownloadError, HashError, OutputError, UnknownModelError
from stemsplit.weights import transfer
from stemsplit.weights.download import Download, download, is_cached
from stemsplit.weights.transfer import require_safe

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr(transfer, "WAITS_SECONDS", (0.01, 0.01, 0.01, 0.01))
    monkeypatch.setenv("NO_PROXY", "*")
    with FakeServer() as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "Modèles ♫" / "weights.ckpt"


def test_a_file_comes_whole_and_is_not_fetched_twice(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY)
    steps: list[tuple[int, int | None]] = []
    first = download(url, target, progress=lambda done, total: steps.append((done, total)))
    assert first == Download(target, url, len(BODY), SHA256, fetched=True)
    assert target.read_bytes() == BODY
    assert steps[-1] == (len(BODY), len(BODY))
    assert all(a[0] < b[0] for a, b in pairwise(steps))
    assert download(url, target) == Download(target, url, len(BODY), SHA256, fetched=False)
    assert len(server.requests) == 1
    assert sorted(path.name for path in target.parent.iterdir()) == [
        "weights.ckpt",
        "weights.ckpt.json",
        "weights.ckpt.lock",
    ]


def test_an_empty_file_is_a_file(server: FakeServer, target: Path) -> None:
    assert download(server.add("/empty", b""), target).size == 0
    assert target.read_bytes() == b""


@pytest.mark.parametrize("chunked", [False, True])
def test_a_cut_connection_goes_on_from_the_byte_reached(server: FakeServer, target: Path, chunked: bool) -> None:
    url = server.add("/weights.ckpt", BODY, cuts=[300_000, 300_000], chunked=chunked)
    assert download(url, target, sha256=SHA256).sha256 == SHA256
    ranges = [request.headers.get("range") for request in server.requests]
    assert ranges == [None, "bytes=300000-", "bytes=600000-"]
    assert server.requests[1].headers["if-range"] == '"v1"'
    assert server.bytes_sent == len(BODY)


def test_a_connection_that_breaks_often_still_arrives(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY, cuts=[100_000] * 10)
    assert download(url, target).sha256 == SHA256
    assert server.bytes_sent == len(BODY)


def test_bytes_of_another_address_are_not_continued(server: FakeServer, target: Path) -> None:
    with pytest.raises(DownloadError):
        download(server.add("/old.ckpt", BODY, cuts=[300_000] + [0] * 5), target)
    assert download(server.add("/new.ckpt", BODY[::-1]), target).path.read_bytes() == BODY[::-1]


def test_a_later_call_resumes_what_an_earlier_one_left(
    server: FakeServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.add("/weights.ckpt", BODY, cuts=[300_000] + [0] * 5)
    with pytest.raises(DownloadError, match="300000 bytes that came are kept"):
        download(url, target)
    assert not target.exists()
    assert not is_cached(target)
    assert download(url, target).sha256 == SHA256
    assert server.requests[-1].headers["range"] == "bytes=300000-"


def test_a_file_that_changed_between_two_calls_starts_over(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY, cuts=[300_000] + [0] * 5)
    with pytest.raises(DownloadError):
        download(url, target)
    changed = BODY[::-1]
    server.add("/weights.ckpt", changed, etag='"v2"')
    assert download(url, target).sha256 == hashlib.sha256(changed).hexdigest()


@pytest.mark.parametrize("how", [{"ranges": False}, {"etag": None}, {"etag": 'W/"weak"'}])
def test_a_server_that_cannot_resume_sends_all_again(server: FakeServer, target: Path, how: dict[str, object]) -> None:
    url = server.add("/weights.ckpt", BODY, cuts=[300_000], **how)
    assert download(url, target).sha256 == SHA256
    assert target.read_bytes() == BODY
    assert server.bytes_sent == len(BODY) + 300_000


def test_last_modified_serves_where_there_is_no_etag(server: FakeServer, target: Path) -> None:
    date = "Sat, 01 Jan 2022 00:00:00 GMT"
    url = server.add("/weights.ckpt", BODY, etag=None, headers={"Last-Modified": date}, cuts=[300_000])
    assert download(url, target).sha256 == SHA256
    assert server.requests[1].headers["if-range"] == date


def test_a_server_that_always_cuts_without_resuming_is_given_up(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY, ranges=False, cuts=[300_000] * 50)
    with pytest.raises(DownloadError, match="broke after 300000 of 1048576 bytes"):
        download(url, target)
    assert len(server.requests) < 10


def test_a_complete_partial_file_needs_no_more_bytes(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY, cuts=[len(BODY) - 1] + [0] * 5)
    with pytest.raises(DownloadError):
        download(url, target)
    with target.with_name("weights.ckpt.partial").open("ab") as file:
        file.write(BODY[-1:])
    assert download(url, target).sha256 == SHA256
    assert server.bytes_sent == len(BODY) - 1


def test_a_longer_partial_file_than_the_remote_one_starts_over(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY, cuts=[len(BODY) - 1] + [0] * 5)
    with pytest.raises(DownloadError):
        download(url, target)
    with target.with_name("weights.ckpt.partial").open("ab") as file:
        file.write(b"too much")
    assert download(url, target).sha256 == SHA256


def test_spoilt_partial_bytes_are_dropped_when_the_hash_tells(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY, cuts=[300_000] + [0] * 5)
    with pytest.raises(DownloadError):
        download(url, target, sha256=SHA256)
    target.with_name("weights.ckpt.partial").write_bytes(b"\0" * 300_000)
    assert download(url, target, sha256=SHA256).sha256 == SHA256


def test_a_corrupt_body_of_the_right_length_is_refused_and_not_kept(server: FakeServer, target: Path) -> None:
    corrupt = b"\1" + BODY[1:]
    url = server.add("/weights.ckpt", corrupt)
    with pytest.raises(HashError) as caught:
        download(url, target, sha256=SHA256)
    assert SHA256 in str(caught.value)
    assert hashlib.sha256(corrupt).hexdigest() in str(caught.value)
    assert not target.exists()
    assert not target.with_name("weights.ckpt.partial").exists()
    server.add("/weights.ckpt", BODY)
    assert download(url, target, sha256=SHA256).fetched


def test_an_unknown_hash_is_trusted_once_and_compared_afterwards(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY)
    download(url, target)
    target.unlink()
    assert download(url, target).fetched
    server.add("/weights.ckpt", BODY[::-1], etag='"v2"')
    target.unlink()
    with pytest.raises(HashError, match=f"{SHA256} was recorded") as caught:
        download(url, target)
    assert "weights.ckpt.json" in str(caught.value)
    assert not target.exists()
    target.with_name("weights.ckpt.json").unlink()
    assert download(url, target).sha256 == hashlib.sha256(BODY[::-1]).hexdigest()


def test_a_new_pin_replaces_the_recorded_hash(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY)
    download(url, target)
    server.add("/weights.ckpt", BODY[::-1], etag='"v2"')
    renewed = hashlib.sha256(BODY[::-1]).hexdigest()
    assert download(url, target, sha256=renewed).fetched
    assert not download(url, target).fetched


def test_a_truncated_copy_in_the_cache_is_fetched_again(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY)
    download(url, target)
    target.write_bytes(BODY[:-1])
    assert not is_cached(target)
    assert download(url, target).fetched
    assert target.read_bytes() == BODY


def test_offline_takes_the_copy_or_says_where_to_put_one(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY)
    with pytest.raises(DownloadError, match=r"not in the cache.*put the file at .*weights\.ckpt"):
        download(url, target, offline=True)
    target.parent.mkdir()
    target.write_bytes(BODY)  # by hand, from another machine
    assert download(url, target, offline=True, sha256=SHA256).sha256 == SHA256
    assert server.requests == []


def test_redirects_lead_to_another_host(server: FakeServer, target: Path) -> None:
    server.add("/storage", BODY, cuts=[300_000])
    url = server.add("/weights.ckpt", b"", redirect=f"{server.other_url}/storage")
    assert download(url, target, sha256=SHA256).fetched
    assert [request.headers["host"].split(":")[0] for request in server.asked("GET", "/storage")] == ["localhost"] * 2
    assert server.requests[-1].headers["range"] == "bytes=300000-"


@pytest.mark.parametrize("where", ["http://example.invalid/x", "ftp://example.invalid/x", "file:///etc/passwd"])
def test_redirects_never_leave_https(server: FakeServer, target: Path, where: str) -> None:
    url = server.add("/weights.ckpt", b"", redirect=where)
    with pytest.raises((DownloadError, UnknownModelError)) as caught:
        download(url, target)
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("where", ["http://127.0.0.1:9/x", "http://localhost/x", "ftp://example.org/x"])
def test_a_redirect_from_https_to_anything_else_is_refused(
    target: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    asked: list[str] = []

    def answer(request: Any) -> Any:
        asked.append(str(request.url))
        return transfer.http_library().Response(302, headers={"Location": where})

    _answer_with(monkeypatch, answer)
    with pytest.raises(DownloadError, match="not encrypted: refused"):
        download("https://example.org/weights.ckpt", target)
    assert asked == ["https://example.org/weights.ckpt"]


def _answer_with(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Any], Any]) -> None:
    """Let `answer` stand for the network."""
    library = transfer.http_library()
    client = functools.partial(library.Client, transport=library.MockTransport(answer))
    monkeypatch.setattr(library, "Client", client)


def test_a_certificate_that_is_not_trusted_is_final(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def answer(request: Any) -> Any:
        nonlocal asked
        asked += 1
        try:
            raise ssl.SSLCertVerificationError("self-signed certificate")
        except ssl.SSLCertVerificationError as error:
            raise transfer.http_library().ConnectError("handshake failed") from error

    _answer_with(monkeypatch, answer)
    with pytest.raises(DownloadError, match=r"self-signed certificate.*SSL_CERT_FILE"):
        download("https://example.org/weights.ckpt", target)
    assert asked == 1


@pytest.mark.parametrize("where", ["http://[::1/x", "//", "http://user:secret@example.org/x"])
def test_a_redirect_to_no_address_ends_in_one_line(server: FakeServer, target: Path, where: str) -> None:
    url = server.add("/weights.ckpt", b"", redirect=where)
    with pytest.raises((DownloadError, UnknownModelError)) as caught:
        download(url, target)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_proxy_of_a_kind_that_is_not_known_is_said(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(DownloadError, match="ALL_PROXY cannot be used"):
        download("https://example.org/weights.ckpt", target)


def test_the_hubs_settings_are_not_for_other_addresses(
    server: FakeServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert download(server.add("/weights.ckpt", BODY), target).fetched
    (request,) = server.requests
    assert "authorization" not in request.headers
    assert request.headers["user-agent"].startswith("stemsplit/")


def test_a_redirect_loop_ends_in_one_line(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", b"", redirect=f"{server.url}/weights.ckpt")
    with pytest.raises(DownloadError) as caught:
        download(url, target)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "says"), [(401, "access refused"), (403, "access refused"), (404, "no such file"), (400, "refused")]
)
def test_a_refusal_is_final(server: FakeServer, target: Path, status: int, says: str) -> None:
    url = server.add("/weights.ckpt", BODY, statuses=[status])
    with pytest.raises(DownloadError, match=f"{says} .{status}"):
        download(url, target)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_trouble_is_tried_again(server: FakeServer, target: Path, status: int) -> None:
    url = server.add("/weights.ckpt", BODY, statuses=[status, status])
    assert download(url, target).sha256 == SHA256
    server.add("/broken.ckpt", BODY, statuses=[status] * 9)
    with pytest.raises(DownloadError, match=f"answered {status}"):
        download(f"{server.url}/broken.ckpt", target.with_name("broken.ckpt"))


def test_a_web_page_is_not_a_model(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", b"<html>log in</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(DownloadError, match="is a web page"):
        download(url, target)
    assert not target.with_name("weights.ckpt.json").exists()


def test_a_compressed_answer_is_not_taken_for_the_file(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY, headers={"Content-Encoding": "gzip"})
    with pytest.raises(DownloadError, match="gzip"):
        download(url, target)


def test_nobody_listening_is_said_in_seconds(server: FakeServer, target: Path) -> None:
    with FakeServer() as gone:
        url = gone.add("/weights.ckpt", BODY)
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"refused.*Check the network"):
        download(url, target)
    assert time.monotonic() - start < 5


def test_a_silent_server_is_given_up(server: FakeServer, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.1)
    url = server.add("/weights.ckpt", BODY, delay=1.0)
    with pytest.raises(DownloadError, match="does not answer"):
        download(url, target)


def test_a_disk_that_is_too_full_is_noticed_before(
    server: FakeServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=500_000))
    with pytest.raises(OutputError, match=r"0 MB free.*needs 1 MB.*STEMSPLIT_CACHE"):
        download(server.add("/weights.ckpt", BODY, delay=0.05), target)
    assert server.bytes_sent < len(BODY)
    assert not target.with_name("weights.ckpt.partial").exists()


@pytest.mark.skipif(os.name == "nt", reason="file size limits are POSIX")
def test_a_disk_that_fills_up_on_the_way_is_no_network_error(server: FakeServer, target: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    url = server.add("/weights.ckpt", BODY)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="STEMSPLIT_CACHE"):
            download(url, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert download(url, target).sha256 == SHA256
    assert server.requests[-1].headers["range"] == "bytes=200000-"


def test_a_cache_that_is_a_file_is_named(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(OutputError, match="STEMSPLIT_CACHE"):
        download(server.add("/weights.ckpt", BODY), tmp_path / "cache" / "weights.ckpt")


def test_a_lock_that_cannot_be_made_is_named(server: FakeServer, target: Path) -> None:
    target.with_name("weights.ckpt.lock").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"weights\.ckpt\.lock.*STEMSPLIT_CACHE"):
        download(server.add("/weights.ckpt", BODY), target)


def test_threads_download_once(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY, delay=0.01)
    found: list[Download] = []
    threads = [threading.Thread(target=lambda: found.append(download(url, target))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.fetched for one in found) == [False, False, False, True]
    assert len(server.requests) == 1


CHILD = """
import sys
from pathlib import Path
from stemsplit.weights.download import download
print(download(sys.argv[1], Path(sys.argv[2])).fetched)
"""


def _child(url: str, target: Path) -> subprocess.Popen[str]:
    source = str(Path(transfer.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": source, "NO_PROXY": "*"}
    command = [sys.executable, "-c", CHILD, url, str(target)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_two_processes_download_once(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY, delay=0.05)
    children = [_child(url, target) for _ in range(2)]
    said = sorted(child.communicate(timeout=60)[0].strip() for child in children)
    assert said == ["False", "True"]
    assert len(server.requests) == 1


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_process_leaves_no_lock_and_its_bytes(server: FakeServer, target: Path) -> None:
    url = server.add("/weights.ckpt", BODY, delay=0.2)
    child = _child(url, target)
    deadline = time.monotonic() + 30
    while server.bytes_sent < 200_000 and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    server.files["/weights.ckpt"].delay = 0
    assert download(url, target).sha256 == SHA256
    assert server.requests[-1].headers["range"].startswith("bytes=")


def test_a_file_system_without_locks_still_downloads(
    server: FakeServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stemsplit.machine.disk.try_lock", lambda _: False)
    assert download(server.add("/weights.ckpt", BODY, cuts=[1000]), target).sha256 == SHA256
    assert not list(target.parent.glob("*.partial*"))


@pytest.mark.parametrize(
    "url",
    ["http://example.org/a.ckpt", "ftp://example.org/a.ckpt", "file:///a.ckpt", "https:///a.ckpt",
     "https://example.org:port/a.ckpt", "https://exa mple.org/a.ckpt", "https://example.org/a b.ckpt",
     "http://127.0.0.1.example.org/a.ckpt", "http://localhost.example.org/a", "https://[::1/a.ckpt"],
)  # fmt: skip
def test_what_is_not_fetched(url: str) -> None:
    with pytest.raises(UnknownModelError):
        require_safe(url)


@pytest.mark.parametrize(
    "url", ["https://example.org/a", "http://127.0.0.1:80/a", "http://[::1]/a", "http://localhost/a"]
)
def test_what_is_fetched(url: str) -> None:
    require_safe(url)
