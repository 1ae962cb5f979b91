"""The page in a real browser, opened as a file: it plays, mixes, loops and exports. Skipped without Chromium."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Browser

from stemsplit.melody.contour import Contour
from stemsplit.player.index import index_page
from stemsplit.player.melody import packed_melody
from stemsplit.player.page import Song, StemSound, song_page
from stemsplit.player.sound import OPUS_RATE, Levels, encode_opus

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")

SECONDS = 6
TONES = {"drums": 300.0, "bass": 700.0, "vocals": 1500.0}  # Hz
HOSTILE = '</script><script>window.hurt = 1</script><img src=x onerror="window.hurt = 2">'
MEASURE = """
async (set) => {
  await stemsplit.ready;
  const mix = stemsplit.mix.map(() => ({ volume: 1, pan: 0, mute: false, solo: false }));
  const options = set(mix) ?? {};
  const made = await stemsplit.renderMix(stemsplit.buffers, mix, options);
  return [0, 1].map((c) => [...made.getChannelData(c)].filter((_, i) => i % 4 === 0));
}
"""


def tone_stem(name: str, hertz: float) -> StemSound:
    """A tone that begins after a second, on the left only at first."""
    times = np.arange(SECONDS * OPUS_RATE) / OPUS_RATE
    samples = np.tile(0.2 * np.sin(2 * np.pi * hertz * times) * (times >= 1), (2, 1)).astype(np.float32)
    levels = Levels(OPUS_RATE)
    levels.add(samples)
    return StemSound(name, f"./{name}.wav", "WAV", levels.packed(), encode_opus(iter([samples]), OPUS_RATE))


def song(title: str = HOSTILE) -> Song:
    semitones = 60 + np.arange(SECONDS * 100) / 100
    sung = np.arange(SECONDS * 100) % 100 < 80
    contour = Contour(0.01, 440 * 2 ** ((semitones - 69) / 12), sung.astype(np.float32), sung)
    melody = packed_melody(contour, 440.0)
    assert melody is not None
    stems = [tone_stem(*tone) for tone in TONES.items()]
    return Song(title, HOSTILE, "", float(SECONDS), "tiny", stems, melody | {"stem": 2})


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for name, title in (("one", HOSTILE), ("two", "Two")):
        (folder / name).mkdir()
        (folder / name / "player.html").write_text(song_page(song(title)), encoding="utf-8")
    listed = index_page(folder, HOSTILE, [folder / "one" / "player.html", folder / "two" / "player.html"])
    (folder / "index.html").write_text(listed, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser, pages: Path) -> Iterator[Browser]:
    """The page of a song, loaded; in the end nobody has complained and nothing hostile has run."""
    chromium.complaints.clear()
    chromium.open(pages / "one" / "player.html")
    chromium.run("stemsplit.ready")
    yield chromium
    assert chromium.complaints == []
    assert chromium.run("window.hurt === undefined && document.querySelectorAll('img').length === 0")


def heard(browser: Browser, set_mix: str) -> dict[str, tuple[float, float]]:
    """How loud every tone is left and right, of a mix that a function of JavaScript makes of a fresh one."""
    channels = np.array(browser.run(f"({MEASURE})({set_mix})"))
    steady = channels[:, OPUS_RATE // 2 :]  # from the second second on, every fourth sample
    spectrum = np.abs(np.fft.rfft(steady * np.hanning(steady.shape[1]), axis=1)) * 4 / steady.shape[1]
    hertz = np.fft.rfftfreq(steady.shape[1], 4 / OPUS_RATE)
    bins = {name: np.abs(hertz - tone) < 8 for name, tone in TONES.items()}
    return {name: tuple(spectrum[:, near].max(axis=1).round(2)) for name, near in bins.items()}


def test_all_stems_are_there_and_together(page: Browser) -> None:
    assert page.run("stemsplit.buffers.map((b) => b.length)") == [SECONDS * OPUS_RATE] * 3
    starts = page.run(
        "stemsplit.buffers.map((b) => b.getChannelData(0).findIndex((x, i) => i > 24000 && Math.abs(x) > 0.1))"
    )
    assert max(starts) - OPUS_RATE < 100 > OPUS_RATE - min(starts)
    assert page.run("document.querySelectorAll('.track').length") == 3
    assert page.run("document.querySelector('h1').textContent") == HOSTILE


@pytest.mark.parametrize(
    ("set_mix", "wanted"),
    [
        ("() => {}", {"drums": (0.2, 0.2), "bass": (0.2, 0.2), "vocals": (0.2, 0.2)}),
        ("(m) => { m[2].solo = true; }", {"drums": (0, 0), "bass": (0, 0), "vocals": (0.2, 0.2)}),
        ("(m) => { m[2].mute = true; }", {"drums": (0.2, 0.2), "bass": (0.2, 0.2), "vocals": (0, 0)}),
        ("(m) => { m[1].solo = m[1].mute = true; }", {"drums": (0, 0), "bass": (0.2, 0.2), "vocals": (0, 0)}),
        ("(m) => { m[0].volume = 0.5; m[1].pan = 1; }", {"drums": (0.1, 0.1), "bass": (0, 0.4), "vocals": (0.2, 0.2)}),
    ],
)
def test_the_mix_decides_what_is_heard(page: Browser, set_mix: str, wanted: dict[str, tuple[float, float]]) -> None:
    for name, loud in heard(page, set_mix).items():
        assert loud == pytest.approx(wanted[name], abs=0.015), name


def test_half_the_speed_has_the_same_pitch_and_twice_the_length(page: Browser) -> None:
    channels = np.array(page.run(f"({MEASURE})(() => ({{ speed: 0.5, start: 2, end: 4 }}))"))
    assert channels.shape[1] == 4 * OPUS_RATE // 4
    spectrum = np.abs(np.fft.rfft(channels[0] * np.hanning(channels.shape[1])))
    loudest = np.fft.rfftfreq(channels.shape[1], 4 / OPUS_RATE)[np.argsort(spectrum)[::-1]]
    for tone in TONES.values():
        assert np.abs(loudest[:24] - tone).min() < 2
    envelope = np.abs(channels[0]).reshape(-1, 1200).max(axis=1)
    assert envelope.min() > 0.3  # the tones together have 0.6 at most: nothing drops out


def test_at_full_speed_the_stretcher_changes_nothing(page: Browser) -> None:
    difference = page.run(
        """(async () => {
          const { stemsplit: { renderMix, buffers, mix } } = window;
          const [a, b] = [await renderMix(buffers, mix, { speed: 0.999999999 }), await renderMix(buffers, mix)];
          return a.getChannelData(0).reduce((most, x, i) => Math.max(most, Math.abs(x - b.getChannelData(0)[i])), 0);
        })()"""
    )
    assert difference < 1e-5


def wait(browser: Browser, condition: str) -> None:
    until = time.monotonic() + 40
    while not browser.run(condition):
        assert time.monotonic() < until, condition
        time.sleep(0.05)


def test_it_plays_and_pauses(page: Browser) -> None:
    assert page.run("document.getElementById('play').disabled") is False
    page.press(" ", "Space")
    wait(page, "stemsplit.transport.playing && stemsplit.transport.position > 0.2")
    assert page.run("document.getElementById('play').getAttribute('aria-label')") == "Pause"
    page.press("k", "KeyK")
    place = page.run("stemsplit.transport.position")
    assert page.run("document.getElementById('play').getAttribute('aria-label')") == "Play"
    assert page.run("new Promise((go) => setTimeout(() => go(stemsplit.transport.position), 200))") == place


def test_it_ends_and_begins_again(page: Browser) -> None:
    page.run(f"stemsplit.seek({SECONDS - 0.3}); stemsplit.transport.play()")
    wait(page, "!stemsplit.transport.playing")
    assert page.run("stemsplit.transport.position") == 0


@pytest.mark.parametrize("speed", [1, 0.75])
def test_a_region_is_looped(page: Browser, speed: float) -> None:
    page.run(
        f"stemsplit.setSpeed({speed}); stemsplit.setRegion([2, 2.5]); stemsplit.seek(2.2); stemsplit.transport.play()"
    )
    places = [page.run("stemsplit.transport.position") for _ in range(60) if not time.sleep(0.03)]
    assert min(places) >= 2
    assert max(places) < 2.5
    assert sum(b < a for a, b in itertools.pairwise(places)) >= 2
    page.run("stemsplit.transport.pause(); stemsplit.setLoop(false); stemsplit.setSpeed(1)")


def test_the_clock_of_another_speed(page: Browser) -> None:
    found = page.run(
        """(async () => {
          const { transport: t } = stemsplit;
          const { placeAfter } = stemsplit;
          return [placeAfter(1, 2, 0.5, null), placeAfter(1, 4, 1, [0, 2]), placeAfter(3, 4, 1, [0, 2]), t.duration];
        })()"""
    )
    assert found == [2, 1, 7, SECONDS]


def test_keys_solo_and_mute(page: Browser) -> None:
    page.press("3", "Digit3")
    page.press('"', "Digit2", shift=True)  # whatever the keyboard's layout makes of it
    assert page.run("stemsplit.mix.map((s) => [s.solo, s.mute])") == [[False, False], [False, True], [True, False]]
    pressed = "document.querySelectorAll('.track')[2].querySelector('.solo').getAttribute('aria-pressed')"
    assert page.run(pressed) == "true"
    assert page.run("document.querySelectorAll('.silent').length") == 2


def test_a_drag_chooses_a_region_and_a_click_seeks(page: Browser) -> None:
    box = page.run(
        "(({ x, y, width }) => [x, y, width])(document.querySelectorAll('.lane')[0].getBoundingClientRect())"
    )
    x, y, width = box

    def mouse(kind: str, share: float) -> None:
        place = {"x": x + share * width, "y": y + 20}
        page.call("Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1, **place)

    for kind, share in (("mousePressed", 0.25), ("mouseMoved", 0.4), ("mouseReleased", 0.5)):
        mouse(kind, share)
    assert page.run("stemsplit.transport.loop") == pytest.approx([1.5, 3], abs=0.03)
    for kind in ("mousePressed", "mouseReleased"):
        mouse(kind, 0.75)
    assert page.run("stemsplit.transport.position") == pytest.approx(4.5, abs=0.03)
    page.run("document.getElementById('loop-end').focus()")
    page.press("ArrowRight")
    assert page.run("stemsplit.transport.loop[1]") == pytest.approx(4, abs=0.03)


def test_what_is_exported_is_a_wav(page: Browser) -> None:
    head = page.run(
        """(async () => {
          const { renderMix, wavOf, buffers, mix } = stemsplit;
          mix.forEach((stem) => { stem.volume = 1.5; });
          const { blob, gain } = wavOf(await renderMix(buffers, mix, { volume: 1.5, start: 1, end: 3 }));
          return [[...new Uint8Array(await blob.arrayBuffer()).slice(0, 44)], blob.size, gain];
        })()"""
    )
    assert bytes(head[0][:4]) == b"RIFF"
    assert int.from_bytes(bytes(head[0][24:28]), "little") == OPUS_RATE
    assert head[1] == 44 + 2 * OPUS_RATE * 4
    assert head[2] < 1  # three tones of 0.45 would clip


def test_spectrograms_and_pitch_are_drawn(page: Browser) -> None:
    painted = """(canvas) => {
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
      let rows = 0, count = 0;
      for (let i = 3; i < data.length; i += 4)
        if (data[i] > 60) { count += 1; rows += Math.floor(i / 4 / canvas.width); }
      return [count, rows / count / canvas.height];
    }"""
    assert page.run(f"({painted})(document.querySelectorAll('.over')[2])[0]") > 100
    page.press("v", "KeyV")
    wait(page, "document.querySelector('.tracks').getAttribute('aria-busy') === 'false'")
    places = [page.run(f"({painted})(document.querySelectorAll('.wave:not(.played)')[{i}])[1]") for i in range(3)]
    assert places == sorted(places, reverse=True)  # the higher the tone, the higher it is drawn


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("dark", [True, False])
def test_it_fits_and_can_be_read(chromium: Browser, page: Browser, width: int, dark: bool) -> None:
    page.show_as(dark=dark, width=width, touch=width < 500)
    try:
        assert page.run("document.documentElement.scrollWidth") <= width
        low = page.run(CONTRAST)
        assert low == []
    finally:
        page.show_as(dark=False, width=1400)


CONTRAST = """(() => {
  const light = (text) => {
    const parts = text.match(/[\\d.]+/g).map(Number).slice(0, 3).map((v) => v / 255);
    const [r, g, b] = parts.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const found = getComputedStyle(element).backgroundColor;
    return found === "rgba(0, 0, 0, 0)" && element.parentElement ? ground(element.parentElement) : found;
  };
  return [...document.querySelectorAll("body *")].filter((element) =>
    element.checkVisibility() && !element.disabled
    && [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim())
  ).map((element) => {
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
    return [element.textContent.slice(0, 30), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  }).filter(([, ratio]) => ratio < 4.5);
})()"""


def test_the_theme_is_changed_and_kept(page: Browser) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.run(ground)
    page.press("t", "KeyT")
    after = page.run(ground)
    assert before != after
    page.press("t", "KeyT")
    assert page.run(ground) == before


def test_everything_has_a_name_for_who_does_not_see(page: Browser) -> None:
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    controls = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if node.get("role", {}).get("value") in ("button", "slider", "combobox", "link") and not node["ignored"]
    ]
    assert len(controls) > 20
    assert [control for control in controls if not control[1]] == []
    assert ("slider", "Volume of vocals") in controls
    assert ("button", "Solo drums") in controls
    page.call("Accessibility.disable")


def test_the_list_of_songs(chromium: Browser, pages: Path) -> None:
    chromium.complaints.clear()
    chromium.open(pages / "index.html")
    links = chromium.run(
        "[...document.querySelectorAll('.songs a')].map((a) => [a.href, a.querySelector('h2').textContent])"
    )
    assert [title for _, title in links] == [HOSTILE, "Two"]
    assert links[1][0] == (pages / "two" / "player.html").as_uri()
    assert chromium.run("window.hurt === undefined")
    assert chromium.complaints == []


def test_a_page_beside_its_files_plays_them(chromium: Browser, tmp_path: Path) -> None:
    chromium.complaints.clear()
    stems = []
    for stem in song("Long").stems:
        (tmp_path / f"{stem.name}.opus").write_bytes(stem.opus or b"")
        stems.append(StemSound(stem.name, f"./{stem.name}.opus", "OPUS", stem.levels, None))
    (tmp_path / "player.html").write_text(song_page(Song("Long", "", "", SECONDS, "", stems)), encoding="utf-8")
    chromium.open(tmp_path / "player.html")
    chromium.run("stemsplit.ready.then(() => stemsplit.transport.play())")
    wait(chromium, "stemsplit.transport.position > 0.3")
    assert re.search("without panning", chromium.run("document.getElementById('notice').textContent"))
    assert chromium.run("document.getElementById('export').checkVisibility()") is False
    chromium.run("stemsplit.seek(3); stemsplit.transport.pause()")
    assert chromium.run("stemsplit.transport.position") >= 3
    assert chromium.complaints == []
