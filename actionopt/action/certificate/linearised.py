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

    def inner(self, basis: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Return `b^T G d (k, N)` at each node, for vectors `basis (k, N, n)` and `d (N, n)`."""
        return (basis * self.metric.product(d)).sum(axis=-1)

    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the metric and `phi'(w)` at each node, both `(N, n, n)`."""
        nodes, n = self.w.shape
        eye = np.broadcast_to(np.eye(n)[:, None], (n, nodes, n))
        return self.metric.product(eye).transpose(1, 2, 0), self.jacobian_product(eye).transpose(1, 2, 0)


@dataclass(frozen=True)
class DenseErrors:
    """How errors of S flows move between N+1 nodes, by the matrices at them: for few weights.

    Attributes
    ----------
    metrics, jacobians : array (S, N+1, n, n)
    steps : array (N,)
    """

    metrics: np.ndarray
    jacobians: np.ndarray
    steps: np.ndarray

    def __post_init__(self) -> None:
        mean = 0.5 * self.steps[:, None, None] * (self.jacobians[:, 1:] + self.jacobians[:, :-1])
        object.__setattr__(self, "_whole", exponential(mean))
        object.__setattr__(self, "_half", exponential(0.5 * mean))

    def whole(self, k: int, error: np.ndarray) -> np.ndarray:
        """Move errors `(S, n)` from node k to node k + 1."""
        return _applied(self._whole[:, k], error)  # type: ignore[attr-defined]

    def half(self, k: int, error: np.ndarray) -> np.ndarray:
        """Move errors from the middle of step k to its end."""
        return _applied(self._half[:, k], error)  # type: ignore[attr-defined]

    def length(self, k: int, error: np.ndarray) -> np.ndarray:
        """Measure errors at node k, `(S,)`."""
        return np.sqrt(np.maximum((error * _applied(self.metrics[:, k], error)).sum(axis=-1), 0.0))


@dataclass(frozen=True)
class KrylovErrors:
    """The same without matrices, by a few products a step: for many weights.

    Attributes
    ----------
    flows : list of LinearisedFlow
        At one node of every flow each.
    steps : array (N,)
    """

    flows: list[LinearisedFlow]
    steps: np.ndarray

    def whole(self, k: int, error: np.ndarray) -> np.ndarray:
        """Move errors from node k to node k + 1: over half the step by either end's Jacobian."""
        first = _krylov_exponential(self.flows[k], 0.5 * self.steps[k], error)
        return _krylov_exponential(self.flows[k + 1], 0.5 * self.steps[k], first)

    def half(self, k: int, error: np.ndarray) -> np.ndarray:
        """Move errors from the middle of step k to its end."""
        return _krylov_exponential(self.flows[k + 1], 0.5 * self.steps[k], error)

    def length(self, k: int, error: np.ndarray) -> np.ndarray:
        """Measure errors at node k, `(S,)`."""
        return self.flows[k].lengths(error)


def _applied(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return (matrices @ vectors[..., None])[..., 0]


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
    """`expm(time phi'(w)) error` at one node of every flow, `(S, n)`, by Arnoldi's method in the metric.

    Orthogonality in the metric keeps the numerical range, so that no error grows faster than contraction theory allows,
    however stiff the flow. A basis that is complete goes on with zeros.
    """
    size = flow.lengths(error)
    moves = (size > 0.0) & (size < np.inf)
    products = min(PRODUCTS, error.shape[-1])
    basis = np.zeros((products, *error.shape))
    basis[0] = _over(error, size, moves)
    hessenberg = np.zeros((len(error), products, products))
    for column in range(products):
        image = flow.jacobian_product(basis[column])
        for _ in range(2):
            shares = flow.inner(basis[: column + 1], image)
            hessenberg[:, : column + 1, column] += shares.T
            image = image - (shares[..., None] * basis[: column + 1]).sum(axis=0)
        if column + 1 < products:
            rest = flow.lengths(image)
            goes_on = rest > 1e-12 * abs(hessenberg[:, :, column]).max(axis=-1)
            hessenberg[:, column + 1, column] = np.where(goes_on, rest, 0.0)
            basis[column + 1] = _over(image, rest, goes_on)
    finite = np.asarray(np.isfinite(hessenberg).all(axis=(-1, -2)))
    first = expm(time * np.where(finite[:, None, None], hessenberg, 0.0))[:, :, 0]
    moved = size[:, None] * (first.T[..., None] * basis).sum(axis=0)
    return np.where(moves[:, None], np.where(finite[:, None], moved, np.nan), error)


def _over(vectors: np.ndarray, sizes: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Divide vectors by their sizes; zeros elsewhere."""
    return np.where(where[:, None], vectors / np.where(where, sizes, 1.0)[:, None], 0.0)
