"""Paths on the landscape that they cross: an energy over one or two coordinates, or over a plane through many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt import figures
from actionopt.action.lagrangian import Drift, Lagrangian
from actionopt.action.system import System
from actionopt.action.trajectory import Trajectory
from actionopt.errors import InputError
from actionopt.ops import NUMPY
from actionopt.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = 0.15  # of the width of what is shown, on every side
LEVELS = 24
RESOLUTION = (30, 120)  # points along an axis: where energies are dear, and where they are cheap
WORK = 1e10  # weights times samples times points up to which energies are cheap: some seconds
BATCH_NUMBERS = 4e6  # numbers in the widest state that are evaluated together


@dataclass(frozen=True)
class Plane:
    """A plane in weight space: `w = centre + x directions[0] + y directions[1]`, and what its axes are called."""

    centre: np.ndarray
    directions: np.ndarray
    labels: tuple[str, str]

    def project(self, w: np.ndarray) -> np.ndarray:
        """Coordinates `(..., 2)` of weights `(..., n)`, those off the plane by their nearest point on it."""
        return (w - self.centre) @ self.directions.T

    def lift(self, xy: np.ndarray) -> np.ndarray:
        """Weights `(..., n)` of coordinates `(..., 2)`."""
        return self.centre + xy @ self.directions


def draw_landscape(
    what: Problem | Lagrangian,
    trajectories: Sequence[Trajectory],
    *,
    points: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    resolution: int | None = None,
    dark: bool = False,
) -> Figure:
    """Return a figure of paths on the contours of the system's energy, or on the streamlines of a drift in the plane.

    Parameters
    ----------
    what : Problem or Lagrangian
    trajectories : sequence of Trajectory
        At least one; of n > 2 weights, the plane of largest variance of all their nodes (PCA) is shown, and the energy
        is that of the slice through their mean.
    points : mapping, optional
        Named points `(n,)`, marked where n <= 2.
    labels : sequence of str, optional
        What each path is called.
    resolution : int, optional
        Points of the landscape along each axis; 120 where None, fewer for many weights and samples.
    dark : bool

    Raises
    ------
    InputError
        If there is no trajectory, or one of another size.
    """
    if not trajectories:
        raise InputError("a landscape needs at least one trajectory")
    for trajectory in trajectories:
        if trajectory.size != what.size:
            raise InputError(f"the trajectory has {trajectory.size} weights, {what.name} has {what.size}")
    names = list(labels) if labels is not None else [_label(t) for t in trajectories]
    places = _places(points or {}, what.size) if what.size <= 2 else {}
    resolution = resolution or _affordable(what)
    fig, ax = figures.figure(width=6.4, height=4.8 if what.size > 1 else 3.6, dark=dark)
    if what.size == 1:
        _draw_curve(ax, what, trajectories, names, places, resolution)
    else:
        _draw_plane(ax, what, trajectories, names, places, resolution)
    if len(trajectories) > 1:
        ax.legend(fontsize=8)
    ax.set_title(f"{what.name}: {names[0]}" if len(trajectories) == 1 else what.name, fontsize=10)
    return fig


def _places(points: Mapping[str, Any], size: int) -> dict[str, np.ndarray]:
    """The named points that are points of this system; a problem of another size may keep the names."""
    places = {name: np.atleast_1d(np.asarray(point, dtype=float)) for name, point in points.items()}
    return {name: place for name, place in places.items() if place.shape == (size,)}


def _affordable(what: Problem | Lagrangian) -> int:
    work = what.size * (what.samples if isinstance(what, Problem) else 1)
    return int(np.clip(np.sqrt(WORK / work), *RESOLUTION))


def principal_plane(weights: np.ndarray) -> Plane:
    """Return the plane of largest variance of `weights (k, n)`; the coordinate plane where n = 2."""
    n = weights.shape[1]
    if n == 2:
        return Plane(np.zeros(2), np.eye(2), ("$w_1$", "$w_2$"))
    centre = weights.mean(axis=0)
    _, spread, directions = np.linalg.svd(weights - centre, full_matrices=len(weights) < 3)
    share = 100.0 * spread**2 / max(float((spread**2).sum()), np.finfo(float).tiny)
    shares = [float(share[i]) if i < len(share) else 0.0 for i in range(2)]
    first, second = (
        f"{which} principal direction ({part:.3g} % of the variance)"
        for which, part in zip(("first", "second"), shares, strict=True)
    )
    return Plane(centre, directions[:2], (first, second))


def _draw_plane(
    ax: Axes,
    what: Problem | Lagrangian,
    trajectories: Sequence[Trajectory],
    names: Sequence[str],
    places: Mapping[str, np.ndarray],
    resolution: int,
) -> None:
    plane = principal_plane(np.concatenate([t.points for t in trajectories]))
    paths = [plane.project(t.points) for t in trajectories]
    marks = {name: plane.project(point) for name, point in places.items()}
    x, y = _window(np.concatenate([*paths, *(m[None] for m in marks.values())]), resolution)
    grid = plane.lift(np.stack(np.meshgrid(x, y), axis=-1))
    if what.has_energy:
        energy = _energy(what, grid)
        along = np.concatenate([t.energy for t in trajectories if t.energy is not None])
        drawn = ax.contourf(x, y, energy, levels=_levels(energy, along), cmap=figures.CMAP, extend="both")
        drawn.set(edgecolor="face", linewidth=0.3)  # no hairlines between the levels
        _colour_bar(ax, drawn, "energy" if what.size == 2 else "energy of the slice through the paths' mean")
    elif isinstance(what, Drift) and what.size == 2:
        field = np.asarray(what.drift(NUMPY, grid))
        ax.streamplot(x, y, field[..., 0], field[..., 1], color=figures.GREY, density=1.1, linewidth=0.6, arrowsize=0.7)
    ax.set(xlabel=plane.labels[0], ylabel=plane.labels[1], xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    ax.grid(False)
    for path, name, color in zip(paths, names, figures.COLORS[1:] * len(paths), strict=False):
        ax.plot(*path.T, color=color, lw=2.0, label=name, path_effects=_halo(3.2, "white"))
        ax.plot(*path[0], "o", color=color, markeredgecolor="white", ms=7, zorder=4)
        ax.plot(*path[-1], "s", color=color, markeredgecolor="white", ms=7, zorder=4)
    _name_points(ax, marks, np.concatenate(paths))


def _draw_curve(
    ax: Axes,
    what: Problem | Lagrangian,
    trajectories: Sequence[Trajectory],
    names: Sequence[str],
    places: Mapping[str, np.ndarray],
    resolution: int,
) -> None:
    """One coordinate: its energy, and the paths upon it as time goes by."""
    everything = np.concatenate([*(t.points[:, 0] for t in trajectories), *places.values()])
    low, high = everything.min(), everything.max()
    margin = MARGIN * max(high - low, 1e-3)
    x = np.linspace(low - margin, high + margin, 4 * resolution)
    if not what.has_energy:
        for trajectory, name in zip(trajectories, names, strict=True):
            ax.plot(trajectory.times, trajectory.weights[:, 0], label=name)
        ax.set(xlabel="time", ylabel="$w_1$")
        return
    energy = _energy(what, x[:, None])
    ax.plot(x, energy, color=figures.GREY, lw=1.2)
    for trajectory, name in zip(trajectories, names, strict=True):
        heights = _energy(what, trajectory.weights)
        ax.plot(trajectory.weights[:, 0], heights, "o-", ms=3, lw=1.5, label=name)
    low, high = float(np.nanmin(energy)), float(np.nanmax(energy))
    height = 0.12 * max(high - low, 1e-12)
    ax.set(xlabel="$w_1$", ylabel="energy", xlim=(x[0], x[-1]), ylim=(low - height, high + height))
    marks = {name: np.append(place, _energy(what, place)) for name, place in places.items()}
    _name_points(ax, marks, np.stack([x, energy], axis=-1))


def _energy(what: System, w: np.ndarray) -> np.ndarray:
    """Energies `(...)` of weights `(..., n)`, a batch at a time; NaN where they are not finite."""
    flat = w.reshape(-1, what.size)
    batch = max(1, int(BATCH_NUMBERS / what.numbers))
    energies = np.empty(len(flat))
    with np.errstate(all="ignore"):
        for i in range(0, len(flat), batch):
            energies[i : i + batch] = what.energy(flat[i : i + batch])
    return np.where(np.isfinite(energies), energies, np.nan).reshape(w.shape[:-1])


def _window(xy: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """The coordinates of a grid that holds all points, with a margin."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    width = np.maximum(high - low, 0.2 * max(float((high - low).max()), 1e-6))
    middle, half = 0.5 * (low + high), (0.5 + MARGIN) * width
    x, y = np.linspace(middle - half, middle + half, resolution, axis=-1)
    return x, y


