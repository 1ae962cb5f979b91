"""A page for a Hugging Face Space: a song in; its stems, its sung melody and the page that plays it out.

    pip install -r requirements.txt gradio
    python app.py

Nothing is kept: what a visitor got is deleted after an hour.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEMS = ("vocals", "drums", "bass", "other")
LONGEST = "-10:00"
"""Only so much of a song: a Space has few cores, and others wait."""
KEPT_SECONDS = 3600
PREFIX = "stemsplit-space-"


def separated(song: str | None) -> tuple[str, ...]:
    """Return the paths of the four stems as MP3, and of the page that plays them.

    Raises: ValueError with words for the visitor.
    """
    from stemsplit import StemsplitError, separate_files
    from stemsplit.options import TimeRange

    source, folder = given(song), new_folder()
    part = TimeRange.parsed(LONGEST)
    try:
        (outcome,) = separate_files(source, folder, format="mp3", time_range=part, player=True)
        if outcome.status == "failed":
            raise ValueError(without_folder(outcome.message, source))
    except StemsplitError as error:
        raise ValueError(without_folder(str(error), source)) from error
    (page,) = folder.rglob("*.html")
    return (*(str(outcome.outputs[stem]) for stem in STEMS), str(page))


def melody(song: str | None) -> tuple[str, str]:
    """Return the paths of the picture of what is sung, and of its notes as MIDI. Raises: as `separated`."""
    from stemsplit import StemsplitError, extract_melody

    source, folder = given(song), new_folder()
    picture, midi = folder / "melody.png", folder / "melody.mid"
    try:
        extract_melody(source, spectrogram=True).save(plot=picture, midi=midi)
    except StemsplitError as error:
        raise ValueError(without_folder(str(error), source)) from error
    return str(picture), str(midi)


def given(song: str | None) -> str:
    """Return the path of a song. Raises: ValueError if the visitor has chosen none."""
    if not song:
        raise ValueError("Choose a song first.")
    return song


def without_folder(message: str, source: str) -> str:
    """Return a message that names a song as the visitor does, and not where it lies here."""
    return message.replace(source, Path(source).name)


def new_folder() -> Path:
    """Return an empty folder, and delete those of an hour ago; Gradio has its own copies of what it shows."""
    for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if old.stat().st_mtime < time.time() - KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=PREFIX))


def build() -> Any:
    """Return the page, a `gradio.Blocks`."""
    import gradio

    def told(work: Callable[[str | None], Any]) -> Callable[[str | None], Any]:
        """Let the visitor see what a ValueError says."""

        def run(song: str | None) -> Any:
            try:
                return work(song)
            except ValueError as error:
                raise gradio.Error(str(error)) from error

        return run

    with gradio.Blocks(title="stemsplit", delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as page:
        gradio.Markdown("# stemsplit\nA song in; four stems out, and what is sung. At most ten minutes of it.")
        song = gradio.Audio(type="filepath", label="Song", sources=["upload"])
        with gradio.Row():
            separate = gradio.Button("Separate", variant="primary")
            read = gradio.Button("Read the melody")
        stems = [gradio.Audio(type="filepath", label=name, interactive=False) for name in STEMS]
        player = gradio.File(label="A page that plays the stems, offline")
        picture = gradio.Image(type="filepath", label="What is sung", interactive=False)
        midi = gradio.File(label="Its notes as MIDI")
        separate.click(told(separated), inputs=song, outputs=[*stems, player])
        read.click(told(melody), inputs=song, outputs=[picture, midi])
    return page


if __name__ == "__main__":
    build().launch()
