"""A picture of a melody: its contour and notes over a spectrogram, and the confidence of every frame below.

The picture is 1400 pixels wide. Like a page of music, it has several lines. A melody of up to 40 s has one line. Longer
ones have lines of 30 s, but at most 16 lines, which are longer in melodies of more than 8 minutes. So the picture's
size is bounded. The colours are those of Okabe and Ito ("Color Universal Design", 2008), which are also distinct for
people with colour blindness.
"""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stemsplit.errors import UsageError
from stemsplit.machine.disk import write_whole
from stemsplit.melody.contour import Contour
from stemsplit.melody.notes import Notes, midi_pitch
from stemsplit.melody.spectrogram import HIGHEST_MIDI, LOWEST_MIDI, Spectrogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Spectrogram", "plot_melody"]

WIDTH = 1400  # pixels
CONTOUR_COLOUR, NOTE_COLOUR, VOICED_COLOUR = "#D55E00", "#0072B2", "#009E73"
_UNVOICED_COLOUR, _TEXT_COLOUR = "#BBBBBB", "#333333"
_LINE_SECONDS, _ONE_LINE_SECONDS, _MAX_LINES = 30.0, 40.0, 16
_DPI = 100
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 60, 52, 46  # margins in pixels
_PITCH_HEIGHTS = (440, 230)  # pixels: if there is one line, and if there are several
_STRIP_HEIGHT, _STRIP_GAP, _LINE_GAP = 44, 6, 34  # pixels
_DEPTH_DB = 55.0  # what is this much softer than the loudest is white
_POINTS_PER_LINE = 6000  # more could not be seen, and matplotlib's Agg cannot draw any number of them
_TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_CJK_FONTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "PingFang SC", "Yu Gothic", "Microsoft YaHei",
              "Malgun Gothic", "IPAGothic", "WenQuanYi Micro Hei", "Arial Unicode MS")  # fmt: skip


class _Page(NamedTuple):
    """The layout of a picture."""

    lines: int
    line_seconds: float
    lowest: float  # pitch at the bottom of a line, as a MIDI number with A4 at 440 Hz
    highest: float  # pitch at the top of a line
    pitch_height: int  # pixels of a line's pitch range
    height: int  # pixels of the picture


def plot_melody(path: Path, contour: Contour, notes: Notes | None, spectrogram: Spectrogram, title: str) -> None:
    """Draw a melody into a PNG file.

    Args:
        path: the file.
        contour: drawn where it is voiced.
        notes: drawn as bars at their tempered pitches; None leaves them out.
        spectrogram: of the voice; may be empty.
        title: any text; it is cut off if it is too long.

    Raises:
        UsageError: matplotlib is not installed.
        OutputError: the disk refuses.
    """
    figure_type, canvas_type = _matplotlib()
    page = _page(contour, max(spectrogram.seconds, len(contour) * contour.hop))
    figure = figure_type(figsize=(WIDTH / _DPI, page.height / _DPI), dpi=_DPI, facecolor="white", layout="none")
    image = spectrogram.decibels()
    for line in range(page.lines):
        _draw_line(figure, page, line, contour, notes, image, spectrogram.column_seconds)
    canvas, data = canvas_type(figure), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # letters that no font has appear as boxes
        _head(figure, page, title, notes)
        canvas.print_png(data, metadata={"Software": None})
    write_whole(Path(path), data.getvalue())


def check_plotting() -> None:
    """Check, before any work, that pictures can be drawn here. Raises: UsageError if not."""
    _matplotlib()


