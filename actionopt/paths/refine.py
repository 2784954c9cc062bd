"""From a guess to a resolved path: Newton's method, new meshes, critical points pinned as nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from actionopt.paths.critical import find_zero
from actionopt.paths.mesh import Path, evaluate
from actionopt.paths.newton import Stationary, solve
from actionopt.paths.remesh import polyline, redistribute, sample, smoothed
from actionopt.paths.system import System

KEPT = 1e-2  # rise of the action, relative to it, up to which a critical point near the path stays a node of it
REACH = 0.1  # how far from the path a critical point may lie, relative to its length
SETTLED = 1e-4  # change of the action from mesh to mesh, relative, at which a coarse path stops moving
ROUNDS = 6
BRIEF, LONG = 8, 25  # Newton steps on one mesh, for a first look and afterwards
LOOSE = 1e-5  # tolerance on the gradient before the last mesh
SAMPLES = 2001  # where a drift in one dimension is looked at for its zeros


@dataclass(frozen=True)
class Resolved:
    """A path at one number of elements.

    Attributes
    ----------
    stationary : Stationary
    cuts : array (legs + 1,)
        Nodes (by element) where its legs meet: the ends and the critical points it passes.
    """

    stationary: Stationary
    cuts: np.ndarray

    @property
    def path(self) -> Path:
        """The path."""
        return self.stationary.path

    @property
    def action(self) -> float:
        """Its action."""
        return self.path.action

    @property
    def pins(self) -> np.ndarray:
        """The critical points it passes, `(k, n)`."""
        return self.path.points[2 * self.cuts[1:-1]]


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
    folded = not found.stationary.converged  # as a rule it turns back on itself somewhere
    points, cuts = redistribute(found.path, found.cuts, count, plain=folded and plain)
    if folded:
        points = smoothed(points, 2 * cuts)
    return Resolved(solve(system, points, 2 * cuts, tol=tol, max_iterations=most), cuts)


def pinned(system: System, found: Resolved, count: int, tol: float) -> Resolved:
    """Make critical points that the path passes nodes of it, one after the other, where its action hardly rises.

    Between a node and the next the action density is smooth only where the drift is not zero: a critical point inside
    an element makes the action too low.
    """
    refused: list[np.ndarray] = []
    while True:
        candidate = _nearby(system, found, refused)
        if candidate is None:
            return found
        node, zero = candidate
        points, cuts = found.path.points.copy(), np.union1d(found.cuts, [node])
        points[2 * node] = zero
        trial = evaluate(system, _bent(points, 2 * node))
        if np.isfinite(trial.action):
            points, cuts = redistribute(trial, cuts, count)
            solved = Resolved(solve(system, points, 2 * cuts, tol=tol, max_iterations=LONG), cuts)
            if solved.action <= found.action + KEPT * max(abs(found.action), 1e-3 * found.path.gross):
                found = solved
                continue
        refused.append(zero)


def _bent(points: np.ndarray, at: int) -> np.ndarray:
    """Put the middles beside a moved node half-way."""
    points[at - 1] = 0.5 * (points[at - 2] + points[at])
    points[at + 1] = 0.5 * (points[at] + points[at + 2])
    return points


def _nearby(system: System, found: Resolved, refused: Sequence[np.ndarray]) -> tuple[int, np.ndarray] | None:
    """Return the node and the place of a critical point that the path nearly passes, the nearest first."""
    path, count = found.path, found.path.count
    speeds = np.linalg.norm(system.drift(path.points), axis=1)
    low = np.flatnonzero((speeds[1:-1] <= speeds[:-2]) & (speeds[1:-1] <= speeds[2:])) + 1
    known = [*found.path.points[2 * found.cuts], *refused]
    curve, _ = sample(path.points)
    best: tuple[float, int, np.ndarray] | None = None
    for point in low:
        zero = find_zero(system, path.points[point], REACH * path.length)
        if zero is None or any(np.linalg.norm(zero - other) < 1e-6 * path.length for other in known):
            continue
        distance = float(np.linalg.norm(curve - zero, axis=1).min())
        nodes = path.points[2:-2:2]
        node = 1 + int(np.linalg.norm(nodes - zero, axis=1).argmin()) if count > 1 else 0
        if 0 < node < count and node not in found.cuts and (best is None or distance < best[0]):
            best = distance, node, zero
    return None if best is None else best[1:]


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
