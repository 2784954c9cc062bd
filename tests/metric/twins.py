"""The metric the slow way: Jacobians of the outputs multiplied out, sample by sample; and systems to try it on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import actionopt as ao
from actionopt.ops import NUMPY, DualOps
from tests.modules.cases import CASES


def output_jacobian(problem: ao.Problem, w: np.ndarray, cost: int = 0) -> np.ndarray:
    """Return dz/dw of each sample at a cost's node, `(B, d, n)`, by pushing every unit vector through the network."""
    duals = DualOps(NUMPY)
    weights = problem.network.split(duals, duals.dual(w, np.eye(problem.size)))
    outputs = problem.network.forward(duals, weights)[problem.costs[cost].node]
    return np.broadcast_to(outputs.tangent, (problem.size, *outputs.value.shape)).transpose(1, 2, 0)


def dense_output_metric(problem: ao.Problem, w: np.ndarray, cost: int = 0) -> np.ndarray:
    """Return `weight g_o` of each sample, `(B, d, d)`."""
    term, targets = problem.costs[cost], problem.network.targets[cost]
    y = problem.network.forward(NUMPY, problem.network.split(NUMPY, w))[term.node]
    samples, d = y.shape
    if problem.output_metric is None:
        return np.zeros((samples, d, d))
    if callable(problem.output_metric):
        factors = [np.atleast_2d(problem.output_metric(row)) for row in y]
        return term.weight * np.stack([factor.T @ factor for factor in factors])
    if problem.output_metric == "euclidean":
        return term.weight * np.stack([np.eye(d)] * samples)
    columns = [term.loss.curvature(NUMPY, y, targets, one + 0.0 * y) for one in np.eye(d)]
    return term.weight * np.stack(columns, axis=-1)


def dense_metric(problem: ao.Problem, w: np.ndarray, joint: bool = False) -> np.ndarray:
    """Return `G = D + sum_j weight_j/B sum_b J_jb^T g_o J_jb`, with the blocks between groups left out unless joint."""
    pulled = np.zeros((problem.size, problem.size))
    for cost in range(len(problem.costs)):
        jacobian = output_jacobian(problem, w, cost)
        pulled += np.einsum("bin,bij,bjk->nk", jacobian, dense_output_metric(problem, w, cost), jacobian)
    pulled /= problem.samples
    if not joint:
        owner = np.repeat(np.arange(len(problem.groups)), [group.size for group in problem.groups])
        pulled[owner[:, None] != owner] = 0.0
    return pulled + np.diag(problem.mass)


class Quartic(ao.Loss):
    """A convex loss with nothing but a value: its curvature is derived, and has an eigenvalue of its own a sample."""

    name = "quartic"

    def value(self, ops: Any, y: Any, target: Any) -> Any:
        return ops.sum((y - target) ** 4.0) + 0.1 * ops.sum(y) ** 2.0


def user_factor(y: np.ndarray) -> np.ndarray:
    """Factor a metric of rank two that depends on the outputs, samples first."""
    return np.stack([np.tanh(y), 1.0 + 0.0 * y], axis=-2)


Make = Callable[[int], tuple[Any, ao.Loss]]
LOSSES: dict[str, Make] = {
    "squared error": lambda b: (np.sin(np.arange(3.0 * b)).reshape(b, 3), ao.SquaredError()),
    "softmax": lambda b: (np.arange(b) % 3, ao.SoftmaxCrossEntropy()),
    "logistic": lambda b: ((np.arange(3 * b) % 2).reshape(b, 3), ao.Logistic()),
    "quartic": lambda b: (np.cos(np.arange(3.0 * b)).reshape(b, 3), Quartic()),
}
OUTPUT_METRICS: dict[str, Any] = {"fisher": "fisher", "euclidean": "euclidean", "none": None, "user": user_factor}


def make_problem(
    module: str = "Dense tanh",
    loss: str = "softmax",
    output_metric: Any = "fisher",
    samples: int = 3,
    mass: Any = None,
    **options: Any,
) -> ao.Problem:
    """Build a chain from three features to three, with a module of `tests.modules.cases` in the middle."""
    rng = np.random.default_rng(7)
    modules = [ao.Dense(3, 3, "tanh", name="first"), CASES[module], ao.Dense(3, 3, name="last")]
    size = sum(part.weight_size for part in modules)
    targets, chosen = LOSSES[loss](samples)
    mass = 0.1 + rng.random(size) if mass is None else mass
    inputs = rng.standard_normal((samples, 3))
    return ao.Problem(modules, inputs, targets, chosen, mass=mass, output_metric=output_metric, **options)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference relative to the largest expected number, or to one where all are zero."""
    return float(abs(found - expected).max() / (abs(expected).max() or 1.0))
