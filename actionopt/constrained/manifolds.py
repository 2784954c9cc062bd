"""Sets that a module's weights stay in: as constraints in programs, by retraction in steps."""

from __future__ import annotations

import numbers

import numpy as np

from actionopt.constrained.constraint import Constraint
from actionopt.errors import InputError
from actionopt.modules import Dense, Module
from actionopt.ops import Ops
from actionopt.ops.base import Array

TOUCHING = 1e-12  # how close to a boundary, relative to its size, a point lies on it


class Stiefel(Constraint):
    """Matrices with orthonormal columns, `W^T W = I`; with orthonormal rows where they are wider than high.

    Parameters
    ----------
    on : Module
        Whose first weights are the matrix, row by row.
    shape : (rows, columns), optional
        Of the matrix; `(out_size, in_size)` of a `Dense` where None.

    Notes
    -----
    The retraction is the polar factor `U V^T` of `W = U S V^T`, the closest such matrix. As a `Constraint` it has one
    condition for each pair of columns; the multipliers are those of `(W^T W)_ij - I_ij = 0`, i <= j.

    Examples
    --------
    >>> layer = ao.Dense(2, 2, bias=False)
    >>> turn = ao.Problem(layer, np.eye(2), [[0.0, -1.0], [1.0, 0.0]], ao.SquaredError())
    >>> found = ao.step(turn, np.eye(2).ravel(), 0.1, manifolds=[ao.Stiefel(layer)])
    >>> bool(np.allclose(found.reshape(2, 2) @ found.reshape(2, 2).T, np.eye(2)))
    True
    """

    def __init__(self, on: Module, shape: tuple[int, int] | None = None) -> None:
        if shape is None:
            if not isinstance(on, Dense):
                raise InputError(f"Stiefel: give the shape (rows, columns) of the matrix in the weights of {on!r}")
            shape = (on.out_size, on.in_size)
        self.shape = (int(shape[0]), int(shape[1]))
        if min(self.shape) < 1 or self.shape[0] * self.shape[1] > on.weight_size:
            raise InputError(f"Stiefel: {on!r} has {on.weight_size} weights, fewer than a matrix {self.shape}")
        self.count = min(self.shape)
        first, second = np.triu_indices(self.count)
        self.pairs = (first, second)
        target = (first == second).astype(float)
        super().__init__(self._products, on=on, lower=target, upper=target, name="orthonormal columns")

    def _products(self, ops: Ops, w: Array) -> Array:
        matrix = ops.unpack(w, self.shape)
        tall = matrix if self.shape[0] >= self.shape[1] else ops.transpose(matrix)
        first, second = self.pairs
        return ops.take(ops.pack(ops.matmul(ops.transpose(tall), tall)), first * self.count + second)

    def _matrix(self, w: np.ndarray) -> np.ndarray:
        matrix = w[: self.shape[0] * self.shape[1]].reshape(self.shape)
        return matrix if self.shape[0] >= self.shape[1] else matrix.T

    def inward(self, w: np.ndarray) -> np.ndarray:
        """Return no normals: there is no boundary."""
        return np.zeros((0, len(w)))

    def equalities(self, w: np.ndarray) -> np.ndarray:
        """Return the gradients of `(W^T W)_ij`, i <= j."""
        tall, (first, second) = self._matrix(w), self.pairs
        slopes = np.zeros((len(first), *tall.shape))
        index = np.arange(len(first))
        slopes[index, :, first] += tall.T[second]
        slopes[index, :, second] += tall.T[first]
        flat = slopes if self.shape[0] >= self.shape[1] else slopes.swapaxes(-1, -2)
        rows = np.zeros((len(first), len(w)))
        rows[:, : tall.size] = flat.reshape(len(first), -1)
        return rows

    def retract(self, w: np.ndarray) -> np.ndarray:
        """Return w with the matrix replaced by its polar factor."""
        left, _, right = np.linalg.svd(self._matrix(w), full_matrices=False)
        tall = left @ right
        w = w.copy()
        w[: tall.size] = (tall if self.shape[0] >= self.shape[1] else tall.T).ravel()
        return w

    def __repr__(self) -> str:
        return f"Stiefel({self.on!r}, {self.shape})"


