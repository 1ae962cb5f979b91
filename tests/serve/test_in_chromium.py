"""The page in a real browser: a song is dropped, its progress shows, and it plays. Skipped without Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from serving import PATIENCE, Client, Gate, serving, wait, wav

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")

DROP = """async (name, bytes) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))], name));
  const target = document.getElementById("drop");
  const event = (type) => new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: files });
  target.dispatchEvent(event("dragenter"));
  const over = target.classList.contains("over");
  target.dispatchEvent(event("drop"));
  return over && !target.classList.contains("over");
}"""
HOSTILE = "<img src=x onerror=window.hurt=1>.wav"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile"), 1200, 1000) as browser:
        yield browser


def drop(browser: Browser, name: str, song: bytes) -> None:
    import base64

    assert browser.run(f"({DROP})({json.dumps(name)}, {json.dumps(base64.b64encode(song).decode())})")


def shown(browser: Browser, condition: str) -> None:
    wait(lambda: browser.holds(condition))


def opened(browser: Browser, client: Client) -> None:
    browser.complaints.clear()
    browser.open(f"http://127.0.0.1:{client.port}/")
    shown(
        browser, "document.querySelectorAll('#presets input').length > 4 && document.getElementById('what').textContent"
    )


def test_a_song_is_dropped_watched_and_played(chromium: Browser, tmp_path: Path) -> None:
    gate = Gate()
    with serving(tmp_path / "out", gate) as client:
        opened(chromium, client)
        chromium.run("document.querySelector('input[value=rhythm]').click()")
        assert chromium.run("document.getElementById('what').textContent") == "Drums and bass, and both together"
        drop(chromium, HOSTILE, wav(1, 4.0))
        shown(chromium, "document.querySelector('.job.running')")
        assert gate.reached.wait(PATIENCE)
        assert chromium.run("document.querySelector('.job h3').textContent") == HOSTILE
        gate.opened.set()
        shown(chromium, "location.pathname.endsWith('/player.html') && window.stemsplit")
        chromium.run("stemsplit.ready")
        assert chromium.run("stemsplit.mix.length") == 3
        assert chromium.run("window.hurt") is None
        assert chromium.complaints == []
        assert client.job(1)["request"]["preset"] == "rhythm"
        opened(chromium, client)  # the song is there still, with its waveforms
        shown(chromium, "document.querySelectorAll('.song canvas').length === 3")
        assert chromium.run("document.querySelector('.song h3 a').pathname").endswith("/player.html")
        assert chromium.complaints == []


def test_several_songs_are_listed_cancelled_refused_and_dismissed(chromium: Browser, tmp_path: Path) -> None:
    gate = Gate()
    with serving(tmp_path / "out", gate) as client:
        opened(chromium, client)
        drop(chromium, "one.wav", wav(1, 3.0))
        assert gate.reached.wait(PATIENCE)
        drop(chromium, "two.wav", wav(2))
        drop(chromium, "words.txt", b"no song")
        shown(chromium, "document.querySelectorAll('.job').length === 3 && document.querySelector('.job.failed')")
        assert "not audio" in chromium.run("document.querySelector('.job.failed .about').textContent")
        card = "[...document.querySelectorAll('.job')].find((job) => job.textContent.includes('{}'))"
        button = "[...{}.querySelectorAll('button')].find((b) => b.checkVisibility())"
        chromium.run(button.format(card.format("two.wav")) + ".click()")
        shown(chromium, card.format("two.wav") + ".classList.contains('cancelled')")
        for name in ("two.wav", "words.txt"):
            chromium.run(button.format(card.format(name)) + ".click()")
            shown(chromium, f"!({card.format(name)})")
        gate.opened.set()
        shown(chromium, "document.querySelector('.job.done .button.strong')?.checkVisibility()")
        shown(chromium, "document.querySelectorAll('.song').length === 1")
        assert chromium.run("location.pathname") == "/"  # it was not the only one
        assert [one for one in chromium.complaints if "415" not in one] == []  # what was refused is in the console
        for dark in (True, False):
            for width in (1200, 390):
                chromium.show_as(dark=dark, width=width, touch=width < 500)
                assert chromium.run("document.documentElement.scrollWidth") <= width
                assert chromium.run(f"({NAMELESS})()") == []
        chromium.show_as(dark=False, width=1200)


NAMELESS = """() => [...document.querySelectorAll("button, a, input, select, progress")].filter((element) =>
  element.checkVisibility() && !element.textContent.trim() && !element.labels?.length
  && !element.getAttribute("aria-label")).map((element) => element.outerHTML)"""


def test_a_server_that_is_away_is_told(chromium: Browser, tmp_path: Path) -> None:
    with serving(tmp_path / "out") as client:
        opened(chromium, client)
        assert chromium.run("document.getElementById('notice').hidden")
    shown(chromium, "!document.getElementById('notice').hidden")
    assert "away" in chromium.run("document.getElementById('notice').textContent")
