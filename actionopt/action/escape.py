"""Leaving a saddle of the action: along its lowest mode, to either side, as often as there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from actionopt.action.discrete import DiscreteAction
from actionopt.action.second_variation import LowestMode, lowest_mode
from actionopt.action.solution import ActionSolution
from actionopt.action.solvers import ActionSolver
from actionopt.action.task import Limits

ESCAPES = 5
STEP = 0.05  # of the extent of the path


def to_a_minimum(
    solver: ActionSolver, action: DiscreteAction, solution: ActionSolution, limits: Limits, tick: Callable[..., None]
) -> tuple[ActionSolution, LowestMode | None]:
    """Follow lowest modes downhill until none is negative; the last solution, and its lowest mode.

    Returns
    -------
    solution, mode
        "unbounded" where a side has no lowest point; the saddle itself where neither side leads anywhere.
    """
    mode = lowest_mode(action.at(solution.points))
    for escapes in range(1, ESCAPES + 1):
        if mode is None or mode.is_minimum:
            break
        step = STEP * _extent(solution.points) / abs(mode.direction).max() * mode.direction
        sides = [solver.solve(action, solution.points + sign * step, limits, tick) for sign in (1.0, -1.0)]
        unbounded = [side for side in sides if side.status == "unbounded"]
        if unbounded:
            return _counted(unbounded[0], solution, escapes), mode
        lower = [side for side in sides if side.success and _value(action, side) < _value(action, solution)]
        if not lower:
            break
        best = min(lower, key=lambda side: _value(action, side))
        solution = _counted(best, solution, escapes)
        mode = lowest_mode(action.at(solution.points))
    return solution, mode


def _counted(found: ActionSolution, before: ActionSolution, escapes: int) -> ActionSolution:
    """Add up what both took."""
    sums = {key: found.stats[key] + before.stats[key] for key in ("iterations", "build_time", "solve_time")}
    return replace(found, stats={**found.stats, **sums, "escapes": escapes})


def _value(action: DiscreteAction, solution: ActionSolution) -> float:
    return action.at(solution.points).value


def _extent(points: np.ndarray) -> float:
    """How far a path goes, else how large its coordinates are, else one."""
    return float(np.ptp(points, axis=0).max() or abs(points).max() or 1.0)
