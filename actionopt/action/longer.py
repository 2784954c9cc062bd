"""Does a longer horizon help? Asked of paths that leave an attractor, where waiting costs nothing.

The action of such a path falls with the horizon, to its infimum as T -> infinity, which nobody meant to cut off. The
path over a longer horizon, from the one that was found, shows how much is missing. Elsewhere a horizon is part of the
question, and is not doubted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from actionopt.action.attractor import Attractor, turns
from actionopt.action.discrete import ActionPoint, DiscreteAction
from actionopt.action.pieces import evaluate_pieces
from actionopt.action.scheme import Scheme, make_scheme
from actionopt.action.solution import ActionSolution
from actionopt.action.solvers import ActionSolver
from actionopt.action.task import ActionTask, Limits

SETTLED = 0.01  # part of the action that a longer horizon may save
LIMIT = 200  # iterations of the longer path


@dataclass(frozen=True)
class Longer:
    """The path over a longer horizon.

    Attributes
    ----------
    horizon, action : float
    saved : float
        Part of the action that it saves.
    """

    horizon: float
    action: float
    saved: float

    @property
    def saves(self) -> bool:
        """Whether the horizon that was asked for is too short."""
        return self.saved > SETTLED


def over_longer(
    solver: ActionSolver,
    action: DiscreteAction,
    solution: ActionSolution,
    attractor: Attractor,
    limits: Limits,
    tick: Callable[..., None],
) -> Longer | None:
    """Find the path over a longer horizon; None where the horizon is long enough."""
    task, point = action.task, action.at(solution.points)
    if attractor.positions is None:
        if not fading(point):
            return None
        guesses = [_stretched(task.scheme, solution.points)]
    else:
        turned = [_turning(task, attractor, share * attractor.period) for share in (0.25, 0.5, 0.75, 1.0)]
        guesses = [_after_a_turn(task.scheme, solution.points, attractor), *turned]
    brief = Limits(limits.tol, min(limits.max_iterations, LIMIT))
    found = [_solved(solver, action, scheme, guess, brief, tick) for scheme, guess in guesses]
    horizon, value = min(found, key=lambda pair: pair[1])
    return Longer(horizon, value, 1.0 - value / point.value)


def fading(point: ActionPoint) -> float:
    """`H T / S`, what part of the action more time would save at the present rate, as dS/dT = -H; 0 where little."""
    if not point.value > 0:
        return 0.0
    saved = float(point.action.scheme.weights @ point.expansion.hamiltonian) / point.value
    return saved if saved > SETTLED else 0.0


def _solved(
    solver: ActionSolver,
    action: DiscreteAction,
    scheme: Scheme,
    guess: np.ndarray,
    limits: Limits,
    tick: Callable[..., None],
) -> tuple[float, float]:
    """Return horizon and action of the path on another grid; that of an iterate is an upper bound and does too."""
    longer = DiscreteAction(action.density, replace(action.task, scheme=scheme))
    found = solver.solve(longer, guess, limits, tick)
    return float(scheme.times[-1] - scheme.times[0]), longer.at(found.points).value


def _stretched(scheme: Scheme, points: np.ndarray) -> tuple[Scheme, np.ndarray]:
    """Twice the horizon in twice as many steps, the path twice as slow."""
    times = scheme.times
    nodes = np.sort(np.concatenate([times, 0.5 * (times[:-1] + times[1:])]))
    long = make_scheme(scheme.name, times[0] + 2.0 * (nodes - times[0]))
    return long, evaluate_pieces(scheme, points, times[0] + 0.5 * (long.points - times[0]))


def _turning(task: ActionTask, cycle: Attractor, more: float) -> tuple[Scheme, np.ndarray]:
    """A longer horizon, turning on the cycle and leaving it at last: S depends on where on it one leaves."""
    times = task.scheme.times
    horizon = times[-1] - times[0]
    steps = max(2, round((len(times) - 1) * (horizon + more) / horizon))
    long = make_scheme(task.scheme.name, np.linspace(times[0], times[-1] + more, steps + 1))
    return long, turns(replace(task, scheme=long), cycle)[-1]


def _after_a_turn(scheme: Scheme, points: np.ndarray, cycle: Attractor) -> tuple[Scheme, np.ndarray]:
    """One period more, the path after a turn on the cycle."""
    times = scheme.times
    turn = np.linspace(0.0, cycle.period, 1 + max(2, round(cycle.period / np.diff(times).mean())))
    long = make_scheme(scheme.name, np.concatenate([times[0] + turn[:-1], times + cycle.period]))
    since = long.points - times[0]
    after = evaluate_pieces(scheme, points, np.maximum(long.points - cycle.period, times[0]))
    return long, np.where((since < cycle.period)[:, None], cycle.follow(since), after)
