"""Draw how it works: docs/images/drawn/*.svg, out of the settings of the networks and the code that cuts and joins.

    python docs/figures.py

A drawing has the colours of the page that it stands in, else those that the system prefers, light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from stemsplit.networks.bsmamba import BSMambaConfig
from stemsplit.networks.melody_cnn import MelodyCNNConfig
from stemsplit.separation.chunks import Chunking
from stemsplit.separation.stitch import compare

TARGET = Path(__file__).parent / "images" / "drawn"
WIDTH = 720
STYLE = (
    "svg.drawn{--ink:#24292f}@media(prefers-color-scheme:dark){svg.drawn{--ink:#e6edf3}}"
    ".drawn text{fill:var(--md-typeset-color,var(--ink));font:13px system-ui,sans-serif}"
    ".drawn .small{font-size:11px}.drawn .line{stroke:var(--md-typeset-color,var(--ink));stroke-width:1.2;fill:none}"
    ".drawn .thin{stroke-width:.6;stroke-dasharray:3 3}"
    ".drawn .a{fill:#7c5cff}.drawn .b{fill:#e8833a}.drawn .c{fill:#2f9e6e}.drawn .d{fill:#8b949e}"
    ".drawn .area{fill-opacity:.28}.drawn .wave{stroke-width:1.2;fill:none}"
    ".drawn .wave.a{stroke:#7c5cff}.drawn .wave.b{stroke:#e8833a}.drawn .wave.c{stroke:#2f9e6e}"
)


class Drawing:
    """Marks on a canvas of WIDTH × `height` units."""

    def __init__(self, height: int, title: str) -> None:
        self.height, self.title = height, title
        self.marks: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> None:
        """Write words around, before or behind a place."""
        self.marks.append(f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{words}</text>')

    def box(self, x: float, y: float, width: float, height: float, kind: str, *lines: str) -> None:
        """Draw a box; its first line is its name, others are small."""
        self.marks.append(
            f'<rect class="{kind} area" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>'
        )
        top = y + height / 2 + 4.5 - 7 * (len(lines) - 1)
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + 15 * number, line, "small" if number else "")

    def arrow(self, *points: tuple[float, float]) -> None:
        """Draw a way along points, with a head at its end."""
        way = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.marks.append(f'<polyline class="line" points="{way}" marker-end="url(#head-{self.name})"/>')

    def shape(self, kind: str, points: Iterator[tuple[float, float]] | list[tuple[float, float]]) -> None:
        """Draw a line, or fill what it goes round."""
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.marks.append(f'<polyline class="{kind}" points="{way}"/>')

    @property
    def name(self) -> str:
        """The first word of the title, by which marks of several drawings on a page differ."""
        return self.title.split()[0].lower()

    def svg(self) -> str:
        """Return the file's text."""
        head = (
            f'<marker id="head-{self.name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path class="line" d="M1,1 7,4 1,7"/></marker>'
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="drawn" viewBox="0 0 {WIDTH} {self.height}" role="img" '
            f'aria-label="{self.title}"><style>{STYLE}</style><defs>{head}</defs>{"".join(self.marks)}</svg>\n'
        )


def chunks() -> Drawing:
    """Draw four chunks with their weights, and the stream that they become."""
    drawing = Drawing(250, "Chunks that overlap, and the stream that they are added to")
    config = BSMambaConfig()
    chunking = Chunking(600, config.overlap)
    window, step = chunking.window(), chunking.step_samples
    scale, left, high = 0.34, 40.0, 26.0
    begins = [-chunking.border_samples + step * number for number in range(5)]
    length = begins[-1] + step
    for number, begin in enumerate(begins):
        base = 46 + 32 * number
        x = left + scale * (begin + step)
        places = np.arange(0, len(window), 4)
        outline = [(x + scale * place, base - high * window[place]) for place in places]
        kind = "abc"[number % 3]
        drawing.shape(f"{kind} area", [(x, base), *outline, (x + scale * len(window), base)])
        drawing.text(x + scale * len(window) / 2, base - 8, f"chunk {number + 1}", "small")
    begin, end = left + scale * step, left + scale * (length + step)
    for x in (begin, end):
        drawing.shape("line thin", [(x, 14), (x, 218)])
    drawing.box(begin, 196, end - begin, 22, "d", "the song, every sample of which has its stems")
    drawing.text(begin - 6, 62, "mirrored", "small", "end")
    drawing.text(end + 6, 140, "mirrored", "small", "start")
    seconds = config.chunk_samples / config.sample_rate
    words = f"A chunk has {seconds:g} s, and the next one begins {seconds * (1 - config.overlap):g} s later."
    drawing.text((begin + end) / 2, 240, words, "small")
    return drawing


