"""Learning curves as inline SVG: no library, no script, no colour that a theme could not follow."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from zoo.evaluation.protocols import is_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 260, 120  # of the plot, in SVG's units
LEFT, TOP, RIGHT, BOTTOM = 52, 8, 8, 20
COLOURS = ("#1f6fb4", "#c4500c", "#2e8540", "#7a4fa3")


def curves(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """One chart for each kind of quantity that a run logged.

    Args:
        history: The entries of a run's `history.json`, one per epoch.

    Returns:
        HTML figures. Quantities whose names end in the same word share one: the losses of both
        players, say, or a loss and its `val_` twin. A named metric has one, with its best.

    Example:
        >>> from zoo.evaluation.charts import curves
        >>> epochs = [{"epoch": 1, "step": 5, "loss": 2.0}, {"epoch": 2, "step": 10, "loss": 1.0}]
        >>> [figure.count("<polyline") for figure in curves(epochs)]
        [1]
    """
    names = dict.fromkeys(name for entry in history for name in entry)
    groups: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name in names:
        if name in ("epoch", "step"):
            continue
        points = [(entry["epoch"], entry[name]) for entry in history if _is_number(entry, name)]
        if points:
            groups.setdefault(_kind(name), {})[name] = points
    return [_chart(lines) for lines in groups.values()]


def _kind(name: str) -> str:
    """What a quantity is drawn with: a named metric with its best, others by their last word."""
    metric = name.removeprefix("best_")
    return metric if is_value(metric) else name.rpartition("_")[2]


def _is_number(entry: Mapping[str, Any], name: str) -> bool:
    value = entry.get(name)
    return isinstance(value, int | float) and math.isfinite(value)


def _chart(lines: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """A chart of lines of (epoch, value)."""
    epochs = [epoch for points in lines.values() for epoch, _ in points]
    values = [value for points in lines.values() for _, value in points]
    first, last, low, high = min(epochs), max(epochs), min(values), max(values)

    def place(epoch: int, value: float) -> tuple[float, float]:
        x = (epoch - first) / (last - first) if last > first else 0.5
        y = (value - low) / (high - low) if high > low else 0.5
        return LEFT + x * WIDTH, TOP + (1 - y) * HEIGHT

    parts = [
        f"<line x1='{LEFT}' y1='{TOP}' x2='{LEFT}' y2='{TOP + HEIGHT}'/>",
        f"<line x1='{LEFT}' y1='{TOP + HEIGHT}' x2='{LEFT + WIDTH}' y2='{TOP + HEIGHT}'/>",
        f"<text x='{LEFT - 4}' y='{TOP + 9}' text-anchor='end'>{high:.4g}</text>",
        f"<text x='{LEFT - 4}' y='{TOP + HEIGHT}' text-anchor='end'>{low:.4g}</text>",
        f"<text x='{LEFT}' y='{TOP + HEIGHT + 16}'>epoch {first}</text>",
        f"<text x='{LEFT + WIDTH}' y='{TOP + HEIGHT + 16}' text-anchor='end'>{last}</text>",
    ]
    legend = []
    for i, (name, points) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        placed = [place(*point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        x, y = placed[-1]
        parts.append(f"<polyline points='{path}' stroke='{colour}'/>")
        parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2.5' fill='{colour}'/>")
        title = escape(name.replace("_", " "))
        legend.append(f"<span style='color:{colour}'>{title} {points[-1][1]:.4g}</span>")
    size = f"0 0 {LEFT + WIDTH + RIGHT} {TOP + HEIGHT + BOTTOM}"
    titles = escape(", ".join(lines))
    return (
        f"<figure class='chart'><svg viewBox='{size}' role='img' aria-label='{titles}'>"
        f"{''.join(parts)}</svg><figcaption>{' · '.join(legend)}</figcaption></figure>"
    )
