"""Imports go down only, importing is cheap, and every public name is there."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stemsplit

SOURCE = Path(stemsplit.__file__).parent
LAYERS = (
    # From the bottom up. A module imports from its own layer or from those below, and layers have no circles.
    {"errors", "memory", "options", "native", "cores", "stages", "startup", "shared_setting", ""},
    {"naming", "demo_song", "demo_song_instruments", "demo_song_voice", "demo", "stems", "cache", "whole"},
    {"manifest", "card", "download", "hub_client", "hub", "publish", "catalog"},
    {"audio"},
    {"networks"},
    {
        "device",
        "overlap_add",
        "side_by_side",
        "inference",
        "separate",
        "song_folders",
        "evaluate",
        "inputs",
        "published",
        "tensors",
        "checkpoint",
    },
    {"separator"},
    {"staging", "sources", "jobs", "stem_files", "track", "batch"},
    {"melody"},
    {"melody_score", "score_sheet", "separator_score"},
    {"api", "training", "doctor"},
    {"cli", "__main__"},
)
HEAVY = {"torch", "librosa", "av", "soundfile", "soxr", "huggingface_hub", "numpy", "mutagen", "safetensors",
         "mido", "matplotlib", "scipy"}  # fmt: skip


def modules() -> Iterator[tuple[str, Path]]:
    """("audio.read", path) of every module."""
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


KNOWN = {f"stemsplit.{name}" for name, _ in modules()}


def imported(path: Path) -> Iterator[str]:
    """The modules of stemsplit that a file imports, wherever in it, without those for type checkers."""
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8"))):
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
    head = module.split(".")[0]
    found = [level for level, names in enumerate(LAYERS) if head in names]
    assert found, f"{module} has no layer: put it into LAYERS"
    return found[0]


@pytest.mark.parametrize(("module", "path"), sorted(modules()))
def test_imports_go_down_only(module: str, path: Path) -> None:
    for other in imported(path):
        if other == "__version__":
            continue
        assert layer(other) <= layer(module), f"{module} imports {other}, which lies above it"


def test_there_are_no_circles() -> None:
    known = {name for name, _ in modules()}
    graph = {name: {other for other in imported(path) if other in known} - {name} for name, path in modules() if name}
    while graph:
        free = [name for name, others in graph.items() if not others & graph.keys()]
        assert free, f"a circle among {sorted(graph)}"
        for name in free:
            del graph[name]


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [("separate", "checkpoint"), ("inference", "checkpoint"), ("separate", "networks"), ("track", "checkpoint")],
)
def test_a_network_is_passed_in(module: str, forbidden: str) -> None:
    assert not any(name.split(".")[0] == forbidden for name in imported(SOURCE / f"{module}.py"))


def test_only_the_checkpoint_knows_the_architecture() -> None:
    users = {
        name
        for name, path in modules()
        if name.split(".")[0] != "networks"
        and any(other.startswith(("networks.bsmamba", "networks.melody_cnn")) for other in imported(path))
    }
    allowed = {"training.recipe", "training.separator_task", "training.melody_task"}
    assert users <= {"checkpoint", "published", *allowed}


def test_only_the_command_line_prints() -> None:
    for name, path in modules():
        if name.split(".")[0] in ("cli", "__main__"):
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
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
        "from stemsplit.cli import main; main(['models', 'list'])",
        "from stemsplit.cli import main; main(['separate', '--nope'])",
    ],
)
def test_help_loads_nothing_heavy(code: str) -> None:
    assert loaded_after(code) == set()


@pytest.mark.parametrize(
    "code",
    [
        "import stemsplit.api, stemsplit.runs.separate, stemsplit.doctor, stemsplit.cli.progress",
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
