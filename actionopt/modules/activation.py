"""Elementwise activations, with their slopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from actionopt.errors import unknown_name
from actionopt.modules.base import Module, no_weights
from actionopt.ops import Ops
from actionopt.ops.base import Array


class Elementwise(NamedTuple):
    """A scalar function and its derivative `slope(ops, x, y)`, written with `y = value(ops, x)` where cheaper.

    `from_output` says that the slope does not use x, which may then be None.
    """

    value: Callable[[Ops, Array], Array]
    slope: Callable[[Ops, Array, Array], Array]
    from_output: bool = False

    def __reduce__(self) -> Any:
        """Pickle a named function by its name, so that problems travel to other processes."""
        name = next((name for name, known in ACTIVATIONS.items() if known is self), None)
        return (activation, (name,)) if name else (Elementwise, tuple(self))


ACTIVATIONS: dict[str, Elementwise] = {
    "tanh": Elementwise(lambda ops, x: ops.tanh(x), lambda ops, x, y: 1.0 - y * y, from_output=True),
    "sigmoid": Elementwise(lambda ops, x: ops.sigmoid(x), lambda ops, x, y: y * (1.0 - y), from_output=True),
    "relu": Elementwise(lambda ops, x: ops.relu(x), lambda ops, x, y: ops.step(y), from_output=True),
    "softplus": Elementwise(lambda ops, x: ops.softplus(x), lambda ops, x, y: ops.sigmoid(x)),
    "sin": Elementwise(lambda ops, x: ops.sin(x), lambda ops, x, y: ops.cos(x)),
    "exp": Elementwise(lambda ops, x: ops.exp(x), lambda ops, x, y: y, from_output=True),
    "square": Elementwise(lambda ops, x: x * x, lambda ops, x, y: 2.0 * x),
    "silu": Elementwise(
        lambda ops, x: x * ops.sigmoid(x),
        lambda ops, x, y: ops.sigmoid(x) * (1.0 + x - y),
    ),
}


def activation(name: str) -> Elementwise:
    """Look up an activation by name.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


class Activation(Module):
    """An elementwise function as a module of its own: `z_out = phi(z_in)`, no weights."""

    def __init__(self, size: int, name: str) -> None:
        self.function = activation(name)
        super().__init__(size, size, 0, name=name)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        return self.function.value(ops, z)

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        pulled = adjoint * self.function.slope(ops, z, out)
        return no_weights(ops, pulled), pulled

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        return np.zeros(0)

    def __repr__(self) -> str:
        return f"Activation({self.in_size}, {self.name!r})"
