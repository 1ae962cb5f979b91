"""Songs that are uploaded: what becomes of them, what is refused, and what a server that is started again does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from serving import PATIENCE, Client, Gate, serving, wait, wav

from stemsplit.serve.app import Limits

ALL = ["drums", "bass", "other", "vocals"]
HOSTILE = (
    "../outside.txt",
    "%2e%2e/outside.txt",
    "song/..%2f..%2foutside.txt",
    "song/%2e%2e/song/vocals.wav",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "song//vocals.wav",
    "song/vocals.wav%00",
    "song/secret.txt",
    "song/link.wav",
    "song",
    "nope/vocals.wav",
    ".queue/1/job.json",
)
"""Addresses below /songs/ that lead to no file of a song."""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def client(out: Path) -> Iterator[Client]:
    with serving(out) as client:
        yield client


def events(client: Client, path: str) -> list[dict[str, Any]]:
    """All events of a stream that ends by itself."""
    connection = HTTPConnection("127.0.0.1", client.port, timeout=PATIENCE)
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.getheader("content-type", "").startswith("text/event-stream")
    blocks = response.read().decode().strip().split("\n\n")
    connection.close()
    return [json.loads(block.partition("data: ")[2]) for block in blocks if block.startswith("event: job\n")]


def test_a_song_is_separated_and_can_be_fetched(client: Client, out: Path) -> None:
    answer = client.upload(wav(), "My Söng.wav", preset="share")
    assert answer.status == 202
    assert answer.headers["location"] == "/jobs/1"
    told = events(client, "/jobs/1/events")
    assert told[-1]["state"] == "done"
    assert [one["done_seconds"] for one in told] == sorted(one["done_seconds"] for one in told)
    job = client.job(1)
    assert job == told[-1]
    assert list(job["outputs"]) == ALL
    assert job["seconds"] == job["done_seconds"] == 1
    assert job["page"] == "/songs/My%20S%C3%B6ng/player.html"
    page = client.get(job["page"])
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    mp3 = client.get(job["outputs"]["vocals"])
    assert mp3.body == (out / "My Söng" / "vocals.mp3").read_bytes()
    assert client.get(job["outputs"]["vocals"], Range="bytes=0-9").status == 206
    assert not (out / ".queue" / "1" / "My Söng.wav").exists()
    (song,) = client.get("/songs").json["songs"]
    assert (song["title"], song["page"], [stem["name"] for stem in song["stems"]]) == ("My Söng", job["page"], ALL)
    assert [stem["file"] for stem in song["stems"]] == list(job["outputs"].values())


def test_what_is_wanted_is_what_comes(client: Client) -> None:
    client.upload(wav(), stems="vocals", format="flac")
    client.upload(wav(), preset="karaoke")
    client.upload(wav(), preset="karaoke", stems="drums,bass")
    first, second, third = (client.when_over(number)["outputs"] for number in (1, 2, 3))
    assert first == {"vocals": "/songs/song/vocals.flac"}
    assert second == {"no vocals": "/songs/song/no%20vocals.mp3"}
    assert third == {"drums": "/songs/song/drums.mp3", "bass": "/songs/song/bass.mp3"}
    assert client.get(first["vocals"]).status == 200
    assert client.loads == ["fake"]


def test_songs_of_one_name_do_not_meet(client: Client, out: Path) -> None:
    for seed in (1, 2, 1):
        client.upload(wav(seed), "../../song.wav")
    tracks = [client.when_over(number)["track"] for number in (1, 2, 3)]
    assert tracks == ["song", "song (2)", "song"]
    assert {path.name for path in out.iterdir()} == {".queue", "song", "song (2)"}
    assert {path.name for path in out.parent.iterdir()} == {"out"}
    assert client.job(1)["name"] == "song.wav"


@pytest.mark.parametrize(
    ("song", "form", "status", "why"),
    [
        (b"not a song", {}, 415, "song.wav: not audio"),
        (b"", {}, 415, "song.wav"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", {}, 415, "song.wav: not audio"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", {}, 415, "song.wav: not audio"),
        (wav(seconds=61), {}, 415, "song.wav: longer than 1 minutes"),
        (wav(), {"preset": "nope"}, 422, "no preset is called 'nope'"),
        (wav(), {"stems": "guitar"}, 422, "guitar"),
        (wav(), {"stems": "vocals", "without": "drums"}, 422, "exclude each other"),
        (wav(), {"format": "exe"}, 422, "exe"),
        (wav(), {"model": "/etc/passwd"}, 422, "no model '/etc/passwd' is here"),
        (wav(), {"model": "https://evil.example/x.ckpt"}, 422, "no model"),
        (wav(), {"mix": "../x=drums+bass"}, 422, "x"),
        (wav(), {"stems": "x" * 201}, 422, "200"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    client: Client, out: Path, song: bytes, form: dict[str, str], status: int, why: str
) -> None:
    answer = client.upload(song, **form)
    assert answer.status == status, answer.body
    assert why in str(answer.json["detail"])
    assert client.get("/jobs").json == []
    assert [path for path in (out / ".queue").rglob("*") if path.name != ".claim"] == []


def test_a_form_without_a_file_is_refused(client: Client) -> None:
    assert (
        client.ask("POST", "/separate", b"preset=share", Content_Type="application/x-www-form-urlencoded").status == 422
    )
    assert client.ask("POST", "/separate", b"{}", Content_Type="multipart/form-data").status in (400, 422)


def test_only_files_of_songs_are_served(client: Client, out: Path) -> None:
    client.upload(wav())
    client.when_over(1)
    (out / "song" / "secret.txt").write_text("secret")
    (out.parent / "outside.txt").write_text("outside")
    (out / "song" / "link.wav").symlink_to(out.parent / "outside.txt")
    assert client.get("/songs/song/stemsplit.json").status == 200
    for path in HOSTILE:
        assert client.get(f"/songs/{path}").status == 404, path
    vocals = out / "song" / "vocals.wav"
    vocals.unlink()
    vocals.symlink_to(out.parent / "outside.txt")  # it is listed, but leads elsewhere
    assert client.get("/songs/song/vocals.wav").status == 404
    assert client.get("/page/../app.py").status == 404
    assert client.get("/page/..%2fapp.py").status == 404


def test_a_song_without_a_page_gets_one(client: Client, out: Path) -> None:
    client.upload(wav(), stems="vocals")
    client.when_over(1)
    (out / "song" / "player.html").unlink()
    (song,) = client.get("/songs").json["songs"]
    assert song["page"] is None
    for track, status in (("song", 200), ("../song", 404), ("nope", 404), ("", 404)):
        assert client.ask("POST", f"/player?track={track}").status == status
    (song,) = client.get("/songs").json["songs"]
    assert song["page"] == "/songs/song/player.html"
    assert client.get(song["page"]).status == 200
    (out / "song" / "player.html").unlink()
    (out / "song" / "vocals.wav").unlink()
    answer = client.ask("POST", "/player?track=song")
    assert (answer.status, "no such file" in answer.json["detail"]) == (422, True)


def test_a_job_is_cancelled(out: Path) -> None:
    gate = Gate()
    with serving(out, gate) as client:
        client.upload(wav(1, 5.0), "one.wav")
        client.upload(wav(2), "two.wav")
        assert gate.reached.wait(PATIENCE)
        assert client.ask("DELETE", "/jobs/1").status == 409
        assert client.ask("POST", "/jobs/2/cancel").json["state"] == "cancelled"
        assert client.ask("POST", "/jobs/1/cancel").status == 202
        gate.opened.set()
        assert client.when_over(1)["state"] == "cancelled"
        assert client.ask("POST", "/jobs/1/cancel").status == 409
        assert client.ask("POST", "/jobs/9/cancel").status == 404
        assert sorted(path.name for path in out.iterdir()) == [".queue"]
        assert [job["state"] for job in client.get("/jobs").json] == ["cancelled", "cancelled"]
        assert client.ask("DELETE", "/jobs/2").status == 204
        assert client.get("/jobs/2").status == 404
        client.upload(wav(3), "three.wav")
        assert client.when_over(3)["state"] == "done"


def test_a_server_that_is_started_again_goes_on(out: Path) -> None:
    gate = Gate()
    with serving(out, gate) as client:
        for number in (1, 2):
            client.upload(wav(number, 3.0), f"{number}.wav", stems="vocals")
        assert gate.reached.wait(PATIENCE)
    assert gate.calls < 12  # it did not wait for the end of the song
    assert not (out / "1").exists()
    (out / ".queue" / "7").mkdir()  # an upload that was cut off
    (out / ".queue" / "7" / "song.wav").write_bytes(b"RIFF")
    with serving(out) as client:
        assert [client.when_over(number)["state"] for number in (1, 2)] == ["done", "done"]
        assert not (out / ".queue" / "7").exists()
        assert client.upload(wav(5), "5.wav").json["number"] == 3
        client.when_over(3)
        before = client.get("/jobs").json
    with serving(out) as client:
        assert client.get("/jobs").json == before
        assert [song["title"] for song in client.get("/songs").json["songs"]] == ["5", "2", "1"]
    assert client.loads == ["fake"]


def test_a_song_that_fails_stops_no_other(out: Path) -> None:
    with serving(out, limits=Limits(20_000_000, 60.0)) as client:
        (out / "song").mkdir(parents=True)
        (out / "song" / "vocals.wav").write_bytes(b"mine")
        client.upload(wav(1))
        assert client.when_over(1)["track"] == "song (2)"
        (out / "late").write_bytes(b"a file where a folder has to be")
        job = client.upload(wav(2), "late.wav").json
        assert client.when_over(job["number"])["track"] == "late (2)"
    (out / ".queue" / "9").mkdir()
    record = json.loads((out / ".queue" / "1" / "job.json").read_text())
    lost = record | {"number": 9, "state": "queued", "upload": "song.wav"}
    (out / ".queue" / "9" / "job.json").write_text(json.dumps(lost))
    (out / ".queue" / "8").mkdir()
    stray = record | {"number": 8, "state": "queued", "upload": "../../../outside.wav"}
    (out / ".queue" / "8" / "job.json").write_text(json.dumps(stray))
    (out / ".queue" / "7").mkdir()
    (out / ".queue" / "7" / "job.json").write_text("{")
    with serving(out) as client:
        assert client.job(9)["error"] == "song.wav: its upload is gone"
        assert client.get("/jobs/8").status == client.get("/jobs/7").status == 404
        client.upload(wav(3), "next.wav")
        assert client.when_over(10)["state"] == "done"


def test_events_of_all_jobs_tell_what_is_there_and_what_comes(client: Client) -> None:
    client.upload(wav(1), "one.wav")
    client.when_over(1)
    connection = HTTPConnection("127.0.0.1", client.port, timeout=PATIENCE)
    connection.request("GET", "/events")
    response = connection.getresponse()
    assert response.readline() == b"event: job\n"
    assert json.loads(response.readline().removeprefix(b"data: "))["name"] == "one.wav"
    client.upload(wav(2), "two.wav")
    names = (response.readline() for _ in range(1000))
    assert any(b'"two.wav"' in line and b'"done"' in line for line in names)
    connection.close()


def test_the_api_describes_itself(client: Client) -> None:
    described = client.get("/openapi.json").json
    paths = "/separate /jobs /jobs/{number} /jobs/{number}/events /jobs/{number}/cancel /events"
    assert set(described["paths"]) == {*paths.split(), "/choices", "/songs", "/songs/{path}", "/player"}
    choices = client.get("/choices").json
    assert choices["models"][0] == {"name": "fake", "about": "", "stems": ALL}
    assert "karaoke" in [preset["name"] for preset in choices["presets"]]
    assert (choices["most_bytes"], choices["most_seconds"]) == (20_000_000, 60)


def test_an_address_that_is_none_is_not_found(client: Client) -> None:
    for path in ("/nope", "/jobs/0", "/jobs/x", "/jobs/99", "/page/nope.js", "/docs"):
        assert client.get(path).status in (404, 422), path
    assert wait(lambda: client.get("/jobs").status == 200)
