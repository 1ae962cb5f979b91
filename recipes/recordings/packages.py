"""Debian packages: fetched with apt-get, unpacked with dpkg-deb, and what they hold in zip files unpacked too."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from stemsplit.errors import StemsplitError, reason

ARCHIVES = (".pk3", ".zip")
MUSIC_SUFFIXES = (".ogg", ".mp3", ".opus", ".flac", ".wav")


def fetch(names: Iterable[str], folder: Path) -> Iterator[str]:
    """Fetch and unpack those packages that are not in `folder` yet, each to `folder`/NAME; yield their names.

    Raises:
        StemsplitError: apt-get or dpkg-deb is missing, or refuses a package.
    """
    for name in dict.fromkeys(names):
        if (folder / name).is_dir():
            continue
        stage = folder / f".{name}"
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        _run(["apt-get", "download", name], stage)
        (archive,) = stage.glob("*.deb")
        _run(["dpkg-deb", "-x", archive.name, "unpacked"], stage)
        open_archives(stage / "unpacked")
        (stage / "unpacked").rename(folder / name)
        shutil.rmtree(stage)
        yield name


def open_archives(folder: Path) -> None:
    """Unpack the music in the zip files of a folder, each into a folder beside it: NAME.pk3.d."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in ARCHIVES and path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                wanted = [name for name in archive.namelist() if name.endswith(MUSIC_SUFFIXES)]
                archive.extractall(path.with_name(f"{path.name}.d"), wanted)


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except OSError as error:
        raise StemsplitError(f"{command[0]}: {reason(error)}") from error
    except subprocess.CalledProcessError as error:
        raise StemsplitError(f"{' '.join(command)}: {error.stderr.strip()}") from error
