"""A model folder → the Hub's folder → the Hub on loopback, and back again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from fake_hub import FakeHub

from stemsplit.errors import CheckpointError, DownloadError, HashError, OutputError, UnknownModelError
from stemsplit.weights.catalog import locate
from stemsplit.weights.publish import HUB_FILES, Published, prepare, publish

WEIGHTS = b"weights" * 1000
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)  # the fake speaks LFS only
    with FakeHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def write_model(folder: Path, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    described = {"format": 1, "architecture": "x", "network": {"stems": ["voix", "reste"]}, **config}
    (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    return folder


def upload(server: FakeHub, folder: Path, repository: str, **how: Any) -> Published:
    with pytest.MonkeyPatch.context() as patch:  # some versions compare the answer with the address of the import
        patch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
        return publish(folder, repository, token="hf_x", **how)


def test_a_published_model_comes_back_the_same(server: FakeHub, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "Modèle", license="Apache-2.0")
    (folder / "optimizer.pt").write_bytes(b"not for the public")
    done = upload(server, folder, "me/model", message="First")
    assert done.files == HUB_FILES
    assert done.url == f"{server.url}/me/model"
    found = locate(done.reference)
    assert done.reference == f"hf:me/model@{found.revision}"
    assert found.sha256 == SHA256
    assert sorted(path.name for path in found.path.iterdir()) == sorted(HUB_FILES)
    assert server.asked("POST", "/commit/")[0].headers["authorization"] == "Bearer hf_x"


def test_a_second_upload_is_a_new_commit(server: FakeHub, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    first = upload(server, folder, "me/model")
    (folder / "model.safetensors").write_bytes(WEIGHTS[::-1])
    second = upload(server, folder, "hf:me/model")
    assert first.reference != second.reference
    assert locate("hf:me/model").sha256 == hashlib.sha256(WEIGHTS[::-1]).hexdigest()


def test_a_dry_run_asks_nobody(server: FakeHub, tmp_path: Path) -> None:
    done = publish(write_model(tmp_path / "m"), "me/model", dry_run=True)
    assert (done.reference, done.url, done.files) == ("hf:me/model", None, HUB_FILES)
    assert server.requests == []


def test_a_refused_token_is_said(server: FakeHub, tmp_path: Path) -> None:
    server.forbidden.add("me/model")
    with pytest.raises(DownloadError, match=r"access refused \(403\).*hf auth login"):
        publish(write_model(tmp_path / "m"), "me/model", token="hf_x")


def test_a_card_that_the_hub_refuses_is_said(server: FakeHub, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "README.md").write_text("---\nlicense: nonsense\n---\n")
    with pytest.raises(CheckpointError, match=r"me/model: not published: .*README\.md.*license is not one of them"):
        publish(folder, "me/model", token="hf_x")


def test_nobody_listening_is_said(server: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"connection to http://127\.0\.0\.1:1 failed"):
        publish(write_model(tmp_path / "m"), "me/model", token="hf_x", endpoint="http://127.0.0.1:1")


@pytest.mark.parametrize("repository", ["model", "me/model:sub", "me/model@v1", "", "https://huggingface.co/a/b"])
def test_only_a_repository_is_published_to(tmp_path: Path, repository: str) -> None:
    with pytest.raises(UnknownModelError):
        publish(write_model(tmp_path / "m"), repository, dry_run=True)


def test_the_folder_states_its_weights(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", weights={"source": "mine", "url": "https://example.org/w.safetensors"})
    ready = prepare(folder, tmp_path / "ready")
    weights = json.loads((ready / "config.json").read_text())["weights"]
    assert weights == {"source": "mine", "file": "model.safetensors", "size": len(WEIGHTS), "sha256": SHA256}
    assert (ready / "model.safetensors").read_bytes() == WEIGHTS
    assert "weights" in json.loads((folder / "config.json").read_text())
    assert prepare(folder, ready) == ready  # once more over the same folder


def test_weights_of_another_name_get_the_usual_one(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", weights={"file": "last.safetensors"})
    (folder / "last.safetensors").write_bytes(b"last")
    ready = prepare(folder, tmp_path / "ready")
    assert (ready / "model.safetensors").read_bytes() == b"last"


@pytest.mark.parametrize(
    ("licence", "lines"),
    [
        ("Apache-2.0", ["license: apache-2.0"]),
        ("not stated", ["license: other", "license_name: not-stated"]),
        ("MUSDB18: academic use", ["license: other", "license_name: musdb18-academic-use"]),
        (None, ["license: other", "license_name: not-stated"]),
    ],
)
def test_the_card_opens_with_the_hubs_front_matter(tmp_path: Path, licence: str | None, lines: list[str]) -> None:
    folder = write_model(tmp_path / "m", license=licence, description="Zwei Stimmen.")
    text = (prepare(folder, tmp_path / "ready") / "README.md").read_text(encoding="utf-8")
    assert text.splitlines()[: len(lines) + 3] == [
        "---",
        *lines,
        "library_name: stemsplit",
        "pipeline_tag: audio-to-audio",
    ]
    assert "Zwei Stimmen." in text
    assert "Stems: voix, reste." in text
    (folder / "README.md").write_text("# Mine ♫\n", encoding="utf-8")
    text = (prepare(folder, tmp_path / "ready") / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\nlicense")
    assert text.endswith("# Mine ♫\n")
    (folder / "README.md").write_text("---\nlicense: mit\n---\nkept\n", encoding="utf-8")
    text = (prepare(folder, tmp_path / "ready") / "README.md").read_text(encoding="utf-8")
    assert text == "---\nlicense: mit\n---\nkept\n"


def test_what_is_not_publishable(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        prepare(tmp_path, tmp_path / "ready")
    with pytest.raises(CheckpointError, match="does not state architecture"):
        prepare(write_model(tmp_path / "a", architecture=""), tmp_path / "ready")
    with pytest.raises(HashError, match=SHA256):
        prepare(write_model(tmp_path / "b", weights={"sha256": "0" * 64}), tmp_path / "ready")
    pickled = write_model(tmp_path / "c", weights={"file": "a.ckpt"})
    (pickled / "a.ckpt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="stemsplit models convert"):
        prepare(pickled, tmp_path / "ready")
    (pickled / "a.ckpt").unlink()
    with pytest.raises(CheckpointError, match="nothing to publish"):
        prepare(pickled, tmp_path / "ready")
    assert not (tmp_path / "ready").exists()


def test_other_files_are_never_mixed_in(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    ready = tmp_path / "ready"
    ready.mkdir()
    (ready / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        prepare(folder, ready)
    assert [path.name for path in ready.iterdir()] == ["notes.txt"]
    with pytest.raises(OutputError, match="Cannot write"):
        prepare(folder, folder / "config.json")
    with pytest.raises(OutputError, match="same file"):
        prepare(folder, folder)
