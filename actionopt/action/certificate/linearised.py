"""The flow linearised at nodes of a trajectory: velocities, accelerations, and how small errors move.

With `c(w, u) = G(w) u + g(w)` and u = phi(w) frozen, differentiating `c(w, phi(w)) = 0` gives `G phi'(w) d = -M d`, M
the derivative of c in w: no inverse is differentiated. A small error moves like `e' = phi'(w) e`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

from actionopt.action.density.local_model import LocalModel
from actionopt.metric.batched import BatchedMetric
from actionopt.ops import NUMPY, duals_over

DUALS = duals_over(NUMPY)
BLOCK_NUMBERS = 400_000  # numbers in the widest array of a block of nodes and directions
PRODUCTS = 2  # size of the Krylov space in which an error moves over half a step


class LinearisedFlow:
    """The flow about nodes `w (N, n)`.

    Attributes
    ----------
    velocities : array (N, n)
        `phi = -G^{-1} g`.
    metric : BatchedMetric
    """

    def __init__(self, model: LocalModel, w: np.ndarray) -> None:
        self.model, self.w = model, w
        self.metric = BatchedMetric(model.problem, w, metric=model.metric)
        self.velocities = -self.metric.solve(model.problem.gradient(w))

    @property
    def accelerations(self) -> np.ndarray:
        """`w'' = phi'(w) phi`, `(N, n)`."""
        return self.jacobian_product(self.velocities)

    def jacobian_product(self, d: np.ndarray) -> np.ndarray:
        """Return `phi'(w) d`; d has the axes of w, or more in front."""
        tangent = self.model.momentum(DUALS, DUALS.dual(self.w, d), self.velocities).tangent
        return -self.metric.solve(np.broadcast_to(tangent, d.shape))

    def lengths(self, d: np.ndarray) -> np.ndarray:
        """Return `sqrt(d^T G d)` at each node, `(..., N)`."""
        return np.sqrt(np.maximum((d * self.metric.product(d)).sum(axis=-1), 0.0))

    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the metric and `phi'(w)` at each node, both `(N, n, n)`."""
        nodes, n = self.w.shape
        eye = np.broadcast_to(np.eye(n)[:, None], (n, nodes, n))
        return self.metric.product(eye).transpose(1, 2, 0), self.jacobian_product(eye).transpose(1, 2, 0)


@dataclass(frozen=True)
class DenseErrors:
    """How errors move between N+1 nodes, by the matrices at them: for few weights.

    Attributes
    ----------
    metrics, jacobians : array (N+1, n, n)
    steps : array (N,)
    """

    metrics: np.ndarray
    jacobians: np.ndarray
    steps: np.ndarray

    def __post_init__(self) -> None:
        mean = 0.5 * self.steps[:, None, None] * (self.jacobians[1:] + self.jacobians[:-1])
        object.__setattr__(self, "_whole", exponential(mean))
        object.__setattr__(self, "_half", exponential(0.5 * mean))

    def whole(self, k: int, error: np.ndarray) -> np.ndarray:
        """Move an error from node k to node k + 1."""
        return np.asarray(self._whole[k] @ error)  # type: ignore[attr-defined]

    def half(self, k: int, error: np.ndarray) -> np.ndarray:
        """Move an error from the middle of step k to its end."""
        return np.asarray(self._half[k] @ error)  # type: ignore[attr-defined]

    def length(self, k: int, error: np.ndarray) -> float:
        """Measure an error at node k."""
        return float(np.sqrt(max(error @ self.metrics[k] @ error, 0.0)))


@dataclass(frozen=True)
class KrylovErrors:
    """The same without matrices, by a few products a step: for many weights.

    Attributes
    ----------
    flows : list of LinearisedFlow
        At one node each.
    steps : array (N,)
    """

    flows: list[LinearisedFlow]
    steps: np.ndarray

    def whole(self, k: int, error: np.ndarray) -> np.ndarray:
        """Move an error from node k to node k + 1: over half the step by either end's Jacobian."""
        first = _krylov_exponential(self.flows[k], 0.5 * self.steps[k], error)
        return _krylov_exponential(self.flows[k + 1], 0.5 * self.steps[k], first)

    def half(self, k: int, error: np.ndarray) -> np.ndarray:
        """Move an error from the middle of step k to its end."""
        return _krylov_exponential(self.flows[k + 1], 0.5 * self.steps[k], error)

    def length(self, k: int, error: np.ndarray) -> float:
        """Measure an error at node k."""
        return float(self.flows[k].lengths(error[None])[0])


def exponential(matrices: np.ndarray) -> np.ndarray:
    """Exponentials of `(N, n, n)` by the Pade approximant (2, 3): order 5, and zero in the stiff limit as they are."""
    eye = np.eye(matrices.shape[-1])
    square = matrices @ matrices
    above = eye + 0.4 * matrices + 0.05 * square
    below = eye - 0.6 * matrices + 0.15 * square - square @ matrices / 60.0
    return np.asarray(np.linalg.solve(below, above))


def node_blocks(model: LocalModel, nodes: int, directions: int) -> Iterator[slice]:
    """Cut nodes into blocks whose arrays stay small, for so many directions at once."""
    problem = model.problem
    width = max(place.size for place in problem.nodes)
    block = max(1, BLOCK_NUMBERS // (problem.samples * width * len(problem.modules) * directions))
    return (slice(first, first + block) for first in range(0, nodes, block))


def _krylov_exponential(flow: LinearisedFlow, time: float, error: np.ndarray) -> np.ndarray:
    """`expm(time phi'(w)) error` at one node, by Arnoldi's method in the metric.

    Orthogonality in the metric keeps the numerical range, so that no error grows faster than contraction theory allows,
    however stiff the flow.
    """
    size = float(flow.lengths(error[None])[0])
    if not 0.0 < size < np.inf:
        return error
    products = min(PRODUCTS, len(error))
    basis, hessenberg = [error / size], np.zeros((products + 1, products))
    for column in range(products):
        image = flow.jacobian_product(basis[-1][None])[0]
        for _ in range(2):
            weighed = flow.metric.product(image[None])[0]
            shares = np.array([old @ weighed for old in basis])
            hessenberg[: column + 1, column] += shares
            image = image - shares @ np.stack(basis)
        hessenberg[column + 1, column] = rest = float(flow.lengths(image[None])[0])
        if not rest > 1e-12 * abs(hessenberg[:, column]).max():
            break
        basis.append(image / rest)
    used = min(len(basis), products)
    square = hessenberg[:used, :used]
    if not np.isfinite(square).all():
        return np.full_like(error, np.nan)
    return np.asarray(size * expm(time * square)[:, 0] @ np.stack(basis[:used]))
