"""An `hf:` reference and the listing of a repository → which files of it are the model."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from stemsplit.errors import UnknownModelError
from stemsplit.weights.card import CHECKPOINT_SUFFIXES, CONFIG_NAME
from stemsplit.weights.trainer_folder import (
    CHECKPOINTS,
    SETTINGS_NAME,
    checkpoints_of,
    folders_with_settings,
    packages_of,
)


@dataclass(frozen=True)
class HubReference:
    """The parts of an `hf:` reference."""

    repository: str  # OWNER/REPO
    revision: str  # branch, tag or commit
    subfolder: str  # "" is the root; may also name one file
    like: str = ""  # where the subfolder is not there: a pattern that its new name may be known by, of the catalog

    def __str__(self) -> str:
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"hf:{self.repository}{revision}{':' if self.subfolder else ''}{self.subfolder}"


class Place(NamedTuple):
    """Where in a repository a model lies."""

    folder: str
    """What its names begin with: "" or a path that ends in "/"."""
    checkpoints: tuple[str, ...] = ()
    """The pickles that it consists of; none for a model with a config.json."""
    beside: tuple[str, ...] = ()
    """What else has to come with them."""
    together: bool = False
    """Whether they are a trainer's folder, with its settings first in `beside`."""


_REFERENCE = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:@\s]+))?(?::(?P<subfolder>.+))?")


def parse(reference: str) -> HubReference:
    """Split an `hf:` reference. Raises: UnknownModelError."""
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise UnknownModelError(f"{reference} is not of the form hf:OWNER/REPO[@REVISION][:SUBFOLDER].")
    subfolder = (match["subfolder"] or "").strip("/")
    if "\\" in subfolder or ".." in PurePosixPath(subfolder).parts:
        raise UnknownModelError(f"{reference}: the subfolder must be a path inside the repository.")
    return HubReference(match["repo"], match["revision"] or "main", subfolder)


def place(wanted: HubReference, names: Collection[str]) -> Place:
    """Return where the model lies. Raises: UnknownModelError that lists what is there, or names the next reference."""
    if wanted.like:
        wanted = replace(wanted, subfolder=_recipe(wanted, names))
    sub = wanted.subfolder
    if sub in names:
        if sub.lower().endswith(CHECKPOINT_SUFFIXES):
            return _lone(sub, names)
        raise UnknownModelError(f"{wanted}: {sub} is not a checkpoint. Name its folder, or leave it out.")
    prefix = f"{sub}/" if sub else ""
    if f"{prefix}{CONFIG_NAME}" in names:
        return Place(prefix)
    if f"{prefix}{SETTINGS_NAME}" in names:
        if found := checkpoints_of(names, prefix):
            return Place(prefix, tuple(found), (f"{prefix}{SETTINGS_NAME}",), together=True)
        raise UnknownModelError(f"{wanted} holds {SETTINGS_NAME}, but no checkpoint in {prefix}{CHECKPOINTS}/.")
    packages, written = packages_of(names, prefix)
    if packages and written:
        return Place(prefix, tuple(packages), tuple(written), together=True)
    here = [name for name in names if name.startswith(prefix)]
    lone = [name for name in here if name.lower().endswith(CHECKPOINT_SUFFIXES) and "/" not in name[len(prefix) :]]
    if len(lone) == 1:
        return _lone(lone[0], names)
    raise UnknownModelError(_no_model(wanted, here, lone))


def _lone(name: str, names: Collection[str]) -> Place:
    """Return the place of one checkpoint, with the YAML beside it, or beside the folder `checkpoints` that it is in."""
    folder = PurePosixPath(name).parent
    beside = [other for other in names if other.endswith((".yaml", ".yml")) and PurePosixPath(other).parent == folder]
    settings = str(folder.parent / SETTINGS_NAME)
    if folder.name == CHECKPOINTS and settings in names:
        return Place(f"{folder.parent}/".removeprefix("./"), (name,), (*beside, settings))
    return Place(f"{folder}/".removeprefix("./"), (name,), tuple(beside))


def _recipe(wanted: HubReference, names: Collection[str]) -> str:
    """Return the folder of a model of the catalog: by its name, or else the one that is like it."""
    folders = folders_with_settings(names)
    exact = [name for name in folders if name == wanted.subfolder or name.endswith(f"/{wanted.subfolder}")]
    if len(exact) == 1:
        return exact[0]
    alike = [name for name in folders if re.search(wanted.like, name, re.IGNORECASE)]
    if len(alike) == 1:
        return alike[0]
    base = HubReference(wanted.repository, wanted.revision, "")
    shown = alike or folders
    if not shown:
        raise UnknownModelError(f"{base} holds no folder with {SETTINGS_NAME}. {_inside(base, names)}".rstrip())
    found = f"{len(alike)} folders" if alike else "no folder"
    raise UnknownModelError(
        f"{base} has {found} like {wanted.subfolder}. It holds {', '.join(shown)}: "
        f"name one, as in {replace(base, subfolder=shown[0])}"
    )


def _no_model(wanted: HubReference, here: list[str], lone: list[str]) -> str:
    base = HubReference(wanted.repository, wanted.revision, "")
    if not here and wanted.subfolder:
        return f"{base} has no folder or file {wanted.subfolder}."
    if lone:
        return f"{wanted} holds {len(lone)} checkpoints: name one, as in {base}:{sorted(lone)[0]}"
    if folders := folders_with_settings(here):
        return f"{wanted} holds {len(folders)} models: {', '.join(folders)}. Name one, as in {base}:{folders[0]}"
    return f"{wanted} holds no model: it has no {CONFIG_NAME} and no checkpoint. {_inside(base, here)}".rstrip()


def _inside(base: HubReference, here: Collection[str]) -> str:
    inside = sorted(name for name in here if name.endswith((CONFIG_NAME, *CHECKPOINT_SUFFIXES)))
    return f"It may be {base}:{str(PurePosixPath(inside[0])).removesuffix('/' + CONFIG_NAME)}." if inside else ""


def place_of(told: Mapping[str, Any]) -> HubReference:
    """Return where on the Hub the weights of a model of the catalog are; `told` is the weights' part of its config."""
    return HubReference(str(told["hub"]), "main", str(told.get("folder", "")), str(told.get("like", "")))
