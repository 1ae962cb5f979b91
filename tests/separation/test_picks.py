"""Combinations of models that make no sense are refused, by name and with the way on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from tiny import FakeConfig, FakeNetwork

from stemsplit.errors import UnknownStemError, UsageError
from stemsplit.separation.picks import Pick, distinct_models, shares_of
from stemsplit.weights.model import Model

FOUR = FakeConfig()
TWO = FakeConfig(stems=("vocals", "other"))


@dataclass(frozen=True)
class RestConfig(FakeConfig):
    rest: str | None = "accompaniment"


def model(name: str, config: FakeConfig = FOUR, sha256: str | None = None) -> Model:
    return Model(name, sha256 or name * 64, FakeNetwork(config))


A, B, V = model("a"), model("b"), model("v", TWO)


def shares(*picks: Pick) -> list[dict[str, float]]:
    return shares_of(picks, distinct_models(picks))


def test_shares_of_means_and_picks() -> None:
    assert shares(Pick(None, A), Pick(None, B)) == [dict.fromkeys(FOUR.stems, 0.5)] * 2
    assert shares(Pick("VOCALS", V), Pick("Rest", A)) == [{"vocals": 1}, {"drums": 1, "bass": 1, "other": 1}]
    assert shares(Pick("vocals", V), Pick("vocals", A), Pick("rest", A)) == [
        {"vocals": 0.5},
        {"vocals": 0.5, "drums": 1, "bass": 1, "other": 1},
    ]
    assert shares(Pick("rest", A), Pick("rest", B), Pick("drums", A))[1] == {"bass": 0.5, "other": 0.5, "vocals": 0.5}


@pytest.mark.parametrize(
    ("picks", "says"),
    [
        ((Pick(None, A), Pick(None, A)), "a is there twice"),
        ((Pick("drums", A), Pick("drums", A), Pick("rest", B)), "drums=a is there twice"),
        ((Pick(None, A), Pick(None, model("copy", sha256=A.sha256))), "a and copy are the same model"),
        ((Pick("drums", A), Pick("bass", model("c", sha256=A.sha256))), "are the same model"),
        ((Pick("vocals", A), Pick("other", A), Pick("rest", V)), "rest=v: nothing is left of it, its vocals, other"),
        ((Pick(None, A), Pick(None, model("s", replace(FOUR, aligned=False)))), "s separates speakers"),
        ((Pick("speaker1", model("s", replace(FOUR, aligned=False))),), "use it alone"),
        ((Pick(None, A), Pick(None, V)), "as in -m vocals=v,rest=a"),
        ((Pick(None, V), Pick(None, A)), "other of v is all but vocals, that of a is all but bass, drums, vocals"),
        ((Pick("other", model("o", replace(FOUR, stems=("other",)))), Pick("other", V)), "all but nothing"),
    ],
)
def test_what_is_refused(picks: tuple[Pick, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("(", r"\(")):
        shares(*picks)


def test_what_a_config_calls_the_rest_has_no_mean_either() -> None:
    one = model("one", RestConfig(stems=("vocals", "accompaniment")))
    other = model("other", RestConfig(stems=("vocals", "drums", "accompaniment")))
    with pytest.raises(UsageError, match="accompaniment of one"):
        shares(Pick(None, one), Pick(None, other))


def test_an_unknown_stem_names_those_that_there_are() -> None:
    with pytest.raises(UnknownStemError, match="guitar=v: v has no stem 'guitar': it separates vocals, other"):
        shares(Pick("guitar", V), Pick("rest", A))


def test_networks_without_a_hash_are_different() -> None:
    brought = [Model("FakeNetwork", "", FakeNetwork(FOUR)) for _ in range(2)]
    assert len(distinct_models([Pick(None, each) for each in brought])) == 2
