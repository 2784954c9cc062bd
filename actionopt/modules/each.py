"""One module on every part of its input: tokens, positions, time steps."""

from __future__ import annotations

from typing import Any

from actionopt.errors import InputError
from actionopt.modules.base import Module, check_count
from actionopt.modules.composite import Composite, check_modules
from actionopt.ops import Ops
from actionopt.ops.base import Array


class Each(Composite):
    """The same module, with the same weights, on each of `count` equal parts of its input.

    Parameters
    ----------
    module : Module
        `in_size -> out_size` for one part.
    count : int
        Number of parts. Inputs are `count * in_size` features, part after part; outputs likewise.

    Notes
    -----
    Parts stand as samples while the module is evaluated. A row of the metric's K is the sum over parts, so that of a
    dense layer is a sum of `count` outer products.

    Examples
    --------
    >>> ao.Each(ao.Dense(3, 2), 4).in_size               # one layer on each of four parts
    12
    """

    def __init__(self, module: Module, count: int, *, mass: Any = None, name: str | None = None) -> None:
        (module,) = check_modules("Each", [module])
        self.count = check_count("Each", "count", count)
        if not module.in_size:
            raise InputError(f"Each needs a module that takes an input, got {module!r}")
        super().__init__((module,), self.count * module.in_size, self.count * module.out_size, mass, name)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        out = self.parts[0].forward(ops, w, ops.parts_as_samples(z, self.count))
        return ops.samples_as_parts(out, self.count)

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        arguments = [ops.parts_as_samples(x, self.count) for x in (z, out, adjoint)]
        dw, dz = self.parts[0].vjp(ops, w, *arguments)
        return dw, ops.samples_as_parts(dz, self.count)

    def __repr__(self) -> str:
        return f"Each({self.parts[0]!r}, {self.count})"
