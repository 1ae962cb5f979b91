"""A claim is held by one process, ends with it, and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from tiny import files_in

from stemsplit.errors import OutputError
from stemsplit.machine import claims
from stemsplit.machine.claims import claimed, try_claim


def test_a_claim_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / ".claim"
    with claimed(path) as ours:
        assert ours
        with claimed(path) as again:
            assert not again
        assert path.exists()
    assert files_in(tmp_path) == set()


def test_a_claim_leaves_a_folder_in_which_something_is(tmp_path: Path) -> None:
    with claimed(tmp_path / "new" / ".claim"):
        (tmp_path / "new" / "file").touch()
    assert files_in(tmp_path) == {"new", "new/file"}


@pytest.mark.skipif(os.name != "posix", reason="kill")
def test_the_claim_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from stemsplit.machine.claims import try_claim\n"
    program += "c = try_claim(Path(sys.argv[1])); print(c is not None, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(tmp_path / ".claim")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        assert try_claim(tmp_path / ".claim") is None
        process.kill()
        process.wait()
    claim = try_claim(tmp_path / ".claim")
    assert claim is not None
    claim.release()
    assert files_in(tmp_path) == set()


def test_many_who_come_and_go_are_never_two_at_once(tmp_path: Path) -> None:
    inside, most, done = [0], [0], [0]
    lock = threading.Lock()

    def work() -> None:
        turns = 0
        while turns < 20:
            with claimed(tmp_path / "track" / ".claim") as ours:
                if ours:
                    with lock:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                    with lock:
                        inside[0] -= 1
                        done[0] += 1
                    turns += 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, done) == ([1], [60])
    assert files_in(tmp_path) <= {"track"}  # who made it may have found it in use


def test_a_file_system_without_locks_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "try_lock", lambda descriptor: False)
    with claimed(tmp_path / ".claim") as ours:
        assert ours
    assert files_in(tmp_path) == set()


def test_a_folder_that_takes_no_claim_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to"), claimed(tmp_path / "file" / ".claim"):
        pass
    (tmp_path / ".claim").mkdir()
    with pytest.raises(OutputError, match="cannot write to"), claimed(tmp_path / ".claim"):
        pass
    assert files_in(tmp_path) == {"file", ".claim"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs two users")
def test_the_claim_that_another_user_left_is_free() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are open to their user alone
        path = Path(folder, ".claim")
        path.touch(0o644)
        Path(folder).chmod(0o777)
        os.seteuid(65534)
        try:
            with claimed(path) as ours:
                assert ours
        finally:
            os.seteuid(0)
        assert not path.exists()
