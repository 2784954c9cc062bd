"""Paths on the landscape that they cross: an energy over one or two coordinates, or over a plane through many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt import figures
from actionopt.action.draw_marks import draw_way, name_points
from actionopt.action.lagrangian import Drift, Lagrangian
from actionopt.action.plane import Plane, principal_plane
from actionopt.action.system import System
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
FLATTEST = 0.2, 0.6  # of the wider side that the narrower side is at least: in coordinates, and in a slice, to scale


@dataclass(frozen=True)
class Way:
    """What is drawn of a trajectory or a path: points `(K, n)`, times `(K,)` and energies where it has them, a name."""

    points: np.ndarray
    name: str = ""
    times: np.ndarray | None = None
    energy: np.ndarray | None = None


def as_way(path: Any, size: int, name: str | None = None) -> Way:
    """Take a trajectory, a path, or points `(K, n)`, of a system with `size` coordinates.

    Raises
    ------
    InputError
        If it is none of these, or of another size.
    """
    points = getattr(path, "points", path)
    try:
        points = np.asarray(points, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"a path is a Trajectory, a GeometricPath or points (K, n), got {path!r}") from None
    if points.ndim != 2 or not len(points):
        raise InputError(f"a path is a Trajectory, a GeometricPath or points (K, n), got shape {points.shape}")
    if points.shape[1] != size:
        raise InputError(f"the trajectory has {points.shape[1]} weights, the system has {size}")
    times = getattr(path, "times", None)
    if isinstance(times, np.ndarray):
        discretisation = getattr(path, "discretisation", None)
        nodes = np.arange(len(points)) if discretisation is None else discretisation.nodes
        times = np.interp(np.arange(len(points)), nodes, times)
    else:
        times = None  # of a path without a horizon it is a function
    energy = getattr(path, "energy", None)
    return Way(points, _label(path) if name is None else name, times, energy)


def plot_landscape(
    what: Problem | Lagrangian,
    centre: Any = None,
    directions: Any = None,
    *,
    path: Any = (),
    points: Mapping[str, Any] | None = None,
    kinds: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    window: tuple[Any, Any] | None = None,
    resolution: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the energy of a system, or the streamlines of a drift in the plane, with paths upon it.

    Parameters
    ----------
    what : Problem, Lagrangian or Drift
    centre : array (n,), optional
        Of more than two coordinates a plane is drawn: through the centre, or the mean of the paths. In one or two
        coordinates what is shown is around it where there is no path.
    directions : (array (n,), array (n,)) or "pca", optional
        What spans the plane, each as long as given: the axes count in their lengths. "pca", the default with a path, is
        the plane in which the paths move most.
    path : Trajectory, GeometricPath, array (K, n), or a sequence of them
    points : mapping of str to array (n,), optional
        Named points, marked where n <= 2.
    kinds : mapping of str to str, optional
        What a named point is: "minimum", "saddle", "maximum"; others are marked as plain points.
    labels : (str, str), optional
        Names of the axes; those of the system where it has some.
    names : sequence of str, optional
        Names of the paths.
    window : (low, high), optional
        The corners of what is shown, in the axes' coordinates; where None what holds the paths and the points, or a
        length of one on every side of the centre.
    resolution : int, optional
        Points along each axis; 120 where None, fewer for many weights and samples.
    ax : matplotlib Axes, optional
        Where to draw; a new figure where None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        If a path or a vector is of another size, or there is nothing to say which plane is meant.

    Examples
    --------
    >>> flow = ao.flow(problem, w, horizon=1.0, steps=10)
    >>> ax = ao.plot_landscape(problem, path=flow, resolution=10)
    >>> ax.get_xlabel().startswith("first principal direction")
    True

    Through a point, along the gradient and another direction:

    >>> other = np.ones(problem.size)
    >>> ax = ao.plot_landscape(problem, w, (problem.gradient(w), other), resolution=10, labels=["g", "1"])
    """
    paths = _paths(path)
    called: Sequence[str | None] = [None] * len(paths) if names is None else names
    ways = [as_way(one, what.size, name) for one, name in zip(paths, called, strict=True)]
    places = _places(points or {}, what.size) if what.size <= 2 else {}
    resolution = resolution or _affordable(what)
    if ax is None:
        _, ax = figures.figure(width=6.4, height=4.8 if what.size > 1 else 3.6)
    named = tuple(labels or getattr(what, "coordinates", None) or ())
    start = None if centre is None else _vector(centre, what.size, "centre")
    if what.size == 1:
        _draw_curve(ax, what, ways, places, kinds or {}, resolution, named, _corners(window, start, 1))
    else:
        plane = _plane(what.size, ways, start, directions, named)
        middle = None if start is None else plane.project(start)
        _draw_plane(ax, what, plane, ways, places, kinds or {}, resolution, _corners(window, middle, 2))
    if len(ways) > 1:
        ax.legend(fontsize=8)
    return ax


