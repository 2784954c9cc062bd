"""One step from each of several points at once: what `move` does at one, with an axis of points in front.

Forward passes, gradients, rows and their matrices have that axis, so that calling NumPy is paid once a step, not once a
point: of small networks that is what a step costs. Where a block is too large for a stack of matrices (`room`), and
for a point whose solution misses the tolerance, steps are taken one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actionopt.backprop import ForwardPass, adjoints_of, forward_pass
from actionopt.metric.batched import BatchedMetric
from actionopt.metric.kinds import Kind
from actionopt.metric.move import bounded, own_trust, step_along
from actionopt.metric.output_factor import output_factor
from actionopt.metric.rows import to_rows
from actionopt.ops import NUMPY, duals_over
from actionopt.problem import Problem

DUALS = duals_over(NUMPY)


@dataclass(frozen=True)
class Moves:
    """Steps from S points.

    Attributes
    ----------
    weights, directions : array (S, n)
        After the steps, and x with `weights = w - step_sizes x`.
    exact : array (S,) of bool
        Where everything is finite and x exact to the tolerance; elsewhere the step is for `move` to take, or to refuse.
    """

    weights: np.ndarray
    directions: np.ndarray
    exact: np.ndarray


def stacked_moves(
    problem: Problem,
    w: np.ndarray,
    step_size: float | str,
    *,
    kind: Kind,
    momentum: float,
    previous: np.ndarray | None,
    trust: float | None,
    tol: float,
) -> Moves:
    """Take one step from every point of `w (S, n)`; options as those of `move`, `previous (S, n)`.

    Raises
    ------
    InputError
        If the output metric is wrong.
    """
    with np.errstate(all="ignore"):  # what is not finite is told by `exact`
        passed = forward_pass(problem, w)
        states = passed.states[len(problem.network.data) :]
        sound = np.logical_and.reduce([_finite(state, len(w)) for state in states])
        if not sound.all():  # their rows could not be told from wrong ones
            passed = forward_pass(problem, np.where(sound[:, None], w, 0.0))
        metric, gradient = BatchedMetric(problem, passed.w, kind.name), adjoints_of(problem, passed).gradient
        remembered = None if previous is None or not momentum else momentum * previous
        x, exact = _directions(metric, gradient, remembered, tol)
        if remembered is not None and (uphill := (gradient * x).sum(axis=-1) <= 0.0).any():
            plain, also = _directions(metric, gradient, None, tol)
            x, exact = np.where(uphill[:, None], plain, x), np.where(uphill, also, exact)
        alpha = _step_sizes(problem, passed, x, gradient, step_size, trust)
        weights = w - alpha[:, None] * x
    exact = exact & sound & np.isfinite(gradient).all(axis=-1)
    return Moves(weights, x, exact)


def _directions(
    metric: BatchedMetric, gradient: np.ndarray, v: np.ndarray | None, tol: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return `x = G^{-1} g + v` of a momentum's share v in the metric, and whether it is exact to the tolerance."""
    mass = metric.mass
    if not metric.blocks:
        x = gradient / mass
        return (x if v is None else x + v), np.isfinite(x).all(axis=-1)
    c = gradient if v is None else gradient + mass * v
    x = metric.solve(c)
    residual = c - metric.product(x)  # bounds the error, as no eigenvalue of G over D is below one
    missed = (residual**2 / mass).sum(axis=-1)
    return x, missed <= tol**2 * (x**2 * mass).sum(axis=-1)


def _step_sizes(
    problem: Problem,
    passed: ForwardPass,
    x: np.ndarray,
    gradient: np.ndarray,
    step_size: float | str,
    trust: float | None,
) -> np.ndarray:
    """Return alpha of every point, as `move` chooses it."""
    if step_size != "model" and trust is None:
        return np.full(len(x), float(step_size))
    change = _changes(problem, passed, x)
    if step_size != "model":
        return np.array([bounded(float(step_size), one, trust) for one in change])  # type: ignore[arg-type]
    slope = (gradient * x).sum(axis=-1)
    curvature = change + (x**2 * (problem.mass + problem.weight_decay)).sum(axis=-1)
    bounds = own_trust(problem, passed.states) if trust is None else np.full(len(x), trust)
    return np.array([step_along(*one) for one in zip(slope, curvature, change, bounds, strict=True)])


def _changes(problem: Problem, passed: ForwardPass, x: np.ndarray) -> np.ndarray:
    """Return `|J x|^2 (S,)`, the mean square change of the outputs, by pushing x through the network."""
    network, total = problem.network, np.zeros(len(x))
    moved = network.forward(DUALS, network.split(DUALS, DUALS.dual(passed.w, x)))
    for j, term in enumerate(problem.costs):
        tangent = DUALS.parts(moved[term.node])[1]
        if tangent is not None and term.weight:
            rows = to_rows(output_factor(problem, passed.states[term.node], j), tangent)
            total += np.square(rows).sum(axis=(-2, -1))
    return total / problem.samples


def _finite(state: np.ndarray, points: int) -> np.ndarray:
    """Whether a state is finite at each point; one that no weight enters has no axis of points."""
    found = np.isfinite(state).all(axis=(-2, -1))
    return np.broadcast_to(found, (points,))
