"""The pages that the program tells have all that it tells, and lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import join, normpath

import pytest
import reference
import typer
from reference import escaped, generated, readme_parts, relinked, taken_in

import stemsplit
from stemsplit.cli import app
from stemsplit.weights.catalog import list_models, qualities

DOCS = Path(reference.__file__).parent
PAGES = generated()
WRITTEN = {page.relative_to(DOCS).as_posix(): page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")}
WRITTEN = {name: text for name, text in WRITTEN.items() if not name.startswith("space/")}
GROUP = typer.main.get_command(app)


@pytest.mark.parametrize("name", GROUP.commands)
def test_a_command_has_a_page_with_all_its_options_and_examples(name: str) -> None:
    page = PAGES[f"commands/{name}.md"]
    command = GROUP.commands[name]
    for one in (command, *getattr(command, "commands", {}).values()):
        for option in (param for param in one.params if param.param_type_name == "option" and not param.hidden):
            for word in (*option.opts, *option.secondary_opts):
                assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", page), word
        for line in (one.help or "").partition("Examples:\n")[2].strip().splitlines():
            assert line.partition(" # ")[0].strip() in page


def test_what_options_are_by_default_is_said() -> None:
    page = PAGES["commands/separate.md"]
    assert re.search(r"`-f, --format [A-Z]+` \| .*Default: `wav`\.", page)
    assert re.search(r"`--overlap F` \| .*Default: the model's\.", page)
    assert "default:" not in page


def test_every_command_is_listed() -> None:
    listed = re.findall(r"^\| \[`(\w+)`\]\((\w+)\.md\) \| \S", PAGES["commands/index.md"], re.MULTILINE)
    assert listed == [(name, name) for name in GROUP.commands]


def test_every_model_is_in_the_table_and_has_a_page() -> None:
    table = reference.models_table("models.md")
    for card in list_models():
        (row,) = (line for line in table.splitlines() if line.startswith(f"| [`{card.name}`](models/{card.name}.md) |"))
        assert row.count("|") == 6
        assert escaped(card.license) in row
        page = PAGES[f"models/{card.name}.md"]
        assert page.startswith(f"# {card.name}\n")
        assert '"sample_rate"' in page


def test_every_quality_is_told_with_its_models() -> None:
    table = reference.qualities_table("models.md")
    for name, models in qualities().items():
        (row,) = (line for line in table.splitlines() if line.startswith(f"| `{name}` |"))
        assert all(f"[`{model}`](models/{model}.md)" in row for model in re.findall(r"[\w-]+-[\w-]+", models))


@pytest.mark.parametrize("name", [*WRITTEN, *PAGES])
def test_links_lead_to_pages_and_files(name: str) -> None:
    text = taken_in(WRITTEN[name], name) if name in WRITTEN else PAGES[name]
    assert "<!-- from " not in text
    known = {*WRITTEN, *PAGES, *(file.relative_to(DOCS).as_posix() for file in DOCS.rglob("*") if file.is_file())}
    known |= {f"models/{file.name}" for file in reference.ROOT.glob("models/*/*.png")}
    for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
        assert normpath(join(str(Path(name).parent), link)) in known, link


def test_parts_of_the_readme_are_taken_in_and_their_links_lead_on() -> None:
    assert "Exit code 0" in taken_in("a\n\n<!-- from README.md: promises -->\n", "promises.md")
    with pytest.raises(KeyError, match="nope"):
        taken_in("<!-- from README.md: nope -->", "index.md")
    assert all(part.strip() for part in readme_parts().values())
    text = "[a](docs/cluster.md#ray) [b](models/htdemucs/README.md) [c](benchmarks/LOG.md) [d](https://example.org/x)"
    expected = "[a](../cluster.md#ray) [b](../models/htdemucs.md) c [d](https://example.org/x)"
    assert relinked(text, "tutorials/studio.md") == expected


def test_text_means_nothing_to_markdown_but_code_does() -> None:
    assert escaped("a*b_c <d> fast|good [x] `{a|*}`") == r"a\*b\_c \<d> fast\|good \[x\] `{a|*}`"


def test_every_public_name_is_on_the_page_about_python() -> None:
    page = WRITTEN["python.md"]
    for name in stemsplit.__all__:
        assert re.search(rf"(::: |`|- )(stemsplit\.)?{name}\b", page), name