def draw_landscape(
    what: Problem | Lagrangian,
    trajectories: Sequence[Any],
    *,
    labels: Sequence[str] | None = None,
    dark: bool = False,
    **options: Any,
) -> Figure:
    """Return a figure of paths on the landscape of their system; `labels` names the paths, options as `plot_landscape`.

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
    fig, ax = figures.figure(width=6.4, height=4.8 if what.size > 1 else 3.6, dark=dark)
    plot_landscape(what, path=trajectories, names=labels, ax=ax, **options)
    if labels is None and len(trajectories) == 1:
        ax.set_title(_label(trajectories[0]), fontsize=10)
    return fig


def _paths(path: Any) -> list[Any]:
    """Return one path or several as a list."""
    if hasattr(path, "points") or isinstance(path, np.ndarray):
        return [path]
    return list(path)


def _vector(value: Any, size: int, name: str) -> np.ndarray:
    vector = np.atleast_1d(np.asarray(value, dtype=float))
    if vector.shape != (size,) or not np.isfinite(vector).all():
        raise InputError(f"{name} must be {size} finite numbers, got shape {vector.shape}")
    return vector


def _plane(size: int, ways: Sequence[Way], centre: np.ndarray | None, directions: Any, labels: Sequence[str]) -> Plane:
    """Return the plane that is drawn."""
    if size == 2 and directions is None:
        first, second = labels or ("$w_1$", "$w_2$")
        return Plane(np.zeros(2), np.eye(2), (first, second))
    if directions is None or isinstance(directions, str):
        if directions not in (None, "pca"):
            raise InputError(f'directions must be two vectors ({size},) or "pca", got {directions!r}')
        if not ways:
            raise InputError(
                f"a plane through {size} coordinates needs directions, two vectors ({size},), or a path to lie along"
            )
        plane = principal_plane(np.concatenate([way.points for way in ways]))
        names = (labels[0], labels[1]) if labels else plane.labels
        return Plane(plane.centre if centre is None else centre, plane.directions, names)
    try:
        first, second = directions
    except (TypeError, ValueError):
        raise InputError(f'directions must be two vectors ({size},) or "pca", got {directions!r}') from None
    spanned = np.stack(
        [_vector(first, size, "each of the directions"), _vector(second, size, "each of the directions")]
    )
    if np.linalg.matrix_rank(spanned) < 2:
        raise InputError("the directions must span a plane: they are parallel, or one is zero")
    middle = centre if centre is not None else ways[0].points.mean(axis=0) if ways else None
    if middle is None:
        raise InputError(f"give a centre ({size},) for the plane to go through, or a path")
    return Plane(middle, spanned, (labels[0], labels[1]) if labels else ("first direction", "second direction"))


def _places(points: Mapping[str, Any], size: int) -> dict[str, np.ndarray]:
    """The named points that are points of this system; a problem of another size may keep the names."""
    places = {name: np.atleast_1d(np.asarray(point, dtype=float)) for name, point in points.items()}
    return {name: place for name, place in places.items() if place.shape == (size,)}


def _affordable(what: Problem | Lagrangian) -> int:
    work = what.size * (what.samples if isinstance(what, Problem) else 1)
    return int(np.clip(np.sqrt(WORK / work), *RESOLUTION))


def _draw_plane(
    ax: Axes,
    what: Problem | Lagrangian,
    plane: Plane,
    ways: Sequence[Way],
    places: Mapping[str, np.ndarray],
    kinds: Mapping[str, str],
    resolution: int,
    corners: tuple[np.ndarray, bool],
) -> None:
    paths = [plane.project(way.points) for way in ways]
    marks = {name: plane.project(point) for name, point in places.items()}
    slice_ = what.size > 2
    (low, high), given = corners
    if not given and (paths or marks):
        low, high = _window(np.concatenate([*paths, *(m[None] for m in marks.values())]), FLATTEST[slice_])
    x, y = np.linspace(low, high, resolution, axis=-1)
    grid = plane.lift(np.stack(np.meshgrid(x, y), axis=-1))
    if what.has_energy:
        _contours(ax, what, x, y, grid, ways, "energy of the slice through the paths' mean" if slice_ else "energy")
    elif isinstance(what, Drift) and what.size == 2:
        draw_streamlines(ax, what, x, y)
    ax.set(xlabel=plane.labels[0], ylabel=plane.labels[1], xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    ax.grid(False)
    if slice_ and plane.orthonormal:
        ax.set_aspect("equal")
    for k, (path, way, color) in enumerate(zip(paths, ways, figures.COLORS[1:] * len(paths), strict=False)):
        draw_way(ax, path, color, way.name, way.times, "--" if k % 2 else "-")  # so that one on another shows
    if marks:
        name_points(ax, marks, np.concatenate(paths) if paths else np.zeros((0, 2)), kinds)


def _contours(
    ax: Axes, what: Any, x: np.ndarray, y: np.ndarray, grid: np.ndarray, ways: Sequence[Way], label: str
) -> None:  # fmt: skip
    """Fill the levels of the energy; what is higher than the paths ever see is left in the colour of the grid."""
    import matplotlib as mpl

    energy = _energy(what, grid)
    seen = [way.energy for way in ways if way.energy is not None]
    along = np.concatenate(seen) if seen else energy[np.isfinite(energy)]
    plain = mpl.colormaps[figures.CMAP]
    cmap = plain.with_extremes(over=figures.grid_color(ax), under=plain(0.0))
    drawn = ax.contourf(x, y, energy, levels=_levels(energy, along), cmap=cmap, extend="both")
    drawn.set(edgecolor="face", linewidth=0.3)  # no hairlines between the levels
    flatness = float(y[-1] - y[0]) / float(x[-1] - x[0]) if what.size > 2 else 1.0
    _colour_bar(ax, drawn, label, flatness)


def draw_streamlines(ax: Axes, drift: Drift, x: np.ndarray, y: np.ndarray) -> None:
    """Draw the streamlines of a drift in the plane over the grid of `x` and `y`."""
    field_ = np.asarray(drift.drift(NUMPY, np.stack(np.meshgrid(x, y), axis=-1)))
    ax.streamplot(x, y, field_[..., 0], field_[..., 1], color=figures.GREY, density=1.1, linewidth=0.6, arrowsize=0.7)


def _draw_curve(
    ax: Axes,
    what: Problem | Lagrangian,
    ways: Sequence[Way],
    places: Mapping[str, np.ndarray],
    kinds: Mapping[str, str],
    resolution: int,
    labels: Sequence[str],
    corners: tuple[np.ndarray, bool],
) -> None:
    """One coordinate: its energy, and the paths upon it as time goes by."""
    label = labels[0] if labels else "$w_1$"
    ((low,), (high,)), given = corners
    if not given and (ways or places):
        everything = np.concatenate([*(way.points[:, 0] for way in ways), *places.values()])
        margin = MARGIN * max(float(np.ptp(everything)), 1e-3)
        low, high = everything.min() - margin, everything.max() + margin
    x = np.linspace(low, high, 4 * resolution)
    if not what.has_energy:
        for way in ways:
            over = np.arange(len(way.points)) if way.times is None else way.times
            ax.plot(over, way.points[:, 0], label=way.name)
        ax.set(xlabel="time", ylabel=label)
        return
    energy = _energy(what, x[:, None])
    ax.plot(x, energy, color=figures.GREY, lw=1.2)
    for way in ways:
        ax.plot(way.points[:, 0], _energy(what, way.points), "o-", ms=3, lw=1.5, label=way.name)
    low, high = float(np.nanmin(energy)), float(np.nanmax(energy))
    height = 0.12 * max(high - low, 1e-12)
    ax.set(xlabel=label, ylabel="energy", xlim=(x[0], x[-1]), ylim=(low - height, high + height))
    marks = {name: np.append(place, _energy(what, place)) for name, place in places.items()}
    name_points(ax, marks, np.stack([x, energy], axis=-1), kinds)


def _energy(what: System, w: np.ndarray) -> np.ndarray:
    """Energies `(...)` of weights `(..., n)`, a batch at a time; NaN where they are not finite."""
    flat = w.reshape(-1, what.size)
    batch = max(1, int(BATCH_NUMBERS / what.numbers))
    energies = np.empty(len(flat))
    with np.errstate(all="ignore"):
        for i in range(0, len(flat), batch):
            energies[i : i + batch] = what.energy(flat[i : i + batch])
    return np.where(np.isfinite(energies), energies, np.nan).reshape(w.shape[:-1])


def _corners(window: Any, centre: np.ndarray | None, size: int) -> tuple[np.ndarray, bool]:
    """Return the corners `(2, size)` of what is shown, and whether they were given.

    Raises
    ------
    InputError
        If they are no corners.
    """
    if window is None:
        middle = np.zeros(size) if centre is None else centre
        return np.stack([middle - 1.0, middle + 1.0]), False
    try:
        corners = np.array([np.atleast_1d(np.asarray(side, dtype=float)) for side in window])
    except (TypeError, ValueError):
        corners = np.zeros(0)
    if corners.shape != (2, size) or not (corners[0] < corners[1]).all():
        raise InputError(f"window must be two corners ({size},), the lower one first, got {window!r}")
    return corners, True


def _window(xy: np.ndarray, flattest: float) -> tuple[np.ndarray, np.ndarray]:
    """The corners of what holds all points, with a margin."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    width = np.maximum(high - low, flattest * max(float((high - low).max()), 1e-6))
    middle, half = 0.5 * (low + high), (0.5 + MARGIN) * width
    return middle - half, middle + half


