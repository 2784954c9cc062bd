"""The stage of a run that goes from one attractor to another: where the problem file names two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from actionopt import figures
from actionopt.action.draw_landscape import plot_landscape
from actionopt.action.lagrangian import Lagrangian
from actionopt.action.trajectory import Trajectory
from actionopt.paths.attractor import attracts
from actionopt.paths.draw_path import draw_path, draw_profile
from actionopt.paths.kinds import kinds_of_points
from actionopt.paths.least_action import least_action_path
from actionopt.paths.result import GeometricPath
from actionopt.problem import Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRANSITION = "transition.npz"
SIZE = 60  # coordinates up to which a path is looked for: its Hessian has (3 n)^2 entries an element
Ends = tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]]


class Trip(Protocol):
    """What a run works on, and where it keeps what it found."""

    @property
    def what(self) -> Problem | Lagrangian: ...
    @property
    def options(self) -> Any: ...
    @property
    def points(self) -> dict[str, Any]: ...
    @property
    def folder(self) -> Path: ...
    @property
    def attractors(self) -> Ends | None: ...


def find_ends(context: Trip) -> Ends | None:
    """Return the two attractors of a transition with their names: the first two POINTS that are, None where none are.

    A start and an end that are attractors go before.
    """
    if context.what.size > SIZE:
        return None
    options, named = context.options, context.points
    given = [(_name(named, w), w) for w in (options.start, options.end) if w is not None and np.isfinite(w).all()]
    places = [(name, np.atleast_1d(np.asarray(w, dtype=float))) for name, w in named.items()]
    found: list[tuple[str, np.ndarray]] = []
    for name, w in [*given, *places]:
        new = w.shape == (context.what.size,) and not any(np.array_equal(w, other) for _, other in found)
        if new and attracts(context.what, w, options.metric):
            found.append((name, w))
        if len(found) == 2:
            return found[0], found[1]
    return None


def _name(named: dict[str, Any], w: np.ndarray) -> str:
    return next((name for name, point in named.items() if np.array_equal(np.atleast_1d(point), w)), "a given point")


def find_transition(context: Trip) -> tuple[GeometricPath, str]:
    """Find the path between the two attractors, save it, and say what it is."""
    assert context.attractors is not None
    (first, start), (last, end) = context.attractors
    found = least_action_path(context.what, start, end, metric=context.options.metric, throw=False)
    found.save(context.folder / TRANSITION)
    kinds = ", ".join(point.kind for point in found.critical_points[1:-1]) or "no critical point"
    message = (
        f"From {first} to {last}, both attractors, the least action over all horizons is {found.action:.8g}, with an "
        f"estimated error of {found.action_error:.1g}: at small noise eps the flow leaves at the rate exp(-S/eps). "
        f"Between them the path passes: {kinds}."
    )
    if found.energy is not None:
        message += f" It climbs by {found.energy.max() - found.energy[0]:.6g} in energy."
    others = [f"{c.action:.6g} ({c.name}, {c.elements} elements)" for c in found.candidates[1:]]
    if others:
        message += f" Other paths were found at {', '.join(others)}."
    if not found.success:
        message += f" But {found.message}."
    elif not found.is_minimum:
        message += " But it is no minimum of the action: its second variation is negative."
    return found, message


def draw_transition(context: Trip, dark: bool) -> Figure:
    """Draw the path on the landscape it crosses, or coordinate by coordinate where there is one alone."""
    found = GeometricPath.load(context.folder / TRANSITION)
    if context.what.size == 1:
        fig, ax = figures.figure(width=6.4, height=3.2, dark=dark)
        draw_path(found, ax)
        return fig
    fig, ax = figures.figure(width=6.4, height=4.8, dark=dark)
    plot_landscape(context.what, path=found, points=context.points, kinds=_kinds(context), ax=ax)
    return fig


def draw_over_profile(context: Trip, found: Trajectory, dark: bool) -> Figure:
    """Draw a trajectory on its landscape, and the energy along its way below."""
    what, energy = context.what, found.energy
    if what.size == 1 or energy is None:
        fig, ax = figures.figure(width=6.4, height=4.0 if what.size > 1 else 3.2, dark=dark)
        plot_landscape(what, path=found, points=context.points, kinds=_kinds(context), ax=ax)
        return fig
    fig, (ax, below) = figures.figure(2, 1, width=6.4, height=6.0, dark=dark, height_ratios=(4, 1.3))
    plot_landscape(what, path=found, points=context.points, kinds=_kinds(context), ax=ax)
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(found.weights, axis=0), axis=1))])
    below.plot(arc, energy, color=figures.COLORS[1], lw=1.8)
    below.set(xlabel="length of the way", ylabel="energy")
    return fig


def _kinds(context: Trip) -> dict[str, str]:
    return kinds_of_points(context.what, context.points, context.options.metric)


def draw_transition_profile(context: Trip, dark: bool) -> Figure:
    """Draw action and energy along the path."""
    fig, ax = figures.figure(width=6.4, height=3.0, dark=dark)
    draw_profile(GeometricPath.load(context.folder / TRANSITION), ax)
    return fig