def _levels(energy: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Contour levels about the energies that the paths see: a landscape's far walls would hide its valleys."""
    low, high = float(np.nanmin(energy)), float(np.nanmax(energy))
    if not high > low:
        return np.linspace(low - 1.0, low + 1.0, LEVELS)
    from matplotlib.ticker import MaxNLocator

    top = along.max() + 0.6 * (along.max() - min(low, along.min()))
    return np.asarray(MaxNLocator(LEVELS).tick_values(low, min(high, max(top, low + 0.05 * (high - low)))))


def _colour_bar(ax: Axes, drawn: Any, label: str) -> None:
    ink = ax.xaxis.label.get_color()
    bar = ax.figure.colorbar(drawn, ax=ax)
    bar.set_label(label, fontsize=9.5, color=ink)
    bar.ax.tick_params(colors=ink, labelsize=8.5)
    bar.outline.set_visible(False)


def _name_points(ax: Axes, marks: Mapping[str, np.ndarray], obstacles: np.ndarray) -> None:
    """Mark points and write their names beside them, on the side that is farthest from paths and other points."""
    fraction = ax.transData + ax.transAxes.inverted()
    blocked = fraction.transform(np.concatenate([obstacles, *(place[None] for place in marks.values())]))
    ink, ground = ax.xaxis.label.get_color(), ax.get_facecolor()
    for name, place in marks.items():
        ax.plot(*place, "x", color=ink, ms=6, mew=1.6, zorder=3, path_effects=_halo(3.0, ground))
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
            path_effects=_halo(2.5, ground),
            zorder=5,
        )


def _room(here: np.ndarray, side: tuple[int, int], letters: int, blocked: np.ndarray) -> float:
    """Distance between a name on one side of a point and what it should not cover, in fractions of the axes."""
    width = 0.016 * letters
    text = here + np.stack([side[0] * np.linspace(0.02, 0.02 + width, 8), np.full(8, side[1] * 0.035)], axis=-1)
    if not ((text > 0.0) & (text < 1.0)).all():
        return -1.0
    return float(np.linalg.norm(blocked[:, None] - text[None], axis=-1).min())


def _halo(width: float, color: Any) -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground=color)]


def _label(trajectory: Trajectory) -> str:
    return f"T = {trajectory.times[-1] - trajectory.times[0]:g}, action {trajectory.action:.6g}"
