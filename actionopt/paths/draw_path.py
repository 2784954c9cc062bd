"""A least-action path as a picture: in the plane, or coordinate by coordinate over its arc length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from actionopt import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = {"attractor": "o", "saddle": "X", "repeller": "^"}
DRAWN = 8  # coordinates that are drawn, those that move most


class Drawn(Protocol):
    """What is drawn of a path: points `(K, n)`, arc length and action along it, critical points on it."""

    @property
    def points(self) -> np.ndarray: ...
    @property
    def size(self) -> int: ...
    @property
    def arc(self) -> np.ndarray: ...
    @property
    def accumulated(self) -> np.ndarray: ...
    @property
    def action(self) -> float: ...
    @property
    def energy(self) -> np.ndarray | None: ...
    @property
    def critical_points(self) -> Sequence[Any]: ...


def draw_path(path: Drawn, ax: Axes | None = None, *, labels: Sequence[str] | None = None) -> Axes:
    """Draw a path into `ax`, or a new figure.

    Parameters
    ----------
    path : GeometricPath
    ax : Axes, optional
    labels : sequence of str, optional
        Names of the coordinates.
    """
    if ax is None:
        _, ax = figures.figure(width=4.8, height=3.8)
    if path.size == 2:
        _plane(path, ax, labels or ("$x_1$", "$x_2$"))
    else:
        _over_arc(path, ax, labels)
    return ax


def _plane(path: Drawn, ax: Axes, labels: Sequence[str]) -> None:
    # what costs action in full, the way along the flow dashed
    cost = np.diff(path.accumulated[::2]) / max(path.action, np.finfo(float).tiny)
    paid = np.repeat(cost > 1e-6 / len(cost), 2)
    color = figures.COLORS[1]
    for on, style in ((True, "-"), (False, ":")):
        piece = path.points.copy()
        keep = np.zeros(len(piece), dtype=bool)
        keep[:-1] |= paid == on
        keep[1:] |= paid == on
        piece[~keep] = np.nan
        ax.plot(*piece.T, style, color=color, lw=2.0, label="against the flow" if on else "with the flow, at no cost")
    for kind, marker in MARKERS.items():
        places = np.array([p.point for p in path.critical_points if p.kind == kind])
        if len(places):
            ax.plot(*places.T, marker, color=color, markeredgecolor="white", ms=8, ls="none", label=kind, zorder=4)
    ax.set(xlabel=labels[0], ylabel=labels[1])
    ax.legend(fontsize=8)


def _over_arc(path: Drawn, ax: Axes, labels: Sequence[str] | None) -> None:
    moving = np.argsort(-np.ptp(path.points, axis=0))[:DRAWN]
    for i in sorted(moving):
        ax.plot(path.arc, path.points[:, i], lw=1.4, label=labels[i] if labels else f"$x_{{{i + 1}}}$")
    for point in path.critical_points:
        ax.axvline(path.arc[point.index], color=figures.GREY, lw=0.8, ls="--" if point.kind == "saddle" else "-")
    ax.set(xlabel="arc length in the metric", ylabel="coordinate")
    ax.legend(fontsize=8)


def draw_profile(path: Drawn, ax: Axes) -> Axes:
    """Draw what a path has cost so far, and the energy where there is one, over its arc length."""
    ax.plot(path.arc, path.accumulated, color=figures.COLORS[1], lw=1.8, label="action so far")
    if path.energy is not None:
        ax.plot(path.arc, path.energy - path.energy[0], color=figures.COLORS[0], lw=1.4, label="energy above the start")
    for point in path.critical_points:
        ax.axvline(path.arc[point.index], color=figures.GREY, lw=0.8, ls="--" if point.kind == "saddle" else "-")
    ax.set(xlabel="arc length in the metric", ylabel="action" if path.energy is None else "action, energy")
    ax.legend(fontsize=8)
    return ax
