"""The table of models counts what a network multiplies, and shows what is published of it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from published_htdemucs import CONFIG

from stemsplit.networks.htdemucs import HTDemucsConfig
from stemsplit.networks.registry import ARCHITECTURES
from stemsplit.weights.catalog import card, list_models

ROW = ARCHITECTURES["htdemucs"]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    monkeypatch.delitem(sys.modules, "models", raising=False)
    import models

    return models


def test_a_bag_costs_as_much_as_its_networks(table: ModuleType) -> None:
    alone = table.counted(ROW, CONFIG)
    bag = HTDemucsConfig.from_dict({**CONFIG.as_json(), "bag": [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]})
    assert alone > 0
    assert table.counted(ROW, bag) == pytest.approx(2 * alone)


def test_scores_are_means_or_those_of_stems(table: ModuleType) -> None:
    assert table.published(card("htdemucs")) == "SDR 9.16 (MVSep Multisong)"
    assert table.published(card("htdemucs_6s")).startswith("SDR bass 11.22, drums 10.22")
    assert table.published(card("sfc-ca-small")).startswith("uSDR 8.95 (MUSDB18-HQ test); cSDR 9.27")


@pytest.mark.parametrize("name", [one.name for one in list_models() if one.architecture in ("htdemucs", "roformer")])
def test_cards_state_the_true_sizes(table: ModuleType, name: str) -> None:
    architecture, config = table.described(name)
    with torch.device("meta"):
        network = architecture.network(config)
    assert sum(value.numel() for value in network.parameters()) == card(name).parameters
    assert config.stems == card(name).stems


def test_a_network_is_timed(table: ModuleType) -> None:
    threads = torch.get_num_threads()
    found = table.measured((ROW, CONFIG))
    torch.set_num_threads(threads)
    assert found["cpu"] > 0
    assert found["megabytes"] > 10
