"""Imports go down only, importing is cheap, and every public name is there."""

from __future__ import annotations

import ast
import importlib
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import stemsplit

SOURCE = Path(stemsplit.__file__).parent
CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


def layers() -> list[set[str]]:
    """The rows of CONTRIBUTING's table, from the bottom up: packages and modules by their names in stemsplit."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    table = text[text.index("<!-- layers -->") : text.index("<!-- /layers -->")]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return [set(re.findall(r"`([\w.]+)`", row.split("|")[1])) for row in reversed(rows)]


LAYERS = layers()
HEAVY = {"torch", "librosa", "av", "soundfile", "soxr", "huggingface_hub", "numpy", "mutagen", "safetensors",
         "mido", "matplotlib", "scipy", "starlette", "fastapi", "uvicorn"}  # fmt: skip


def modules() -> Iterator[tuple[str, Path]]:
    """("audio.read", path) of every module."""
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


KNOWN = {f"stemsplit.{name}" for name, _ in modules()}


@cache
def tree(path: Path) -> ast.Module:
    """A file, parsed once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imported(path: Path) -> frozenset[str]:
    """The modules of stemsplit that a file imports, wherever in it, without those for type checkers."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in _nodes(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in KNOWN or node.module == "stemsplit" else node.module or "" for name in whole]
        else:
            continue
        yield from (name.removeprefix("stemsplit.") for name in names if name.startswith("stemsplit."))


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _nodes(node)


def layer(module: str) -> int:
    """The row of a module: that of its own name or of the innermost package that has one; the package itself is 0."""
    if not module:
        return 0
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        found = [level for level, names in enumerate(LAYERS) if ".".join(parts[:end]) in names]
        if found:
            return found[0]
    raise AssertionError(f"{module} has no layer: put it into CONTRIBUTING's table")


@pytest.mark.parametrize(("module", "path"), sorted(modules()))
def test_imports_go_down_only(module: str, path: Path) -> None:
    for other in imported(path):
        if other == "__version__":
            continue
        assert layer(other) <= layer(module), f"{module} imports {other}, which lies above it"


def test_every_row_of_the_table_is_there() -> None:
    known = {name for name, _ in modules()}
    assert {name for names in LAYERS for name in names} <= known


def circles(graph: dict[str, set[str]]) -> set[str]:
    """What is left when everything that imports nothing of what is left is taken away, again and again."""
    graph = {name: others & graph.keys() - {name} for name, others in graph.items()}
    while free := [name for name, others in graph.items() if not others & graph.keys()]:
        for name in free:
            del graph[name]
    return set(graph)


def test_there_are_no_circles_of_files() -> None:
    assert not circles({name: set(imported(path)) for name, path in modules() if name})


def test_there_are_no_circles_of_folders() -> None:
    graph: dict[str, set[str]] = {}
    known = dict(modules())
    for name, path in known.items():
        if name:
            others = {folder_of(other, known) for other in imported(path) if other in known}
            graph.setdefault(folder_of(name, known), set()).update(others)
    assert not circles(graph)


def folder_of(name: str, known: dict[str, Path]) -> str:
    """The folder that a module lies in; modules at the top are folders of their own."""
    if known[name].name == "__init__.py" or "." not in name:
        return name
    return name.rpartition(".")[0]


def test_few_modules_lie_at_the_top_and_no_folder_overflows() -> None:
    folders: dict[str, int] = {}
    for name, path in modules():
        if path.name != "__init__.py" or not name:
            folder = name.rpartition(".")[0]
            folders[folder] = folders.get(folder, 0) + 1
    assert folders[""] <= 8
    assert max(folders.values()) <= 13


def test_separation_is_handed_a_network() -> None:
    for name, path in modules():
        if name.startswith("separation.") and name != "separation.separator":
            assert not any(other.startswith("weights") for other in imported(path)), name


def test_only_the_registry_names_architectures() -> None:
    named = ("networks.bsmamba", "networks.melody_cnn", "networks.sfc", "networks.s4m", "networks.htdemucs",
             "networks.roformer")  # fmt: skip
    users = {name for name, path in modules() if any(other.startswith(named) for other in imported(path))}
    assert {name for name in users if not name.startswith("weights.layouts.")} <= {"training.melody_task"}


def test_functions_are_small_and_files_short() -> None:
    lengths = []
    for name, path in modules():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400, f"{name} has more than 400 lines"
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or 0) - node.lineno + 1
                lengths.append(lines)
                options = sum(1 for argument in (*node.args.args, *node.args.kwonlyargs))
                assert lines <= 60 or options > 20, f"{name}.{node.name} has {lines} lines"
    assert statistics.median(lengths) <= 10


def test_only_the_command_line_prints() -> None:
    for name, path in modules():
        if name.split(".")[0] in ("cli", "__main__"):
            continue
        calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
        printed = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        assert not printed, f"{path}: print in lines {printed}"


def test_every_public_name_is_there() -> None:
    for name in stemsplit.__all__:
        assert getattr(stemsplit, name) is not None
    assert set(stemsplit.__all__) <= set(dir(stemsplit))
    with pytest.raises(AttributeError, match="nope"):
        _ = stemsplit.nope  # type: ignore[attr-defined]
    for name, path in modules():
        if name and "__all__" in path.read_text(encoding="utf-8"):
            module = importlib.import_module(f"stemsplit.{name}")
            missing = [public for public in module.__all__ if not hasattr(module, public)]
            assert not missing, f"{name}: {missing}"


def loaded_after(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after some code."""
    code += f"\nimport sys; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import stemsplit",
        "import stemsplit.cli",
        "from stemsplit import StemsplitError, DEFAULT_MODEL, list_models",
        "from stemsplit.cli import main; main(['--help'])",
        "from stemsplit.cli import main; main(['--version'])",
        "from stemsplit.cli import main; main(['separate', '--help'])",
        "from stemsplit.cli import main; main(['melody', '--help'])",
        "from stemsplit.cli import main; main(['melody', '--nope'])",
        "from stemsplit.cli import main; main(['serve', '--help-all'])",
        "from stemsplit.cli import main; main(['models', 'list'])",
        "from stemsplit.cli import main; main(['separate', '--nope'])",
    ],
)
def test_help_loads_nothing_heavy(code: str) -> None:
    assert loaded_after(code) == set()


@pytest.mark.parametrize(
    "code",
    [
        "import stemsplit.api.separation, stemsplit.api.files, stemsplit.doctor, stemsplit.cli.layout.progress",
        "import stemsplit.runs.transcribe",
    ],
)
def test_work_loads_only_what_it_needs(code: str) -> None:
    loaded = loaded_after(code)
    assert "torch" in loaded
    assert not loaded & {"librosa", "matplotlib", "mido", "scipy"}


def test_help_is_quick() -> None:
    import time

    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "stemsplit", "--help"], capture_output=True, check=True)
    assert time.monotonic() - started < 2
