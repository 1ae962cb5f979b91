"""The user's config file: defaults of options, which what is typed wins over, checked before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from said import Run

from stemsplit.cli import app
from stemsplit.cli.flags.config import defaults
from stemsplit.cli.flags.shared import left_out
from stemsplit.errors import UsageError
from stemsplit.files.config import config_path, read_config

Parsed = Callable[..., typer.Context]
SETTINGS = """
[separate]
format = "flac"
bit-depth = 16
overlap = 0.25
jobs = 2
stems = "vocals"
mix = ["a=drums+bass", "b=bass+other"]
output = "~/stems"
quality = "fast"
exact_sum = true

[melody]
midi = true
tempo = 90

[models.list]
json = true
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of this test, which is not there yet."""
    monkeypatch.delenv("STEMSPLIT_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("platformdirs.user_config_dir", lambda *name, **how: str(tmp_path / "config" / "stemsplit"))
    (tmp_path / "config" / "stemsplit").mkdir(parents=True)
    return tmp_path / "config" / "stemsplit" / "config.toml"


@pytest.fixture
def parsed() -> Parsed:
    """What a command makes of its arguments, without doing anything."""

    def parse(name: str, *arguments: str) -> typer.Context:
        group: Any = typer.main.get_command(app)
        context = typer.Context(group, info_name="stemsplit")
        path = config_path()
        if path is not None:
            context.default_map = defaults(group, read_config(path), path)
        return group.commands[name].make_context(name, list(arguments), parent=context)  # type: ignore[no-any-return]

    return parse


def test_options_have_the_values_of_the_file(config: Path, parsed: Parsed) -> None:
    config.write_text(SETTINGS)
    said = parsed("separate", "song.wav").params
    assert said["format"] == "flac"
    assert said["bit_depth"] == "16"
    assert (said["overlap"], said["jobs"]) == (0.25, 2)
    assert said["mix"] == ["a=drums+bass", "b=bass+other"]
    assert said["output"] == Path("~/stems").expanduser()
    assert said["exact_sum"] is True
    said = parsed("melody", "song.wav").params
    assert (said["midi"], said["tempo"], said["plot"]) == (True, "90", False)


def test_what_is_typed_wins(config: Path, parsed: Parsed) -> None:
    config.write_text(SETTINGS)
    assert parsed("separate", "song.wav", "-f", "mp3").params["format"] == "mp3"
    assert left_out(parsed("separate", "song.wav")) == set()
    assert left_out(parsed("separate", "song.wav", "--without", "drums")) == {"stems", "mix"}
    assert left_out(parsed("separate", "song.wav", "-m", "other")) == {"quality"}
    context = parsed("separate", "song.wav", "--preset", "karaoke")
    assert (context.params["format"], context.params["without"], context.params["stems"]) == ("mp3", "vocals", None)
    assert context.params["bit_depth"] == "16"


def test_without_a_file_all_is_as_ever(config: Path, parsed: Parsed) -> None:
    assert parsed("separate", "song.wav").params["format"] == "wav"
    config.write_text("")
    assert parsed("separate", "song.wav").params["format"] == "wav"


REFUSED = [
    ("[separate", "is no TOML: "),
    ("[seperate]", "there is no command 'seperate' for a config file: did you mean separate?"),
    ('format = "flac"', "there is no command 'format' for a config file: try stemsplit"),
    ('[separate]\nformta = "flac"', "[separate] there is no option 'formta' for a config file: did you mean format?"),
    ("[separate]\nforce = true", "[separate] there is no option 'force' for a config file"),
    ("[separate]\ninputs = []", "[separate] there is no option 'inputs'"),
    ('[separate]\nformat = "flak"', "[separate] format: 'flak' is not one of "),
    ('[separate]\nplayer = "yes"', "[separate] player is a switch: give true or false"),
    ("[separate]\nformat = true", "[separate] format needs a text or a number"),
    ("[separate]\nstems = ['drums']", "[separate] stems needs a text or a number"),
    ("[separate]\nmix = [true]", "[separate] mix needs a text or a number or a list of them"),
    ("[separate]\njobs = 0", "[separate] jobs: "),
    ("[separate]\noverlap = 'much'", "[separate] overlap: "),
    ("[separate]\noutput = ''", "[separate] output: a path is empty"),
    ("separate = 3", "separate is a command: its options go below [separate]"),
    ("[models]\nlist = true", "[models] list is a command: its options go below [models.list]"),
    ("[models]\njson = true", "[models] there is no command 'json'"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_what_is_wrong_with_the_file_is_told_in_one_line(config: Path, run: Run, text: str, why: str) -> None:
    config.write_text(text)
    said = run("separate", "song.wav")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"stemsplit: error: {config}")
    assert why in said.err
    assert said.err.count("\n") == 1


def test_it_can_be_left_out(config: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("nonsense")
    assert run("models", "list").code == 2
    assert run("--no-config", "models", "list").code == 0
    assert run("--help").code == 0
    monkeypatch.setenv("STEMSPLIT_CONFIG", "")
    assert run("models", "list").code == 0


def test_a_variable_names_another(config: Path, parsed: Parsed, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("nonsense")
    other = config.with_name("other.toml")
    monkeypatch.setenv("STEMSPLIT_CONFIG", str(other))
    with pytest.raises(UsageError, match="STEMSPLIT_CONFIG names: no such file"):
        parsed("separate", "song.wav")
    other.write_text('\ufeff[separate]\nformat = "ogg"\n', encoding="utf-8")
    assert parsed("separate", "song.wav").params["format"] == "ogg"


def test_a_table_below_a_group(config: Path, run: Run) -> None:
    assert not run("models", "list").out.startswith("[")
    config.write_text(SETTINGS)
    assert run("models", "list").out.lstrip().startswith(("[", "{"))
