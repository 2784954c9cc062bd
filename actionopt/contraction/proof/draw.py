"""Figures of what is proved: radii proved, undecided and refuted, and a tube around its trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from actionopt import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 8  # weights whose bands are drawn


def draw_radii(ax: Axes, names: Sequence[str], proved: Sequence[float], refuted: Sequence[float | None]) -> None:
    """Draw a bar a ball: the radius up to which it is proved, and from which a counterexample was found and checked.

    Radii are drawn as parts of the refuted one, or of twice the proved one where none was found.
    """
    for row, (name, inner, outer) in enumerate(zip(names, proved, refuted, strict=True)):
        scale = outer or 2.0 * inner or 1.0
        place = len(names) - 1 - row
        ax.barh(place, inner / scale, color=figures.COLORS[2], height=0.6)
        ax.barh(place, 1.0 - inner / scale, left=inner / scale, color=figures.GREY, alpha=0.35, height=0.6)
        if outer:
            ax.barh(place, 0.25, left=1.0, color=figures.COLORS[1], height=0.6)
        said = f"{inner:.2g}" if outer is None else f"{inner:.2g} of {outer:.2g}"
        ax.text(0.02, place, said, va="center", ha="left", fontsize=8.0, color="white" if inner else None)
        ax.text(-0.02, place, name, va="center", ha="right", fontsize=8.0)
    colors = (figures.COLORS[2], figures.GREY, figures.COLORS[1])
    for color, label, alpha in zip(colors, ("proved", "undecided", "refuted"), (1.0, 0.35, 1.0), strict=True):
        ax.barh(0, 0.0, color=color, alpha=alpha, label=label)
    ax.set(yticks=[], xlim=(0.0, 1.25), xlabel="radius, as a part of the refuted one")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8.0, frameon=False)


def draw_tube(ax: Axes, times: np.ndarray, weights: np.ndarray, radii: np.ndarray, mass: np.ndarray) -> None:
    """Draw each weight over time in the band that the tube leaves it, `radius / sqrt(mass)` on either side.

    Of many weights those that move most.
    """
    moved = np.ptp(weights, axis=0)
    known = np.isfinite(radii)
    for k, index in enumerate(np.argsort(-moved)[:MOST]):
        color = figures.COLORS[k % len(figures.COLORS)]
        line, reach = weights[:, index], radii / np.sqrt(mass[index])
        ax.plot(times, line, color=color, lw=1.2)
        low, high = (line - reach)[known], (line + reach)[known]
        ax.fill_between(times[known], low, high, color=color, alpha=0.25, lw=0)
    ax.set(xlabel="time", ylabel="weights, and the tube around them")
