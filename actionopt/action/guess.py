"""The trajectory a solver starts from."""

from __future__ import annotations

from typing import Any

import numpy as np

from actionopt.action.density.local_model import LocalModel
from actionopt.action.explicit import INTERRUPTED
from actionopt.action.inertial import Inertial
from actionopt.action.march import march
from actionopt.action.task import ActionTask
from actionopt.action.trajectory import Trajectory
from actionopt.arrays import real_array
from actionopt.errors import InputError, unknown_name
from actionopt.problem import Problem

GUESSES = ("flow", "line")
WAVES = 3  # of a random guess
ARCS = 2  # directions in which a guess is bent


class GuessInterrupted(KeyboardInterrupt):
    """Ctrl-C while the flow was followed that is the first guess.

    Attributes
    ----------
    points : array (k, n)
        What was reached of it, at the first of the scheme's points.
    """

    def __init__(self, points: np.ndarray) -> None:
        super().__init__()
        self.points = points


def first_guess(task: ActionTask, guess: Any = None) -> np.ndarray:
    """Return points `(K, n)` that meet the fixed start and end.

    Parameters
    ----------
    task : ActionTask
    guess : None, "flow", "line", Trajectory, array (N+1, n) or array (K, n)
        None is the marched flow where the end is free and the system has a flow, the straight line otherwise. A
        trajectory on another grid or horizon is resampled.

    Raises
    ------
    InputError
        If the guess has another shape, is not finite, or a flow is asked of a system that has none.
    """
    if isinstance(guess, Trajectory):
        points = resampled(task, guess)
    elif guess is None or isinstance(guess, str):
        points = _named(task, guess)
    else:
        points = _given(task, guess)
    points = points.copy()
    points[0] = np.where(np.isnan(task.start), points[0], task.start)
    points[-1] = np.where(np.isnan(task.end), points[-1], task.end)
    return np.clip(points, task.lower, task.upper)


def resampled(task: ActionTask, trajectory: Trajectory) -> np.ndarray:
    """Lay a trajectory on a task's points; a different horizon stretches time."""
    if trajectory.weights.shape[1] != task.size:
        raise InputError(f"the guess has {trajectory.weights.shape[1]} coordinates, the system {task.size}")
    times, points = trajectory.times, task.scheme.points
    stretched = (points - points[0]) * (times[-1] - times[0]) / (points[-1] - points[0]) + times[0]
    return trajectory.resample(stretched)


def _named(task: ActionTask, guess: str | None) -> np.ndarray:
    if guess not in (None, *GUESSES):
        raise unknown_name("guess", guess, GUESSES)
    if guess == "flow" and not isinstance(task.what, Problem):
        raise InputError('guess "flow" needs a Problem, whose gradient flow it is; give "line" or points')
    begins = not np.isnan(task.start).any()
    if guess == "flow" and not begins:
        raise InputError('guess "flow" needs a fixed start, from which it goes; give "line" or points')
    if guess is None and begins and isinstance(task.what, Inertial) and np.isnan(task.end).all():
        followed = task.what.flow(task.start, task.scheme.points)
        if followed is not None:
            return followed
    natural = begins and isinstance(task.what, Problem) and np.isnan(task.end).all()
    if guess == "flow" or (guess is None and natural):
        assert isinstance(task.what, Problem)
        marched = march(LocalModel(task.what, task.metric), task.scheme, task.start, tol=1e-11)
        if marched.failure is None:
            return marched.points
        if marched.failure == INTERRUPTED:
            raise GuessInterrupted(marched.points)
        if guess == "flow":
            raise InputError(f"the flow cannot serve as guess: {marched.failure}. Take more steps or another guess")
    return _line(task)


def _line(task: ActionTask) -> np.ndarray:
    points = task.scheme.points
    fraction = (points - points[0]) / (points[-1] - points[0])
    # a free end stays where the other one is
    start = np.where(np.isnan(task.start), np.nan_to_num(task.end), task.start)
    return start + np.outer(fraction, np.where(np.isnan(task.end), 0.0, task.end - start))


def _given(task: ActionTask, guess: Any) -> np.ndarray:
    scheme = task.scheme
    array = real_array("guess", guess, "a path, 'flow', 'line', a Trajectory or None")
    nodes, points = (len(scheme.times), task.size), (len(scheme.points), task.size)
    if array.shape not in (nodes, points):
        raise InputError(f"guess must have shape {nodes} (nodes) or {points} (the scheme's points), got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("guess must be finite")
    return array if array.shape == points else scheme.interpolate(scheme.times, array)


def random_guess(task: ActionTask, seed: int) -> np.ndarray:
    """Return the line, bent by three sines of random directions that together are about as large as it is long.

    Where it does not move, the length is that of its position, else one.
    """
    line, points = _line(task), task.scheme.points
    fraction = ((points - points[0]) / (points[-1] - points[0]))[:, None]
    size = float(np.linalg.norm(line[-1] - line[0]) or np.linalg.norm(line[0]) or 1.0)
    rng = np.random.default_rng(seed)
    for wave in range(1, WAVES + 1):
        aside = rng.standard_normal(task.size) * 0.5 * size / (wave * np.sqrt(task.size))
        line = line + np.sin(wave * np.pi * fraction) * aside
    return np.clip(line, task.lower, task.upper)


def arcs(task: ActionTask, line: np.ndarray) -> list[np.ndarray]:
    """Bend a guess to either side, by half its length: in the plane across it, else in two random directions.

    Where it does not move, the length is that of its position, else one. Free ends move along.
    """
    fraction = (task.scheme.points - task.scheme.points[0]) / (task.scheme.points[-1] - task.scheme.points[0])
    along = line[-1] - line[0]
    length = float(np.linalg.norm(along))
    size = length or float(np.linalg.norm(line[0])) or 1.0
    if task.size == 1 and length > 0.0:
        return []
    held = np.sin(np.pi * fraction)[:, None]
    bend = np.where(np.isnan(task.end), np.sin(0.5 * np.pi * fraction)[:, None], held)
    bend = np.where(np.isnan(task.start), np.where(np.isnan(task.end), 1.0, bend[::-1]), bend)
    rng, bent = np.random.default_rng(0), []
    for _ in range(1 if task.size <= 2 and length > 0.0 else ARCS):
        aside = rng.standard_normal(task.size)
        if length > 0.0:
            aside -= (aside @ along) / length**2 * along
        aside *= 0.5 * size / np.linalg.norm(aside)
        bent += [np.clip(line + sign * bend * aside, task.lower, task.upper) for sign in (1.0, -1.0)]
    return bent
