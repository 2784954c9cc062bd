"""Letting go of critical points that a path is held on and need not cross.

A path that is held on a critical point turns sharply there if it need not cross it; cutting the corner then costs less.
"""

from __future__ import annotations

import numpy as np

from actionopt.paths.mesh import Path, evaluate
from actionopt.paths.pins import CHEAPER, cheaper
from actionopt.paths.refine import settle, start
from actionopt.paths.resolved import Resolved
from actionopt.paths.system import System

CUTS = (0.005, 0.015, 0.04, 0.08, 0.15, 0.25)  # of a corner, relative to the length of the path
ATTEMPTS = 4  # at bringing a path to rest that was let go


def released(system: System, found: Resolved, count: int) -> Resolved | None:
    """Solve the path anew from where its corners are cut, with `count` elements; None where that does not cost less."""
    cut = least_cut(system, found)
    if cut is None:
        return None
    free = start(system, cut.points, count)
    for _ in range(ATTEMPTS):
        if free is None or free.converged:
            break
        free = settle(system, free, count)
    return free if free is not None and free.converged and cheaper(free.path, found.path) else None


def least_cut(system: System, found: Resolved) -> Path | None:
    """Return the least of the curves that cut one corner of a path where it is held; None where none costs less."""
    if system.size == 1:
        return None
    places = range(1, len(found.cuts) - 1)
    trials = [evaluate(system, _corner_cut(found.path, found.cuts, place, share)) for place in places for share in CUTS]
    least = min(trials, key=lambda trial: trial.curve_action, default=None)
    if least is None or not least.curve_action < found.path.curve_action - CHEAPER * found.path.gross:
        return None
    return least


def _corner_cut(path: Path, cuts: np.ndarray, place: int, share: float) -> np.ndarray:
    """Return the points with those near a pin moved to the parabola that touches the path on both sides of it."""
    points, at = path.points.copy(), 2 * int(cuts[place])
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    room = min(arc[at] - arc[2 * cuts[place - 1]], arc[2 * cuts[place + 1]] - arc[at])
    reach = min(share * path.length, 0.9 * room)
    inside = np.abs(arc - arc[at]) < reach
    first, last = (np.array([np.interp(arc[at] + side * reach, arc, x) for x in points.T]) for side in (-1, 1))
    t = ((arc[inside] - arc[at]) / reach + 1.0)[:, None] / 2.0
    points[inside] = (1 - t) ** 2 * first + 2 * t * (1 - t) * path.points[at] + t**2 * last
    return points
