"""Scaling by constants in an ONNX graph, as pipelines with a StandardScaler have it: folded into the layers around."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from actionopt.interop.onnx_parts import Affine
from actionopt.modules import Module
from actionopt.modules.base import no_weights
from actionopt.ops import Ops
from actionopt.ops.base import Array

SCALINGS = ("Add", "Sub", "Mul", "Div")


@dataclass(frozen=True, eq=False)
class Scaling:
    """`factor * z + shift`, one number a feature each, and the constants it is made of."""

    factor: np.ndarray
    shift: np.ndarray
    made_of: tuple[Any, ...]

    def after(self, layer: Affine) -> Affine:
        """Return the linear layer with this scaling of its output in it."""
        offset = None if layer.offset is None and not self.shift.any() else self.shift
        if layer.offset is not None:
            offset = self.factor * layer.offset + self.shift
        matrix = self.factor[:, None] * layer.matrix
        return replace(layer, matrix=matrix, offset=offset, made_of=(*layer.made_of, "then", *self.made_of))

    def before(self, layer: Affine) -> Affine:
        """Return the linear layer with this scaling of its input in it."""
        moved = layer.matrix @ self.shift
        offset = moved if layer.offset is None else layer.offset + moved
        if layer.offset is None and not self.shift.any():
            offset = None
        matrix = layer.matrix * self.factor
        return replace(layer, matrix=matrix, offset=offset, made_of=(*self.made_of, "before", *layer.made_of))

    def then(self, other: Scaling) -> Scaling:
        """Return both, one after the other."""
        shift = other.factor * self.shift + other.shift
        return Scaling(self.factor * other.factor, shift, (*self.made_of, *other.made_of))


Layers = tuple[Affine | Scaling | Module, ...]


class Rescale(Module):
    """A scaling that stands beside no linear layer: `z_out = factor * z + shift`, no weights."""

    def __init__(self, factor: np.ndarray, shift: np.ndarray, name: str = "Rescale") -> None:
        super().__init__(len(factor), len(factor), 0, name=name)
        self.factor, self.shift = factor, shift

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        return z * ops.row(self.factor) + ops.row(self.shift)

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        return no_weights(ops, adjoint), adjoint * ops.row(self.factor)

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return np.zeros(0)


def scaling_of(kind: str, values: np.ndarray, constant_first: bool, made_of: tuple[Any, ...]) -> Scaling | None:
    """Return what an arithmetic node with one constant does; None for a constant divided by data.

    Parameters
    ----------
    values : array (d,)
        The constant, one number a feature.
    constant_first : bool
        Whether it stands on the left.
    """
    one, zero = np.ones_like(values), np.zeros_like(values)
    if kind == "Add":
        return Scaling(one, values, made_of)
    if kind == "Sub":
        return Scaling(-one, values, made_of) if constant_first else Scaling(one, -values, made_of)
    if kind == "Mul":
        return Scaling(values, zero, made_of)
    return None if constant_first else Scaling(1.0 / values, zero, made_of)
