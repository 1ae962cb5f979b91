"""A trained or converted model → a folder as the Hugging Face Hub wants it → the Hub."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemsplit.errors import CheckpointError, HashError, OutputError, UnknownModelError
from stemsplit.machine.disk import sha256_of
from stemsplit.weights.card import CONFIG_NAME, WEIGHTS_NAME, read_config, weights_file
from stemsplit.weights.hub_client import endpoint_of, translated
from stemsplit.weights.hub_place import parse

CARD_NAME = "README.md"
HUB_FILES = (CONFIG_NAME, CARD_NAME, WEIGHTS_NAME)
"""All that a published repository holds."""


@dataclass(frozen=True)
class Published:
    """What went to the Hub, or would have."""

    repository: str
    files: tuple[str, ...]
    reference: str  # hf:OWNER/REPO@COMMIT; without the commit after a dry run
    url: str | None  # of the repository; None after a dry run


def publish(
    folder: Path,
    repository: str,
    *,
    private: bool = False,
    message: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    dry_run: bool = False,
) -> Published:
    """Upload the model in `folder` to `repository` (OWNER/NAME), which is created if it does not exist.

    `dry_run` checks everything that can be checked without the network.
    Raises: UnknownModelError (not OWNER/NAME), CheckpointError, HashError, DownloadError (the Hub refuses).
    """
    target = parse(repository if repository.startswith("hf:") else f"hf:{repository}")
    if target.subfolder or target.revision != "main":
        raise UnknownModelError(f"{repository}: a model is published to the main branch of OWNER/NAME, as a whole.")
    with tempfile.TemporaryDirectory(prefix="stemsplit-publish-") as temporary:
        prepared = prepare(folder, Path(temporary))
        if dry_run:
            return Published(target.repository, HUB_FILES, str(target), None)
        commit = _upload(prepared, target.repository, private, message, token, endpoint)
    url = f"{endpoint_of(endpoint)}/{target.repository}"
    return Published(target.repository, HUB_FILES, f"hf:{target.repository}@{commit}", url)


def prepare(folder: Path, target: Path) -> Path:
    """Write the model in `folder` to `target` exactly as the Hub gets it, and return `target`.

    config.json then states the weights' file, size and SHA-256; README.md opens with the Hub's front matter.
    Raises: CheckpointError (no publishable model), HashError (the weights are not those of config.json),
    OutputError.
    """
    config = read_config(folder / CONFIG_NAME)
    weights = _publishable_weights(folder, config)
    readme = _model_card(folder, config)
    try:
        target.mkdir(parents=True, exist_ok=True)
        if strange := sorted(path.name for path in target.iterdir() if path.name not in HUB_FILES):
            raise OutputError(f"{target} holds other files ({strange[0]}): choose an empty folder.")
        shutil.copyfile(weights, target / WEIGHTS_NAME)
        described = {**config, "weights": _described(config, target / WEIGHTS_NAME)}
        (target / CONFIG_NAME).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        (target / CARD_NAME).write_text(readme, encoding="utf-8")
    except (OSError, shutil.SameFileError) as error:
        raise OutputError(f"Cannot write {target}: {error}.") from error
    return target


def _publishable_weights(folder: Path, config: dict[str, Any]) -> Path:
    missing = [key for key in ("format", "architecture", "network") if not config.get(key)]
    if missing:
        raise CheckpointError(f"{folder / CONFIG_NAME} does not state {', '.join(missing)}: not publishable.")
    weights = weights_file(folder)
    if not weights.is_file():
        raise CheckpointError(f"{weights} is missing: there is nothing to publish.")
    if weights.suffix != ".safetensors":
        raise CheckpointError(f"{weights} is not a .safetensors file. First run: stemsplit models convert {weights}")
    expected, found = config.get("weights", {}).get("sha256"), sha256_of(weights)
    if expected and found != expected:
        raise HashError(f"{weights} has SHA-256 {found}, but its config.json says {expected}.")
    return weights


def _described(config: dict[str, Any], weights: Path) -> dict[str, Any]:
    """Return the weights' part of config.json, with what a downloader compares."""
    kept = {key: value for key, value in config.get("weights", {}).items() if key != "url"}
    return {**kept, "file": weights.name, "size": weights.stat().st_size, "sha256": sha256_of(weights)}


def _model_card(folder: Path, config: dict[str, Any]) -> str:
    path = folder / CARD_NAME
    text = path.read_text(encoding="utf-8") if path.is_file() else _short_card(folder, config)
    if re.match(r"---\r?\n", text):
        return text
    return f"{_front_matter(config)}\n{text}"


def _front_matter(config: dict[str, Any]) -> str:
    """Return the Hub's metadata. A licence that it has no identifier for is "other" with the name beside it."""
    stated = str(config.get("license") or "not stated")
    known = re.fullmatch(r"[a-z0-9.-]+", stated.lower()) is not None
    licence = f"license: {stated.lower()}" if known else f"license: other\nlicense_name: {_slug(stated)}"
    return (
        f"---\n{licence}\nlibrary_name: stemsplit\npipeline_tag: audio-to-audio\n"
        "tags:\n  - music-source-separation\n---\n"
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "other"


def _short_card(folder: Path, config: dict[str, Any]) -> str:
    name = str(config.get("name") or folder.resolve().name)
    stems = ", ".join(config["network"].get("stems", ()))
    lines = [
        f"# {name}",
        "",
        str(config.get("description") or f"A {config['architecture']} model for stemsplit."),
    ]
    if stems:
        lines += ["", f"Stems: {stems}."]
    return "\n".join([*lines, "", f"Licence: {config.get('license') or 'not stated'}.", ""])


def _upload(
    prepared: Path,
    repository: str,
    private: bool,
    message: str | None,
    token: str | None,
    endpoint: str | None,
) -> str:
    """Return the commit that the upload became."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint_of(endpoint), token=token, library_name="stemsplit")
    with translated(f"hf:{repository}", repository, endpoint), _quiet_bars():
        api.create_repo(repository, private=private, exist_ok=True)
        try:
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=prepared,
                allow_patterns=list(HUB_FILES),
                commit_message=message or "Upload a stemsplit model",
            )
        except ValueError as error:
            if isinstance(error, OSError):  # an HTTP status, which `translated` knows
                raise
            raise CheckpointError(f"hf:{repository}: not published: {' '.join(str(error).split())}") from error
    return str(commit.oid)


@contextmanager
def _quiet_bars() -> Iterator[None]:
    """Keep huggingface_hub's own progress bars off stderr."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    were_quiet = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_quiet:
            enable_progress_bars()
