"""`--quality`: asks before it downloads, never waits for nobody, and leaves nothing behind when it is refused."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import published_sfc as public
import pytest
from fake_hub import FakeHub
from said import Run
from tiny import write_song

from stemsplit import doctor
from stemsplit.cli.quality import levels
from stemsplit.cli.quality.consent import _rough, cards_of
from stemsplit.errors import UsageError
from stemsplit.runs.models import asked_models
from stemsplit.weights.catalog import DEFAULT_MODEL, card, qualities

REPOSITORY = "kohei0209/spectral_feature_compression"
SMALL = "musdb18hq/locoformer-small.enc-crossattn64dim.dec-crossattn64dim.musical64.learnable-query"
FETCHED = f"{SMALL}/checkpoints"


class Terminal(io.StringIO):
    """Standard input with a person, or nobody, at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A Hub that has a tiny network in place of sfc-ca-small; a song in the current folder."""
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(doctor, "seconds_per_second", lambda name, device: 30.0)
    monkeypatch.chdir(tmp_path)
    write_song(tmp_path / "song.wav", np.random.default_rng(0).normal(0, 0.1, (2, 44100)), 44100)
    with FakeHub() as running:
        running.add_model(REPOSITORY, public.folder_of(public.TINY, f"{SMALL}/"))
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``at_terminal(answer)``: a person looks at stderr, and types this."""

    def sit(answer: str) -> None:
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        monkeypatch.setattr("stemsplit.cli.layout.screen.is_watched", lambda: True)

    return sit


def downloads(hub: FakeHub) -> int:
    return len([request for request in hub.asked("GET") if FETCHED in request.path or "/storage/" in request.path])


def test_the_levels_are_of_the_catalog() -> None:
    assert list(qualities()) == ["fast", "good", "best"]
    assert qualities()["fast"] == DEFAULT_MODEL
    for models in qualities().values():
        for found in cards_of([models]):
            assert set(found.stems) & {"vocals"}
            assert found.local in ("shipped", "to download", "cached")
    stems = {"vocals", *card("sfc-ca-medium").stems}
    assert {asked.stem for asked in asked_models(qualities()["best"])} - {"rest"} <= stems


def test_fast_is_what_ships(run: Run, hub: FakeHub) -> None:
    said = run("separate", "song.wav", "--quality", "fast", "-o", "out", "--json")
    assert said.code == 0
    assert DEFAULT_MODEL in Path("out/song/stemsplit.json").read_text()
    assert not hub.requests
    assert levels.models_for("FAST", None) == levels.models_for(None, None) == [DEFAULT_MODEL]


def test_yes_at_the_terminal_downloads_once(
    run: Run, hub: FakeHub, at_terminal: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_terminal("y\n")
    said = run("separate", "song.wav", "--quality", "good", "-o", "out")
    assert said.code == 0, said.err
    assert said.out == ""
    size = sum(len(body) for name, body in public.folder_of(public.TINY, "").items())
    assert f"sfc-ca-small: {size / 1e6:.1f} MB, licence not stated, from hf:{REPOSITORY}" in said.err
    assert "song.wav (1 s) will take roughly 30 s here" in said.err
    assert "[y/N]" in said.err
    assert '"reference": "sfc-ca-small"' in Path("out/song/stemsplit.json").read_text()
    fetched = downloads(hub)
    assert fetched
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    again = run("separate", "song.wav", "--quality", "good", "-o", "again")
    assert again.code == 0
    assert "download" not in again.err
    assert downloads(hub) == fetched


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "what?\n"])
def test_anything_else_declines(run: Run, hub: FakeHub, at_terminal: Callable[[str], None], answer: str) -> None:
    at_terminal(answer)
    said = run("separate", "song.wav", "--quality", "good", "-o", "out")
    assert said.code == 2
    assert "nothing was downloaded, nothing was written; --quality fast needs no download" in said.err
    assert not downloads(hub)
    assert not Path("out").exists()


