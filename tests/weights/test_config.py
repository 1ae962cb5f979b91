"""config.json: whatever stands in it, a model is loaded or refused in one plain line, at once and without memory."""

from __future__ import annotations

import copy
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny import save_tiny
from tiny_melody import save_tiny_melody

from stemsplit.errors import CheckpointError, StemsplitError
from stemsplit.networks.bsmamba import BSMambaConfig
from stemsplit.networks.contract import Config
from stemsplit.networks.melody_cnn import MelodyCNNConfig
from stemsplit.networks.registry import ARCHITECTURES
from stemsplit.networks.rules import OneOf, Several, Whole, shown
from stemsplit.weights.card import MOST_BYTES, read_card, read_config
from stemsplit.weights.checkpoint import load_network


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [save_tiny(folder / "separator"), save_tiny_melody(folder / "melody")]


# --- the text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe{}", "not UTF-8"),
        ('{"name": "é"}'.encode("latin-1"), "not UTF-8"),
        ('{"name": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"format": 1, "format": 1}', "'format' stands in it twice"),
        (b'{"network": {"dim": 8, "dim": 16}}', "'dim' stands in it twice"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1e400}', "too large a number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number of 5000 digits"),
        (b'{"a": "\\ud800"}', "half of a character"),
        (b'{"\\udfff": 1}', "half of a character"),
        (b'{"a":' * 20 + b"1" + b"}" * 20, "nested too deeply"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"a":' * 100_000, "cannot be read"),
        (b" " * (MOST_BYTES + 1), "more than 1 MiB"),
        (b'{"format": 1} trailing', "Extra data"),
        (b"\0" * 100, "cannot be read"),
    ],
    ids=range(17),
)
def test_texts_that_are_no_plain_json(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_config(tmp_path / "config.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_mark_of_byte_order_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b'\xef\xbb\xbf{"name": "a"}')
    assert read_config(tmp_path / "config.json") == {"name": "a"}


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such file"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": True}, "format must be a whole number"),
        ({"format": "1"}, "format must be a whole number from 0 to 1000000, not '1'"),
        ({"architecture": ["ts-bsmamba2"]}, "architecture must be a text"),
        ({"parameters": "many"}, "parameters must be a whole number"),
        ({"license": 3}, "license must be a text"),
        ({"weights": {"size": "big"}}, "weights: size must be"),
        ({"weights": {"url": ["https://a"]}}, "weights: url must be"),
        ({"weights": {"sha256": "A" * 64}}, "weights: sha256 must be 64 hexadecimal digits in lower case"),
        ({"network": {"stems": "vocals"}}, "network: stems must be a list"),
        ({"network": {"stems": ["a", "a"]}}, "network: stems must hold distinct values"),
        ({"network": {"stems": ["../a"]}}, "a name"),
        ({"network": {"stems": ["a\x1b[31m"]}}, "a name"),
        ({"network": {"sample_rate": 1e9}}, "network: sample_rate must be"),
    ],
)
def test_values_of_the_wrong_kind_are_named(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=message):
        read_config(tmp_path / "config.json")


def test_null_is_nothing(tmp_path: Path) -> None:
    values = {"name": None, "license": None, "weights": {"sha256": None, "size": None, "url": None}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert read_card(tmp_path).local == "missing"


# --- the rules


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_setting_has_a_rule_and_every_default_keeps_it(name: str) -> None:
    kind = ARCHITECTURES[name].config
    assert set(kind.rules) == set(kind().as_json())
    assert kind.__post_init__ is Config.__post_init__, "what has to fit goes into misfits"
    assert kind().least_tensors() >= 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dim": "wide"}, "dim must be a whole number from 1 to 8192, not 'wide'"),
        ({"dim": None}, "dim must be a whole number from 1 to 8192, not null"),
        ({"dim": True}, "not true"),
        ({"dim": 128.0}, "not 128.0"),
        ({"normalize": 1}, "normalize must be true or false, not 1"),
        ({"overlap": 1}, "overlap must be a number from 0 to 0.99"),
        ({"overlap": "0.5"}, "overlap must be a number"),
        ({"bands": 3}, "bands must be a list"),
        ({"bands": [1, [2]]}, r"bands \(its value 2\) must be a whole number"),
        ({"stems": ["a", None]}, r"stems \(its value 2\) must be a name"),
        ({"sample_rate": 10**9}, "sample_rate must be a whole number from 1000 to 1000000, not 1000000000"),
        ({"blocks_mask": 5000}, "blocks_mask must be"),
        ({"expander_db": "loud"}, "expander_db must be a number from -200 to 200, not 'loud', or null"),
        ({"wings": 2}, "unknown settings wings"),
        ({"n_fft": 2050}, "the bands hold 1025 bins, n_fft 2050 has 1026"),
        ({"hop_length": 2000}, "more than half"),
        ({"chunk_samples": 1000}, "less than n_fft"),
        ({"hop_length": 1}, "takes gigabytes"),
        ({"stems": ["drums"], "expander_db": -12.0}, "expander_db needs vocals and other"),
        ({"headdim": 3}, "does not divide"),
        ({"dim": 63, "headdim": 63, "head_expand": 1}, "is no multiple of 4"),
    ],
)
def test_settings_of_a_separator_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BSMambaConfig.from_dict(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"positions": [1]}, "2 kernel lengths and 1 position counts"),
        ({"positions": [1, 161]}, "do not fit a hop"),
        ({"time_kernel": 4}, "must be odd"),
        ({"kernels": 100}, "cannot be halved 4 times"),
        ({"sample_rate": 1000, "hop_samples": 1001}, "longer than a second"),
        ({"bins": 8000}, "beyond the sample rate"),
        ({"time_dilations": [1024] * 9}, "depends on"),
        ({"kernel_samples": [60000, 60000]}, "look at more than"),
    ],
)
def test_settings_of_a_melody_network_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MelodyCNNConfig.from_dict(values)


