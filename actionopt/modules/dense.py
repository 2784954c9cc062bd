"""The dense layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.modules.activation import Elementwise
from actionopt.modules.activation import activation as lookup
from actionopt.modules.base import Module
from actionopt.ops import NUMPY, Ops
from actionopt.ops.base import Array


class Dense(Module):
    """An affine map and an elementwise activation: `z_out = phi(W z_in + b)`.

    Parameters
    ----------
    in_size, out_size : int
        Width of input and output.
    activation : str, optional
        A name in `ACTIVATIONS`; None is linear.
    bias : bool
        Whether there is an offset b.
    mass : float or array (weight_size,), optional
        Diagonal of this module's part of the metric; the problem's where None.
    name : str, optional
        The name in tables and messages.

    Notes
    -----
    Weights are `[W row by row, b]`, so `weight_size = out_size * (in_size + bias)`. They start as
    normal(0, 1/in_size) with b = 0.

    Examples
    --------
    >>> ao.Dense(3, 2, "tanh").weight_size               # W (2, 3) row by row, then b (2,)
    8
    """

    function: Elementwise | None

    def __init__(
        self,
        in_size: int,
        out_size: int,
        activation: str | None = None,
        bias: bool = True,
        mass: Any = None,
        name: str | None = None,
    ) -> None:
        if in_size is None or out_size is None:
            raise InputError(f"Dense: in_size and out_size must be whole numbers >= 0, got {in_size} and {out_size}")
        super().__init__(in_size, out_size, mass=mass, name=name)
        self.weight_size = self.out_size * (self.in_size + bool(bias))
        self.activation = activation
        self.function = None if activation is None else lookup(activation)
        self.bias = bool(bias)

    def parameters(self, ops: Ops, w: Array) -> tuple[Array, Array | None]:
        """Take `w` apart: the matrix `(..., out, in)` and the offset, a row `(..., 1, out)` or None."""
        if not self.bias:
            return ops.unpack(w, (self.out_size, self.in_size)), None
        return ops.unpack(w, (self.out_size, self.in_size), (self.out_size,))

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        pre = ops.affine(z, *self.parameters(ops, w))
        return pre if self.function is None else self.function.value(ops, pre)

    def steps(self, w: np.ndarray) -> Callable[[int, np.ndarray], np.ndarray]:
        matrix, offset = self.parameters(NUMPY, w)
        columns = list(np.moveaxis(matrix.swapaxes(-1, -2), -3, 0))
        rows = [0.0] * len(columns) if offset is None else list(np.moveaxis(offset, -3, 0))
        value = None if self.function is None else self.function.value

        def step(index: int, z: np.ndarray) -> np.ndarray:
            pre = z @ columns[index] + rows[index]
            return pre if value is None else value(NUMPY, pre)

        return step

    def slope(self, ops: Ops, w: Array, z: Array, out: Array) -> Array | None:
        """Return `phi'(W z + b)`, or None where the layer is linear."""
        if self.function is None:
            return None
        pre = None if self.function.from_output else ops.affine(z, *self.parameters(ops, w))
        return self.function.slope(ops, pre, out)

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        slope = self.slope(ops, w, z, out)
        delta = adjoint if slope is None else adjoint * slope
        matrix_adjoint = ops.matmul(ops.transpose(delta), z)
        parts = (matrix_adjoint, ops.sum_samples(delta)) if self.bias else (matrix_adjoint,)
        return ops.pack(*parts), ops.matmul(delta, self.parameters(ops, w)[0])

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        w = np.zeros(self.weight_size)
        matrix_size = self.out_size * self.in_size
        w[:matrix_size] = rng.standard_normal(matrix_size) / np.sqrt(max(self.in_size, 1))
        return w

    def __repr__(self) -> str:
        bias = "" if self.bias else ", bias=False"
        return f"Dense({self.in_size}, {self.out_size}, {self.activation!r}{bias})"
