from __future__ import annotations

import numpy as np
import pytest

from stemsplit.errors import TargetCollisionError, UnknownStemError, UsageError
from stemsplit.separation.stems import Output, fold_residual, mix_outputs, needs_mixture, select

MODEL = ("drums", "bass", "other", "vocals")


def song(stems: int = 4, samples: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Stems (K, 2, samples) and a mixture that they do not quite add up to."""
    rng = np.random.default_rng(stems)
    estimated = rng.standard_normal((stems, 2, samples)).astype(np.float32)
    return estimated, estimated.sum(axis=0) + 0.01 * rng.standard_normal((2, samples)).astype(np.float32)


def names(outputs: tuple[Output, ...]) -> list[str]:
    return [output.name for output in outputs]


def test_all_stems_of_the_model_by_default() -> None:
    outputs, (stems, _) = select(MODEL), song()
    assert names(outputs) == list(MODEL)
    assert not needs_mixture(outputs)
    np.testing.assert_array_equal(mix_outputs(outputs, stems), stems)


@pytest.mark.parametrize("request_", ["vocals,drums", " vocals , drums ", ["vocals", "drums"], ("vocals", "drums")])
def test_a_subset_keeps_the_order_asked_for_and_finds_stems_by_name(request_: str | list[str]) -> None:
    outputs, (stems, _) = select(MODEL, stems=request_), song()
    assert names(outputs) == ["vocals", "drums"]
    np.testing.assert_array_equal(mix_outputs(outputs, stems), stems[[3, 0]])


def test_one_stem_as_text_is_not_a_list_of_letters() -> None:
    assert names(select(MODEL, stems="bass")) == ["bass"]


def test_two_stems_are_one_and_all_others() -> None:
    outputs, (stems, _) = select(MODEL, two_stems="bass"), song()
    assert names(outputs) == ["bass", "no_bass"]
    mixed = mix_outputs(outputs, stems)
    np.testing.assert_array_equal(mixed[0], stems[1])
    np.testing.assert_allclose(mixed[1], stems[0] + stems[2] + stems[3], atol=1e-5)


@pytest.mark.parametrize("request_", ["no_bass", "Bass", "no_BASS"])
def test_the_complement_asks_for_the_same_two(request_: str) -> None:
    assert select(MODEL, two_stems=request_) == select(MODEL, two_stems="bass")


@pytest.mark.parametrize(
    ("request_", "name", "held"),
    [("vocals", "no vocals", (1, 1, 1, 0)), ("Vocals, DRUMS", "no vocals, drums", (0, 1, 1, 0))],
)
def test_everything_but_some_stems_is_one_output(request_: str, name: str, held: tuple[int, ...]) -> None:
    (output,) = select(MODEL, without=request_)
    assert (output.name, output.weights) == (name, held)


def test_everything_but_the_only_stem_is_what_it_leaves_of_the_mixture() -> None:
    outputs, (stems, mixture) = select(["vocals"], without="vocals"), song(1)
    np.testing.assert_allclose(mix_outputs(outputs, stems, mixture)[0], mixture - stems[0], atol=1e-6)


def test_a_mix_can_be_all_that_is_written() -> None:
    (output,) = select(MODEL, stems="backing", mix=["backing=drums+bass"])
    assert (output.name, output.weights) == ("backing", (1, 1, 0, 0))
    assert names(select(MODEL, stems="low,vocals", mix=["low=drums+bass", "all=drums+vocals"])) == [
        "low",
        "vocals",
        "all",
    ]


def test_stems_are_found_in_any_case() -> None:
    assert select(MODEL, stems="Vocals,DRUMS", mix=["X=Bass+drums"]) == select(
        MODEL, stems="vocals,drums", mix=["X=bass+drums"]
    )


@pytest.mark.parametrize("request_", ["drums,bass,other,vocals", "nothing", ""])
def test_what_cannot_be_left_out_is_refused(request_: str) -> None:
    with pytest.raises(UsageError):
        select(MODEL, without=request_)


def test_two_stems_of_a_model_with_one_stem_need_the_mixture() -> None:
    outputs, (stems, mixture) = select(["vocals"], two_stems="vocals"), song(1)
    assert needs_mixture(outputs)
    vocals, rest = mix_outputs(outputs, stems, mixture)
    np.testing.assert_array_equal(vocals, stems[0])
    np.testing.assert_allclose(rest, mixture - stems[0], atol=1e-6)


def test_mixes_come_on_top_and_may_be_all_there_is() -> None:
    stems, _ = song()
    outputs = select(MODEL, stems="vocals", mix=["beat = drums + bass", "all=drums+bass+other+vocals"])
    assert names(outputs) == ["vocals", "beat", "all"]
    np.testing.assert_allclose(mix_outputs(outputs, stems)[1], stems[0] + stems[1], atol=1e-6)
    assert names(select(MODEL, mix=["beat=drums+bass"])) == [*MODEL, "beat"]
    assert names(select(MODEL, stems=[], mix=["beat=drums+bass"])) == ["beat"]


@pytest.mark.parametrize(
    ("model", "request_"),
    [
        (MODEL, {}),
        (MODEL, {"stems": "vocals,bass,other,drums"}),
        (MODEL, {"two_stems": "vocals"}),
        (MODEL, {"two_stems": "other"}),
        (MODEL, {"mix": ["m=other+bass"]}),
        (("speech", "music", "effects"), {}),
        (("vocals", "instrumental"), {"two_stems": "vocals"}),
        (("vocals",), {"two_stems": "vocals"}),
    ],
)
def test_an_exact_sum_adds_up_to_the_mixture(model: tuple[str, ...], request_: dict) -> None:
    stems, mixture = song(len(model))
    outputs = select(model, **request_, exact_sum=True)
    mixed = mix_outputs(outputs, stems, mixture)
    parts = len(outputs) - len(request_.get("mix", []))
    np.testing.assert_allclose(mixed[:parts].sum(axis=0), mixture, atol=1e-5)
    assert np.abs(stems.sum(axis=0) - mixture).max() > 1e-3


def test_the_residual_belongs_to_other_wherever_other_goes() -> None:
    stems, mixture = song()
    residual = mixture - stems.sum(axis=0)
    outputs = select(MODEL, exact_sum=True, mix=["quiet=other+bass", "beat=drums+bass"])
    assert [output.name for output in outputs if output.residual] == ["other", "quiet"]
    mixed = mix_outputs(outputs, stems, mixture)
    np.testing.assert_allclose(mixed[4], stems[1] + stems[2] + residual, atol=1e-5)
    (vocals, no_vocals) = mix_outputs(select(MODEL, two_stems="vocals", exact_sum=True), stems, mixture)
    np.testing.assert_allclose(no_vocals, mixture - stems[3], atol=1e-5)
    np.testing.assert_array_equal(vocals, stems[3])


@pytest.mark.parametrize(
    ("model", "taker"),
    [
        (MODEL, "other"),
        (("instrumental", "vocals"), "instrumental"),
        (("speech", "music", "effects"), "effects"),
    ],
)
def test_who_takes_the_residual(model: tuple[str, ...], taker: str) -> None:
    assert [output.name for output in select(model, exact_sum=True) if output.residual] == [taker]


@pytest.mark.parametrize("request_", [{}, {"two_stems": "drums"}, {"mix": ["beat=drums+bass"]}])
def test_folding_makes_rounded_outputs_add_up_to_the_sample(request_: dict) -> None:
    stems, mixture = song(samples=1000)
    outputs = select(MODEL, **request_, exact_sum=True)
    grid = 2.0**-15
    written = np.round(mix_outputs(outputs, stems, mixture) / grid) * grid
    target = np.round(mixture / grid) * grid
    parts = len(outputs) - len(request_.get("mix", []))
    assert (written[:parts].sum(axis=0) != target).any()
    folded = fold_residual(outputs, written, target)
    np.testing.assert_array_equal(folded[:parts].sum(axis=0), target)
    np.testing.assert_array_equal(folded, np.round(folded / grid) * grid)
    changed = {output.name for output, a, b in zip(outputs, written, folded, strict=True) if (a != b).any()}
    assert changed == {"no_drums" if "two_stems" in request_ else "other"}


def test_folding_works_on_integers() -> None:
    outputs = select(MODEL, exact_sum=True)
    written = np.array([1, 2, 3, 4], np.int32).reshape(4, 1, 1) * 2**22
    folded = fold_residual(outputs, written, np.array([[12 * 2**22 + 1]], np.int32))
    assert folded.dtype == np.int32
    assert folded[:, 0, 0].tolist() == [2**22, 2 * 2**22, 5 * 2**22 + 1, 4 * 2**22]


def test_folding_outputs_without_a_residual_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="exact_sum"):
        fold_residual(select(MODEL), np.zeros((4, 1, 1)), np.zeros((1, 1)))
    twice = (Output("a", (1, 1), residual=True), Output("b", (0, 1)))
    with pytest.raises(ValueError, match="exact_sum"):
        fold_residual((Output("c", (0, 1)), *twice), np.zeros((3, 1, 1)), np.zeros((1, 1)))
    with pytest.raises(ValueError, match="mixture"):
        mix_outputs(select(MODEL, exact_sum=True), np.zeros((4, 1, 1), np.float32))


@pytest.mark.parametrize("request_", [{"stems": "vocals,piano"}, {"two_stems": "piano"}, {"mix": ["m=drums+piano"]}])
def test_an_unknown_stem_names_those_there_are(request_: dict) -> None:
    with pytest.raises(UnknownStemError, match=r"'piano'.*drums, bass, other, vocals"):
        select(MODEL, **request_)


@pytest.mark.parametrize(
    "request_",
    [
        {"stems": "vocals,vocals"},
        {"mix": ["vocals=drums+bass"]},
        {"mix": ["Vocals=drums+bass"]},
        {"mix": ["a=drums", "a=bass"]},
        {"two_stems": "vocals", "mix": ["no_vocals=drums"]},
    ],
)
def test_two_outputs_of_one_name_are_refused(request_: dict) -> None:
    with pytest.raises(TargetCollisionError):
        select(MODEL, **request_)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "m=",
        "=drums",
        "m=drums+",
        "m=drums+drums",
        "../m=drums",
        "a\\b=drums",
        "..=drums",
        "a\0=drums",
    ],
)
def test_a_mix_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="mix"):
        select(MODEL, mix=[text])


@pytest.mark.parametrize(
    "request_",
    [
        {"stems": "vocals", "two_stems": "vocals"},
        {"stems": []},
        {"stems": "vocals", "exact_sum": True},
        {"stems": [], "mix": ["all=drums+bass+other+vocals"], "exact_sum": True},
    ],
)
def test_requests_that_cannot_be_met_are_refused(request_: dict) -> None:
    with pytest.raises(UsageError):
        select(MODEL, **request_)


def test_an_exact_sum_of_a_lone_stem_would_be_the_mixture_itself() -> None:
    with pytest.raises(UsageError, match="two-stems"):
        select(["vocals"], exact_sum=True)
