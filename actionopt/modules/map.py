"""A module without weights, from its formula alone."""

from __future__ import annotations

from collections.abc import Callable

from actionopt.errors import InputError
from actionopt.modules.base import Module
from actionopt.ops import Ops
from actionopt.ops.base import Array


class Map(Module):
    """A fixed map of features, `z_out = value(ops, z)`: a sum of states, a product, a reordering.

    Parameters
    ----------
    value : callable
        `value(ops, z)` of `z (..., B, in_size)` gives `(..., B, out_size)`, written with the functions of `ops`.
    in_size, out_size : int
    name : str, optional
        The name in tables and messages.

    Examples
    --------
    >>> import actionopt as ao
    >>> def add(ops, z):
    ...     left, right = ops.split(z, [3, 3])
    ...     return left + right
    >>> skip = ao.Map(add, 6, 3)
    """

    def __init__(
        self, value: Callable[[Ops, Array], Array], in_size: int, out_size: int, *, name: str | None = None
    ) -> None:
        if not callable(value):
            raise InputError(f"Map takes a function value(ops, z), got {value!r}")
        super().__init__(in_size, out_size, 0, name=name)
        self.value = value

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        return self.value(ops, z)

    def __repr__(self) -> str:
        return f"{self.label}({self.in_size}, {self.out_size})"
