"""A quasipotential in the plane: its levels, paths that reach them, the attractor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from actionopt import figures
from actionopt.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 14
ALONG = 16  # points of a limit cycle that the levels know: many more than the others make ragged triangles


class Levels(Protocol):
    """What is drawn of a quasipotential: values at points `(M, n)`, with their paths."""

    @property
    def points(self) -> np.ndarray: ...
    @property
    def values(self) -> np.ndarray: ...
    @property
    def attractor(self) -> np.ndarray: ...
    @property
    def orbit(self) -> np.ndarray | None: ...
    @property
    def paths(self) -> Sequence[Any]: ...


def draw_quasipotential(
    found: Levels, ax: Axes | None = None, *, paths: int = 12, labels: Sequence[str] | None = None
) -> Axes:
    """Draw levels, some of the paths and the attractor into `ax`, or a new figure.

    Parameters
    ----------
    found : Quasipotential
    ax : Axes, optional
    paths : int
        How many paths to draw, spread over the points.
    labels : sequence of str, optional
        Names of the coordinates.

    Raises
    ------
    InputError
        If the points are not in the plane, or fewer than three have values.
    """
    if found.points.shape[1] != 2:
        raise InputError(f"levels are drawn in the plane, these points have {found.points.shape[1]} coordinates")
    known = np.isfinite(found.values)
    if known.sum() < 3:
        raise InputError(f"levels need values at three points at least, got {int(known.sum())}")
    if ax is None:
        _, ax = figures.figure(width=4.8, height=3.9)
    attractor = found.attractor[None] if found.orbit is None else found.orbit[:: max(1, len(found.orbit) // ALONG)]
    points = np.concatenate([found.points[known], attractor])
    values = np.concatenate([found.values[known], np.zeros(len(attractor))])
    drawn = ax.tricontourf(points[:, 0], points[:, 1], values, levels=LEVELS, cmap=figures.CMAP)
    drawn.set(edgecolor="face", linewidth=0.3)  # no hairlines between the levels
    bar = ax.figure.colorbar(drawn, ax=ax)
    bar.set_label("quasipotential", fontsize=9.5)
    reached = [path for path in found.paths if path is not None and path.success]
    for path in reached[:: max(1, len(reached) // max(paths, 1))] if paths else []:
        ax.plot(*path.points.T, color="white", lw=0.9, alpha=0.9)
    if found.orbit is None:
        ax.plot(*found.attractor, "o", color=figures.COLORS[1], markeredgecolor="white", ms=8, zorder=4)
    else:
        ax.plot(*found.orbit.T, color=figures.COLORS[1], lw=2.0, zorder=4)
    low, high = points.min(axis=0), points.max(axis=0)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))  # paths that leave what is known are cut off there
    ax.set(xlabel=(labels or ("$x_1$", "$x_2$"))[0], ylabel=(labels or ("$x_1$", "$x_2$"))[1])
    ax.set_title(f"paths from {'the limit cycle' if found.orbit is not None else 'the attractor'}", fontsize=10)
    ax.grid(False)
    return ax
