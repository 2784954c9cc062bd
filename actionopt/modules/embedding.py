"""Vectors for class numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from actionopt.modules.base import Module, check_count
from actionopt.ops import Ops
from actionopt.ops.base import Array


class Embedding(Module):
    """A vector of weights for each of `vocabulary` class numbers.

    Parameters
    ----------
    vocabulary : int
        Number of classes.
    width : int
        Length of a vector.
    count : int
        How many class numbers an input holds; their vectors are joined.
    mass : float or array (weight_size,), optional
        Diagonal of this module's part of the metric; the problem's where None.
    name : str, optional
        The name in tables and messages.

    Notes
    -----
    Inputs are whole numbers `0 .. vocabulary - 1` as floats; nothing is pulled back to them. Weights are the table
    `(vocabulary, width)` row-major, PyTorch's order, and start standard normal. Evaluated as a product with one-hot
    vectors.

    Examples
    --------
    >>> ao.Embedding(vocabulary=9, width=4, count=3).out_size
    12
    """

    def __init__(self, vocabulary: int, width: int, count: int = 1, mass: Any = None, name: str | None = None) -> None:
        self.vocabulary = check_count("Embedding", "vocabulary", vocabulary)
        self.width = check_count("Embedding", "width", width)
        self.count = check_count("Embedding", "count", count)
        super().__init__(self.count, self.count * self.width, self.vocabulary * self.width, mass=mass, name=name)

    def _one_hot(self, ops: Ops, z: Array) -> Array:
        return ops.one_hot(ops.parts_as_samples(z, self.count), self.vocabulary)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        table = ops.unpack(w, (self.vocabulary, self.width))
        return ops.samples_as_parts(ops.matmul(self._one_hot(ops, z), table), self.count)

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        pulled = ops.matmul(ops.transpose(self._one_hot(ops, z)), ops.parts_as_samples(adjoint, self.count))
        return ops.pack(pulled), ops.take(adjoint, np.arange(self.count) * self.width) * 0.0

    def __repr__(self) -> str:
        return f"Embedding({self.vocabulary}, {self.width}, {self.count})"
