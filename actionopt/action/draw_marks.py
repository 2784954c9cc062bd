"""Marks on a landscape: the path with its direction and its time, its ends, and named points by their kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# a minimum holds, a saddle crosses, a plain point is a cross
KINDS = {"minimum": "o", "attractor": "o", "saddle": "X", "maximum": "^", "repeller": "^", "cycle": "D"}
ARROWS = (0.3, 0.7)  # parts of the length at which the path's direction is shown
TICKS = 8  # ticks of time at most


def draw_way(
    ax: Axes, path: np.ndarray, color: str, label: str | None, times: np.ndarray | None = None, style: str = "-"
) -> None:  # fmt: skip
    """Draw a path `(K, 2)` from its circle to its square, with arrows; dots where equal times `(K,)` have passed."""
    ax.plot(*path.T, style, color=color, lw=2.0, label=label, path_effects=halo(3.2, "white"))
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    if arc[-1] > 0:
        for part in ARROWS:
            _arrow(ax, path, arc, part, color)
    if times is not None and len(times) == len(path) and times[-1] > times[0]:
        at = ticks(times[0], times[-1])
        places = np.stack([np.interp(at, times, column) for column in path.T], axis=-1)
        ax.plot(*places.T, "o", color="white", markeredgecolor=color, markeredgewidth=1.0, ms=3.6, zorder=3.5)
    ax.plot(*path[0], "o", color=color, markeredgecolor="white", ms=7, zorder=4)
    ax.plot(*path[-1], "s", color=color, markeredgecolor="white", ms=7, zorder=4)


def ticks(first: float, last: float) -> np.ndarray:
    """Return round times strictly between two, at most eight, equally far apart."""
    from matplotlib.ticker import MaxNLocator

    at = np.asarray(MaxNLocator(TICKS, steps=[1, 2, 5, 10]).tick_values(0.0, last - first)) + first
    margin = 1e-9 * (last - first)
    return at[(at > first + margin) & (at < last - margin)]


def _arrow(ax: Axes, path: np.ndarray, arc: np.ndarray, part: float, color: str) -> None:
    ends = [[np.interp((part + d) * arc[-1], arc, column) for column in path.T] for d in (-0.015, 0.015)]
    if ends[0] == ends[1]:
        return
    from matplotlib.patches import FancyArrowPatch

    style = "-|>,head_width=0.28,head_length=0.5"
    arrow = FancyArrowPatch(
        (float(ends[0][0]), float(ends[0][1])), (float(ends[1][0]), float(ends[1][1])), arrowstyle=style, color=color,
        linewidth=0, shrinkA=0, shrinkB=0, mutation_scale=14, zorder=3.6,
    )  # fmt: skip
    ax.add_patch(arrow)


def name_points(ax: Axes, marks: Mapping[str, np.ndarray], obstacles: np.ndarray, kinds: Mapping[str, str]) -> None:
    """Mark points by their kind and write their names beside them, where it is farthest from paths and other points."""
    fraction = ax.transData + ax.transAxes.inverted()
    blocked = fraction.transform(np.concatenate([obstacles, *(place[None] for place in marks.values())]))
    ink, ground = ax.xaxis.label.get_color(), ax.get_facecolor()
    for name, place in marks.items():
        marker = KINDS.get(kinds.get(name, ""), "x")
        edge: dict[str, Any] = {"mew": 1.6} if marker == "x" else {"markeredgecolor": ground, "mew": 0.8}
        ax.plot(*place, marker, color=ink, ms=6, zorder=3, path_effects=halo(2.0, ground), **edge)
        here = fraction.transform(place)
        sides = [(right, up) for right in (1, -1) for up in (1, -1)]
        right, up = max(sides, key=lambda side: _room(here, side, len(name), blocked))
        ax.annotate(
            name,
            (float(place[0]), float(place[1])),
            (7 * right, 6 * up),
            textcoords="offset points",
            ha="left" if right > 0 else "right",
            va="bottom" if up > 0 else "top",
            fontsize=8,
            color=ink,
            path_effects=halo(2.5, ground),
            zorder=5,
        )


def _room(here: np.ndarray, side: tuple[int, int], letters: int, blocked: np.ndarray) -> float:
    """Distance between a name on one side of a point and what it should not cover, in fractions of the axes."""
    width = 0.016 * letters
    text = here + np.stack([side[0] * np.linspace(0.02, 0.02 + width, 8), np.full(8, side[1] * 0.035)], axis=-1)
    if not ((text > 0.0) & (text < 1.0)).all():
        return -1.0
    return float(np.linalg.norm(blocked[:, None] - text[None], axis=-1).min())


def halo(width: float, color: Any) -> list[Any]:
    """Return the effect that draws a line or a name on a border of its ground."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground=color)]
