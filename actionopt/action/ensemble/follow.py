"""Explicit steps of many flows at once, "euler" and "rk4"."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from actionopt.action.ensemble.march import Courses
from actionopt.action.explicit import INTERRUPTED, Velocity, euler_step, flow_velocity, rk4_step
from actionopt.errors import SolverError
from actionopt.metric.batched import room
from actionopt.metric.kinds import kind_of
from actionopt.problem import Problem

STEPS = {"euler": euler_step, "rk4": rk4_step}
NOT_FINITE = "weights or energy are not finite"


def follow_all(
    problem: Problem, metric: str, grid: np.ndarray, starts: np.ndarray, method: str, tick: Callable[[], None]
) -> Courses:
    """Step all flows from node to node; one that stops leaves the others as they are."""
    count, steps = len(starts), len(grid) - 1
    step, velocity = STEPS[method], stacked_velocity(problem, metric)
    points = np.repeat(starts[:, None], steps + 1, axis=1)
    energy = np.repeat(np.asarray(problem.energy(starts))[:, None], steps + 1, axis=1)
    courses = Courses(points, np.zeros(count, dtype=int), [None] * count, [], [{} for _ in starts], energy)
    going = np.arange(count)
    try:
        for k, h in enumerate(np.diff(grid)):
            reached = _stepped(problem, step, velocity, points[going, k], float(h))
            points[going, k + 1], energy[going, k + 1], failures = reached
            for s, failure in zip(going, failures, strict=True):
                courses.failures[s] = failure
            going = going[[failure is None for failure in failures]]
            courses.reached[going] = k + 1
            if not going.size:
                break
            tick()
    except KeyboardInterrupt:
        for s in going:
            courses.failures[s] = INTERRUPTED
    courses.stats = [{"iterations": int(reached)} for reached in courses.reached]
    return courses


def stacked_velocity(problem: Problem, metric: str) -> Velocity:
    """Return `w (S, n) -> -G^{-1} g`, in stacks of a good size; NaN at weights that are not finite."""
    count, plain = room(problem, kind_of(metric)), flow_velocity(problem, metric)

    def velocity(w: np.ndarray) -> np.ndarray:
        finite = np.isfinite(w).all(axis=-1)
        found = np.full_like(w, np.nan)
        sound = np.flatnonzero(finite)
        for first in range(0, len(sound), count):
            cut = sound[first : first + count]
            found[cut] = plain(w[cut])
        return found

    return velocity


def _stepped(
    problem: Problem, step: Callable[..., np.ndarray], velocity: Velocity, w: np.ndarray, h: float
) -> tuple[np.ndarray, np.ndarray, list[str | None]]:
    """Return weights and energies after a step of each flow, and what stopped it."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            moved = step(velocity, w, h)
            finite = np.isfinite(moved).all(axis=-1)
            energy = np.asarray(problem.energy(np.where(finite[:, None], moved, 0.0)))
    except (ValueError, ArithmeticError, SolverError) as error:
        if len(w) == 1:
            return w, np.zeros(1), [str(error)]
        parts = [_stepped(problem, step, velocity, one[None], h) for one in w]  # to see whose it is
        weights, energies, failures = zip(*parts, strict=True)
        return np.concatenate(weights), np.concatenate(energies), [failure for (failure,) in failures]
    return moved, energy, [None if ok else NOT_FINITE for ok in finite & np.isfinite(energy)]
