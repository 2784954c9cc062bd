"""One step and how it was chosen: its direction, the model's step size, the bound on the change of outputs.

    x = G^{-1} (g + momentum D x_prev),    w_new = w - alpha x

    alpha = min(1, g . x / (|J x|^2 + x . D x)),    |J x|^2 <= trust,    J x = sum_a K_a x_a

J adds the layers up before squaring: the joint model sees where the steps of the layers, each right for itself, add up
to too much **[ours]**. The momentum is that of SPRING (Goldshlager, Abrahamsen, Lin 2024): a large mass makes it the
heavy ball, a small one leaves Gauss-Newton.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from actionopt.errors import InputError
from actionopt.losses import Logistic, SoftmaxCrossEntropy
from actionopt.metric.layer_metric import Direction
from actionopt.metric.tangent import Placed, retracted, tangent
from actionopt.ops import NUMPY
from actionopt.problem import Problem

CLASSES = 0.3  # bound on the change of the outputs of a classifier, in nats


@dataclass(frozen=True)
class Move:
    """A step and what it was chosen by.

    Attributes
    ----------
    weights : array (n,)
        After the step.
    direction : array (n,)
        x; the step is `-step_size * direction`.
    step_size : float
        alpha.
    slope : float
        `g . x`, what the energy falls by along x to first order.
    curvature : float
        `|J x|^2 + x . (D + weight_decay) x` of the joint model.
    change : float
        `|J x|^2`, mean square change of the outputs along x in the output metric.
    """

    weights: np.ndarray
    direction: np.ndarray
    step_size: float
    slope: float
    curvature: float
    change: float


class Steppable(Protocol):
    """What a step asks of a metric at a point: one of all samples, of a batch, or of samples in shards."""

    @property
    def problem(self) -> Any: ...

    w: np.ndarray

    @property
    def gradient(self) -> np.ndarray: ...

    def solve(self, c: np.ndarray) -> np.ndarray: ...

    def change(self, d: np.ndarray) -> float: ...

    def solve_gradient(self, v: np.ndarray | None = None) -> Direction: ...


def move(
    metric: Steppable,
    step_size: float | str,
    *,
    momentum: float = 0.0,
    previous: np.ndarray | None = None,
    trust: float | None = None,
    cooled: float = 1.0,
    euclidean: bool = False,
    manifolds: Placed | None = None,
) -> Move:
    """Take one step from the point of a metric.

    Parameters
    ----------
    metric : LayerMetric, StepMetric or ShardedMetric
        Layerwise or joint, at the weights and on the samples of the step.
    step_size : float or "model"
        alpha, or that of the joint model.
    momentum : float
        Share of the last direction, in [0, 1).
    previous : array (n,), optional
        The last direction; none at the first step.
    trust : float, optional
        Bound on `|J x|^2` of a step, in units of the energy; where None that of `trust_of` for "model" and none for
        a number.
    cooled : float
        Factor of the step size, as a schedule wants it.
    euclidean : bool
        Whether the direction is that of the mass alone, `x = D^{-1} g + momentum x_prev`; the model stays.
    manifolds : list, optional
        Where weights stay on manifolds, as `tangent.placed` finds it: the direction is tangent to them, and what the
        step leaves of second order is retracted.

    Notes
    -----
    A direction that points uphill, as momentum can make it, is given up for `G^{-1} g`.
    """
    remembered = None if previous is None or not momentum else momentum * previous
    found = _direction(metric, remembered, euclidean, manifolds)
    if found.slope <= 0.0 and remembered is not None:
        found = _direction(metric, None, euclidean, manifolds)
    x, slope, change = found
    curvature = change + float(x @ ((metric.problem.mass + metric.problem.weight_decay) * x))
    if step_size == "model":
        alpha = step_along(slope, curvature, change, trust_of(metric) if trust is None else trust)
    else:
        alpha = bounded(float(step_size), change, np.inf if trust is None else trust)
    alpha *= cooled
    weights = metric.w - alpha * x
    return Move(retracted(weights, manifolds) if manifolds else weights, x, alpha, slope, curvature, change)


def _direction(metric: Steppable, v: np.ndarray | None, euclidean: bool, manifolds: Placed | None) -> Direction:
    """Return `G^{-1} (g + D v)`, with the mass in place of G where Euclidean, and tangent to the manifolds."""
    mass = metric.problem.mass
    if euclidean:
        x = metric.gradient / mass if v is None else metric.gradient / mass + v
    else:
        found = metric.solve_gradient(v)
        if not manifolds:
            return found
        x = found.x
    if manifolds:
        x = tangent((lambda c: c / mass) if euclidean else metric.solve, metric.w, x, manifolds)
    return Direction(x, float(metric.gradient @ x), metric.change(x))


def step_along(slope: float, curvature: float, change: float, bound: float) -> float:
    """Return alpha: the minimum of the joint model along a direction, at most one, within the bound on the change."""
    return bounded(min(1.0, slope / curvature) if curvature > 0.0 else 1.0, change, bound)


def bounded(alpha: float, change: float, bound: float) -> float:
    """Return a step size with `alpha^2 change <= bound`."""
    return float(np.sqrt(bound / change)) if alpha * alpha * change > bound else alpha


def trust_of(metric: Any) -> float:
    """Return the bound on the change of the outputs that a step takes by itself.

    A class that was confidently wrong asks for a change of 1/p: costs of classes bound `|J x|^2` by 0.3 times their
    weight. Other costs of several outputs are bounded by twice their energy, for the squared error the mean square
    residual, which no step of Gauss-Newton exceeds. One output has no bound. All of it scales as the energy does.
    """
    return float(own_trust(metric.problem, metric.states))


def own_trust(problem: Problem, states: Sequence[np.ndarray]) -> np.ndarray:
    """Return the same at states `(..., B, d)` of all nodes, `(...)`."""
    bound = np.zeros(())
    for term, target in zip(problem.costs, problem.network.targets, strict=True):
        state = states[term.node]
        if isinstance(term.loss.apart(NUMPY, target)[0], (SoftmaxCrossEntropy, Logistic)):
            bound = bound + np.full(state.shape[:-2], CLASSES * term.weight)
        elif state.shape[-1] > 1:
            bound = bound + 2.0 * term.weight * abs(term.loss.value(NUMPY, state, target).mean(axis=-1))
        else:
            bound = bound + np.full(state.shape[:-2], np.inf)
    return bound


def check_step(step_size: Any, momentum: Any, trust: Any) -> None:
    """Raise InputError where one of a step's options is out of range, naming it."""
    if not (isinstance(step_size, str) and step_size == "model") and not np.isfinite(real(step_size)):
        raise InputError(f"step_size must be a finite number or 'model', got {step_size!r}")
    if not 0.0 <= real(momentum) < 1.0:
        raise InputError(f"momentum must be a number in [0, 1), got {momentum!r}")
    if trust is not None and not real(trust) > 0.0:
        raise InputError(f"trust must be a positive number, inf for none, or None, got {trust!r}")


def real(value: Any) -> float:
    """Return a real number as a float, NaN for everything else and for what no float holds."""
    try:
        return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else np.nan
    except OverflowError:
        return np.nan
