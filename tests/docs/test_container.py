"""The Dockerfile copies all that the package is built of, and names what there is; there is no Docker in the tests."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

import stemsplit
from stemsplit.training.recipe import tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()


def said(instruction: str) -> list[str]:
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{instruction} ")]


def arguments() -> dict[str, str]:
    return dict(line.split("=") for line in said("ARG"))


def test_versions_and_extras_are_those_of_the_project() -> None:
    (label,) = said("LABEL")
    assert f'org.opencontainers.image.version="{stemsplit.__version__}"' in label
    assert f'org.opencontainers.image.licenses="{PROJECT["project"]["license"]}"' in label
    assert set(arguments()["EXTRAS"].split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    assert f"Programming Language :: Python :: {arguments()['PYTHON']}" in PROJECT["project"]["classifiers"]


def test_releasing_names_the_dockerfile() -> None:
    assert "`Dockerfile`" in (ROOT / "RELEASING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ["Dockerfile", "docs/install.md"])
def test_cuda_is_that_of_the_pytorch_that_is_tested(document: str) -> None:
    toolkit = re.search(r"^cuda-toolkit==(\d+)\.(\d+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert toolkit is not None
    named = re.findall(r"TORCH=(cu\d+)", (ROOT / document).read_text(encoding="utf-8"))
    assert set(named) == {f"cu{toolkit[1]}{toolkit[2]}"}


def copied() -> set[str]:
    """What comes from the folder of the repository into the first stage."""
    return {word for line in said("COPY") if not line.startswith("--from") for word in line.split()[:-1]}


def is_left_out(path: str) -> bool:
    """As Docker reads .dockerignore: the last line that fits decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.lstrip("!").removeprefix("**/")
        parts = path.split("/")
        fits = any(fnmatch("/".join(parts[:count]), pattern) for count in range(1, len(parts) + 1))
        if line and not line.startswith("#") and (fits or ("**/" in line and any(fnmatch(p, pattern) for p in parts))):
            out = not line.startswith("!")
    return out


def test_the_package_can_be_built_of_what_is_copied() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        "pyproject.toml", "hatch_build.py", "constraints.txt", PROJECT["project"]["readme"],
        *PROJECT["project"]["license-files"], *wheel["force-include"],
        *(package.partition("/")[0] for package in wheel["packages"]),
    }  # fmt: skip
    assert needed == copied()
    for path in needed:
        assert (ROOT / path).exists()
        assert not is_left_out(path)


def test_what_the_image_does_not_need_does_not_travel() -> None:
    for path in (".git/HEAD", "tests/tiny.py", "docs/index.md", ".venv/bin/python", "src/stemsplit/__pycache__/a.pyc",
                 "src/stemsplit/networks/kernels/native/libstemsplit_native.so"):  # fmt: skip
        assert is_left_out(path), path
    assert not is_left_out("models/ts-bsmamba2-mini/model.safetensors")
    assert not is_left_out("src/stemsplit/networks/kernels/native/build.py")


def test_the_image_runs_stemsplit_as_a_user_without_rights() -> None:
    last = LINES[max(number for number, line in enumerate(LINES) if line.startswith("FROM ")) :]
    users = [line.split()[1] for line in last if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("root", "0")
    assert any(f"useradd --create-home {users[-1]}" in line for line in last)
    assert 'ENTRYPOINT ["stemsplit"]' in last


def test_instructions_are_known_and_stages_are_there() -> None:
    known = {"ARG", "FROM", "RUN", "ENV", "WORKDIR", "COPY", "LABEL", "VOLUME", "USER", "ENTRYPOINT", "CMD"}
    assert {line.split()[0] for line in LINES if line.strip()} <= known
    stages = re.findall(r"^FROM \S+ AS (\w+)", TEXT, re.MULTILINE)
    assert set(re.findall(r"--from=(\w+)", TEXT)) <= set(stages)
    for run in said("RUN"):
        assert "apt-get install" not in run or ("--no-install-recommends" in run and "rm -rf /var/lib/apt/lists" in run)
