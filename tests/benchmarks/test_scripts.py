"""Every file in benchmarks/ starts as a script, where its folder is the first that Python imports from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))
ASK_ALL = """
import contextlib, io, json, runpy, sys, traceback
from pathlib import Path
ended = {}
for script in sys.argv[1:]:
    sys.argv, sys.path[0] = [script, "--help"], str(Path(script).parent)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_path(script, run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            code = traceback.format_exc()
    ended[Path(script).name] = [code, said.getvalue()]
print(json.dumps(ended))
"""


@pytest.fixture(scope="module")
def ended() -> dict[str, tuple[object, str]]:
    """How each ended that was asked for help. One process asks all, since PyTorch takes seconds to import."""
    command = [sys.executable, "-c", ASK_ALL, *map(str, BENCHMARKS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return {name: (code, said) for name, (code, said) in json.loads(done.stdout.splitlines()[-1]).items()}


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda path: path.name)
def test_a_script_starts(script: Path, ended: dict[str, tuple[object, str]]) -> None:
    code, said = ended[script.name]
    assert code == 0, said or code
