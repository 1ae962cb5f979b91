"""The sources of the pages, and how they are joined."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stemsplit.player import assets
from stemsplit.player.assets import FOLDER, as_data, as_text, filled, joined

SCRIPTS = ("main.js", "index.js")


@pytest.mark.parametrize("entry", SCRIPTS)
def test_every_module_comes_once_and_behind_what_it_imports(entry: str) -> None:
    script = joined(entry)
    first_lines = {path.name: path.read_text(encoding="utf-8").splitlines()[0] for path in FOLDER.glob("*.js")}
    places = {name: script.find(line) for name, line in first_lines.items()}
    for path in FOLDER.glob("*.js"):
        assert script.count(first_lines[path.name]) == (places[path.name] >= 0)
        for other in re.findall(r'from "\./([\w-]+\.js)"', path.read_text(encoding="utf-8")):
            assert places[path.name] < 0 or 0 <= places[other] < places[path.name]
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)
    assert "</script" not in script
    assert "<!--" not in script


@pytest.mark.parametrize("entry", SCRIPTS)
def test_names_at_the_top_of_modules_differ(entry: str) -> None:
    names = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", joined(entry), re.MULTILINE)
    assert len(names) == len(set(names)), sorted(name for name in set(names) if names.count(name) > 1)


@pytest.mark.parametrize("entry", SCRIPTS)
def test_what_is_joined_is_javascript(entry: str, tmp_path: Path) -> None:
    if (node := shutil.which("node")) is None:
        pytest.skip("no node here")
    (tmp_path / "joined.mjs").write_text(joined(entry), encoding="utf-8")
    subprocess.run([node, "--check", tmp_path / "joined.mjs"], check=True)


def test_every_source_is_used_and_short() -> None:
    used = joined("main.js") + joined("index.js")
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400, path.name
        assert max(len(line) for line in text.splitlines()) <= 130, path.name
        assert path.suffix in (".js", ".css", ".html")
        if path.suffix == ".js":
            assert text.splitlines()[0] in used, path.name


def test_the_policy_allows_this_script_alone() -> None:
    page = filled(
        "index.html", {"title": "T", "about": "", "songs": "[]"}, script="index.js", styles=("common.css", "index.css")
    )
    script, style = (
        re.search(f"<{tag}>(.*?)</", page, re.DOTALL)[1].encode()  # type: ignore[index]
        for tag in ('script type="module"', "style")
    )
    for kind, text in (("script", script), ("style", style)):
        allowed = base64.b64encode(hashlib.sha256(text).digest()).decode()
        assert f"{kind}-src 'sha256-{allowed}'" in page
    assert "default-src 'none'" in page
    assert "http" not in re.sub(r"http-equiv|https?://www.w3.org\S*", "", page)


def test_what_is_put_in_is_not_filled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "source", {"t": "{{a}} {{b}}", "s": "", "c": ""}.__getitem__)
    monkeypatch.setattr(assets, "joined", lambda entry: "")
    assert filled("t", {"a": "{{b}}", "b": "x"}, script="s", styles=("c",)) == "{{b}} x"


HOSTILE = "</script><script>alert(1)</script><!--\"' & \u2028 \udcff {{song}}"


def test_hostile_text_stays_text() -> None:
    assert not set("<>\"'") & set(as_text(HOSTILE))
    data = as_data({"title": HOSTILE})
    assert not set("<>&\u2028\udcff") & set(data)
    assert json.loads(data) == {"title": HOSTILE}
