"""`hf:` references against a Hub on loopback that answers, refuses, lies and breaks off."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_hub
import huggingface_hub
import huggingface_hub.constants
import pytest
from fake_hub import FakeHub, FakeServer

from stemsplit.errors import DownloadError, HashError, ModelError, OutputError, UnknownModelError
from stemsplit.weights import hub, transfer
from stemsplit.weights.catalog import locate

WEIGHTS = bytes(range(256)) * 2048  # 512 KiB
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
CONFIG = json.dumps({"format": 1, "architecture": "x", "network": {}, "weights": {"sha256": SHA256}}).encode()
MODEL = {
    "config.json": CONFIG,
    "README.md": b"# A model\n",
    "model.safetensors": WEIGHTS,
    "optimizer.pt": b"not needed",
    "samples/demo.wav": b"RIFF",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache ♫"))
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with FakeHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.mark.parametrize(
    ("text", "repository", "revision", "subfolder"),
    [
        ("hf:me/model", "me/model", "main", ""),
        ("hf:me/model@v1.0", "me/model", "v1.0", ""),
        ("hf:me/model@refs/pr/1:a/b/", "me/model", "refs/pr/1", "a/b"),
        ("hf:me/model:sub", "me/model", "main", "sub"),
    ],
)
def test_references_are_read(text: str, repository: str, revision: str, subfolder: str) -> None:
    assert hub.parse(text) == hub.HubReference(repository, revision, subfolder)
    assert hub.parse(str(hub.parse(text))) == hub.parse(text)


@pytest.mark.parametrize(
    "text", ["hf:", "hf:model", "hf:a/b/c", "hf:a/b@", "hf:a/b:", "hf:a/b:../x", "hf:a/b:x\\y", "hf:../b", "hf:a/b c"]
)
def test_what_is_no_reference_is_refused(server: FakeHub, text: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        hub.fetch(text)
    assert "\n" not in str(caught.value)
    assert server.requests == []


def test_only_the_models_own_files_come(server: FakeHub) -> None:
    commit = server.add_model("me/model", MODEL)
    steps: list[tuple[int, int | None]] = []
    found = locate("hf:me/model", progress=lambda done, total: steps.append((done, total)))
    assert found.revision == commit
    assert found.sha256 == SHA256
    assert found.config == json.loads(MODEL["config.json"])
    assert sorted(path.name for path in found.path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS
    assert found.sha256 == SHA256
    assert steps[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert {request.headers["host"].split(":")[0] for request in server.asked("GET", "/storage/")} == {"localhost"}


def test_a_second_run_asks_once_and_fetches_nothing(server: FakeHub) -> None:
    server.add_model("me/model", MODEL)
    first = hub.fetch("hf:me/model")
    del server.requests[:]
    assert hub.fetch("hf:me/model") == first
    assert [request.path.split("?")[0] for request in server.requests] == ["/api/models/me/model/revision/main"]


def test_a_commit_that_is_on_disk_costs_no_request(server: FakeHub) -> None:
    commit = server.add_model("me/model", MODEL)
    first = hub.fetch("hf:me/model")
    del server.requests[:]
    assert hub.fetch(f"hf:me/model@{commit}") == first
    assert server.requests == []


def test_a_branch_that_moved_is_followed_and_a_commit_is_not(server: FakeHub) -> None:
    old = server.add_model("me/model", MODEL)
    hub.fetch("hf:me/model")
    moved = {**MODEL, "README.md": b"# Renewed\n"}
    new = server.add_model("me/model", moved)
    assert hub.fetch("hf:me/model").revision == new
    assert hub.fetch(f"hf:me/model@{old}").revision == old
    assert len(server.asked("GET", "/storage/")) == 1


def test_a_subfolder_is_a_model_of_its_own(server: FakeHub) -> None:
    server.add_model("me/models", {f"big/{name}": body for name, body in MODEL.items()})
    found = hub.fetch("hf:me/models:big")
    assert found.path.name == "big"
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS
    with pytest.raises(UnknownModelError, match="It may be hf:me/models:big"):
        hub.fetch("hf:me/models")
    with pytest.raises(UnknownModelError, match="hf:me/models has no folder or file small"):
        hub.fetch("hf:me/models:small")
    with pytest.raises(UnknownModelError, match="not a checkpoint"):
        hub.fetch("hf:me/models:big/README.md")


def test_a_lone_checkpoint_comes_with_its_yaml(server: FakeHub) -> None:
    server.add_model("me/old", {"best.ckpt": WEIGHTS, "config.yaml": b"a: 1\n", "x/other.yaml": b"", "log.txt": b""})
    found = locate("hf:me/old")
    assert found.path.name == "best.ckpt"
    assert found.needs_conversion
    assert sorted(path.name for path in found.path.parent.iterdir()) == ["best.ckpt", "config.yaml"]


def test_of_several_checkpoints_one_has_to_be_named(server: FakeHub) -> None:
    server.add_model("me/old", {"a.ckpt": b"a", "b.ckpt": b"b"})
    with pytest.raises(UnknownModelError, match=r"2 checkpoints: name one, as in hf:me/old:a\.ckpt"):
        hub.fetch("hf:me/old")
    assert hub.fetch("hf:me/old:b.ckpt").path.read_bytes() == b"b"


@pytest.mark.parametrize(
    ("reference", "error", "says"),
    [
        ("hf:me/nothing", UnknownModelError, "no such repository, or it is private.*hf auth login"),
        ("hf:me/model@v9", UnknownModelError, "no such revision"),
        ("hf:me/model@" + "0" * 40, UnknownModelError, "no such revision"),
        ("hf:me/gated", DownloadError, "is gated: accept its terms at http://.*/me/gated"),
        ("hf:me/forbidden", DownloadError, r"access refused \(403\)"),
        ("hf:me/empty", UnknownModelError, "holds no model"),
        ("hf:me/void", UnknownModelError, "hf:me/void holds no model"),
    ],
)
def test_each_refusal_has_its_words(server: FakeHub, reference: str, error: type[Exception], says: str) -> None:
    server.add_model("me/model", MODEL)
    server.add_model("me/empty", {"README.md": b""})
    server.add_model("me/void", {})
    server.gated.add("me/gated")
    server.forbidden.add("me/forbidden")
    with pytest.raises(error, match=says) as caught:
        locate(reference)
    assert "\n" not in str(caught.value)


def test_a_config_that_names_missing_weights_is_refused(server: FakeHub) -> None:
    server.add_model("me/model", {"config.json": CONFIG})
    with pytest.raises(ModelError, match=r"names model\.safetensors, which the repository does not hold"):
        hub.fetch("hf:me/model")


def test_a_config_cannot_point_outside_its_folder(server: FakeHub) -> None:
    config = json.dumps({"weights": {"file": "../../secret"}}).encode()
    server.add_model("me/model", {"config.json": config, "model.safetensors": b""})
    with pytest.raises(ModelError, match="must be a name in the same folder"):
        hub.fetch("hf:me/model")


def test_a_file_that_vanishes_after_the_listing_is_named(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_model("me/model", MODEL)
    listing = hub._ask(hub.parse("hf:me/model"), None)
    gone = {name: body for name, body in MODEL.items() if name != "model.safetensors"}
    server.repositories["me/model"][listing.revision] = gone
    monkeypatch.setattr(hub, "_ask", lambda *_: listing)
    with pytest.raises(UnknownModelError, match=r"model\.safetensors: the repository has no such file"):
        hub.fetch("hf:me/model")


def test_a_hub_that_dies_after_the_listing_is_named(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_model("me/model", MODEL)
    listing = hub._ask(hub.parse("hf:me/model"), None)
    monkeypatch.setattr(hub, "_ask", lambda _, endpoint: listing._replace(endpoint=endpoint))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(DownloadError, match=r"Cannot download http://127.*config\.json: .*refused"):
        locate("hf:me/model", endpoint=_closed_port())


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "README.md"])
def test_a_corrupt_body_of_the_right_length_is_refused_and_not_kept(server: FakeHub, name: str) -> None:
    server.add_model("me/model", MODEL)
    server.corrupt[name] = MODEL[name].swapcase()
    assert server.corrupt[name] != MODEL[name]
    with pytest.raises(HashError, match=f"/{name} .*changed or damaged"):
        hub.fetch("hf:me/model")
    server.corrupt.clear()
    found = hub.fetch("hf:me/model")
    assert (found.path / name).read_bytes() == MODEL[name]


def test_a_corrupt_lone_checkpoint_is_refused(server: FakeHub) -> None:
    server.add_model("me/old", {"best.ckpt": WEIGHTS})
    server.corrupt["best.ckpt"] = WEIGHTS[::-1]
    with pytest.raises(HashError, match=f"{SHA256} was expected"):
        hub.fetch("hf:me/old")


def test_the_pin_in_config_json_is_compared(server: FakeHub) -> None:
    server.add_model("me/model", {**MODEL, "model.safetensors": WEIGHTS[::-1]})
    with pytest.raises(HashError, match=rf"config\.json says {SHA256}"):
        hub.fetch("hf:me/model")


def test_a_gated_file_of_a_public_listing_is_said(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_model("me/model", MODEL)
    listing = hub._ask(hub.parse("hf:me/model"), None)
    monkeypatch.setattr(hub, "_ask", lambda *_: listing)
    server.gated.add("me/model")
    with pytest.raises(DownloadError, match=r"config\.json is gated: accept its terms at http://.*/me/model"):
        hub.fetch("hf:me/model")


def test_the_cache_is_one_of_huggingface_hub(server: FakeHub) -> None:
    commit = server.add_model("me/model", MODEL)
    found = hub.fetch("hf:me/model")
    cache = hub.hub_folder()
    path = huggingface_hub.try_to_load_from_cache("me/model", "model.safetensors", cache_dir=cache, revision=commit)
    assert path == str(found.path / "model.safetensors")
    (repository,) = huggingface_hub.scan_cache_dir(cache).repos
    assert (repository.repo_id, repository.nb_files) == ("me/model", 3)
    (cache / "checked").rename(cache / "lost")
    del server.requests[:]
    assert hub.fetch("hf:me/model") == found
    assert server.asked("GET", "/resolve/") == []


def test_files_that_another_program_fetched_are_taken(server: FakeHub) -> None:
    commit = server.add_model("me/model", MODEL)
    for name in ("config.json", "README.md", "model.safetensors"):
        huggingface_hub.hf_hub_download(
            "me/model", name, revision=commit, cache_dir=hub.hub_folder(), endpoint=server.url
        )
    del server.requests[:]
    assert hub.fetch("hf:me/model").sha256 == SHA256
    assert server.asked("GET", "/resolve/") == []


def test_where_links_are_not_allowed_files_are_copied(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    server.add_model("me/model", MODEL)
    found = locate("hf:me/model")
    assert not found.weights.is_symlink()
    assert found.weights.read_bytes() == WEIGHTS
    assert sorted(path.name for path in found.path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert locate("hf:me/model", offline=True) == found


def test_names_that_lead_out_of_the_cache_are_ignored(server: FakeHub) -> None:
    server.add_model("me/old", {"best.ckpt": WEIGHTS, "..\\..\\x.yaml": b"", "c:x.ckpt": b"", "../x.ckpt": b""})
    assert hub.fetch("hf:me/old").path.name == "best.ckpt"
    assert {path.name for path in hub.hub_folder().rglob("snapshots/*/*")} == {"best.ckpt"}


def test_a_mirror_in_the_local_network_may_be_plain_http(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = socket.getaddrinfo

    def resolve(host: str | bytes, *args: Any, **named: Any) -> Any:
        return plain("127.0.0.1" if host in ("mirror.lan", b"mirror.lan") else host, *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    server.other_url = f"http://mirror.lan:{server.port}"  # where it redirects to
    server.add_model("me/model", MODEL)
    assert locate("hf:me/model", endpoint=server.other_url).sha256 == SHA256


def test_a_mirror_that_lists_no_hashes_is_checked_by_the_config(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_hub, "_sibling", lambda path, body: {"rfilename": path})
    server.add_model("me/model", MODEL)
    assert hub.fetch("hf:me/model").sha256 == SHA256
    server.add_model("me/other", {**MODEL, "model.safetensors": WEIGHTS[::-1]})
    with pytest.raises(HashError, match=f"{SHA256} was expected"):
        hub.fetch("hf:me/other")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_copy_of_the_right_length_is_replaced(server: FakeHub, name: str) -> None:
    server.add_model("me/model", MODEL)
    copy = hub.fetch("hf:me/model").path / name
    copy.resolve().write_bytes(bytes(len(MODEL[name])))
    copy.unlink()  # as the message about a damaged model advises
    again = hub.fetch("hf:me/model")
    assert (again.path / name).read_bytes() == MODEL[name]


def test_a_damaged_copy_in_the_cache_is_replaced(server: FakeHub) -> None:
    server.add_model("me/model", MODEL)
    found = hub.fetch("hf:me/model")
    (found.path / "model.safetensors").resolve().write_bytes(WEIGHTS[:-1])
    again = hub.fetch("hf:me/model")
    assert (again.path / "model.safetensors").read_bytes() == WEIGHTS


def test_a_cut_connection_goes_on_from_the_byte_reached(server: FakeHub) -> None:
    server.add_model("me/model", MODEL)
    server.storage(WEIGHTS).cuts = [100_000]
    found = hub.fetch("hf:me/model")
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS
    assert [request.headers.get("range") for request in server.asked("GET", "/storage/")][-1] == "bytes=100000-"


@pytest.mark.parametrize("how", ["argument", "environment", "unreachable"])
def test_offline_serves_what_was_fetched_last(server: FakeHub, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    commit = server.add_model("me/model", MODEL)
    first = locate("hf:me/model")
    del server.requests[:]
    if how == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if how == "unreachable":
        monkeypatch.setenv("HF_ENDPOINT", _closed_port())
    assert locate("hf:me/model", offline=how == "argument") == first
    assert locate(f"hf:me/model@{commit}", offline=how == "argument").path == first.path
    assert server.requests == []


def test_offline_without_a_copy_says_what_to_do(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_model("me/model", MODEL)
    with pytest.raises(DownloadError, match="stemsplit models download hf:me/model"):
        locate("hf:me/model", offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="downloads are off"):
        locate("hf:me/model")
    assert server.requests == []


def _closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_an_unreachable_hub_fails_in_seconds(server: FakeHub) -> None:
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"connection to http://127.*HF_ENDPOINT"):
        locate("hf:me/model", endpoint=_closed_port())
    assert time.monotonic() - start < 5


def test_a_silent_hub_fails_in_seconds(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "ASK_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(DownloadError, match="connection to"):
            locate("hf:me/model", endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert time.monotonic() - start < 3


def test_a_slow_hub_may_be_given_more_time(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_model("me/model", MODEL)
    monkeypatch.setattr(hub, "ASK_SECONDS", 0.0)
    with pytest.raises(DownloadError):
        locate("hf:me/model")
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "20")
    assert locate("hf:me/model").sha256 == SHA256


def test_a_full_disk_is_noticed_before(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_model("me/model", MODEL)
    usage = shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OutputError, match="STEMSPLIT_CACHE"):
        locate("hf:me/model")
    assert server.asked("GET", "/resolve/") == []


def test_a_cache_that_is_a_file_is_named(server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_model("me/model", MODEL)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="STEMSPLIT_CACHE"):
        locate("hf:me/model")


def test_a_call_that_never_returns_is_left_behind() -> None:
    never = threading.Event()
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer"):
        transfer.within(0.1, never.wait)
    never.set()
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    "body", [b"<html>log in</html>", b"{}", b"[]", b"null", b'{"id": "me/model", "sha": "short"}', b'{"siblings": [1]}']
)
def test_an_endpoint_that_is_no_hub_is_named(server: FakeHub, body: bytes) -> None:
    with FakeServer() as other:
        other.add("/api/models/me/model/revision/main", body)
        with pytest.raises(DownloadError, match="does not answer like a Hub"):
            locate("hf:me/model", endpoint=other.url)


def test_the_endpoint_of_a_call_wins(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_model("me/model", MODEL)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert locate("hf:me/model", endpoint=server.url + "/").sha256 == SHA256


def test_a_token_is_shown_to_the_hub_alone(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.add_model("me/model", MODEL)
    hub.fetch("hf:me/model")
    shown = {request.headers.get("authorization") for request in server.requests if "/storage/" not in request.path}
    assert shown == {"Bearer hf_secret"}
    assert [request.headers.get("authorization") for request in server.asked("GET", "/storage/")] == [None]


def test_threads_get_the_same_snapshot(server: FakeHub) -> None:
    server.add_model("me/model", MODEL)
    server.storage(WEIGHTS).delay = 0.02
    found: list[hub.Snapshot] = []
    threads = [threading.Thread(target=lambda: found.append(hub.fetch("hf:me/model"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    assert len(server.asked("GET", "/storage/")) == 1
