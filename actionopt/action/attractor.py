"""Where a path of a flow starts: in a rest point, on a cycle, or somewhere else.

From an attractor a path may wait as long as it likes at no cost. Its action then falls with the horizon, and many paths
lead out, of which the straight line is seldom the least: other guesses are tried, and a longer horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np

from actionopt.action.density.formula import LagrangianDensity
from actionopt.action.discrete import DiscreteAction
from actionopt.action.lagrangian import Drift
from actionopt.action.task import ActionTask
from actionopt.ops import CASADI
from actionopt.problem import Problem

RESTS = 1e-6  # cost of waiting over the horizon, as part of what the straight line costs
RETURNED = 0.02  # part of its longest way within which a cycle comes back
ROUNDS, STEPS = 4, 2000  # horizons over which a cycle is looked for, in steps of Runge and Kutta


@dataclass(frozen=True)
class Attractor:
    """A rest point, or a cycle with its period and positions `(k, n)` over one, equally spaced in time."""

    period: float = 0.0
    positions: np.ndarray | None = None

    def follow(self, since: np.ndarray) -> np.ndarray:
        """Positions on the cycle `since (K,)` the start, `(K, n)`."""
        assert self.positions is not None
        grid = np.linspace(0.0, self.period, len(self.positions))
        return np.stack([np.interp(since % self.period, grid, column) for column in self.positions.T], axis=-1)


def attractor_of(action: DiscreteAction, line: np.ndarray) -> Attractor | None:
    """Return the attractor that a path between given ends starts in, None where it is none.

    Parameters
    ----------
    action : DiscreteAction
    line : array (K, n)
        The straight line, whose action says what is cheap.
    """
    if rests(action, line):
        return Attractor()
    task, times = action.task, action.task.scheme.times
    return _cycle(task, ROUNDS * (times[-1] - times[0])) if _asked(action) and isinstance(task.what, Drift) else None


def rests(action: DiscreteAction, line: np.ndarray) -> bool:
    """Whether a path between given ends of a flow starts where the flow rests."""
    if not _asked(action):
        return False
    task, times = action.task, action.task.scheme.times
    with np.errstate(all="ignore"):
        still = action.density.expand(task.start[None], np.zeros((1, task.size)), times[:1]).value[0]
        return bool((times[-1] - times[0]) * still <= RESTS * action.at(line).value)


def _asked(action: DiscreteAction) -> bool:
    task = action.task
    fixed = not (np.isnan(task.start).any() or np.isnan(task.end).any())
    flows = isinstance(task.what, (Problem, Drift)) and isinstance(action.density, LagrangianDensity)
    return fixed and flows and not task.constrained


def turns(task: ActionTask, cycle: Attractor) -> list[np.ndarray]:
    """Return guesses that turn on a cycle and leave it for the end, early or late."""
    points = task.scheme.points
    fraction = ((points - points[0]) / (points[-1] - points[0]))[:, None]
    turning = cycle.follow(points - points[0])
    return [turning + fraction**power * (task.end - turning[-1]) for power in (1, 4)]


def _cycle(task: ActionTask, horizon: float) -> Attractor | None:
    """Follow the flow from the start over the horizon, as far as it comes back."""
    assert isinstance(task.what, Drift)
    drift, w, h = task.what.drift, ca.SX.sym("w", task.size), horizon / STEPS

    def slope(at: ca.SX) -> ca.SX:
        return ca.SX(ca.vec(drift(CASADI, at.T)))

    k1 = slope(w)
    k2 = slope(w + 0.5 * h * k1)
    k3 = slope(w + 0.5 * h * k2)
    k4 = slope(w + h * k3)
    step = ca.Function("step", [w], [w + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)])
    flow = np.concatenate([task.start[None], step.mapaccum(STEPS)(task.start).full().T])
    away = np.linalg.norm(flow - task.start, axis=1)
    if not np.isfinite(away).all():
        return None
    widest = away.max()
    left = int(np.argmax(away > 0.5 * widest))
    near = left + np.flatnonzero(away[left:] <= RETURNED * widest)
    if not len(near):
        return None
    back = int(near[0] + away[near[0] : near[0] + STEPS // 20].argmin())
    return Attractor(back * h, flow[: back + 1])
