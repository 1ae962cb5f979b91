"""Who may ask: foreign names, foreign pages, missing tokens and endless bodies get no further than the guard."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from serving import Client, serving, wav

from stemsplit.errors import UsageError
from stemsplit.serve.app import Limits
from stemsplit.serve.guard import Rules
from stemsplit.serve.run import bound, check_token

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("out"), limits=Limits(100_000, 60.0)) as client:
        yield client


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("out"), token=TOKEN) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "[::1", "a b"]
)
def test_a_foreign_host_is_refused(client: Client, host: str) -> None:
    answer = client.get("/jobs", Host=host)
    assert answer.status == 403
    assert "not called that" in answer.json["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "127.1.2.3:80", "[::1]:8750"])
def test_our_own_names_are_known(client: Client, host: str) -> None:
    assert client.get("/jobs", Host=host).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", ""])
@pytest.mark.parametrize(
    "way", [("GET", "/jobs"), ("POST", "/separate"), ("POST", "/jobs/1/cancel"), ("DELETE", "/jobs/1")]
)
def test_a_page_of_another_site_is_refused(client: Client, origin: str, way: tuple[str, str]) -> None:
    answer = client.ask(*way, Origin=origin)
    assert answer.status == 403
    assert "other sites" in answer.json["detail"]


def test_a_browser_says_who_asks(client: Client) -> None:
    assert client.get("/jobs", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
    assert client.get("/jobs", Sec_Fetch_Site="same-site", Sec_Fetch_Mode="cors").status == 403
    assert client.get("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
    navigated = client.ask("POST", "/separate", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
    assert navigated.status == 403
    ours = f"http://127.0.0.1:{client.port}"
    assert client.get("/jobs", Origin=ours, Sec_Fetch_Site="same-origin").status == 200
    assert client.ask("POST", "/jobs/9/cancel", Origin=ours, Sec_Fetch_Site="same-origin").status == 404


def test_answers_may_not_be_framed_sniffed_or_read_elsewhere(client: Client) -> None:
    headers = client.get("/").headers
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in client.get("/jobs", Origin=f"http://127.0.0.1:{client.port}").headers


def test_a_body_that_is_too_large_is_refused_before_it_is_read(client: Client) -> None:
    answer = client.ask("POST", "/separate", b"", Content_Length=str(10**12))
    assert answer.status == 413
    assert answer.json["detail"] == "too large: at most 0.1 MB"
    assert client.ask("POST", "/separate", b"", Content_Length="9" * 5000).status in (400, 413)
    assert client.ask("POST", "/separate", b"", Content_Length="-1").status in (400, 413)


def test_a_body_without_a_length_is_refused_once_it_is_too_long(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port)) as line:
        head = 'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        line.sendall(
            b"POST /separate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=XX\r\n\r\n"
        )
        for part in (f"--XX\r\n{head}".encode(), *[bytes(50_000)] * 6):
            line.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        assert b" 413 " in line.recv(200)
    assert client.get("/jobs").json == []


def test_with_a_token_every_request_needs_it(locked: Client) -> None:
    pages = ("/", "/jobs", "/events", "/songs/a", "/page/serve.js", "/openapi.json")
    for method, path in (*(("GET", page) for page in pages), ("POST", "/separate"), ("DELETE", "/jobs/1")):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "stemsplit_token=wrong"}, {"Cookie": "a=;b"}):
            assert locked.ask(method, path, **headers).status == 401, (method, path, headers)
    assert locked.get("/jobs?token=wrong").status == 401
    assert locked.get("/jobs", Authorization=f"Bearer {TOKEN}").json == []
    assert b'name="token"' in locked.get("/", Accept="text/html").body


def test_a_browser_brings_the_token_once(locked: Client) -> None:
    answer = locked.get(f"/?token={TOKEN}&a=b")
    assert (answer.status, answer.headers["location"]) == (303, "/?a=b")
    assert locked.get(f"//evil.example/?token={TOKEN}").headers["location"] == "/evil.example/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert locked.get("/jobs", Cookie=cookie.partition(";")[0]).status == 200


def test_with_a_token_addresses_and_our_name_are_known_but_no_other(locked: Client) -> None:
    for host, status in (("192.168.1.9:80", 200), (socket.gethostname(), 200), ("evil.example", 403)):
        assert locked.get("/jobs", Host=host, Authorization=f"Bearer {TOKEN}").status == status, host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_machines_need_a_token(host: str) -> None:
    with pytest.raises(UsageError, match=r"--token|cannot listen"):
        bound(host, 0, None).close()


@pytest.mark.parametrize("token", ["", "short", "white space in it", "with\nnewline-in-it", "ünicode-ünicode"])
def test_a_token_that_can_be_guessed_or_sent_nowhere_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match="--token"):
        check_token(token)
    check_token(TOKEN)
    check_token(None)


def test_a_port_that_is_taken_is_told() -> None:
    with bound("127.0.0.1", 0, None) as first, pytest.raises(UsageError, match=r"cannot listen .* --port"):
        bound("127.0.0.1", first.getsockname()[1], None)


def test_the_rules_take_a_file_of_the_largest_size_with_its_form(client: Client) -> None:
    assert Rules.made(None, 100_000).most_bytes > 100_000
    assert client.upload(wav(seconds=0.5)).status == 202
