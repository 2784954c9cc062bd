"""A module without input."""

from __future__ import annotations

from actionopt.modules.base import Module
from actionopt.ops import Ops
from actionopt.ops.base import Array


class Parameter(Module):
    """Weights as output: `z_out = w`. With a loss on top, an energy landscape over `size` coordinates.

    Examples
    --------
    >>> bowl = ao.CustomLoss(lambda ops, y, target: ops.sum(y * y))
    >>> landscape = ao.Problem(ao.Parameter(2), None, None, bowl, output_metric=None)
    >>> float(landscape.energy(np.array([1.0, 2.0])))
    5.0
    """

    def __init__(self, size: int, *, mass: object = None, name: str | None = None) -> None:
        super().__init__(0, size, size, mass=mass, name=name)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        return ops.repeat_samples(ops.unpack(w, (self.out_size,)), z)

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        return ops.pack(ops.sum_samples(adjoint)), ops.split(adjoint, [0, self.out_size])[0]

    def __repr__(self) -> str:
        return f"Parameter({self.out_size})"
