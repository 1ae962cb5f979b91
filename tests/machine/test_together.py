"""Files appear together or not at all, whatever fails on the way and whatever stood there before."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tiny import files_in

from stemsplit.errors import OutputError
from stemsplit.machine import together as module
from stemsplit.machine.signals import signals_wait
from stemsplit.machine.together import written_together

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX files and signals")
NAMES = ("a.txt", "deep/er/b.txt", "c.txt")


def write_all(folder: Path, text: str = "new") -> None:
    with written_together() as together:
        for name in NAMES:
            together.aside(folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in files_in(folder) if (folder / name).is_file()}


def test_files_appear_at_the_end(tmp_path: Path) -> None:
    with written_together() as together:
        for name in NAMES:
            place = together.aside(tmp_path / "out" / name)
            place.write_text(name)
            assert together.aside(tmp_path / "out" / name) == place
        assert not any((tmp_path / "out" / name).exists() for name in NAMES)
    assert contents(tmp_path / "out") == {name: name for name in NAMES}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a bug"), OutputError("no")])
def test_nothing_is_left_of_a_failure(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with written_together() as together:
            together.aside(tmp_path / "new" / "a.txt").write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert files_in(tmp_path) == set()


class _FailingReplace:
    """Lets files get their names until the turn of one, which fails."""

    def __init__(self, turn: int, error: BaseException) -> None:
        self.turn, self.error, self.real = turn, error, Path.replace

    def __call__(self, place: Path, target: Path) -> Path:
        if module.STAGE_PREFIX in place.parent.name and not place.name.startswith(".old"):
            self.turn -= 1
            if self.turn == 0:
                raise self.error
        return self.real(place, target)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("before", [(), ("a.txt",), NAMES])
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_file_that_gets_no_name_takes_the_others_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: int, before: tuple[str, ...], links: bool
) -> None:
    for name in before:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"old {name}")
    if not links:
        monkeypatch.setattr(os, "link", _refuse)
    full = _FailingReplace(turn, OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(Path, "replace", lambda place, target: full(place, target))
    there = files_in(tmp_path)
    with pytest.raises(OutputError, match=rf"cannot write .*{NAMES[turn - 1]}: no space left"):
        write_all(tmp_path)
    assert contents(tmp_path) == {name: f"old {name}" for name in before}
    assert files_in(tmp_path) == there


def _refuse(*arguments: Any, **named: Any) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_older_files_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _refuse)
    write_all(tmp_path, "old")
    write_all(tmp_path, "new")
    assert contents(tmp_path) == dict.fromkeys(NAMES, "new")


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_at_a_target_stays_and_nothing_else_comes(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "mine").mkdir(parents=True)
    before = files_in(tmp_path)
    with pytest.raises(OutputError, match="a folder of that name is there"):
        write_all(tmp_path)
    assert files_in(tmp_path) == before


@posix
def test_what_is_no_file_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.txt")
    with pytest.raises(OutputError, match="no file"):
        write_all(tmp_path)
    assert files_in(tmp_path) == {"c.txt"}
    assert (tmp_path / "c.txt").is_fifo()


@posix
@pytest.mark.parametrize("fails", [True, False])
def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path, fails: bool) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "a.txt").symlink_to("elsewhere")
    if fails:
        (tmp_path / "c.txt").mkdir()
        with pytest.raises(OutputError):
            write_all(tmp_path)
    else:
        write_all(tmp_path)
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert (tmp_path / "a.txt").is_symlink() == fails


def test_a_disk_that_is_full_when_it_is_synced_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_all(tmp_path, "old")

    def full(path: Path) -> None:
        if path.name == "c.txt":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "sync_file", full)
    with pytest.raises(OutputError, match="no space left"):
        write_all(tmp_path)
    assert contents(tmp_path) == dict.fromkeys(NAMES, "old")


@posix
def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"):
        write_all(tmp_path)
    assert files_in(tmp_path) == {"deep"}


@posix
@pytest.mark.parametrize("turn", [1, 2, 3])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_all_have_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: int, number: signal.Signals
) -> None:
    real, turns = Path.replace, iter(range(1, 4))

    def replace(place: Path, target: Path) -> Path:
        if next(turns) == turn:
            signal.raise_signal(number)
        return real(place, target)

    def came(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, came)
    monkeypatch.setattr(Path, "replace", replace)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_all(tmp_path)
        assert signal.getsignal(number) is came
    finally:
        signal.signal(number, before)
    assert contents(tmp_path) == dict.fromkeys(NAMES, "new")


@posix
def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_wait():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
