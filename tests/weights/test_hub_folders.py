"""Models of the catalog that are a trainer's folder of a Hub repository, on a Hub on loopback with that layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import published_sfc as public
import pytest
from fake_hub import FakeHub

from stemsplit.cli import main
from stemsplit.errors import CheckpointError, DownloadError, HashError, UnknownModelError
from stemsplit.weights import catalog, hub
from stemsplit.weights.catalog import card, locate
from stemsplit.weights.checkpoint import load_network
from stemsplit.weights.hub_place import HubReference, place, place_of

REPOSITORY = "kohei0209/spectral_feature_compression"
FOLDER = "musdb18hq/locoformer-small.enc-crossattn64dim.dec-crossattn64dim.musical64.learnable-query"
OTHERS = (
    "musdb18hq/locoformer-medium.enc-crossattn96dim.dec-crossattn96dim.musical64.learnable-query",
    "musdb18hq/locoformer-small.enc-crossattn64dim.dec-crossattn64dim.musical64.adaptive-query",
    "musdb18hq/locoformer-small.enc-mamba32dim.dec-mamba32dim.musical64.adaptive-query",
    "musdb18hq/locoformer-small.enc-mamba32dim.dec-mamba32dim.musical64.learnable-query",
    "musdb18hq/locoformer-medium.enc-mamba48dim.dec-mamba48dim.musical64.adaptive-query",
    "dnr/locoformer-small.enc-crossattn64dim.dec-crossattn64dim.musical64.learnable-query",
    "dnr/locoformer-medium.enc-crossattn96dim.dec-crossattn96dim.musical64.learnable-query",
)
NAMES = {
    "sfc-ca-small": FOLDER, "sfc-ca-medium": OTHERS[0], "sfc-mamba-small": OTHERS[2], "sfc-mamba-medium": OTHERS[4],
    "sfc-ca-small-dnr": OTHERS[5], "sfc-ca-medium-dnr": OTHERS[6],
}  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with FakeHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def listing(*folders: str) -> dict[str, bytes]:
    """All folders, with settings and a checkpoint each; the first one is a tiny network that can be loaded."""
    first, *others = folders
    files = {"README.md": b"", ".gitattributes": b"", **public.folder_of(public.TINY, f"{first}/")}
    for folder in others:
        files |= {f"{folder}/merged_config.yaml": b"a: 1\n", f"{folder}/checkpoints/epoch=9.ckpt": b"other"}
    return files


def test_a_name_of_the_catalog_leads_to_its_folder(server: FakeHub) -> None:
    commit = server.add_model(REPOSITORY, listing(FOLDER, *OTHERS))
    assert card("sfc-ca-small").local == "to download"
    found = locate("sfc-ca-small")
    assert (found.reference, found.revision, found.source) == ("sfc-ca-small", commit, f"hf:{REPOSITORY}")
    assert [path.name for path in (found.weights, *found.more)] == ["epoch=1.ckpt", "epoch=2.pth"]
    assert {request.headers["host"].split(":")[0] for request in server.asked("GET", "/storage/")} == {"localhost"}
    assert not [request for request in server.asked("GET", "/resolve/") if "last.ckpt" in request.path]
    network = load_network(found)
    assert network.config == public.TINY
    assert card("sfc-ca-small").local == "cached"
    del server.requests[:]
    assert locate("sfc-ca-small", offline=True) == found
    assert server.requests == []


def test_the_size_of_a_download_is_known_before(server: FakeHub) -> None:
    server.add_model(REPOSITORY, listing(FOLDER, *OTHERS))
    told = hub.download_size(card("sfc-ca-small"))
    assert not server.asked("GET", "/storage/")
    found = locate("sfc-ca-small")
    assert found.settings is not None
    assert told == sum(path.stat().st_size for path in (found.weights, *found.more, found.settings))
    assert hub.download_size(card("bsmamba2-vocals")) == 192_610_602


def test_what_is_converted_keeps_its_card(server: FakeHub, tmp_path: Path) -> None:
    server.add_model(REPOSITORY, listing(FOLDER))
    assert main(["models", "convert", "sfc-ca-small", str(tmp_path / "ours"), "-q"]) == 0
    about = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert (about["name"], about["license"], about["weights"]["source"]) == (
        "sfc-ca-small", "not stated", f"hf:{REPOSITORY}",
    )  # fmt: skip
    assert about["network"]["dim"] == public.TINY.dim


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_finds_its_own_folder(name: str) -> None:
    told = json.loads((catalog.models_dir() / name / "config.json").read_text())["weights"]
    wanted = place_of(told)
    files = listing(FOLDER, *OTHERS)
    assert place(wanted, files).folder == f"{NAMES[name]}/"
    assert place(replace(wanted, subfolder="gone"), files).folder == f"{NAMES[name]}/"  # by what it is like


def test_a_renamed_folder_is_found(server: FakeHub) -> None:
    server.add_model(REPOSITORY, listing("weights/MUSDB18-HQ_small_cross-attention", *OTHERS[2:]))
    assert load_network("sfc-ca-small").config == public.TINY


def test_several_folders_or_none_are_listed(server: FakeHub) -> None:
    server.add_model(REPOSITORY, listing("musdb/small-cross-a", "musdb/small-cross-b", *OTHERS[2:]))
    with pytest.raises(UnknownModelError) as caught:
        locate("sfc-ca-small")
    assert "has 2 folders like" in str(caught.value)
    assert "It holds musdb/small-cross-a, musdb/small-cross-b: name one" in str(caught.value)
    assert str(caught.value).endswith(f"as in hf:{REPOSITORY}:musdb/small-cross-a")
    assert load_network(f"hf:{REPOSITORY}:musdb/small-cross-a").config == public.TINY
    server.add_model(REPOSITORY, listing("first", "second"))
    with pytest.raises(UnknownModelError, match=r"no folder like musdb18hq.* It holds first, second: name one"):
        locate("sfc-ca-small")
    server.add_model(REPOSITORY, {"README.md": b"", "a/model.ckpt": b""})
    with pytest.raises(UnknownModelError, match=r"holds no folder with .*\. It may be .*:a/model\.ckpt"):
        locate("sfc-ca-small")


def test_a_repository_of_folders_is_told(server: FakeHub) -> None:
    server.add_model(REPOSITORY, listing("first", "second"))
    with pytest.raises(UnknownModelError, match=r"holds 2 models: first, second\. Name one, as in hf:.*:first"):
        locate(f"hf:{REPOSITORY}")


def test_one_checkpoint_of_a_folder_comes_with_its_settings(server: FakeHub) -> None:
    server.add_model(REPOSITORY, listing(FOLDER))
    found = locate(f"hf:{REPOSITORY}:{FOLDER}/checkpoints/epoch=2.pth")
    assert (found.more, found.settings and found.settings.name) == ((), "merged_config.yaml")
    assert load_network(found).config == public.TINY
    assert locate(f"hf:{REPOSITORY}:{FOLDER}/checkpoints/epoch=2.pth", offline=True) == found


def test_a_repository_that_moved_is_followed(server: FakeHub) -> None:
    server.add_model("new/place", listing(FOLDER))
    server.moved[REPOSITORY] = "new/place"
    assert load_network("sfc-ca-small").config == public.TINY


def test_a_gated_repository_says_how(server: FakeHub) -> None:
    server.gated.add(REPOSITORY)
    with pytest.raises(DownloadError, match=r"is gated: accept its terms at http://.*then log in"):
        locate("sfc-ca-small")


def test_a_corrupt_checkpoint_is_not_kept(server: FakeHub) -> None:
    server.add_model(REPOSITORY, listing(FOLDER))
    name = f"{FOLDER}/checkpoints/epoch=2.pth"
    server.corrupt[name] = server.repositories[REPOSITORY][server.branches[REPOSITORY, "main"]][name][::-1]
    with pytest.raises(HashError):
        locate("sfc-ca-small")
    server.corrupt.clear()
    assert load_network("sfc-ca-small").config == public.TINY


def test_a_folder_without_checkpoints_is_told(server: FakeHub) -> None:
    files = {name: body for name, body in listing(FOLDER).items() if "epoch" not in name}
    server.add_model(REPOSITORY, files)
    with pytest.raises(UnknownModelError, match=r"holds merged_config\.yaml, but no checkpoint in .*checkpoints/"):
        locate("sfc-ca-small")


def test_settings_of_another_network_are_refused(server: FakeHub) -> None:
    other = replace(public.TINY, dim=16)
    server.add_model(REPOSITORY, listing(FOLDER) | {f"{FOLDER}/merged_config.yaml": public.settings_file(other)})
    with pytest.raises(CheckpointError, match="misshapen"):
        load_network("sfc-ca-small")


def test_the_root_of_a_repository_may_be_a_folder() -> None:
    names = ["merged_config.yaml", "checkpoints/a.ckpt", "checkpoints/last.ckpt", "checkpoints/deep/b.ckpt"]
    found = place(HubReference("me/model", "main", ""), names)
    assert (found.checkpoints, found.beside) == (("checkpoints/a.ckpt",), ("merged_config.yaml",))
