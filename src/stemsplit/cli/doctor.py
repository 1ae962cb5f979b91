"""`stemsplit doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from stemsplit.cli.flags.shared import DEFAULT_MODEL, Debug, Device, Json
from stemsplit.cli.layout.help import BASIC
from stemsplit.cli.layout.screen import put, put_json, put_named

NAME_COLUMNS = 26


def doctor(
    model: Annotated[
        str,
        typer.Option("-m", "--model", metavar="REF", help="Model to measure; it is not downloaded for that."),
        BASIC,
    ] = DEFAULT_MODEL,
    device: Device = "auto",
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Say what works on this machine and why: decoders, devices, memory, cache, and how fast it separates.

    The speed is the median of several readings, with their spread and the machine's load. The exit code is 1 if
    something is broken that every machine should have.

    Examples:
        stemsplit doctor
        stemsplit doctor -m sfc-ca-small --device cpu   # how fast is that model here?
        stemsplit doctor --json                         # for a report of a fault
    """
    from stemsplit.doctor import examine

    findings = []
    section = ""
    for finding in examine(model, device):
        findings.append(finding)
        if json:
            continue
        if finding.section != section:
            put(*([""] if section else []), finding.section)
            section = finding.section
        mark = {"ok": "ok", "info": "  ", "missing": "- ", "broken": "!!"}[finding.state]
        put_named(f"  {mark} {finding.name}", " ".join(finding.value.split()), NAME_COLUMNS)
    if json:
        put_json([finding.as_json() for finding in findings], indent=2)
    return int(any(finding.state == "broken" for finding in findings))
