"""The man page is that of this program, and readers of such pages understand it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("man_page", DOCS / "man_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_that_of_this_program(maker: ModuleType) -> None:
    assert (DOCS / "stemsplit.1").read_text(encoding="ascii") == maker.page(), "run: python docs/man_page.py"


def test_it_has_every_command_and_option(maker: ModuleType) -> None:
    page = maker.page().replace("\\-", "-")
    for command in ("separate", "mix", "player", "melody", "analyse", "karaoke", "models list", "evaluate", "doctor"):
        assert f".SS stemsplit {command}\n" in page
    for option in ("--no-config", "--two-stems", "--ultrastar", "--count-in", "--ray-address"):
        assert re.search(rf"^\\fB(-\w, )?{option}\b", page, re.MULTILINE), option


def test_what_letters_mean_to_roff_is_escaped(maker: ModuleType) -> None:
    assert maker._text("a-b \\ it's `x` →") == r"a\-b \e it\(aqs \(gax\(ga \[u2192]"
    assert maker._text(".TH") == r"\&.TH"


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
def test_groff_reads_it_without_a_warning() -> None:
    call = ["groff", "-man", "-ww", "-Tutf8", str(DOCS / "stemsplit.1")]
    done = subprocess.run(call, capture_output=True, check=True, encoding="utf-8")
    assert done.stderr == ""
    assert "whose stems are all there is skipped." in " ".join(done.stdout.split())
