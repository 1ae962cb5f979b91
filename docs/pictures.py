"""Make the pictures and sounds of the README: a terminal, the melody plot, the page, the demo song and its vocals.

    pip install pyte matplotlib
    python docs/pictures.py

Runs the commands of COMMANDS in a terminal of 100 columns and writes docs/images and docs/sounds. What the picture of
the terminal shows is what the commands printed; nothing is typed in by hand. The pages need Chromium and curl.
"""

from __future__ import annotations

import io
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyte
import soundfile
from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "tests"))
from browser import Browser  # noqa: E402

from stemsplit.demo.stems import write_demo_song  # noqa: E402

COLUMNS, LINES = 100, 40
COMMANDS = (
    "stemsplit separate song.flac",
    "ls separated/song",
    "stemsplit melody song.flac --notes --plot",
    "head -n 4 melody/song.notes.csv",
)
COLOURS = {"default": "default", "brown": "yellow"}
"""What pyte calls otherwise than rich."""


def main() -> None:
    """Write every picture and sound."""
    images, sounds = DOCS / "images", DOCS / "sounds"
    images.mkdir(exist_ok=True)
    sounds.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run("stemsplit demo --output .", folder)
        write(folder / "song.wav", sounds / "song.mp3")
        write(folder / "song" / "vocals.wav", sounds / "vocals.mp3")
        write(folder / "song.wav", folder / "song.flac")
        shutil.rmtree(folder / "song")
        console = Console(record=True, width=COLUMNS, file=io.StringIO())
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "green"), command))
            for line in run(command, folder):
                console.print(line)
        console.save_svg(str(images / "terminal.svg"), title="stemsplit")
        shutil.copy(*folder.glob("melody/*.png"), images / "melody.png")
        run("stemsplit player separated/song", folder)
        photograph(folder / "separated" / "song" / "player.html", images / "player.png")
        photograph_server(folder, images / "serve.png")


def run(command: str, folder: Path) -> list[Text]:
    """Return the lines that stand on a terminal when the command has ended, without empty ones at the end."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = os.environ | {"PATH": path, "COLUMNS": str(COLUMNS), "LINES": str(LINES), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, shell=True, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    while True:
        try:
            stream.feed(os.read(ours, 65536))
        except OSError:  # Linux says so when nobody can write any more
            break
    os.close(ours)
    if process.wait():
        raise SystemExit(f"{command}: exit code {process.returncode}\n" + "\n".join(screen.display))
    lines = [line(screen.buffer[row]) for row in range(LINES)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    return lines


def photograph(page: Path, target: Path) -> None:
    """Write a picture of the page that plays the stems, seven seconds into the song."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Browser(Path(profile)) as browser:
        browser.show_as(dark=False, width=1400, height=790)
        browser.open(page)
        while not browser.run("!document.getElementById('play').disabled"):
            time.sleep(0.1)
        browser.run("stemsplit.seek(7)")
        time.sleep(1)  # it is drawn
        browser.picture(target)


def photograph_server(folder: Path, target: Path) -> None:
    """Write a picture of the page of `stemsplit serve`, with the song of before, and another one that is worked on."""
    write_demo_song(folder / "Evening.wav", seconds=40, seed=3)
    command = [sys.executable, "-m", "stemsplit", "serve", "--port", "0"]
    with (
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        Browser(Path(profile)) as browser,
    ):
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        browser.show_as(dark=False, width=1200, height=830)
        browser.open(address)
        upload = ["curl", "--silent", "--output", os.devnull, "--form", "file=@Evening.wav", f"{address}separate"]
        subprocess.run(upload, cwd=folder, check=True)
        while not browser.run("document.querySelector('.job progress')?.value > 0.3"):
            time.sleep(0.2)
        browser.picture(target)
        server.terminate()


def line(row: dict[int, pyte.screens.Char]) -> Text:
    """Return a row of the terminal with its colours."""
    text = Text()
    for column in range(COLUMNS):
        char = row[column]
        text.append(char.data, f"{'bold ' if char.bold else ''}{COLOURS.get(char.fg, char.fg)}")
    text.rstrip()
    return text


def write(source: Path, target: Path) -> None:
    """Write a sound in the format of the target's suffix."""
    samples, rate = soundfile.read(source)
    soundfile.write(target, samples, rate)


if __name__ == "__main__":
    main()