def test_a_config_made_by_hand_is_checked_too() -> None:
    with pytest.raises(ValueError, match="dim must be"):
        BSMambaConfig(dim=0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"), (True, "true"), ([1, "a", None], "[1, 'a', null]"), ([1] * 9, "a list of 9"),
        ({"a": 1}, "an object"), (float("nan"), "a number that is not finite"),
        (10**30, "a number of very many digits"),
        ("a" * 100, "'" + "a" * 35 + " …'"),
    ],
)  # fmt: skip
def test_values_are_shown_in_a_few_words(value: Any, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize("value", ["c", 3, None, ["a"], {}])
def test_one_of_a_few_texts(value: Any) -> None:
    assert OneOf(("a", "b")).problem("a") is None
    assert (OneOf(("a", "b")).problem(value) or "").startswith("must be a or b, not ")


def test_a_list_in_a_list_is_not_hashed() -> None:
    assert "a whole number" in (Several(Whole(0, 1), 0, 3, distinct=True).problem([[1], [1]]) or "")


# --- any config


ODD: list[Any] = [
    None, True, False, 0, 1, -1, 3, 5000, 10**9, 2**31, 2**63, 0.5, -0.0, 1e-300, 1e300, "", "x", "8", "/", "..",
    "a\0b", "\x1b[31m", "a" * 3000, [], [1], ["a"], ["a", "a"], [[]], [None], {}, {"a": 1}, [1] * 3000,
    [f"s{n}" for n in range(99)],
]  # fmt: skip


def mutated(config: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Return a config of which one to three values are others."""
    config = copy.deepcopy(config)
    for _ in range(rng.choice((1, 1, 2, 3))):
        part = rng.choice(("network", "network", "network", "weights", ""))
        values = config.get(part) if part else config
        if not isinstance(values, dict) or not values:
            continue
        key = rng.choice([*values, "url", "scores"] if part != "network" else [*values])
        value = values.get(key)
        if isinstance(value, list) and value and rng.random() < 0.5:
            value[rng.randrange(len(value))] = rng.choice(ODD)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and rng.random() < 0.6:
            values[key] = rng.choice((2 * value, 10 * value, 1000 * value, value + 1, -value, value // 2))
        else:
            values[key] = rng.choice(ODD)
    return config


def most_memory() -> float:
    """The most MiB that this process has taken so far; 0 where that is not known."""
    if sys.platform != "linux":
        return 0.0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_any_config_is_loaded_or_refused_at_once(models: list[Path]) -> None:
    rng, outcomes = random.Random(11), set()
    known = [json.loads((folder / "config.json").read_text()) for folder in models]
    memory = most_memory()
    for number in range(120):
        folder, config = models[number % 2], mutated(known[number % 2], rng)
        (folder / "config.json").write_text(json.dumps(config))
        started = time.thread_time()
        for load in (load_network, read_card):
            try:
                load(folder)
                outcomes.add("loaded")
            except StemsplitError as error:
                outcomes.add(type(error).__name__)
                assert "\n" not in str(error), config  # noqa: PT017  (either is right)
                assert len(str(error)) < 700, config  # noqa: PT017
            except Exception as error:
                raise AssertionError(f"unexpected {type(error).__name__} for {config}") from error
        assert time.thread_time() - started < 1, config
    assert outcomes >= {"loaded", "CheckpointError"}
    assert most_memory() - memory < 200
