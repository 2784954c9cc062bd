"""Layer normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.modules.base import Module
from actionopt.ops import Ops
from actionopt.ops.base import Array


class LayerNorm(Module):
    """Centre the features of a sample and scale them to variance one: `scale * (z - mean) / sqrt(var + eps) + offset`.

    Parameters
    ----------
    size : int
        Number of features; mean and variance (divided by `size`) are over them, sample by sample.
    epsilon : float
        Added to the variance, 1e-5 as in PyTorch.
    mass : float or array (2 size,), optional
        Diagonal of this module's part of the metric; the problem's where None.
    name : str, optional
        The name in tables and messages.

    Notes
    -----
    Weights are `[scale, offset]`; they start as ones and zeros. On tokens: `Each(LayerNorm(width), tokens)`.

    Examples
    --------
    >>> ao.LayerNorm(4).weight_size
    8
    """

    def __init__(self, size: int, epsilon: float = 1e-5, mass: Any = None, name: str | None = None) -> None:
        super().__init__(size, size, mass=mass, name=name)
        self.weight_size = 2 * self.in_size
        if not self.in_size:
            raise InputError("LayerNorm needs at least one feature")
        if not isinstance(epsilon, (int, float)) or not 0.0 < epsilon < np.inf:
            raise InputError(f"LayerNorm: epsilon must be a positive number, got {epsilon!r}")
        self.epsilon = float(epsilon)

    def normal(self, ops: Ops, z: Array) -> tuple[Array, Array]:
        """Return `(z - mean) / sqrt(var + eps)` and, as broad as it, `1 / sqrt(var + eps)`."""
        centred = z - self._mean(ops, z)
        inverse = 1.0 / ops.sqrt(self._mean(ops, centred * centred) + self.epsilon)
        return centred * inverse, inverse

    def _mean(self, ops: Ops, z: Array) -> Array:
        return ops.repeat_columns(ops.sum(z, keepdims=True) * (1.0 / self.in_size), self.in_size, keepdims=True)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        scale, offset = (ops.repeat_samples(row, z) for row in ops.unpack(w, (self.in_size,), (self.in_size,)))
        return scale * self.normal(ops, z)[0] + offset

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        scale, _ = ops.unpack(w, (self.in_size,), (self.in_size,))
        normal, inverse = self.normal(ops, z)
        pulled = ops.repeat_samples(scale, z) * adjoint
        dz = inverse * (pulled - self._mean(ops, pulled) - normal * self._mean(ops, pulled * normal))
        return ops.pack(ops.sum_samples(adjoint * normal), ops.sum_samples(adjoint)), dz

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return np.concatenate([np.ones(self.in_size), np.zeros(self.in_size)])

    def __repr__(self) -> str:
        return f"LayerNorm({self.in_size})"
