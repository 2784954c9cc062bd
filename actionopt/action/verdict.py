"""The second word after "stationary": is the path a minimum, the grid fine enough, the horizon long enough?

Statuses other than "converged" that are given here: "saddle", "underresolved", "horizon too short".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from actionopt.action.discrete import ActionPoint, DiscreteAction
from actionopt.action.lagrangian import Drift
from actionopt.action.scheme import position_laws, slope_laws
from actionopt.action.second_variation import LowestMode
from actionopt.action.task import ActionSolution
from actionopt.problem import Problem

RESOLVED = 0.05  # part of the action by which that of the curve may differ from the scheme's
SETTLED = 0.01  # part of the action that a horizon longer by itself may still save, to first order
WAITING = 1e-3  # part of the action that waiting in the start over the whole horizon may cost
FOUR_POINTS = np.polynomial.legendre.leggauss(4)


def judged(action: DiscreteAction, solution: ActionSolution, mode: LowestMode | None) -> ActionSolution:
    """Say what is known of a stationary path beyond that; `mode` is its lowest mode, where it was computed."""
    point = action.at(solution.points)
    words: list[str] = [solution.message]
    status = solution.status
    stats: dict[str, Any] = dict(solution.stats)
    if mode is not None:
        stats |= {"lowest_eigenvalue": mode.value, "is_minimum": mode.is_minimum}
        words.append(_second_variation(mode))
        status = "saddle" if mode.is_minimum is False else status
    with np.errstate(all="ignore"):
        curve = curve_action(point)
        off = abs(curve - point.value) / max(point.magnitude, np.finfo(float).tiny)
        saved = _saved_by_time(point) if solution.forces is None else 0.0
    if _is_transition(action) and not off <= RESOLVED:
        stats["curve_action"] = curve
        status = "underresolved"
        words.append(
            f"the action of the curve itself is {curve:.6g}, {100 * off:.2g} % off: the grid is too coarse for it. "
            'Take more steps, scheme="gauss2", or times= that are dense where the path moves fast'
        )
    elif saved > SETTLED:
        stats["saved_by_horizon"] = saved
        words.append(
            f"the action still falls with a longer horizon, at first by {100 * saved / 10:.2g} % for a tenth more: "
            "least_action_path finds its infimum over all horizons"
        )
        if status == "converged" and _leaves_an_attractor(point):
            status = "horizon too short"
    return replace(solution, status=status, message="; ".join(words), stats=stats)


def curve_action(point: ActionPoint) -> float:
    """The action of the polynomial pieces, by four Gauss points an interval: of the curve, not of the scheme."""
    scheme, degree = point.action.scheme, int(point.action.scheme.nodes[1])
    local, weights = 0.5 * (FOUR_POINTS[0] + 1.0), 0.5 * FOUR_POINTS[1]
    lengths = np.diff(scheme.times)
    pieces = point.points[np.arange(len(lengths))[:, None] * degree + np.arange(degree + 1)]
    w = np.einsum("qi,kin->kqn", position_laws(scheme, local), pieces)
    v = np.einsum("qi,kin->kqn", slope_laws(scheme, local), pieces) / lengths[:, None, None]
    t = scheme.times[:-1, None] + lengths[:, None] * local
    n = point.points.shape[1]
    value = point.action.density.expand_blocks(w.reshape(-1, n), v.reshape(-1, n), t.ravel()).value
    total = float((lengths[:, None] * weights).ravel() @ value)
    return total if point.end is None else total + point.end[0]


def _second_variation(mode: LowestMode) -> str:
    eigenvalue = f"lowest eigenvalue of the second variation {mode.value:.2g}"
    if mode.is_minimum is False:
        return f"a saddle of the action, not a minimum ({eigenvalue}): start from a guess off it, such as path_through"
    kind = "a local minimum" if mode.is_minimum else "flat to second order in one direction"
    return f"{kind} ({eigenvalue}); other guesses may end lower"


def _is_transition(action: DiscreteAction) -> bool:
    """Whether the path has an action of its own, as one between given ends has and a flow has not."""
    return not np.isnan(action.task.end).all() or not isinstance(action.task.what, Problem)


def _saved_by_time(point: ActionPoint) -> float:
    """`H T / S`, what a longer horizon saves to first order, as dS/dT = -H; zero where that is not what is asked."""
    action = point.action
    task = action.task
    if np.isnan(task.start).any() or np.isnan(task.end).any() or not isinstance(task.what, (Problem, Drift)):
        return 0.0
    if not point.value > 0:
        return 0.0
    return float(action.scheme.weights @ point.expansion.hamiltonian) / point.value


def _leaves_an_attractor(point: ActionPoint) -> bool:
    """Whether the path starts where the flow rests, or on a cycle of it: then waiting costs nothing."""
    task, density = point.action.task, point.action.density
    times = task.scheme.times
    horizon = times[-1] - times[0]
    still = density.expand(task.start[None], np.zeros((1, task.size)), times[:1])
    if horizon * still.value[0] <= WAITING * point.value:
        return True
    return isinstance(task.what, Drift) and _returns(task.what, task.start, horizon)


def _returns(what: Drift, start: np.ndarray, horizon: float) -> bool:
    """Whether the flow comes back to the start, after it has left, within the horizon."""
    from scipy.integrate import solve_ivp  # a third of a second, which few runs need

    from actionopt.ops import NUMPY

    flow = solve_ivp(
        lambda t, w: what.drift(NUMPY, w), (0.0, horizon), start, method="LSODA", rtol=1e-6, atol=1e-9, dense_output=True
    )
    if not flow.success:
        return False
    away = np.linalg.norm(flow.sol(np.linspace(0.0, horizon, 2000)).T - start, axis=1)
    far = int(away.argmax())
    return bool(away[far:].min() <= 0.02 * away[far])
