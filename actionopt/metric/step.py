"""The explicit step in a metric: `w - step_size * G^{-1} dE/dw`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from actionopt.backprop import forward_pass
from actionopt.errors import InputError, SolverError
from actionopt.metric.batched import room
from actionopt.metric.damping import Damping
from actionopt.metric.kinds import Kind, kind_of
from actionopt.metric.layer_metric import check_options, finite_gradient
from actionopt.metric.move import check_step, move
from actionopt.metric.stacked_step import stacked_moves
from actionopt.metric.step_metric import StepMetric
from actionopt.metric.tangent import Manifold, placed
from actionopt.problem import Problem, takes_problem


class Momentum:
    """What a step remembers of the one before: pass the same object to every `ao.step` of a run.

    Parameters
    ----------
    share : float
        mu of `x = G^{-1} (g + mu mass x_prev)`, in [0, 1).
    adapt : bool
        Whether the mass follows the steps, as in `ao.descend`; for steps of "model" size, one point at a time.

    Attributes
    ----------
    direction : array (n,) or None
        x of the last step.
    damping : Damping
        `.factor` of the mass, and what it is judged by.

    Examples
    --------
    >>> memory = ao.Momentum(0.5)
    >>> for _ in range(3):
    ...     w = ao.step(problem, w, 0.1, momentum=memory)
    """

    def __init__(self, share: float = 0.5, adapt: bool = False) -> None:
        check_step(0.0, share, None)
        self.share, self.adapt = float(share), bool(adapt)
        self.direction: np.ndarray | None = None
        self.damping = Damping()

    def __repr__(self) -> str:
        return f"Momentum({self.share})"


@takes_problem
def step(
    problem: Problem,
    w: Any,
    step_size: float | str,
    *,
    metric: str = "layerwise",
    momentum: float | Momentum | None = None,
    trust: float | None = None,
    manifolds: Iterable[Manifold] = (),
    solve: str = "auto",
    tol: float = 1e-10,
) -> np.ndarray:
    """Take one explicit step of the Riemannian gradient flow, `w - step_size * G(w)^{-1} g(w)`.

    Parameters
    ----------
    problem : Problem
    w : array (n,) or (S, n)
        Weights; several points take their steps all at once, each the step that it would take alone.
    step_size : float or "model"
        eta, the time a step takes along the flow; or the minimum of the joint model along the direction,
        `min(1, g . x / (|J x|^2 + x . D x))`.
    metric : "layerwise", "joint" or "euclidean"
        Block diagonal over modules, all modules at once, or the mass alone.
    momentum : float or Momentum, optional
        mu of `x = G^{-1} (g + mu mass x_prev)`. An `ao.Momentum` remembers x from one step to the next; a number
        alone has nothing to remember, and takes the first step of such a run.
    trust : float, optional
        Bound on the mean square change of the outputs in the output metric, in units of the energy. Where None, a
        number as step size is not bounded, and "model" bounds classifiers by 0.3 and others by their energy; `inf`
        for none.
    manifolds : iterable of Stiefel, Positive, Simplex or Ball
        Sets that weights of modules stay in: the step is tangent to them in the metric, and retracted onto them.
    solve, tol
        How G is inverted and how exactly; see `LayerMetric`.

    Returns
    -------
    array, like w
        The new weights.

    Raises
    ------
    InputError
        If an argument is wrong, or a module's output or the gradient is not finite at w.
    SolverError
        If G could not be inverted; the message names the module and the remedy.

    Notes
    -----
    The gradient g holds the weight decay, the metric does not. The step is the exact solution of the linearised
    control problem: minimise the energy, linearised in the states, plus `|dw|^2_G / (2 step_size)` subject to the
    linearised module equations (docs/metric.md). Along a trajectory, `LayerMetric(problem, w, after=metric)` saves
    most of the work.

    Examples
    --------
    >>> w = ao.step(problem, w, 0.1)
    >>> memory = ao.Momentum(0.5)
    >>> w = ao.step(problem, w, "model", momentum=memory)
    """
    kind = kind_of(metric)
    memory = momentum if isinstance(momentum, Momentum) else Momentum(0.0 if momentum is None else momentum)
    check_step(step_size, memory.share, trust)
    w = problem.check_weights(w)
    if w.ndim > 1:
        return _steps(problem, w, step_size, memory, kind=kind, trust=trust, manifolds=manifolds, solve=solve, tol=tol)
    where = placed(problem, manifolds)
    plain = step_size != "model" and trust is None and not memory.share and not where
    if not kind.pulls_back and plain:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named
            passed = forward_pass(problem, w)
        return w - float(step_size) * finite_gradient(problem, passed) / problem.mass
    inverse = StepMetric(problem, w, joint=kind.together, solve=solve, tol=tol)
    adapts = memory.adapt and step_size == "model"
    if adapts:
        memory.damping = memory.damping.judged(inverse, memory.direction, memory.share)
        inverse = inverse.with_mass(memory.damping.factor)
    taken = move(
        inverse,
        step_size,
        momentum=memory.share,
        previous=memory.direction,
        trust=trust,
        euclidean=not kind.pulls_back,
        manifolds=where,
    )
    memory.direction = taken.direction
    if adapts:
        memory.damping = memory.damping.noted(taken)
    return taken.weights


def _steps(
    problem: Problem,
    w: np.ndarray,
    step_size: float | str,
    memory: Momentum,
    *,
    kind: Kind,
    trust: float | None,
    manifolds: Iterable[Manifold],
    solve: str,
    tol: float,
) -> np.ndarray:
    """Take a step at each of several points: all at once, and one by one where that would not do."""
    if w.ndim > 2:
        raise InputError(f"step takes weights ({problem.size},) or (S, {problem.size}), got shape {w.shape}")
    if memory.direction is not None and memory.direction.shape != w.shape:
        raise InputError(f"this momentum remembers {memory.direction.shape}, not the shape {w.shape} of the weights")
    if memory.adapt:
        raise InputError("a momentum that adapts the mass follows one point: give every point a call and its own")
    check_options(solve, tol)
    manifolds = tuple(manifolds)
    weights, directions = np.empty_like(w), np.zeros_like(w)
    left = np.ones(len(w), dtype=bool)
    if (count := room(problem, kind)) and solve == "auto" and not manifolds:
        for first in range(0, len(w), count):
            cut = slice(first, first + count)
            previous = None if memory.direction is None else memory.direction[cut]
            found = stacked_moves(
                problem,
                w[cut],
                step_size,
                kind=kind,
                momentum=memory.share,
                previous=previous,
                trust=trust,
                tol=float(tol),
            )
            weights[cut], directions[cut], left[cut] = found.weights, found.directions, ~found.exact
    for index in np.flatnonzero(left):
        one = Momentum(memory.share)
        one.direction = None if memory.direction is None else memory.direction[index]
        try:
            weights[index] = step(
                problem,
                w[index],
                step_size,
                metric=kind.name,
                momentum=one,
                trust=trust,
                manifolds=manifolds,
                solve=solve,
                tol=tol,
            )
        except InputError as error:
            raise InputError(f"point {index} of {len(w)}: {error}") from None
        except SolverError as error:
            raise SolverError(f"point {index} of {len(w)}: {error}", error.result) from None
        if one.direction is not None:
            directions[index] = one.direction
    memory.direction = directions
    return weights