def _matplotlib() -> tuple[Any, Any]:
    """Return the figure and the canvas class of matplotlib that need no screen.

    pyplot is not used, because it keeps figures in memory.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "--plot needs matplotlib, which is not installed: pip install 'stemsplit-mamba[plot]'"
        ) from error
    return Figure, FigureCanvasAgg


def _page(contour: Contour, seconds: float) -> _Page:
    lines = 1 if seconds <= _ONE_LINE_SECONDS else min(math.ceil(seconds / _LINE_SECONDS), _MAX_LINES)
    line_seconds = max(seconds, 0.1) if lines == 1 else max(_LINE_SECONDS, math.ceil(seconds / lines))
    pitch_height = _PITCH_HEIGHTS[0 if lines == 1 else 1]
    line_height = pitch_height + _STRIP_GAP + _STRIP_HEIGHT + _LINE_GAP
    lowest, highest = _pitch_range(contour)
    height = _TOP + lines * line_height - _LINE_GAP + _BOTTOM
    return _Page(lines, line_seconds, lowest, highest, pitch_height, height)


def _pitch_range(contour: Contour) -> tuple[float, float]:
    """Return the lowest and highest pitch to draw, as MIDI numbers: at least two octaves.

    There is room around the sung pitches, and more of it above them, because that is where the harmonics are.
    """
    sung = midi_pitch(contour.frequency[contour.voiced])
    if len(sung) == 0:
        return 48.0, 84.0
    lowest, highest = float(sung.min()) - 4, float(sung.max()) + 8
    missing = max(24 - (highest - lowest), 0)
    return lowest - missing / 3, highest + missing * 2 / 3


def _draw_line(
    figure: Figure, page: _Page, line: int, contour: Contour, notes: Notes | None, image: np.ndarray, column_s: float
) -> None:
    """Draw one line of the page: pitch above, confidence below, over the same time."""
    start, end = line * page.line_seconds, (line + 1) * page.line_seconds
    bottom = (
        page.height - _TOP - line * (page.pitch_height + _STRIP_GAP + _STRIP_HEIGHT + _LINE_GAP) - page.pitch_height
    )
    pitch = _axes(figure, page, bottom, page.pitch_height)
    strip = _axes(figure, page, bottom - _STRIP_GAP - _STRIP_HEIGHT, _STRIP_HEIGHT)
    _draw_spectrogram(pitch, image, column_s, start, end)
    if notes is not None:
        _draw_notes(pitch, notes, start, end)
    first, last = (min(math.floor(at / contour.hop) + extra, len(contour)) for at, extra in ((start, 0), (end, 2)))
    _draw_contour(pitch, contour, slice(first, last))
    _draw_confidence(strip, contour, slice(first, last))
    _scales(pitch, page, 440.0 if notes is None else notes.tuning_hz)
    if line == 0:
        pitch.text(1.003, 1.0, "Hz", transform=pitch.transAxes, va="bottom", fontsize=10, color=_TEXT_COLOUR)
    _time_scale(pitch, strip, start, end, last_line=line == page.lines - 1)


def _axes(figure: Figure, page: _Page, bottom: int, height: int) -> Axes:
    """Add axes as wide as the page, `bottom` pixels above its lower edge and `height` pixels high."""
    width = WIDTH - _LEFT - _RIGHT
    place = (_LEFT / WIDTH, bottom / page.height, width / WIDTH, height / page.height)
    axes: Axes = figure.add_axes(place, facecolor="white")
    axes.tick_params(colors=_TEXT_COLOUR, labelsize=10, length=3, width=0.8)
    for spine in axes.spines.values():
        spine.set(color="#888888", linewidth=0.8)
    return axes


def _draw_spectrogram(axes: Axes, image: np.ndarray, column_s: float, start: float, end: float) -> None:
    first = max(math.floor(start / column_s) - 1, 0)
    part = image[:, first : math.ceil(end / column_s) + 2]
    if part.shape[1] == 0:
        return
    half_bin = (HIGHEST_MIDI - LOWEST_MIDI) / (len(image) - 1) / 2
    left, right = (first - 0.5) * column_s, (first + part.shape[1] - 0.5) * column_s
    axes.imshow(
        part, extent=(left, right, LOWEST_MIDI - half_bin, HIGHEST_MIDI + half_bin), origin="lower", aspect="auto",
        cmap="Greys", vmin=-_DEPTH_DB, vmax=20.0, interpolation="bilinear", zorder=0,
    )  # fmt: skip


def _draw_notes(axes: Axes, notes: Notes, start: float, end: float) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    shift, half = 12 * math.log2(notes.tuning_hz / 440), 0.42
    seen = [(n.onset, n.end, n.midi + shift) for n in notes.notes if n.end >= start and n.onset <= end]
    bars = [[(a, m - half), (b, m - half), (b, m + half), (a, m + half)] for a, b, m in seen]
    axes.add_collection(
        PolyCollection(
            bars,
            facecolors=[to_rgba(NOTE_COLOUR, 0.30)],
            edgecolors=[to_rgba(NOTE_COLOUR, 0.95)],
            linewidths=1.0,
            zorder=2,
        ),
        autolim=False,
    )


def _draw_contour(axes: Axes, contour: Contour, part: slice) -> None:
    frames = np.arange(part.start, part.stop, max(1, math.ceil((part.stop - part.start) / _POINTS_PER_LINE)))
    voiced = np.concatenate([[False], contour.voiced[frames], [False]])
    drawn = np.where(voiced[1:-1], midi_pitch(contour.frequency[frames]), np.nan)
    alone = voiced[1:-1] & ~voiced[:-2] & ~voiced[2:]
    seconds = frames * contour.hop
    axes.plot(
        seconds, drawn, color=CONTOUR_COLOUR, linewidth=2.0, solid_capstyle="round", linestyle="-", marker="", zorder=3
    )
    axes.plot(seconds[alone], drawn[alone], color=CONTOUR_COLOUR, linestyle="", marker="o", markersize=2.0, zorder=3)


def _draw_confidence(axes: Axes, contour: Contour, part: slice) -> None:
    """Draw the confidence, green where frames are voiced and grey elsewhere.

    If there are too many frames, groups of them are drawn as their mean, in the colour of the majority.
    """
    group = max(1, math.ceil((part.stop - part.start) / _POINTS_PER_LINE))
    starts = np.arange(part.start, part.stop, group)
    axes.set(ylim=(0, 1), yticks=(0, 1))
    axes.set_ylabel("conf.", color=_TEXT_COLOUR, fontsize=10, labelpad=12)
    if len(starts) == 0:
        return
    sizes = np.diff(np.append(starts, part.stop))
    height = np.add.reduceat(np.nan_to_num(contour.confidence[part]), starts - part.start) / sizes
    voiced = np.add.reduceat(contour.voiced[part].astype(float), starts - part.start) / sizes >= 0.5
    edges = np.append(starts, part.stop) * contour.hop - contour.hop / 2
    for kind, colour in ((voiced, VOICED_COLOUR), (~voiced, _UNVOICED_COLOUR)):
        shown = np.where(kind, height, 0.0)
        axes.fill_between(edges, np.append(shown, shown[-1]), step="post", color=colour, linewidth=0)


def _scales(axes: Axes, page: _Page, tuning_hz: float) -> None:
    """Label the pitch axis: names of notes on the left, Hz on the right. Draw a thin line at every note named."""
    shift = 12 * math.log2(tuning_hz / 440)
    span = page.highest - page.lowest
    wanted = (
        (0,)
        if span > 60
        else (0, 7)
        if span > 40 or page.lines > 1
        else (0, 4, 7)
        if span > 30
        else (0, 2, 4, 5, 7, 9, 11)
    )
    room = 0.025 * span  # labels at the edges would touch those of the strip below or of the line above
    numbers = [m for m in range(128) if m % 12 in wanted and page.lowest + room <= m + shift <= page.highest - room]
    names = {0: "C", 2: "D", 4: "E", 5: "F", 7: "G", 9: "A", 11: "B"}
    axes.set_ylim(page.lowest, page.highest)
    axes.set_yticks([m + shift for m in numbers], [f"{names[m % 12]}{m // 12 - 1}" for m in numbers])
    for m in numbers:
        axes.axhline(m + shift, color="#7799BB", alpha=0.55 if m % 12 == 0 else 0.2, linewidth=0.8, zorder=1)
    right = axes.secondary_yaxis("right")
    hz = [step * 10**power for power in (1, 2, 3) for step in (1, 2, 3, 5, 7)]
    inside = [value for value in hz if page.lowest + room <= midi_pitch(np.float64(value)) <= page.highest - room]
    right.set_yticks([float(midi_pitch(np.float64(value))) for value in inside], [str(value) for value in inside])
    right.tick_params(colors=_TEXT_COLOUR, labelsize=10, length=3, width=0.8)


def _time_scale(pitch: Axes, strip: Axes, start: float, end: float, *, last_line: bool) -> None:
    step = next((step for step in _TICKS_S if (end - start) / step <= 16), 7200)
    ticks = [i * step for i in range(math.ceil(start / step), math.floor(end / step + 1e-9) + 1)]
    for axes in (pitch, strip):
        axes.set_xlim(start, end)
    pitch.set_xticks(ticks, [""] * len(ticks))
    strip.set_xticks(ticks, [clock(tick, step) for tick in ticks])
    if last_line:
        strip.set_xlabel("time (min:s)", color=_TEXT_COLOUR, fontsize=10, labelpad=3)


def clock(seconds: float, step: float = 1.0) -> str:
    """Return a time as minutes and seconds: 3:05, or 3:05.2 if the step between ticks is below a second."""
    tenths = round(seconds * 10)
    text = f"{tenths // 600}:{tenths // 10 % 60:02d}"
    return f"{text}.{tenths % 10}" if step < 1 else text


def _head(figure: Figure, page: _Page, title: str, notes: Notes | None) -> None:
    """Draw the title on the left and the legend on the right, above the first line.

    The figure must have its canvas already, because the width of the title is measured to cut it off.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    kinds: list[Any] = [Line2D([], [], color=CONTOUR_COLOUR, linewidth=2.5, label="pitch")]
    if notes is not None:
        kinds.append(Patch(facecolor=NOTE_COLOUR, alpha=0.4, label=f"notes (A4 = {notes.tuning_hz:.1f} Hz)"))
    kinds += [Patch(color=VOICED_COLOUR, label="sung"), Patch(color=_UNVOICED_COLOUR, label="not sung")]
    place = (1 - _RIGHT / WIDTH, 1 - 8 / page.height)
    legend = figure.legend(
        handles=kinds, loc="upper right", bbox_to_anchor=place, ncols=len(kinds), frameon=False, fontsize=11,
        labelcolor=_TEXT_COLOUR, borderaxespad=0, borderpad=0.3, handlelength=1.6, columnspacing=1.6,
    )  # fmt: skip
    shown = "".join(letter if letter.isprintable() else "�" for letter in " ".join(title.split())[:200])
    text = figure.text(
        _LEFT / WIDTH, 1 - 14 / page.height, shown, ha="left", va="top", fontsize=13, color="black",
        family=_families(), parse_math=False,
    )  # fmt: skip
    room = legend.get_window_extent().x0 - _LEFT - 20
    while shown and text.get_window_extent().width > room:
        shown = shown[:-2]
        text.set_text(shown + "…")


def _families() -> list[str]:
    """Return the names of matplotlib's own font and of the fonts for Chinese, Japanese and Korean installed here."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _CJK_FONTS if name in installed)]
