"""Names, folders, files and addresses → what is on disk."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fake_hub import FakeServer

from stemsplit.errors import CheckpointError, DownloadError, HashError, ModelError, UnknownModelError
from stemsplit.weights import cache, catalog
from stemsplit.weights.card import ModelCard, Score, read_card
from stemsplit.weights.catalog import ModelFiles, card, converted_folder, list_models, locate, model_names

WEIGHTS = b"weights" * 1000
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


def write_model(folder: Path, body: bytes | None = WEIGHTS, /, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    described = {"format": 1, "architecture": "x", "network": {"stems": ["a", "b"]}, **config}
    (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")
    if body is not None:
        (folder / "model.safetensors").write_bytes(body)
    return folder


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A catalog of two models: "small" ships, "large" does not."""
    monkeypatch.setattr(catalog, "models_dir", lambda: tmp_path / "models")
    write_model(tmp_path / "models" / "small")
    write_model(tmp_path / "models" / "large", None)
    return tmp_path / "models"


# ---- the catalog itself ----


def test_the_public_checkpoint_is_described() -> None:
    public = card("ts-bsmamba2-musdb18")
    assert public.stems == ("drums", "bass", "other", "vocals")
    assert public.license == "not stated"
    assert public.parameters == 35_517_480
    assert public.size == 142_800_000
    assert public.sha256 is None
    assert public.local == "to download"
    assert str(public.url).endswith("/v1.0.9/model_bs_mamba2_ep_11_sdr_6.8723.ckpt")
    assert {score.stem: score.value for score in public.scores}["mean"] == 6.87
    network = json.loads((public.path / "config.json").read_text())["network"]
    assert (len(network["bands"]), sum(network["bands"])) == (57, 1025)
    assert network["chunk_samples"] == 3 * network["sample_rate"]


def test_every_model_has_both_parts_of_its_card() -> None:
    cards = list_models()
    assert [one.name for one in cards] == model_names() == [one.path.name for one in cards]
    for one in cards:
        assert one.description
        assert one.architecture
        assert (one.path / "README.md").read_text(encoding="utf-8").startswith("---\n")


def test_looking_up_models_imports_nothing_heavy() -> None:
    code = (
        "import sys; from stemsplit.weights import catalog; catalog.list_models();"
        "print(sorted({'torch', 'huggingface_hub', 'numpy', 'httpx', 'httpx2'} & set(sys.modules)))"
    )
    source = str(Path(catalog.__file__).parents[2])
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {source!r}); {code}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_card_tells_what_is_where(shelf: Path, server: FakeServer) -> None:
    url = server.add("/large.ckpt", WEIGHTS)
    about = {"url": url, "size": 7, "source": "somebody"}
    scores = [{"dataset": "d", "metric": "SDR, dB", "values": {"a": 1, "mean": 2.5}}]
    write_model(shelf / "large", None, weights=about, scores=scores, license="MIT")
    small, large = card("small"), card("large")
    assert (small.local, small.size, small.license, small.url) == ("shipped", len(WEIGHTS), "not stated", None)
    assert (large.local, large.size, large.source, large.license) == ("to download", 7, "somebody", "MIT")
    assert large.scores == (Score("d", "SDR, dB", "a", 1.0), Score("d", "SDR, dB", "mean", 2.5))
    locate("large")
    assert card("large").local == "cached"
    assert [one.name for one in list_models()] == ["large", "small"]


def test_a_lost_model_is_shown_as_missing(shelf: Path) -> None:
    assert card("large").local == "missing"
    with pytest.raises(ModelError, match=r"large: .*model\.safetensors is missing"):
        locate("large")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"weights": 3}', '{"network": []}', "\udcff"])
def test_a_broken_config_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        read_card(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"scores": 3},
        {"scores": [{"values": {"a": "high"}}]},
        {"scores": [1]},
        {"network": {"stems": 4}},
        {"weights": {"sha256": 5}},
        {"weights": {"sha256": "A" * 64}},
        {"weights": {"file": "../x"}},
    ],
)
def test_a_card_of_the_wrong_types_is_named(tmp_path: Path, config: dict[str, Any]) -> None:
    write_model(tmp_path, **config)
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        read_card(tmp_path)


# ---- references ----


def test_a_shipped_model_is_its_folder(shelf: Path) -> None:
    folder = shelf / "small"
    config = json.loads((folder / "config.json").read_text())
    assert locate("small") == ModelFiles("small", folder, folder / "model.safetensors", SHA256, config)