def _levels(energy: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Contour levels about the energies that the paths see: a landscape's far walls would hide its valleys."""
    low, high = float(np.nanmin(energy)), float(np.nanmax(energy))
    if not high > low:
        return np.linspace(low - 1.0, low + 1.0, LEVELS)
    from matplotlib.ticker import MaxNLocator

    top = along.max() + 0.6 * (along.max() - min(low, along.min()))
    return np.asarray(MaxNLocator(LEVELS).tick_values(low, min(high, max(top, low + 0.05 * (high - low)))))


def _colour_bar(ax: Axes, drawn: Any, label: str, flatness: float) -> None:
    """Draw what the colours mean, as high as axes to scale are."""
    ink = ax.xaxis.label.get_color()
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=float(np.clip(1.3 * flatness, 0.5, 1.0)))
    bar.set_label(label, fontsize=9.5, color=ink)
    bar.ax.tick_params(colors=ink, labelsize=8.5)
    bar.outline.set_visible(False)


def _label(path: Any) -> str:
    action = getattr(path, "action", None)
    if action is None:
        return "path"
    times = getattr(path, "times", None)
    if not isinstance(times, np.ndarray):
        return f"least action over all times, {action:.6g}"
    if getattr(path, "distance", None) is not None:
        return f"gradient flow over time {times[-1] - times[0]:g}"
    return f"path of action {action:.6g} in time {times[-1] - times[0]:g}"
