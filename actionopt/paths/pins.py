"""Critical points near a path: does it pass through them, and they are held as nodes, or by them?

Between a node and the next the action density is smooth only where the drift is not zero: a critical point inside an
element makes the quadrature's action too low, so that it cannot say which of the two is cheaper. The action of the
curve itself can, an upper bound of the infimum whatever the mesh.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actionopt.paths.critical import find_zero
from actionopt.paths.mesh import Path, evaluate
from actionopt.paths.remesh import sample
from actionopt.paths.resolved import Resolved, lay_and_solve
from actionopt.paths.system import System

KEPT = 1e-2  # rise of the action, relative to it, up to which a critical point near the path may become a node of it
REACH = 0.1  # how far from the path a critical point may lie, relative to its length
STEPS = 25  # Newton steps for a path with one pin more or less
CHEAPER = 3e-7  # fall of the action of the curve, relative to its scale, for which a corner is cut


def pinned(system: System, found: Resolved, count: int, tol: float) -> Resolved:
    """Make critical points that the path passes nodes of it, one after the other, where its action hardly rises.

    Where the curve that does not meet the point costs less than the one that does, it passes by.
    """
    refused: list[np.ndarray] = []
    passed: list[np.ndarray] = []
    while (candidate := _nearby(system, found, [*refused, *passed])) is not None:
        node, zero = candidate
        points, cuts = found.path.points.copy(), np.union1d(found.cuts, [node])
        points[2 * node] = zero
        trial = evaluate(system, _bent(points, 2 * node))
        if np.isfinite(trial.action):
            solved = lay_and_solve(system, trial, cuts, found.passed, count, tol, STEPS)
            if solved.action <= found.action + KEPT * max(abs(found.action), 1e-3 * found.path.gross):
                if cheaper(found.path, solved.path):
                    passed.append(zero)
                else:
                    found = solved
                continue
        refused.append(zero)
    new = np.array(passed).reshape(-1, system.size)
    if len(new) == 0 and len(found.passed) == 0:
        return found
    return lay_and_solve(system, found.path, found.cuts, new, count, tol, STEPS)


def cheaper(path: Path, other: Path) -> bool:
    """Whether a curve costs less than another by more than their meshes explain."""
    meshes = sum(abs(p.action - p.curve_action) for p in (path, other))
    return path.curve_action < other.curve_action - CHEAPER * other.gross - meshes


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