@pytest.mark.parametrize("how", [[], ["-q"], ["--dry-run"], ["--json"]], ids=str)
def test_where_nobody_can_be_asked_it_is_refused_at_once(run: Run, hub: FakeHub, how: list[str]) -> None:
    said = run("separate", "song.wav", "--quality", "best", "-o", "out", *how)
    assert said.code == 2
    assert "add --yes, or fetch them first: stemsplit models download bsmamba2-vocals && " in said.err
    assert "--quality fast needs no download" in said.err
    assert len(said.err.splitlines()) == 1
    assert not hub.requests
    assert not Path("out").exists()


def test_quiet_asks_nothing_at_a_terminal_either(run: Run, hub: FakeHub, at_terminal: Callable[[str], None]) -> None:
    at_terminal("y\n")
    assert run("separate", "song.wav", "--quality", "good", "-q").code == 2
    assert not downloads(hub)


@pytest.mark.usefixtures("hub")
def test_what_the_repository_lacks_is_told_with_the_way_back(run: Run) -> None:
    said = run("separate", "song.wav", "--quality", "best", "--yes", "-o", "out")
    assert said.code == 2
    assert "has no folder like" in said.err
    assert said.err.rstrip().endswith("--quality fast needs no download")
    assert not Path("out").exists()


@pytest.mark.usefixtures("hub")
def test_yes_goes_on_without_a_question(run: Run) -> None:
    said = run("separate", "song.wav", "--quality", "good", "--yes", "-o", "out")
    assert said.code == 0
    assert "licence not stated" in said.err
    assert "[y/N]" not in said.err
    assert run("separate", "song.wav", "--quality", "good", "--stems", "bass", "-o", "x", "--dry-run").code == 0


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("off", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}], ids=str)
def test_offline_is_one_line_with_the_way_back(run: Run, off: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in off.items():
        monkeypatch.setenv(name, value)
    said = run("separate", "song.wav", "--quality", "good", "--yes", "-o", "out")
    assert said.code == 1
    assert said.err.rstrip().endswith("--quality fast needs no download")
    assert len(said.err.splitlines()) == 1
    assert not Path("out").exists()


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("how", "says"),
    [
        (["--quality", "good", "-m", "x"], "--quality good chooses the models, and so does -m x"),
        (["--quality", "great"], "there is no --quality great: choose one of fast, good, best"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, how: list[str], says: str) -> None:
    said = run("separate", "song.wav", *how)
    assert said.code == 2
    assert says in said.err


@pytest.mark.usefixtures("hub")
def test_the_hint_comes_last_and_only_to_a_person(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    hint = "better stems, but slower: stemsplit separate song.wav --quality good, or best"
    assert hint not in run("separate", "song.wav", "-o", "out").err
    monkeypatch.setattr("stemsplit.cli.batch.run.is_watched", lambda: True)
    monkeypatch.setattr("stemsplit.cli.batch.run.watching", watching_lines)
    assert run("separate", "song.wav", "-o", "out", "--force").err.splitlines()[-1] == hint
    for how in (["-q"], ["--json"], ["--quality", "fast"], ["-m", DEFAULT_MODEL], ["--dry-run"]):
        assert hint not in run("separate", "song.wav", "-o", "out", "--force", *how).err
    assert hint not in run("separate", "song.wav", "-o", "out").err  # done already
    assert run("separate", "song.wav", "-o", "better", "--quality", "good", "--yes").code == 0
    assert hint not in run("separate", "song.wav", "-o", "out", "--force").err


def watching_lines(screen: object, jobs: object, **how: object) -> object:
    from contextlib import nullcontext

    from stemsplit.cli.layout.screen import Lines, Screen

    assert isinstance(screen, Screen)
    return nullcontext(Lines(screen))


def test_the_hint_quotes_names_for_a_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEMSPLIT_CACHE", str(tmp_path))
    assert "separate 'my song.wav' --quality" in levels.hint_for([Path("my song.wav")])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (29, "29 s"),
        (44, "40 s"),
        (119, "120 s"),
        (200, "3 minutes"),
        (5000, "83 minutes"),
        (7000, "1.9 hours"),
    ],
)
def test_rough_times(seconds: float, text: str) -> None:
    assert _rough(seconds) == text


def test_both_a_level_and_a_model_are_refused_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match="use one of the two"):
        levels.models_for("best", ["a"])
