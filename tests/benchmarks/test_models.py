"""The table of models counts what a network multiplies, and shows what is published of it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tiny
import tiny_melody
import torch
from published_htdemucs import CONFIG
from published_sfc import TINY as SFC_TINY

from stemsplit.networks.htdemucs import HTDemucsConfig
from stemsplit.networks.registry import ARCHITECTURES
from stemsplit.networks.s4m import S4MConfig
from stemsplit.weights.catalog import card, list_models

ROW = ARCHITECTURES["htdemucs"]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    monkeypatch.delitem(sys.modules, "models", raising=False)
    import models

    return models


def test_a_bag_costs_as_much_as_its_networks(table: ModuleType) -> None:
    size, alone = table.counted(ROW, CONFIG)
    bag = HTDemucsConfig.from_dict({**CONFIG.as_json(), "bag": [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]})
    assert alone > 0
    assert table.counted(ROW, bag) == (2 * size, pytest.approx(2 * alone))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("ts-bsmamba2", tiny.TINY),
        ("sfc", replace(SFC_TINY, codec="mamba", chunk_samples=3200)),
        ("s4m", S4MConfig(chunk_samples=8000, dim=8, hidden=8, passes=2)),
        ("melody-cnn", tiny_melody.TINY_MELODY),
    ],
)
def test_networks_that_leave_autocast_are_counted(table: ModuleType, name: str, config: Any) -> None:
    size, work = table.counted(ARCHITECTURES[name], config)
    assert size == sum(value.numel() for value in ARCHITECTURES[name].network(config).parameters())
    assert work > 0


def test_products_per_second_are_those_of_the_paper(table: ModuleType) -> None:
    """Saijo and Bando state 40 GMAC per second of the chunk for small SFC-CA; chunks overlap by half here."""
    assert table.counted(*table.described("sfc-ca-small"))[1] == pytest.approx(80, rel=0.02)


def test_scores_are_means_or_those_of_stems(table: ModuleType) -> None:
    assert table.published(card("htdemucs")) == "SDR 9.16 (MVSep Multisong)"
    assert table.published(card("htdemucs_6s")).startswith("SDR bass 11.22, drums 10.22")
    assert table.published(card("sfc-ca-small")) == "uSDR 8.95, cSDR 9.27 (MUSDB18-HQ test)"


@pytest.mark.parametrize("name", [one.name for one in list_models() if one.architecture in ("htdemucs", "roformer")])
def test_cards_state_the_true_sizes(table: ModuleType, name: str) -> None:
    architecture, config = table.described(name)
    with torch.device("meta"):
        network = architecture.network(config)
    assert sum(value.numel() for value in network.parameters()) == card(name).parameters
    assert config.stems == card(name).stems


# --- the command


def write_model(folder: Path, name: str, architecture: str, config: Any) -> None:
    """Write the config.json of a model without weights."""
    (folder / name).mkdir(parents=True)
    scores = [{"dataset": "noise", "metric": "SDR, dB, as published", "values": {"mean": 3.0}}]
    described = {"format": 1, "architecture": architecture, "network": config.as_json(), "scores": scores}
    (folder / name / "config.json").write_text(json.dumps(described))


def run(table: ModuleType, monkeypatch: pytest.MonkeyPatch, *options: object) -> None:
    monkeypatch.setattr(sys, "argv", ["models.py", *map(str, options)])
    table.main()


def test_one_command_measures_every_model_and_writes_the_table(
    table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "models", "one", "htdemucs", CONFIG)
    write_model(tmp_path / "models", "two", "ts-bsmamba2", tiny.TINY)
    document = tmp_path / "README.md"
    document.write_text("before\n<!-- costs -->\nold\n<!-- /costs -->\nafter\n")
    run(table, monkeypatch, "--models", tmp_path / "models", "--write", document)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| model | published, dB | parameters | GMAC/s | CPU s/s | peak memory |"
    for line, name in zip(lines[2:4], ("one", "two"), strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:2] == [f"`{name}`", "SDR 3.00 (noise)"]
        assert float(cells[4]) > 0
        assert 0.1 < float(cells[5].removesuffix(" GB")) < 2
    written = document.read_text().splitlines()
    assert (written[:2], written[-2:]) == (["before", "<!-- costs -->"], ["<!-- /costs -->", "after"])
    assert written[-6:-2] == lines[:4]
    assert written[2].startswith("Scores as their authors")
    assert "old" not in written


def test_what_takes_too_long_or_too_much_says_so(table: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["models.py", "--limit", "1"])  # which PyTorch's import takes
    assert table.in_its_own_process("htdemucs", table.parse_options()) == {"why": "over 1 CPU s"}
    monkeypatch.setattr(sys, "argv", ["models.py", "--gigabytes", "0.4"])
    found = table.in_its_own_process("htdemucs_ft", table.parse_options())  # whose weights alone are 0.67 GB
    assert found["why"].startswith("out of memory")


def test_an_error_ends_the_command_and_nothing_is_written(
    table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "models", "one", "htdemucs", CONFIG)
    document = tmp_path / "README.md"
    document.write_text("<!-- costs --><!-- /costs -->")
    monkeypatch.setattr(table, "in_its_own_process", lambda name, options: {"failed": "ValueError: no"})
    with pytest.raises(SystemExit, match="one: ValueError: no"):
        run(table, monkeypatch, "--models", tmp_path / "models", "--write", document)
    assert "failed" in capsys.readouterr().out
    assert document.read_text() == "<!-- costs --><!-- /costs -->"


@pytest.mark.parametrize("options", [["--write", "empty.md"], ["--only", "no-such-model"]])
def test_options_that_cannot_work(
    table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.md").touch()
    with pytest.raises(SystemExit, match="2"):
        run(table, monkeypatch, *options)


def test_a_recipe_is_a_row_until_the_catalog_has_the_model(table: ModuleType) -> None:
    names = [subject.name for subject in table.subjects(table.models_dir())]
    assert names.count("s4m-tiny-8k") == 1
    assert {card.name for card in list_models()} <= set(names)


def test_the_readme_has_the_place_of_the_table(table: ModuleType) -> None:
    assert table.marks_of((table.ROOT / "README.md").read_text(encoding="utf-8"))
