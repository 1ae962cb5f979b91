"""A run's log, and a picture of it: the loss, the development figures, and the speed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemsplit.machine.disk import written_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOG_NAME, CURVE_NAME = "log.jsonl", "curve.png"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito, for any colour vision
INCHES, DPI = (9.0, 10.0), 100


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the events of a log. Lines that a killed process left unfinished are left out."""
    events = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict) and "step" in event:
            events.append(event)
    return events


def draw_curve(folder: Path) -> Path | None:
    """Draw the `log.jsonl` of a run's folder as its `curve.png`, and return the picture's path.

    Return None without matplotlib, or if nothing was logged.

    Raises:
        OutputError: The disk refuses the picture.
    """
    events = read_log(folder / LOG_NAME)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    if not any("loss" in event or "dev" in event for event in events):
        return None
    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    loss, dev, styles, speed = figure.subplots(4, 1, sharex=True, height_ratios=(3, 3, 3, 1))
    devs = _devs(events)
    _lines(loss, {"training": _points(events, "loss"), "development": _points(devs, "loss")}, "loss")
    names = dict.fromkeys(name for event in devs for name in event if name not in ("step", "loss") and "/" not in name)
    _lines(dev, {name: _points(devs, name) for name in names}, "development")
    _lines(styles, _of_styles(devs), "by style")
    _lines(speed, {"": _points(events, "audio_per_second")}, "audio s/s")
    speed.set_xlabel("step")
    path = folder / CURVE_NAME
    with written_aside(path) as partial:
        figure.savefig(partial, format="png")
    return path


def _devs(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the development figures with their steps, without those of the export."""
    return [{"step": event["step"], **event["dev"]} for event in events if "dev" in event and "export" not in event]


def _of_styles(devs: Iterable[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Return for each style the mean of its figures, called STYLE/STEM, at every step."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in devs:
        of_style: dict[str, list[float]] = {}
        for name, value in event.items():
            if "/" in name:
                of_style.setdefault(name.split("/")[0], []).append(value)
        for style, values in sorted(of_style.items()):
            found.setdefault(style, []).append((event["step"], sum(values) / len(values)))
    return found


def _points(events: Iterable[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(event["step"], event[name]) for event in events if name in event]


def _lines(axes: Axes, series: Mapping[str, Sequence[tuple[int, float]]], label: str) -> None:
    """Draw each series that has points, with dots where there are few."""
    drawn = {name: points for name, points in series.items() if points}
    for (name, points), colour in zip(drawn.items(), COLOURS * len(drawn), strict=False):
        marker = "." if len(points) < 60 else ""
        axes.plot(*zip(*points, strict=True), color=colour, label=name, linewidth=1, marker=marker)
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    if any(drawn):
        axes.legend(fontsize="small", ncols=3 if len(drawn) <= 6 else 6)
