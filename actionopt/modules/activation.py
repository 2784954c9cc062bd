"""Elementwise activations, with their slopes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from actionopt.errors import InputError, unknown_name
from actionopt.modules.base import Module, no_weights
from actionopt.ops import Ops
from actionopt.ops.base import Array
from actionopt.ops.dual import DERIVATIVES


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


def _of_ops(name: str, *, from_output: bool = False) -> Elementwise:
    """Return a function of `ops` with the derivative that duals know."""
    return Elementwise(lambda ops, x: getattr(ops, name)(x), DERIVATIVES[name], from_output)


ACTIVATIONS: dict[str, Elementwise] = {
    "tanh": _of_ops("tanh", from_output=True),
    "sigmoid": _of_ops("sigmoid", from_output=True),
    "relu": _of_ops("relu", from_output=True),
    "softplus": _of_ops("softplus"),
    "sin": _of_ops("sin"),
    "exp": _of_ops("exp", from_output=True),
    "square": Elementwise(lambda ops, x: x * x, lambda ops, x, y: 2.0 * x),
    "silu": Elementwise(
        lambda ops, x: x * ops.sigmoid(x),
        lambda ops, x, y: ops.sigmoid(x) * (1.0 + x - y),
    ),
}


class LeakyRelu(NamedTuple):
    """`x` above zero, `alpha x` below, with its slope."""

    alpha: float

    def value(self, ops: Ops, x: Array) -> Array:
        return ops.relu(x) - self.alpha * ops.relu(-x)

    def slope(self, ops: Ops, x: Array, y: Array) -> Array:
        return self.alpha + (1.0 - self.alpha) * ops.step(x)


class Elu(NamedTuple):
    """`x` above zero, `alpha (exp(x) - 1)` below, with its slope."""

    alpha: float

    def value(self, ops: Ops, x: Array) -> Array:
        return ops.relu(x) + self.alpha * (ops.exp(-ops.relu(-x)) - 1.0)

    def slope(self, ops: Ops, x: Array, y: Array) -> Array:
        above = ops.step(x)
        return above + self.alpha * (1.0 - above) * ops.exp(-ops.relu(-x))


# activations with a parameter, `leaky_relu(0.2)`, and its value where the name stands alone
PARAMETRIC: dict[str, tuple[Callable[[float], Any], float]] = {"leaky_relu": (LeakyRelu, 0.01), "elu": (Elu, 1.0)}


def activation(name: str) -> Elementwise:
    """Look up an activation by name; "leaky_relu(0.2)" and "elu(1.5)" bring a parameter with them.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if isinstance(name, str) and (parsed := re.fullmatch(r"(\w+)\(([-+.\deE]+)\)", name)):
        kind, text = parsed.groups()
        if kind in PARAMETRIC:
            try:
                function = PARAMETRIC[kind][0](float(text))
            except ValueError:
                raise InputError(f"activation {name!r}: expected a number, got {text!r}") from None
            return Elementwise(function.value, function.slope)
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


for _name, (_kind, _default) in PARAMETRIC.items():
    ACTIVATIONS[_name] = Elementwise(_kind(_default).value, _kind(_default).slope)


class Activation(Module):
    """An elementwise function as a module of its own: `z_out = phi(z_in)`, no weights.

    Examples
    --------
    >>> ao.Activation(3, "softplus").weight_size
    0
    """

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
