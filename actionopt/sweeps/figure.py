"""A sweep as a figure: medians over seeds, with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt import figures
from actionopt.errors import InputError
from actionopt.sweeps.work import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPREAD = (0.1, 0.9)  # quantiles between which the band lies
LINES = len(figures.MARKERS)


def draw_medians(rows: Sequence[Row], options: Sequence[str], y: str, x: str | None, ax: Axes | None) -> Axes:
    """Draw the medians of `y` over the option `x`, a line for each combination of the others.

    Raises
    ------
    InputError
        If y is not a number everywhere, or there are more lines than can be told apart.
    """
    if not all(isinstance(row.get(y), (int, float)) and not isinstance(row.get(y), bool) for row in rows):
        raise InputError(f"{y!r} is not a number in every row: it cannot be drawn")
    x = x or next((name for name in options if len({repr(row[name]) for row in rows}) > 1), "seed")
    others = [name for name in options if name != x and len({repr(row[name]) for row in rows}) > 1]
    groups: dict[tuple[Any, ...], dict[Any, list[float]]] = {}
    for row in rows:
        line = groups.setdefault(tuple(row[name] for name in others), {})
        line.setdefault(row[x], []).append(float(row[y]))
    if len(groups) > LINES:
        raise InputError(f"{len(groups)} lines of {', '.join(others)} are more than {LINES}: draw parts of the sweep")
    ax = figures.axes(ax)
    for (group, points), color, marker in zip(groups.items(), figures.COLORS, figures.MARKERS, strict=False):
        _draw_line(ax, points, ", ".join(f"{n} {v}" for n, v in zip(others, group, strict=True)), color, marker)
    seeds = max((len(values) for line in groups.values() for values in line.values()), default=0)
    ax.set(xlabel=x, ylabel=y, title=f"median of {seeds} seeds, band: middle 80 %" if seeds > 1 else y)
    if others:
        ax.legend()
    return ax


def _draw_line(ax: Axes, points: dict[Any, list[float]], label: str, color: str, marker: str) -> None:
    numeric = all(isinstance(place, (int, float)) for place in points)
    places = sorted(points) if numeric else list(points)
    across: Any = places if numeric else list(range(len(places)))
    values = [np.asarray(points[place]) for place in places]
    low, high = (np.array([np.quantile(v, q) for v in values]) for q in SPREAD)
    ax.plot(across, [np.median(v) for v in values], color=color, marker=marker, ms=5, label=label or None)
    ax.fill_between(across, low, high, color=color, alpha=0.2, lw=0)
    if not numeric:
        ax.set_xticks(across, [str(place) for place in places])
    lowest, highest = min(v.min() for v in values), max(v.max() for v in values)
    if lowest > 0.0 and highest > 100.0 * lowest:
        ax.set_yscale("log")
    if numeric and places[0] > 0 and places[-1] >= 30 * places[0]:
        ax.set_xscale("log")
