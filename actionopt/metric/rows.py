"""Rows of K, the output metric's factor pulled back to weights, in the form that each kind of module gives them.

`K_b = S_b B_b` for sample b has m rows; with its mean over the batch, `G = D + K^T K` where K stacks the r = m B rows
`K_b / sqrt(B)`. Leading axes are the nodes of a trajectory. Rows are ordered `(m, B)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np


class Rows(ABC):
    """Some columns of K: the rows' derivatives along the weights of one module."""

    size: int
    count: int

    @abstractmethod
    def product(self, v: np.ndarray) -> np.ndarray:
        """Return `K v (..., m, B)` for weights' tangents `v (..., size)`."""

    @abstractmethod
    def transposed(self, c: np.ndarray) -> np.ndarray:
        """Return `K^T c (..., size)` for `c (..., m, B)`."""

    @abstractmethod
    def gram(self, inverse_mass: np.ndarray) -> np.ndarray:
        """Return `K D^{-1} K^T (..., r, r)` for the diagonal `D^{-1} (size,)`."""

    @abstractmethod
    def normal(self) -> np.ndarray:
        """Return `K^T K (..., size, size)`."""

    @abstractmethod
    def matrix(self) -> np.ndarray:
        """Return K itself, `(..., r, size)`."""


@dataclass(frozen=True)
class PlainRows(Rows):
    """Rows as numbers, `values (..., m, B, size)`: what a module without known structure gives."""

    values: np.ndarray

    @property
    def size(self) -> int:
        return self.values.shape[-1]

    @property
    def count(self) -> int:
        return self.values.shape[-3] * self.values.shape[-2]

    def product(self, v: np.ndarray) -> np.ndarray:
        return (self.values @ v[..., None, :, None])[..., 0]

    def transposed(self, c: np.ndarray) -> np.ndarray:
        flat = c.reshape(*c.shape[:-2], 1, self.count)
        return (flat @ self.matrix())[..., 0, :]

    def gram(self, inverse_mass: np.ndarray) -> np.ndarray:
        scaled = self.matrix() * np.sqrt(inverse_mass)
        return scaled @ scaled.swapaxes(-1, -2)

    def normal(self) -> np.ndarray:
        matrix = self.matrix()
        return matrix.swapaxes(-1, -2) @ matrix

    def matrix(self) -> np.ndarray:
        return self.values.reshape(*self.values.shape[:-3], self.count, self.size)


@dataclass(frozen=True)
class DenseRows(Rows):
    """Rows of a dense layer, `delta (x) [z, 1]` with the weights ordered `[W row by row, b]`; never multiplied out.

    Attributes
    ----------
    delta : array (..., m, B, out)
        The rows at the affine map's output, divided by sqrt(B).
    z : array (..., B, in)
        The layer's inputs.
    bias : bool
        Whether there is an offset.
    """

    delta: np.ndarray
    z: np.ndarray
    bias: bool

    @property
    def size(self) -> int:
        return self.delta.shape[-1] * (self.z.shape[-1] + self.bias)

    @property
    def count(self) -> int:
        return self.delta.shape[-3] * self.delta.shape[-2]

    def product(self, v: np.ndarray) -> np.ndarray:
        matrix, offset = self._split(v)
        moved = self.z @ matrix.swapaxes(-1, -2)
        if self.bias:
            moved = moved + offset[..., None, :]
        return np.einsum("...ibo,...bo->...ib", self.delta, moved)

    def transposed(self, c: np.ndarray) -> np.ndarray:
        weighted = np.einsum("...ibo,...ib->...bo", self.delta, c)
        matrix = weighted.swapaxes(-1, -2) @ self.z
        flat = matrix.reshape(*matrix.shape[:-2], -1)
        return np.concatenate([flat, weighted.sum(axis=-2)], axis=-1) if self.bias else flat

    def gram(self, inverse_mass: np.ndarray) -> np.ndarray:
        m, samples, out = self.delta.shape[-3:]
        delta = self.delta.reshape(*self.delta.shape[:-3], m * samples, out)
        total = 0.0
        for left, right, offset in self._separated(inverse_mass):
            scaled, inputs = delta[..., left.nonzero()[0]] * np.sqrt(left[left > 0]), self.z * np.sqrt(right)
            outer = scaled @ scaled.swapaxes(-1, -2)
            blocks = outer.reshape(*outer.shape[:-2], m, samples, m, samples)
            blocks *= (inputs @ inputs.swapaxes(-1, -2) + offset)[..., None, :, None, :]
            total = outer if np.isscalar(total) else np.add(total, outer, out=total)
        return total

    def normal(self) -> np.ndarray:
        out, columns = self.delta.shape[-1], self.z.shape[-1] + self.bias
        inputs = np.concatenate([self.z, np.ones((*self.z.shape[:-1], 1))], axis=-1) if self.bias else self.z
        metrics = np.einsum("...ibj,...ibk->...jkb", self.delta, self.delta)
        blocks = (metrics[..., None, :] * inputs.swapaxes(-1, -2)[..., None, None, :, :]) @ inputs[
            ..., None, None, :, :
        ]
        blocks = blocks.swapaxes(-2, -3)  # (..., out, columns, out, columns)
        order = self._order(out, columns)
        return blocks.reshape(*blocks.shape[:-4], out * columns, out * columns)[..., order[:, None], order]

    def matrix(self) -> np.ndarray:
        outer = self.delta[..., :, None] * self.z[..., None, :, None, :]
        flat = outer.reshape(*outer.shape[:-2], -1)
        rows = np.concatenate([flat, self.delta], axis=-1) if self.bias else flat
        return rows.reshape(*rows.shape[:-3], self.count, self.size)

    def _split(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out, width = self.delta.shape[-1], self.z.shape[-1]
        return v[..., : out * width].reshape(*v.shape[:-1], out, width), v[..., out * width :]

    def _separated(self, inverse_mass: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, float]]:
        """Write `D^{-1}`, as a matrix (out, in) and an offset (out,), as a sum of outer products left x [right, offset].

        One term where the mass is one number a layer (or a matrix of rank one), else one an output.
        """
        matrix, offset = self._split(inverse_mass)
        table = np.concatenate([matrix, offset[:, None]], axis=1) if self.bias else matrix
        tails = (lambda row: (row[:-1], float(row[-1]))) if self.bias else (lambda row: (row, 0.0))
        left, right = table[:, 0], table[0] / table[0, 0]
        if np.allclose(left[:, None] * right, table, rtol=1e-14, atol=0.0):
            return [(left, *tails(right))]
        return [(unit, *tails(row)) for unit, row in zip(np.eye(len(table)), table, strict=True)]

    def _order(self, out: int, columns: int) -> np.ndarray:
        """Return where the weights `[W row by row, b]` lie in a table (out, [in, 1])."""
        table = np.arange(out * columns).reshape(out, columns)
        width = self.z.shape[-1]
        return np.concatenate([table[:, :width].ravel(), table[:, width:].ravel()])
