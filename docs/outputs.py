"""Run the commands of the documentation in the order in which they stand, and write what they print beneath them.

    python docs/outputs.py docs/tutorials/musician.md ...    # writes the outputs of these pages again
    python docs/outputs.py --blocks docs/index.md            # runs a page, and prints its blocks as JSON

A block of `console` is for a shell, a block of `python` for Python; all blocks of a page share a folder, and a block of
`text` right behind one is what it printed, on a pipe: standard output and standard error, as they came. The folder has
what `world` writes. A comment before a block says why it is not run:

    <!-- not run: downloads 84 MB -->

`python` and simple commands run in one process, since PyTorch takes its time to start; all others in bash.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n+)?^```(?P<language>console|bash|yaml|python)\n(?P<code>.*?)^```\n"
    r"(?P<gap>\n*)(?:^```text\n(?P<shown>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
SHELL = re.compile(r"[|<>;&$*(]")
TELLS_CODE = '; echo "exit code $?"'
SECONDS = 12
SONGS = {"Blue Morning.wav": 1, "Late Train.wav": 2, "Paper Boats.wav": 3}
"""The songs in album/ → their seeds."""


@dataclass(frozen=True)
class Block:
    """Commands of a page, and what the page says that they print; None if it does not say."""

    language: str
    code: str
    shown: str | None
    reason: str | None  # why it is not run
    place: tuple[int, int]  # in the page's text

    def with_output(self, printed: str) -> str:
        """Return the block's Markdown with another output."""
        return f"```{self.language}\n{self.code}```\n\n```text\n{printed}```\n"


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page that have commands."""
    return [
        Block(found["language"], found["code"], found["shown"], found["reason"], found.span())
        for found in BLOCK.finditer(text)
    ]


def same(shown: str, printed: str) -> bool:
    """Return whether both say the same, whatever their figures, times, notes and columns are."""
    return _words(shown) == _words(printed)


def timeless(text: str) -> str:
    """Return what was printed without how long it took, which is another time on every machine."""
    return re.sub(r"\([\d:.]+(?: s)?, [\d.]+× real time", "(… s, …× real time", text)


def _words(text: str) -> str:
    text = timeless(text)
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "#", text)  # hashes
    text = re.sub(r"\b[A-G]#?m?\d?(?!\w)", "#", text)  # names of notes and chords
    text = re.sub(r"-?\d+(?:[.:]\d+)*(?:e[+-]?\d+)?", "#", text)
    return re.sub(r"[ \t]+", " ", text).strip()


def world(folder: Path) -> None:
    """Write what the pages speak of.

    song.mp3 is the song of `stemsplit demo` and song.m4a the same as AAC; truth/ has its stems and its melody; album/
    has three songs, and inbox/ one of them and a file that is none; voice.wav is somebody singing.
    """
    import numpy as np
    import soundfile

    from stemsplit.demo.stems import synthesize_demo_song, write_demo_song

    song = synthesize_demo_song(SECONDS)
    soundfile.write(folder / "song.mp3", song.mixture.T, song.sample_rate)
    soundfile.write(folder / "voice.wav", song.stems["vocals"].mean(0), song.sample_rate)
    (folder / "truth" / "song").mkdir(parents=True)
    for name, stem in song.stems.items():
        soundfile.write(folder / "truth" / "song" / f"{name}.wav", stem.T, song.sample_rate)
    times = np.arange(len(song.f0_hz)) * song.hop_ms / 1000
    (folder / "melodies").mkdir()
    np.savetxt(folder / "melodies" / "song.csv", np.stack([times, song.f0_hz], 1), "%.3f", ",")
    (folder / "album").mkdir()
    for name, seed in SONGS.items():
        write_demo_song(folder / "album" / name, seconds=SECONDS / 2, seed=seed)
    (folder / "inbox").mkdir()
    shutil.copy(folder / "album" / "Late Train.wav", folder / "inbox")
    (folder / "inbox" / "notes.mp3").write_text("Call the drummer.\n")


def run(page: Path, folder: Path) -> list[tuple[Block, str | None]]:
    """Run a page's blocks in a folder, and return them with what they printed; None where one is not run."""
    names: dict[str, Any] = {"__name__": "page"}
    results: list[tuple[Block, str | None]] = []
    os.chdir(folder)
    with tempfile.TemporaryDirectory() as bin:
        _put_on_path(Path(bin))
        for block in blocks(page.read_text(encoding="utf-8")):
            if block.reason is not None:
                results.append((block, None))
                continue
            with _captured() as printed:
                if block.language == "python":
                    exec(compile(block.code, page.name, "exec"), names)
                else:
                    _shell(block.code)
            results.append((block, printed[0]))
    return results


def _put_on_path(folder: Path) -> None:
    """Let `stemsplit` be the one of this checkout, for this process and all that it starts."""
    program = folder / "stemsplit"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m stemsplit "$@"\n')
    program.chmod(0o755)
    os.environ["PATH"] = os.pathsep.join((str(folder), os.environ["PATH"]))
    os.environ["COLUMNS"] = "100"
    sources = str(Path(__file__).parents[1] / "src")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (sources, os.environ.get("PYTHONPATH"))))


@contextmanager
def _captured() -> Iterator[list[str]]:
    """Catch what this process and others print meanwhile, on both streams: the one text of the list that is given."""
    printed: list[str] = []
    with tempfile.TemporaryFile() as file:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield printed
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
        file.seek(0)
        printed.append(file.read().decode())


def _shell(code: str) -> None:
    """Run lines of a shell one by one; those that fail stop no other, as where somebody types them."""
    from stemsplit.cli import main

    for line in code.replace("\\\n", " ").splitlines():
        command = re.split(r"(?:^|\s)#\s", line)[0].strip()
        simple = command.removesuffix(TELLS_CODE)
        if simple.startswith("stemsplit ") and not SHELL.search(simple):
            exit_code = main(shlex.split(simple)[1:])
            if simple != command:
                print("exit code", exit_code)
            sys.stdout.flush()
        elif command:
            subprocess.run(["bash", "-c", command], check=False)


def write_again(page: Path, results: list[tuple[Block, str | None]]) -> bool:
    """Put what was printed into a page, where it shows something else; return whether it has changed."""
    before = text = page.read_text(encoding="utf-8")
    for block, printed in reversed(results):
        if printed is None or block.shown is None or same(block.shown, printed):
            continue
        begin, end = block.place
        text = text[:begin] + block.with_output(timeless(printed)) + text[end:]
    page.write_text(text, encoding="utf-8")
    return text != before


def main() -> None:
    """Run pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path, help="Markdown")
    parser.add_argument("--world", type=Path, help="a folder with the files, instead of new ones")
    parser.add_argument("--blocks", action="store_true", help="change nothing, print JSON")
    given = parser.parse_args()
    pages = [page.resolve() for page in given.pages]
    with tempfile.TemporaryDirectory() as name:
        files = (given.world or Path(name) / "world").resolve()
        if given.world is None:
            files.mkdir()
            world(files)
        for number, page in enumerate(pages):
            folder = Path(shutil.copytree(files, Path(name) / str(number)))
            os.environ["STEMSPLIT_CACHE"] = str(folder.parent / f"cache {number}")
            results = run(page, folder)
            os.chdir(name)
            if given.blocks:
                print(
                    json.dumps([{"code": block.code, "shown": block.shown, "printed": text} for block, text in results])
                )
            else:
                print(f"{page}: {'written' if write_again(page, results) else 'as before'}")


if __name__ == "__main__":
    main()
