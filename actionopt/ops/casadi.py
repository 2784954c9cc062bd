"""The CasADi namespace: one sample as a row `(1, d)`, weights as a vector; SX and MX alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import casadi as ca

from actionopt.ops.base import Array, Ops

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

    def sum(self, z: Array, keepdims: bool = False) -> Array:
        return ca.sum2(z)

    def repeat_columns(self, z: Array, size: int, keepdims: bool = False) -> Array:
        return ca.repmat(z, 1, size)

    def sum_samples(self, z: Array) -> Array:
        return z

    def repeat_samples(self, row: Array, like: Array) -> Array:
        return row

    def logsumexp(self, z: Array) -> Array:
        return ca.logsumexp(z.T)

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


CASADI = CasadiOps()
