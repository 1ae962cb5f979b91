"""The command line, called in this process."""

from __future__ import annotations

import pytest
from said import Run, Said

from stemsplit.cli import main


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Said:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Said(code, *capfd.readouterr())

    return run
