"""The transpose of a dense layer, on the same weights."""

from __future__ import annotations

from typing import Any

from actionopt.errors import InputError
from actionopt.modules.base import Module
from actionopt.modules.dense import Dense
from actionopt.ops import Ops
from actionopt.ops.base import Array


class Transposed(Module):
    """`z_out = W^T z_in` with the matrix W of a dense layer and its weights: the decoder of a tied autoencoder.

    Parameters
    ----------
    layer : Dense
        `in_size -> out_size`; the transpose takes `out_size` features and gives `in_size`. The layer's offset and
        activation are its own.
    name : str, optional
        The name in tables and messages.

    Examples
    --------
    >>> import actionopt as ao
    >>> encoder = ao.Dense(8, 2, bias=False)
    >>> x = ao.Input([[1.0] * 8])
    >>> reconstruction = ao.Transposed(encoder)(encoder(x))
    >>> ao.Problem([ao.Cost(reconstruction, ao.SquaredError(), x.values)]).size
    16
    """

    def __init__(self, layer: Dense, *, name: str | None = None) -> None:
        if not isinstance(layer, Dense):
            raise InputError(f"Transposed takes a Dense layer, got {layer!r} of type {type(layer).__name__}")
        super().__init__(layer.out_size, layer.in_size, layer.weight_size, name=name)
        self.shares = layer

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        return ops.matmul(z, self.shares.parameters(ops, w)[0])

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        matrix, offset = self.shares.parameters(ops, w)
        parts: list[Any] = [ops.matmul(ops.transpose(z), adjoint)]
        if offset is not None:
            parts.append(ops.sum_samples(z) * 0.0)
        return ops.pack(*parts), ops.matmul(adjoint, ops.transpose(matrix))

    def __repr__(self) -> str:
        return f"Transposed({self.shares!r})"
