"""From a guess to a resolved path: Newton's method, new meshes, critical points pinned as nodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from actionopt.paths.mesh import evaluate
from actionopt.paths.newton import solve
from actionopt.paths.pins import pinned
from actionopt.paths.remesh import polyline, redistribute
from actionopt.paths.resolved import Resolved, lay_and_solve
from actionopt.paths.system import System

SETTLED = 1e-4  # change of the action from mesh to mesh, relative, at which a coarse path stops moving
ROUNDS = 6
BRIEF, LONG = 8, 25  # Newton steps on one mesh, for a first look and afterwards
LOOSE = 1e-5  # tolerance on the gradient before the last mesh
SAMPLES = 2001  # where a drift in one dimension is looked at for its zeros


def begin(system: System, curve: np.ndarray, count: int) -> Resolved | None:
    """Take a few Newton steps from a guess `(k, n)`, on two meshes; None where its action is not finite."""
    points, cuts = polyline(curve, count), np.array([0, count])
    if not np.isfinite(evaluate(system, points).action):
        return None
    if system.size == 1:
        return _one_dimension(system, points, count)
    found = Resolved(solve(system, points, 2 * cuts, tol=LOOSE, max_iterations=BRIEF), cuts)
    return _again(system, found, count, LOOSE, BRIEF)


def settle(system: System, found: Resolved, count: int) -> Resolved:
    """Alternate new meshes, Newton's method and new pins until the action stays."""
    if system.size == 1:
        return found
    spent = 0
    for _ in range(ROUNDS):
        before = found.action
        found = _again(system, found, count, LOOSE, LONG)
        found = pinned(system, found, count, LOOSE)
        spent += found.stationary.iterations
        if abs(found.action - before) <= SETTLED * found.path.gross or spent > 3 * LONG:
            break
    return found


def start(system: System, curve: np.ndarray, count: int) -> Resolved | None:
    """Solve a path with few elements from a guess `(k, n)`; None where its action is not finite."""
    found = begin(system, curve, count)
    return None if found is None else settle(system, found, count)


def refine(system: System, found: Resolved, count: int, tol: float, *, rounds: int = 2, pin: bool = True) -> Resolved:
    """Solve a path anew with `count` elements; unless `pin`, no critical point becomes a node."""
    if system.size == 1:
        return _one_dimension(system, found.path.points[[0, -1]], count)
    for _ in range(rounds):
        found = _again(system, found, count, LOOSE, plain=True)
        found = pinned(system, found, count, LOOSE) if pin else found
    return replace(found, stationary=solve(system, found.path.points, 2 * found.cuts, tol=tol))


def _again(system: System, found: Resolved, count: int, tol: float, most: int = 60, plain: bool = False) -> Resolved:
    folded = not found.converged  # as a rule it turns back on itself somewhere
    return lay_and_solve(
        system, found.path, found.cuts, found.passed, count, tol, most, plain=folded and plain, smooth=folded
    )


def _one_dimension(system: System, points: np.ndarray, count: int) -> Resolved:
    """On a line there is one path, and its action is an integral between the zeros of the drift."""
    from scipy.optimize import brentq

    first, last = float(points[0, 0]), float(points[-1, 0])
    grid = np.linspace(first, last, SAMPLES)
    drift = system.drift(grid[:, None])[:, 0]
    crossings = np.flatnonzero(drift[1:-1] * drift[2:] <= 0) + 1
    crossings = crossings[(drift[crossings] != 0) | (drift[crossings - 1] != 0)]
    zeros = [
        float(brentq(lambda x: float(system.drift(np.array([[x]]))[0, 0]), grid[i], grid[i + 1], xtol=1e-15))
        for i in crossings
        if i + 1 < SAMPLES - 1 or drift[i + 1] != 0
    ]
    inner = sorted({z for z in zeros if min(abs(z - first), abs(z - last)) > 1e-9 * abs(last - first)})
    inner = inner if last > first else inner[::-1]
    corners = np.array([first, *inner, last])[:, None]
    cuts = np.arange(len(corners))
    coarse = np.repeat(corners, 2, axis=0)[:-1]
    coarse[1::2] = 0.5 * (corners[:-1] + corners[1:])
    points, cuts = redistribute(evaluate(system, coarse), cuts, max(count, len(inner) + 1))
    return Resolved(solve(system, points, 2 * cuts, tol=1.0), cuts)
