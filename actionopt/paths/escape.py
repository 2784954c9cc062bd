"""Leaving a saddle of the action along the lowest direction of its second variation."""

from __future__ import annotations

import numpy as np

from actionopt.paths.mesh import Hyperplanes, evaluate
from actionopt.paths.refine import start
from actionopt.paths.resolved import Resolved
from actionopt.paths.second_variation import lowest
from actionopt.paths.system import System

INDEFINITE = 1e-6  # eigenvalue times length^3 over the scale of the action, below minus which a path is left
AMPLITUDES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35)  # of a displacement, relative to the length of the path
ATTEMPTS = 5
LOWER = 1e-6  # fall of the action, relative to its scale, at which another path counts as lower


def escape(system: System, found: Resolved, count: int) -> Resolved:
    """Move along the lowest eigenvector, both ways, and solve again, until the path is a minimum or no way leads down.

    Pinned critical points are released for it: what a path leaves may be the critical point.
    """
    for _ in range(ATTEMPTS):
        lower = _descend(system, found, count)
        if lower is None:
            return found
        found = lower
    return found


def _descend(system: System, found: Resolved, count: int) -> Resolved | None:
    path = found.path
    planes = Hyperplanes.across(path.points, np.array([0, len(path.points) - 1]))
    value, direction = lowest(path, planes)
    if not value * path.length**3 < -INDEFINITE * path.gross:
        return None
    direction = direction / np.linalg.norm(direction, axis=1).max()
    best: Resolved | None = None
    for sign in (1.0, -1.0):
        trials = [
            evaluate(system, planes.move(path.points, sign * size * path.length * direction)) for size in AMPLITUDES
        ]
        trial = min(trials, key=lambda trial: trial.action)
        if not trial.action < path.action:
            continue
        new = start(system, trial.points, count)
        if new is not None and (best is None or new.action < best.action):
            best = new
    if best is None or best.action > found.action - LOWER * path.gross:
        return None
    return best
