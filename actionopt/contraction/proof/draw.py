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

    Several balls have their radii as parts of the refuted one, or of twice the proved one where none was found.
    """
    single = len(names) == 1
    kinds = {"proved": (figures.COLORS[2], 1.0), "undecided": (figures.GREY, 0.35), "refuted": (figures.COLORS[1], 1.0)}
    shown = set()
    for row, (name, inner, outer) in enumerate(zip(names, proved, refuted, strict=True)):
        edge = outer or 2.0 * inner or 1.0
        scale, place = 1.0 if single else edge, len(names) - 1 - row
        ends = {"proved": (0.0, inner), "undecided": (inner, edge), "refuted": (edge, 1.25 * edge if outer else edge)}
        for kind, (low, high) in ends.items():
            if high > low:
                color, alpha = kinds[kind]
                ax.barh(place, (high - low) / scale, left=low / scale, color=color, alpha=alpha, height=0.6, lw=0)
                shown.add(kind)
        beyond = "no counterexample found" if outer is None else f"refuted beyond {outer:.3g}"
        said = (
            f"proved up to {inner:.3g}, {beyond}" if single else f"{inner:.2g}" + (f" of {outer:.2g}" if outer else "")
        )
        ax.text(0.02 * edge / scale, place + 0.34, said, va="bottom", ha="left", fontsize=8.0)
        ax.text(-0.02 * edge / scale, place, name, va="center", ha="right", fontsize=8.0)
    for kind in (kind for kind in kinds if kind in shown):
        ax.barh(0, 0.0, color=kinds[kind][0], alpha=kinds[kind][1], label=kind)
    what = "radius of the ball, in the norm of the mass" if single else "radius, as a part of the refuted one"
    last = 1.25 * (refuted[0] or 2.0 * proved[0] or 1.0) if single else 1.25
    ax.set(yticks=[], xlim=(0.0, last), ylim=(-0.8, len(names) - 0.1), xlabel=what)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8.0, frameon=False)


def draw_exchanges(ax: Axes, measured: Sequence[float], bound: float, quantity: str) -> None:
    """Draw what exchanges of one sample did, the largest first, below the bound that is proved of all of them."""
    ax.plot(np.sort(measured)[::-1], ".", color=figures.COLORS[0], label="measured, one exchange each")
    if np.isfinite(bound):
        ax.axhline(bound, color=figures.COLORS[1], ls="--", label=f"proved of every exchange (ours), {bound:.3g}")
    ax.set(xlabel="exchange of one sample, by size", ylabel=quantity, ylim=(0.0, None))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, fontsize=8.0, frameon=False)


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
    ax.set(xlabel="time", ylabel="weights and their tube")
    if known.any():
        ax.set_title(f"radius {radii[0]:.2g} at the start, {radii[known][-1]:.2g} at the end", fontsize=9.0)
