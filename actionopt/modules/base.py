"""The module: one equation, from which everything else follows."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from actionopt.arrays import real_array
from actionopt.errors import InputError, check_name
from actionopt.modules.derived import pull_back
from actionopt.modules.node import Node, place
from actionopt.ops import NUMPY, Ops, duals_over
from actionopt.ops.base import Array


class Module:
    """A map `z_out = f(z_in, w)` from `in_size` to `out_size` numbers with `weight_size` weights.

    A subclass sets the three sizes and writes `forward`; Jacobian products, metrics and constraints follow
    from it. A closed-form `vjp` may be added for speed; it is not inherited by a class with a `forward` of its own.

    Parameters
    ----------
    in_size, out_size, weight_size : int, optional
        The sizes; a subclass may set them as attributes instead.
    mass : float or array (weight_size,), optional
        Diagonal of this module's part of the metric, positive; the problem's mass where it is None.
    name : str, optional
        How tables and messages call this module.

    Examples
    --------
    >>> class Gain(Module):
    ...     in_size, out_size, weight_size = 1, 1, 2
    ...
    ...     def forward(self, ops, w, z):
    ...         a, b = ops.unpack(w, (1,), (1,))
    ...         return a * ops.tanh(b * z)
    """

    in_size: int
    out_size: int
    weight_size: int
    mass: Any = None
    name: str | None = None
    is_reading = False  # whether it only gathers what a cost sees, which results do not list
    shares: Any = None  # another module, on whose weights this one runs where both are placed
    scalar_graph: bool = True  # whether CasADi's scalar symbols (SX) can evaluate it

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for derived in ("vjp", "steps"):  # a parent's closed forms are those of another equation
            if "forward" in vars(cls) and derived not in vars(cls):
                setattr(cls, derived, getattr(Module, derived))

    def __init__(
        self,
        in_size: int | None = None,
        out_size: int | None = None,
        weight_size: int | None = None,
        *,
        mass: Any = None,
        name: str | None = None,
    ) -> None:
        for attribute, value in (("in_size", in_size), ("out_size", out_size), ("weight_size", weight_size)):
            if value is not None:
                setattr(self, attribute, check_count(type(self).__name__, attribute, value, 0))
        if mass is not None:
            self.mass = mass
        if name is not None:
            check_name(type(self).__name__, name)
            self.name = name

    def __call__(self, *nodes: Node, name: str | None = None) -> Node:
        """Place the module on nodes of a network; the same module placed again shares its weights.

        Parameters
        ----------
        *nodes : Node
            Whose states it takes, joined feature after feature in this order; none for a module without input.
        name : str, optional
            The node's name in tables and messages; the module's where None.

        Returns
        -------
        Node
            On which further modules and costs are placed.

        Raises
        ------
        InputError
            If the nodes' features together are not `in_size`.
        """
        check_declared_sizes(self)
        return place(self, nodes, name)

    def forward(self, ops: Ops, w: Array, z: Array) -> Array:
        """Evaluate the module's equation in the namespace `ops`.

        Parameters
        ----------
        ops : Ops
            The namespace whose functions the formula calls.
        w : array (..., weight_size)
            Weights; take them apart with `ops.unpack`. On the CasADi side a row `(1, weight_size)`.
        z : array (..., B, in_size)
            Inputs, samples first.

        Returns
        -------
        array (..., B, out_size)
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, ops, w, z)")

    def vjp(self, ops: Ops, w: Array, z: Array, out: Array, adjoint: Array) -> tuple[Array, Array]:
        """Pull an adjoint of the output back to the weights and the input.

        Parameters
        ----------
        w, z, out : array
            The point: weights, input and `out = forward(ops, w, z)`, in the namespace `ops`.
        adjoint : array (..., B, out_size)
            One adjoint a sample.

        Returns
        -------
        (array (..., weight_size), array (..., B, in_size))
            `sum_b B_b^T adjoint_b` and `A_b^T adjoint_b`, with A = df/dz and B = df/dw.
        """
        dw, dz = pull_back(self.forward, ops, (w, z), (1, 2), adjoint)
        return dw, dz

    def jvp(self, ops: Ops, w: Array, z: Array, dw: Array | None, dz: Array | None) -> tuple[Array, Array]:
        """Push tangents of weights and input forward: return `f` and `A dz + B dw`; None is a zero tangent."""
        duals = duals_over(ops)
        out = self.forward(duals, duals.dual(w, dw), duals.dual(z, dz))
        value, tangent = duals.parts(out)
        return value, value * 0.0 if tangent is None else tangent

    def steps(self, w: np.ndarray) -> Callable[[int, np.ndarray], np.ndarray]:
        """Return `step(a, z)`, the equation on the weights of the a-th of P equal modules `w (..., P, weight_size)`.

        In NumPy; a closed form takes all weights apart at once, which is what a long chain of small modules pays for.
        """
        return lambda index, z: self.forward(NUMPY, w[..., index, :], z)

    def initial_weights(self, rng: np.random.Generator) -> np.ndarray:
        """Draw starting weights `(weight_size,)`: standard normal unless the module knows better."""
        return rng.standard_normal(self.weight_size)

    def mass_vector(self, default: np.ndarray) -> np.ndarray:
        """Return the diagonal mass `(weight_size,)`, with `default (weight_size,)` where none was given.

        Raises
        ------
        InputError
            If the mass is not positive and finite, or of the wrong length.
        """
        return default if self.mass is None else positive(f"{self.label}: mass", self.mass, self.weight_size)

    def __repr__(self) -> str:
        return f"{self.label}({self.in_size} -> {self.out_size}, {self.weight_size} weights)"

    @property
    def label(self) -> str:
        """The name in tables and messages."""
        return self.name or type(self).__name__


def no_weights(ops: Ops, adjoint: Array) -> Array:
    """Return the weight adjoint `(..., 0)` of a module without weights."""
    packed = ops.pack(ops.sum_samples(adjoint))
    return ops.split(packed, [0, ops.size(packed)])[0]


def positive(what: str, values: Any, size: int, hint: str = "") -> np.ndarray:
    """Return one number or `size` numbers as an array `(size,)`; `hint` joins the message for a wrong length.

    Raises
    ------
    InputError
        If they are not positive and finite, or of the wrong length.
    """
    expected = f"one number or {size} numbers{hint}"
    array = real_array(what, values, expected)
    if array.shape not in ((), (size,)):
        raise InputError(f"{what} must be {expected}, got shape {array.shape}")
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise InputError(f"{what} must be positive and finite, got {values!r}")
    return np.broadcast_to(array, (size,))


def check_count(owner: str, what: str, value: Any, least: int = 1) -> int:
    """Return a whole number that is at least `least`; raise InputError for anything else."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise InputError(f"{owner}: {what} must be a whole number >= {least}, got {value!r}")
    return int(value)


def check_declared_sizes(module: Module) -> None:
    """Check that the module has its three sizes, as a subclass may set them as plain attributes.

    Raises
    ------
    InputError
        Naming the size that is missing or no whole number.
    """
    for attribute in ("in_size", "out_size", "weight_size"):
        check_count(type(module).__name__, attribute, getattr(module, attribute, None), 0)
