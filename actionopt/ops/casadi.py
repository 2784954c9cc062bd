"""The CasADi namespace: one sample as a row `(1, d)`, weights as a vector; SX and MX alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import casadi as ca
import numpy as np

from actionopt.ops.base import Array, Ops, checked_indices, columns_of, one_a_sample

_SAME_NAME = ("exp", "log", "log1p", "sqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh")


class CasadiOps(Ops):
    """CasADi is column-major; this class alone turns its vectors into row-major matrices and back."""

    def __init__(self) -> None:
        for name in _SAME_NAME:
            setattr(self, name, getattr(ca, name))
        self.arctan = ca.atan
        self.abs = ca.fabs

    def unpack(self, w: Array, *shapes: tuple[int, ...]) -> Any:
        w = ca.vec(w)
        parts, start = [], 0
        for shape in shapes:
            rows, columns = (1, *shape) if len(shape) == 1 else shape
            stop = start + rows * columns
            parts.append(ca.reshape(w[start:stop], columns, rows).T)
            start = stop
        return parts[0] if len(shapes) == 1 else tuple(parts)

    def pack(self, *parts: Array) -> Array:
        return ca.horzcat(*[ca.vec(part.T).T for part in parts])

    def row(self, values: Any) -> Array:
        return ca.DM(values).T

    def split(self, z: Array, sizes: Sequence[int]) -> list[Array]:
        return ca.horzsplit(z, [0, *accumulate(sizes)])

    def size(self, z: Array) -> int:
        return z.shape[1]

    def rank(self, z: Array) -> int:
        return 2

    def concatenate(self, parts: Sequence[Array]) -> Array:
        return ca.horzcat(*parts)

    def matmul(self, a: Array, b: Array) -> Array:
        return ca.mtimes(a, b)

    def transpose(self, a: Array) -> Array:
        return a.T

    def affine(self, z: Array, matrix: Array, offset: Array | None = None) -> Array:
        product = ca.mtimes(z, matrix.T)
        return product if offset is None else product + self.repeat_samples(offset, product)

    def take(self, z: Array, indices: Sequence[int] | np.ndarray) -> Array:
        return z[:, checked_indices(indices, z.shape[1]).tolist()]

    def put(self, z: Array, indices: Sequence[int] | np.ndarray, size: int) -> Array:
        places = checked_indices(indices, size)
        ones = ca.DM.triplet(list(range(len(places))), places.tolist(), ca.DM.ones(len(places)), len(places), size)
        return ca.densify(ca.mtimes(z, ones))

    def one_hot(self, z: Array, size: int) -> Array:
        numbers = ca.repmat(ca.DM(range(size)).T, z.shape[0], 1)
        return ca.repmat(z, 1, size) == numbers

    def solve(self, matrix: Array, b: Array) -> Array:
        size = b.shape[1]
        if one_a_sample(matrix.shape[1], size):
            return ca.vertcat(
                *[ca.solve(self._matrix(a, size), row.T).T for a, row in zip(_rows(matrix), _rows(b), strict=True)]
            )
        return b / matrix if size == 1 else ca.solve(matrix, b.T).T

    def matmul_samples(self, a: Array, b: Array, inner: int) -> Array:
        rows = columns_of(a.shape[1], inner)
        pairs = zip(_rows(a), _rows(b), strict=True)
        return ca.vertcat(*[self.pack(ca.mtimes(self._matrix(x, rows), self._matrix(y, inner))) for x, y in pairs])

    def _matrix(self, row: Array, rows: int) -> Array:
        """Return the matrix whose rows are joined in a row."""
        return ca.reshape(row, columns_of(row.shape[1], rows), rows).T

    def parts_as_samples(self, z: Array, count: int) -> Array:
        return ca.vertcat(*[self._matrix(row, count) for row in _rows(z)])

    def samples_as_parts(self, z: Array, count: int) -> Array:
        columns_of(z.shape[0], count)
        return ca.vertcat(*[self.pack(part) for part in ca.vertsplit(z, count)])

    def sum(self, z: Array, keepdims: bool = False) -> Array:
        return ca.sum2(z)

    def repeat_columns(self, z: Array, size: int, keepdims: bool = False) -> Array:
        return ca.repmat(z, 1, size)

    def sum_samples(self, z: Array) -> Array:
        return z if z.shape[0] == 1 else ca.sum1(z)  # more rows than one are the parts of a sample

    def repeat_samples(self, row: Array, like: Array) -> Array:
        return row if row.shape[0] == like.shape[0] else ca.repmat(row, like.shape[0], 1)

    def logsumexp(self, z: Array) -> Array:
        return ca.vertcat(*[ca.logsumexp(row.T) for row in _rows(z)])

    def softmax(self, z: Array) -> Array:
        # one logsumexp a column: reverse-mode Jacobians of MX vector - scalar lose terms in CasADi 3.8.2
        return ca.exp(z - ca.repmat(self.logsumexp(z), 1, z.shape[1]))

    def relu(self, z: Array) -> Array:
        return z * self.step(z)

    def step(self, z: Array) -> Array:
        return z > 0

    def sigmoid(self, z: Array) -> Array:
        return 0.5 + 0.5 * ca.tanh(0.5 * z)

    def softplus(self, z: Array) -> Array:
        # log(1 + e^z) = relu(z) + log(1 + e^-|z|), with |z| from relu so that derivatives are exact at 0 too
        positive = self.relu(z)
        return positive + ca.log1p(ca.exp(z - 2 * positive))


def _rows(z: Array) -> list[Array]:
    """Return the rows of an expression: the sample, or its parts."""
    return [z] if z.shape[0] == 1 else ca.vertsplit(z)


CASADI = CasadiOps()
