"""Rows of K, the output metric's factor pulled back to weights, in the form that each kind of module gives them.

`K_b = S_b B_b` for sample b has m rows; with the mean over the batch, `G = D + K^T K` where K stacks the r = m B rows
`K_b / sqrt(B)`. Rows are ordered `(m, B)`; leading axes are the nodes of a trajectory. `scaled` turns K into
`K D^{-1/2}`, so that all that is solved with has eigenvalues of at least one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np


class Rows(ABC):
    """Some columns of K: the derivatives of its rows along the weights of one module."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """`(m, B, number of weights)`."""

    @property
    def count(self) -> int:
        """Number of rows r = m B."""
        return self.shape[0] * self.shape[1]

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.shape[2]

    @abstractmethod
    def at(self, node: int) -> Rows:
        """Return the rows of one node, of rows with one leading axis."""

    @abstractmethod
    def spread(self, places: np.ndarray, count: int) -> Rows:
        """Return `count` rows a sample, these at `places` among them and zeros between."""

    @abstractmethod
    def scaled(self, factor: np.ndarray | float) -> Rows:
        """Return the rows with weight i's column multiplied by `factor[i]`, `(size,)`, positive, or all by a number."""

    @abstractmethod
    def push(self, v: np.ndarray) -> np.ndarray:
        """Return `K v (..., m, B)` for a tangent of the weights `v (..., size)`."""

    @abstractmethod
    def pull(self, c: np.ndarray) -> np.ndarray:
        """Return `K^T c (..., size)` for `c (..., m, B)`."""

    def pull_push(self, c: np.ndarray) -> np.ndarray:
        """Return `K K^T c (..., m, B)`."""
        return self.push(self.pull(c))

    def push_pull(self, other: Rows, c: np.ndarray) -> np.ndarray:
        """Return `K L^T c (..., m, B)` for other rows L of the same weights and samples, `c` as many as those."""
        return self.push(other.pull(c))

    @property
    def sizes(self) -> tuple[Any, ...]:
        """What the costs of all products depend on."""
        return (type(self), *self.shape)

    @abstractmethod
    def part(self, which: slice) -> Rows:
        """Return some of the m rows of every sample."""

    @abstractmethod
    def square(self) -> float:
        """Return the sum of the squares of all entries, or a bound on it."""

    @abstractmethod
    def gram(self) -> np.ndarray:
        """Return `K K^T (..., r, r)`."""

    def normal(self) -> np.ndarray:
        """Return `K^T K (..., size, size)`."""
        matrix = self.matrix()
        return matrix.swapaxes(-1, -2) @ matrix

    @abstractmethod
    def matrix(self) -> np.ndarray:
        """Return K itself, `(..., r, size)`."""


@dataclass(frozen=True)
class PlainRows(Rows):
    """Rows as numbers, `values (..., m, B, size)`: what a module without known structure gives."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.values.shape[-3:]

    def at(self, node: int) -> Rows:
        return PlainRows(self.values[node])

    def spread(self, places: np.ndarray, count: int) -> Rows:
        return PlainRows(spread(self.values, places, count))

    def part(self, which: slice) -> Rows:
        return PlainRows(self.values[..., which, :, :])

    def scaled(self, factor: np.ndarray | float) -> Rows:
        return PlainRows(self.values * factor)

    def push(self, v: np.ndarray) -> np.ndarray:
        flat = self.matrix() @ v[..., None]
        return flat.reshape(*flat.shape[:-2], *self.shape[:2])

    def pull(self, c: np.ndarray) -> np.ndarray:
        return (c.reshape(*c.shape[:-2], 1, self.count) @ self.matrix())[..., 0, :]

    def square(self) -> float:
        return float(np.vdot(self.values, self.values))

    def gram(self) -> np.ndarray:
        matrix = self.matrix()
        return matrix @ matrix.swapaxes(-1, -2)

    def matrix(self) -> np.ndarray:
        return self.values.reshape(*self.values.shape[:-3], self.count, self.size)


def to_rows(delta: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return `delta_ib . moved_b (..., m, B)`, for `delta (..., m, B, out)` and `moved (..., B, out)`."""
    # a matrix-vector product a sample: NumPy hands those to BLAS without a copy, twice as fast as einsum
    return (delta.swapaxes(-3, -2) @ moved[..., None])[..., 0].swapaxes(-1, -2)


def from_rows(delta: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return `sum_i c_ib delta_ib (..., B, out)`, the transpose of `to_rows`."""
    if delta.shape[-3] == 1:
        return c[..., 0, :, None] * delta[..., 0, :, :]
    return (c.swapaxes(-1, -2)[..., None, :] @ delta.swapaxes(-3, -2))[..., 0, :]


def spread(array: np.ndarray, places: np.ndarray, count: int, axis: int = -3) -> np.ndarray:
    """Return an array with `count` rows along an axis, the given ones at `places` and zeros between."""
    shape = list(array.shape)
    shape[axis] = count
    out = np.zeros(shape)
    np.moveaxis(out, axis, 0)[places] = np.moveaxis(array, axis, 0)
    return out


def total(terms: Iterable[np.ndarray]) -> np.ndarray:
    """Add arrays up, in the memory of the first, which must be a temporary."""
    terms = iter(terms)
    sum_of_all = next(terms)
    for term in terms:
        sum_of_all = np.add(sum_of_all, term, out=sum_of_all) if sum_of_all.shape == term.shape else sum_of_all + term
    return sum_of_all