def stages() -> Drawing:
    """Draw the two stages of TS-BSMamba2."""
    c = BSMambaConfig()
    drawing = Drawing(250, "Stages of TS-BSMamba2: a mask, and a map that is added to what it leaves")
    drawing.box(8, 100, 84, 46, "d", "mixture", f"{c.channels} channels")
    drawing.box(112, 100, 84, 46, "d", "STFT", f"{c.n_fft // 2 + 1} bins")
    drawing.box(226, 40, 96, 46, "a", "band split", f"{len(c.bands)} tokens")
    drawing.box(346, 40, 96, 46, "a", f"{c.blocks_mask} blocks", "Mamba-2")
    drawing.box(466, 40, 84, 46, "a", "mask", "× mixture")
    drawing.box(226, 160, 96, 46, "b", "band split", f"{len(c.bands)} tokens")
    drawing.box(346, 160, 40, 46, "b", "fuse")
    drawing.box(402, 160, 62, 46, "b", f"{c.blocks_map} blocks", "Mamba-2")
    drawing.box(480, 160, 70, 46, "b", "map", "added")
    drawing.box(586, 100, 30, 46, "d", "+")
    drawing.box(640, 100, 72, 46, "c", "stems", "iSTFT")
    drawing.text(274, 26, "stage 1", "small")
    drawing.text(274, 226, "stage 2", "small")
    for points in (
        [(92, 123), (110, 123)],
        [(196, 123), (210, 123), (210, 63), (224, 63)],
        [(196, 123), (210, 123), (210, 183), (224, 183)],
        [(322, 63), (344, 63)],
        [(442, 63), (464, 63)],
        [(454, 63), (454, 112), (366, 112), (366, 158)],
        [(322, 183), (344, 183)],
        [(386, 183), (400, 183)],
        [(464, 183), (478, 183)],
        [(550, 63), (601, 63), (601, 98)],
        [(550, 183), (601, 183), (601, 148)],
        [(616, 123), (638, 123)],
    ):
        drawing.arrow(*points)
    return drawing


def bands() -> Drawing:
    """Draw the bands of the paper over a logarithmic axis of frequency, as high as they are wide."""
    c = BSMambaConfig()
    drawing = Drawing(210, "Bands of the network: narrow below and wide above")
    bin_hz = c.sample_rate / c.n_fft
    edges = [edge * bin_hz for edge in accumulate(c.bands, initial=0)]
    left, base = 70, 150

    def place(hz: float) -> float:
        return left + 630 * math.log2(max(hz, 30) / 30) / math.log2(edges[-1] / 30)

    def height(hz: float) -> float:
        return 18 * math.log2(hz / 25)

    for number, (low, high) in enumerate(pairwise(edges)):
        x, end, tall = place(low), place(high), height(high - low)
        drawing.marks.append(
            f'<rect class="{"ab"[number % 2]} area" x="{x:.1f}" y="{base - tall:.1f}" width="{end - x:.1f}" '
            f'height="{tall:.1f}"/>'
        )
    for hz in (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000):
        drawing.shape("line", [(place(hz), base), (place(hz), base + 6)])
        drawing.text(place(hz), base + 20, _hertz(hz), "small")
    for hz in (50, 100, 250, 500, 1000, 2000):
        drawing.shape("line", [(left - 6, base - height(hz)), (left, base - height(hz))])
        drawing.text(left - 10, base - height(hz) + 4, _hertz(hz), "small", "end")
    narrow, wide = min(c.bands) * bin_hz, max(c.bands) * bin_hz
    words = f"{len(c.bands)} bands of {sum(c.bands)} bins, from {narrow:.0f} Hz to {wide:.0f} Hz wide"
    drawing.text(WIDTH / 2, 16, words, "small")
    drawing.text(WIDTH / 2, 196, "upwards: how wide a band is; to the right: where it lies", "small")
    return drawing


def _hertz(hz: int) -> str:
    return f"{hz} Hz" if hz < 1000 else f"{hz // 1000} kHz"