def test_a_name_wins_over_a_folder_and_dot_slash_is_the_folder(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "small")
    assert locate("small").path == shelf / "small"
    assert locate("./small").path.resolve() == tmp_path / "small"


def test_a_catalog_model_is_downloaded_once_with_its_config(shelf: Path, server: FakeServer) -> None:
    url = server.add("/large.ckpt", WEIGHTS)
    write_model(shelf / "large", None, weights={"url": url, "sha256": None})
    with pytest.raises(DownloadError, match="not in the cache"):
        locate("large", offline=True)
    steps: list[tuple[int, int | None]] = []
    first = locate("large", progress=lambda done, total: steps.append((done, total)))
    config = json.loads((shelf / "large" / "config.json").read_text())
    assert first == ModelFiles("large", first.path, first.path, SHA256, config, source=url)
    assert first.path.read_bytes() == WEIGHTS
    assert first.needs_conversion
    assert steps[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert locate("large", offline=True) == first
    assert locate(str(shelf / "large")).path == first.path
    assert len(server.requests) == 1


def test_a_wrong_pin_of_the_catalog_is_refused(shelf: Path, server: FakeServer) -> None:
    url = server.add("/large.ckpt", WEIGHTS)
    write_model(shelf / "large", None, weights={"url": url, "sha256": "0" * 64})
    with pytest.raises(HashError, match=SHA256):
        locate("large")


def test_a_described_pickle_is_named_itself(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", weights={"file": "old.ckpt", "sha256": SHA256})
    (folder / "old.ckpt").write_bytes(WEIGHTS)
    found = locate(folder)
    config = json.loads((folder / "config.json").read_text())
    assert found == ModelFiles(str(folder), folder / "old.ckpt", folder / "old.ckpt", SHA256, config)
    assert found.needs_conversion


@pytest.mark.parametrize("suffix", [".ckpt", ".pth", ".pt", ".CKPT"])
def test_a_lone_checkpoint_is_found_by_file_and_by_folder(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"poids ♫{suffix}"
    file.write_bytes(WEIGHTS)
    assert locate(str(file)) == ModelFiles(str(file), file, file, SHA256)
    assert locate(str(tmp_path)).path == file
    assert locate(str(file)).needs_conversion


def test_of_several_checkpoints_one_has_to_be_named(tmp_path: Path) -> None:
    for name in ("a.ckpt", "b.ckpt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UnknownModelError, match=r"2 checkpoints \(a\.ckpt, b\.ckpt\)"):
        locate(str(tmp_path))


def test_safetensors_need_their_config(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    found = locate(str(folder / "model.safetensors"))
    assert found.path == found.weights == folder / "model.safetensors"
    assert found.config == json.loads((folder / "config.json").read_text())
    assert not found.needs_conversion
    (folder / "config.json").unlink()
    with pytest.raises(UnknownModelError, match=r"needs its config\.json"):
        locate(str(folder / "model.safetensors"))


def test_the_hash_of_another_file_is_not_taken(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", weights={"file": "model.safetensors", "sha256": SHA256})
    (folder / "last.safetensors").write_bytes(b"other")
    assert locate(str(folder / "model.safetensors")).sha256 == SHA256
    assert locate(str(folder / "last.safetensors")).sha256 == hashlib.sha256(b"other").hexdigest()
    assert locate(str(folder)).sha256 == SHA256


def test_a_weights_name_cannot_leave_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    for name in ("../x", "/etc/passwd", "a/b", "..", "a\\b", 7):
        (folder / "config.json").write_text(json.dumps({"weights": {"file": name}}))
        with pytest.raises(CheckpointError, match="in the same folder"):
            locate(str(folder))


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("smal", "Did you mean small.*models list"),
        ("zzzzzzzz", "There is no model zzzzzzzz.*models list"),
        ("", "is empty.*models list"),
        ("  ", "is empty"),
        ("owner/name", "Did you mean hf:owner/name"),
        ("~/nowhere", "no file or folder"),
        ("nowhere.ckpt", "no file or folder"),
        ("hf:owner", "hf:OWNER/REPO"),
        ("ftp://host/a.ckpt", "only https"),
        ("http://example.org/a.ckpt", "only https"),
        ("https://example.org/model.zip", r"does not end in \.safetensors"),
        ("https://me:secret@example.org/a.ckpt", "no user name or password"),
        ("https://example.org/a.ckpt#md5=1", "after # only sha256="),
    ],
)
def test_what_leads_nowhere_says_what_would(shelf: Path, reference: str, says: str) -> None:
    with pytest.raises(UnknownModelError, match=says) as caught:
        locate(reference)
    assert "\n" not in str(caught.value)


def test_a_song_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    with pytest.raises(UnknownModelError, match="is not a model"):
        locate(str(tmp_path / "song.wav"))
    with pytest.raises(UnknownModelError, match="holds no model"):
        locate(str(tmp_path))


# ---- addresses ----


def test_a_url_of_a_checkpoint(server: FakeServer) -> None:
    url = server.add("/a/b/weights.ckpt", WEIGHTS)
    found = locate(url)
    assert (found.sha256, found.source, found.config, found.path.name) == (SHA256, url, None, "weights.ckpt")
    assert locate(f"{url}#sha256={SHA256.upper()}").path == found.path
    assert locate(f"{url}?download=true").path != found.path
    with pytest.raises(HashError):
        locate(f"{url}#sha256={'0' * 64}")


def test_a_url_of_safetensors_brings_its_config_and_pin(server: FakeServer) -> None:
    url = server.add("/m/model.safetensors", WEIGHTS)
    with pytest.raises(DownloadError, match=r"config\.json.*no such file"):
        locate(url)
    config = {"format": 1, "weights": {"file": "model.safetensors", "sha256": SHA256}}
    server.add("/m/config.json", json.dumps(config).encode())
    found = locate(url)
    assert found.config == config
    assert found.sha256 == SHA256
    assert locate(url, offline=True) == found


def test_a_url_whose_config_states_another_hash_is_refused(server: FakeServer) -> None:
    url = server.add("/m/model.safetensors", WEIGHTS)
    config = {"weights": {"file": "model.safetensors", "sha256": "0" * 64}}
    server.add("/m/config.json", json.dumps(config).encode())
    with pytest.raises(HashError, match="0" * 64):
        locate(url)


def test_strange_names_in_a_url_stay_inside_the_cache(server: FakeServer, cache_folder: Path) -> None:
    server.add("/a/../../..x y*.ckpt", WEIGHTS)
    found = locate(f"{server.url}/a/..%2F..%2F..x%20y*.ckpt")
    assert found.path.parent.parent == cache_folder / "downloads"
    assert found.path.name.endswith("-_.._..x_y_.ckpt")
    long = "x" * 300 + ".ckpt"
    for name in ("a b.ckpt", "a_b.ckpt", "a%b.ckpt", "é.ckpt", long):
        server.add(f"/c/{name}", name.encode())
        found = locate(f"{server.url}/c/{quote(name)}")
        assert found.path.read_bytes() == name.encode()
        assert found.path.suffix == ".ckpt"


# ---- after locating ----


def test_a_conversion_has_one_place_per_content_and_config(tmp_path: Path, cache_folder: Path) -> None:
    file = tmp_path / "a.ckpt"
    bare = ModelFiles("a", file, file, SHA256)
    place = converted_folder(bare)
    assert place.parent == cache_folder / "converted"
    assert not place.exists()
    others = (
        replace(bare, config={"overlap": 0.5}),
        replace(bare, config={"overlap": 0.75}),
        replace(bare, sha256=SHA256[::-1]),
    )
    assert len({place, *map(converted_folder, others)}) == 4


def test_locating_hashes_what_is_there(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    assert locate(folder).sha256 == SHA256
    (folder / "config.json").write_text(json.dumps({"weights": {"sha256": SHA256}}))
    assert locate(folder).sha256 == SHA256
    (folder / "model.safetensors").write_bytes(WEIGHTS[::-1])
    with pytest.raises(HashError, match=f"{SHA256} is expected"):
        locate(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="is missing"):
        locate(folder)


def test_a_download_that_was_changed_on_disk_is_found_out(server: FakeServer) -> None:
    url = server.add("/weights.ckpt", WEIGHTS)
    locate(url).path.write_bytes(WEIGHTS[::-1])
    with pytest.raises(HashError, match=f"{SHA256} is expected"):
        locate(url)


def test_the_cache_follows_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache.cache_dir() == tmp_path / "cache"
    assert not cache.cache_dir().exists()
    monkeypatch.setenv("STEMSPLIT_CACHE", "")
    assert cache.cache_dir().name == "stemsplit"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMSPLIT_CACHE", "here")
    assert cache.cache_dir() == tmp_path / "here"


def test_cards_cannot_be_changed(shelf: Path) -> None:
    small: ModelCard = card("small")
    with pytest.raises(AttributeError):
        small.name = "other"  # type: ignore[misc]
