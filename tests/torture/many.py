"""Calls the command line many times in one process: `many.py ASKED.json TOLD.jsonl SECONDS`.

A call that takes longer than SECONDS ends the process, without a line in TOLD.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import sys
from pathlib import Path

from stemsplit.cli import main


def call(arguments: list[str]) -> dict[str, object]:
    """Return the exit code and the output of one call."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: object = main(arguments)
        except SystemExit as ended:
            code = ended.code
        except BaseException as error:  # the command line lets nothing through
            code = f"Traceback: {type(error).__name__}: {error}"
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "replace"))
    if isinstance(code, str):
        texts[1], code = texts[1] + code, 70
    return {"code": code or 0, "stdout": texts[0][-4000:], "stderr": texts[1][-4000:]}


def everything() -> None:
    """Make every call that is asked for."""
    asked, told, seconds = sys.argv[1:]
    with Path(told).open("w", encoding="utf-8") as lines:
        for arguments in json.loads(Path(asked).read_text(encoding="utf-8")):
            faulthandler.dump_traceback_later(float(seconds), exit=True)
            lines.write(json.dumps(call(arguments)) + "\n")
            lines.flush()
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    everything()
