"""The second word after "stationary": is the path a minimum, the grid fine enough, the horizon long enough?

Statuses other than "converged" that are given here are "saddle" and the `CAUTIONS`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from actionopt.action.density.formula import LagrangianDensity
from actionopt.action.discrete import ActionPoint, DiscreteAction
from actionopt.action.lagrangian import Drift
from actionopt.action.longer import Longer
from actionopt.action.scheme import position_laws, slope_laws
from actionopt.action.second_variation import CLEAR, LowestMode
from actionopt.action.solution import ActionSolution
from actionopt.action.task import relative
from actionopt.problem import Problem

CAUTIONS = ("underresolved", "horizon too short")  # of minima that a solver did find: results, no failures
RESOLVED = 0.05  # part of the action by which that of the curve may differ; the action is wrong by a part of that
ALMOST_FLOW = 0.05  # part of the kinetic action below which the action itself is no measure
ROUNDING = 1e-12  # the same, of the kinetic action of the differences that velocities are made of
FOUR_POINTS = np.polynomial.legendre.leggauss(4)


def judged(
    action: DiscreteAction,
    solution: ActionSolution,
    mode: LowestMode | None,
    longer: Longer | None,
    fading: float = 0.0,
) -> ActionSolution:
    """Say what is known of a stationary path beyond that.

    Parameters
    ----------
    action : DiscreteAction
    solution : ActionSolution
        A converged one.
    mode : LowestMode or None
        Its lowest mode, where that was computed.
    longer : Longer or None
        What a longer horizon saves, where one was tried.
    fading : float
        What part of the action a longer horizon saves to first order, where that is worth a word and none was tried.
    """
    status, words, stats = solution.status, [solution.message], dict(solution.stats)
    if mode is not None:
        stats |= {"lowest_eigenvalue": mode.value, "is_minimum": mode.is_minimum}
        words.append(_second_variation(mode))
        status = status if mode.is_minimum else "saddle"
    if _has_an_action(action):
        point = action.at(solution.points)
        with np.errstate(all="ignore"):
            stats["curve_action"] = curve = curve_action(point)
            kinetic, most = _kinetic(point, point.expansion.v), _kinetic(point, point.differences())
            size = point.magnitude + ALMOST_FLOW * kinetic + ROUNDING * most
            off = relative(abs(curve - point.value), size)
        if not off <= RESOLVED:
            status = "underresolved"
            words.append(
                f"the action of the curve itself is {curve:.6g}, {100 * off:.2g} % off: the grid is too coarse for it. "
                'Take more steps, scheme="gauss2", or times= that are dense where the path moves fast'
            )
    if longer is not None and status == "converged":
        stats["longer_horizon"], stats["longer_action"] = longer.horizon, longer.action
        if longer.saves:
            status = "horizon too short"
            words.append(
                f"over the horizon {longer.horizon:.4g} the action is {longer.action:.6g}, {100 * longer.saved:.2g} % "
                "less: take a longer horizon, or least_action_path, which needs none"
            )
    elif fading:
        stats["saved_by_horizon"] = fading
        words.append(
            f"the action still falls with the horizon, by {100 * fading / 10:.2g} % for the next tenth of it: "
            "least_action_path finds its infimum over all horizons"
        )
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
    if not mode.is_minimum:
        return f"a saddle of the action, not a minimum ({eigenvalue}): start from a guess off it, such as path_through"
    kind = "a local minimum" if mode.value > CLEAR else "a local minimum, all but flat in one direction"
    return f"{kind} ({eigenvalue}); other guesses may end lower"


def _has_an_action(action: DiscreteAction) -> bool:
    """Whether the path has an action of its own, as one between given ends has and a flow has not, and it costs little.

    Systems that are written as one graph are evaluated at a thousand stages in no time, networks are not.
    """
    task = action.task
    flows = isinstance(task.what, (Problem, Drift)) and np.isnan(task.end).all()
    return isinstance(action.density, LagrangianDensity) and not flows


def _kinetic(point: ActionPoint, v: np.ndarray) -> float:
    """`int 1/2 v . l_vv v dt`, what remains of the terms of the action along a flow."""
    moved = point.expansion.product(np.zeros_like(v), v)[1]
    return 0.5 * float(abs(point.action.scheme.weights @ (moved * v)).sum())