class Positive(Constraint):
    """Weights that are not negative; the retraction sets negative ones to zero.

    Examples
    --------
    >>> layer = ao.Dense(1, 1, bias=False)
    >>> falling = ao.Problem(layer, [1.0, 2.0], [-1.0, -2.0], ao.SquaredError())
    >>> found = ao.train(falling, [1.0], constraints=[ao.Positive(layer)], throw=False)
    >>> bool(found.weights[0] > -1e-6)
    True
    """

    def __init__(self, on: Module) -> None:
        super().__init__(lambda ops, w: w, on=on, lower=0.0, name="positive")

    def equalities(self, w: np.ndarray) -> np.ndarray:
        """Return no gradients: nothing is kept."""
        return np.zeros((0, len(w)))

    def inward(self, w: np.ndarray) -> np.ndarray:
        """Return the unit vectors of the weights at zero."""
        return np.eye(len(w))[w <= TOUCHING * abs(w).max(initial=0.0)]

    def retract(self, w: np.ndarray) -> np.ndarray:
        """Return the closest point."""
        return np.maximum(w, 0.0)

    def __repr__(self) -> str:
        return f"Positive({self.on!r})"


class Simplex(Constraint):
    """Weights that are not negative and add up to one; the retraction is the closest point.

    Examples
    --------
    >>> layer = ao.Dense(3, 1, bias=False)
    >>> mix = ao.Problem(layer, np.eye(3), [0.2, 0.3, 0.5], ao.SquaredError())
    >>> found = ao.train(mix, np.ones(3) / 3, constraints=[ao.Simplex(layer)], throw=False)
    >>> round(float(found.weights.sum()), 6)
    1.0
    """

    def __init__(self, on: Module) -> None:
        size = on.weight_size
        lower, upper = np.append(np.zeros(size), 1.0), np.append(np.full(size, np.inf), 1.0)
        super().__init__(self._values, on=on, lower=lower, upper=upper, name="simplex")

    def _values(self, ops: Ops, w: Array) -> Array:
        return ops.concatenate([w, ops.sum(w, keepdims=True)])

    def equalities(self, w: np.ndarray) -> np.ndarray:
        """Return the gradient of the sum."""
        return np.ones((1, len(w)))

    def inward(self, w: np.ndarray) -> np.ndarray:
        """Return the unit vectors of the weights at zero."""
        return np.eye(len(w))[w <= TOUCHING * abs(w).max(initial=0.0)]

    def retract(self, w: np.ndarray) -> np.ndarray:
        """Return the closest point (Held, Wolfe, Crowder 1974)."""
        falling = np.sort(w)[::-1]
        excess = (np.cumsum(falling) - 1.0) / np.arange(1, len(w) + 1)
        return np.maximum(w - excess[np.flatnonzero(falling > excess)[-1]], 0.0)

    def __repr__(self) -> str:
        return f"Simplex({self.on!r})"


class Ball(Constraint):
    """Weights of a norm of at most `radius`; the retraction scales longer ones.

    Examples
    --------
    >>> layers = [ao.Dense(2, 3, "tanh"), ao.Dense(3, 1)]
    >>> small = ao.Problem(layers, np.eye(2), [1.0, -1.0], ao.SquaredError())
    >>> limits = [ao.Ball(layers[1], radius=0.5)]
    >>> found = ao.train(small, constraints=limits, throw=False)
    >>> bool(np.linalg.norm(found.weights[9:]) <= 0.5 + 1e-6)
    True
    """

    radius: float

    def __init__(self, on: Module, radius: float = 1.0) -> None:
        if isinstance(radius, bool) or not isinstance(radius, numbers.Real) or not 0.0 < float(radius) < np.inf:
            raise InputError(f"Ball: radius must be a positive number, got {radius!r}")
        self.radius = float(radius)
        super().__init__(lambda ops, w: ops.sum(w * w), on=on, upper=self.radius**2, name="ball")

    def equalities(self, w: np.ndarray) -> np.ndarray:
        """Return no gradients: nothing is kept."""
        return np.zeros((0, len(w)))

    def inward(self, w: np.ndarray) -> np.ndarray:
        """Return the direction to the centre where w lies on the sphere."""
        on_it = np.linalg.norm(w) >= self.radius * (1.0 - TOUCHING)
        return -w[None] if on_it else np.zeros((0, len(w)))

    def retract(self, w: np.ndarray) -> np.ndarray:
        """Return the closest point."""
        norm = float(np.linalg.norm(w))
        return w * (self.radius / norm) if norm > self.radius else w.copy()

    def __repr__(self) -> str:
        return f"Ball({self.on!r}, {self.radius:g})"