def order() -> Drawing:
    """Draw how the speakers of a chunk are put into the order of the one before."""
    drawing = Drawing(262, "Order of two speakers, found where both chunks overlap")
    times = np.linspace(0, 3, 361)
    anna = np.sin(2 * np.pi * 6.3 * times) * (0.55 + 0.45 * np.sin(2 * np.pi * 0.8 * times)) * (times % 1.4 < 1.05)
    bert = np.sin(2 * np.pi * 3.1 * times) * (0.6 + 0.4 * np.cos(2 * np.pi * 0.6 * times)) * (times % 1.1 > 0.2)
    first, second = slice(0, 241), slice(120, 361)
    shared = [np.stack([anna[120:241], bert[120:241]])[:, None], np.stack([bert[120:241], anna[120:241]])[:, None]]
    found = compare(*shared).order
    speakers = [bert, anna]
    rows = [
        (0, first, [anna, bert], "chunk 1"),
        (1, second, speakers, "chunk 2, as it comes"),
        (2, second, [speakers[number] for number in found], "chunk 2, turned"),
    ]
    for row, part, two, name in rows:
        for number, wave in enumerate(two):
            base = 40 + 84 * row + 30 * number
            kind = "a" if wave is anna else "b"
            points = zip(170 + 175 * times[part], base - 12 * wave[part], strict=True)
            drawing.shape(f"wave {kind}", list(points))
        drawing.text(160, 58 + 84 * row, name, "", "end")
    for x in (170 + 175 * times[120], 170 + 175 * times[240]):
        drawing.shape("line thin", [(x, 14), (x, 250)])
    drawing.text(170 + 175 * 1.5, 12, "what both have heard", "small")
    return drawing


def melody() -> Drawing:
    """Draw the melody network, from the voice to notes."""
    c = MelodyCNNConfig()
    drawing = Drawing(230, "Melody network: filters, convolutions, likelihoods, a path")
    drawing.box(6, 84, 70, 46, "d", "voice", f"{c.sample_rate // 1000} kHz")
    for number, samples in enumerate(c.kernel_samples):
        milliseconds = 1000 * samples / c.sample_rate
        drawing.box(104, 40 + 88 * number, 112, 46, "a", f"{c.kernels} filters", f"{milliseconds:g} ms long")
        drawing.arrow((76, 107), (90, 107), (90, 63 + 88 * number), (102, 63 + 88 * number))
        drawing.arrow((216, 63 + 88 * number), (230, 63 + 88 * number), (230, 107), (242, 107))
    drawing.box(244, 84, 100, 46, "b", f"{len(c.module_channels)} modules", "pitch × time")
    drawing.box(366, 84, 84, 46, "b", f"{len(c.time_dilations)} blocks", "over time")
    drawing.arrow((344, 107), (364, 107))
    drawing.arrow((450, 107), (470, 107))
    left, top, columns, rows, size = 474, 60, 15, 13, 9.4
    path = [9, 9, 9, 8, 8, 5, 5, 5, 5, 6, 9, 9, 10, 10, 10]
    for column in range(columns):
        for row in range(rows):
            likely = math.exp(-0.5 * (row - path[column]) ** 2) + 0.35 * math.exp(-0.5 * (row - path[column] + 7) ** 2)
            if likely > 0.05:
                drawing.marks.append(
                    f'<rect class="c" fill-opacity="{likely * 0.7:.2f}" x="{left + size * column:.1f}" '
                    f'y="{top + size * row:.1f}" width="{size}" height="{size}"/>'
                )
    drawing.shape("line", [(left + size * (x + 0.5), top + size * (y + 0.5)) for x, y in enumerate(path)])
    words = f"{c.bins} pitches of {c.bin_cents:g} cents"
    drawing.text(left + size * columns / 2, 48, words, "small")
    drawing.text(left + size * columns / 2, 200, f"every {1000 * c.hop_samples // c.sample_rate} ms", "small")
    drawing.arrow((620, 107), (640, 107))
    for begin, end, row in ((0, 5, 9), (5, 10, 5), (10, 15, 10)):
        drawing.box(646 + 4.4 * begin, 66 + 8 * row, 4.4 * (end - begin) - 2, 8, "c")
    drawing.text(680, 200, "notes", "small")
    return drawing


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "chunks": chunks,
    "stages": stages,
    "bands": bands,
    "order": order,
    "melody": melody,
}


def main() -> None:
    """Write every drawing."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        (TARGET / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
