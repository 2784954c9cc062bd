"""Constraints on states and weights, and bounds on weights: what a user gives, checked against a problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np

from actionopt.constrained.layout import Condition
from actionopt.errors import InputError
from actionopt.modules import Module, Node
from actionopt.ops import CASADI, NUMPY
from actionopt.problem import Problem

SLACK = 1e-9  # how far outside its bounds a start may lie, relative to their size


class Constraint:
    """A condition `lower <= value <= upper` on the states of a node or on the weights of a module.

    Parameters
    ----------
    value : callable
        On a node `value(ops, z)` of its states `(B, d)`, every sample for itself: `(B, m)`, or `(B,)`. On a module
        `value(ops, w)` of its weights `(n_a,)`: an array of any shape.
    on : Node, str or Module
        A node, as it was written down or by its name (`problem.nodes`), means its states; a module means its weights,
        all its uses at once.
    lower, upper : number or array
        Broadcast against the value; equal ones are an equality, infinite ones are none. NaN leaves an entry free.
    name : str, optional
        Name in messages.

    Examples
    --------
    >>> import actionopt as ao
    >>> layer = ao.Dense(3, 2)
    >>> ball = ao.Constraint(lambda ops, w: ops.sum(w * w), on=layer, upper=1.0, name="ball")
    """

    def __init__(
        self, value: Callable[..., Any], *, on: Any, lower: Any = -np.inf, upper: Any = np.inf, name: str | None = None
    ) -> None:
        if not callable(value):
            raise InputError(f"Constraint takes a function value(ops, z) or value(ops, w), got {value!r}")
        if not isinstance(on, (Node, str, Module)):
            raise InputError(f"Constraint: on must be a node, its name, or a module (its weights), got {on!r}")
        self.value, self.on, self.name = value, on, name
        self.lower, self.upper = (_numbers(f"Constraint {name or ''}: {side}", given) for side, given in
                                  (("lower", lower), ("upper", upper)))  # fmt: skip

    def __repr__(self) -> str:
        return f"Constraint({self.name or self.value!r} on {self.on!r})"


@dataclass(frozen=True)
class PlacedConstraint:
    """A constraint where it belongs in a problem.

    Attributes
    ----------
    name : str
    condition : Condition
        `.shape` is that of the values, `(B, m)` on a node.
    function : Function
        `column -> values` of one sample's state, or of the weights, values row-major.
    lower, upper : arrays of the values' shape
    """

    name: str
    condition: Condition
    function: ca.Function
    lower: np.ndarray
    upper: np.ndarray
    on_state: bool
    value: Callable[..., Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values and their multipliers."""
        return self.condition.shape

    def argument(self, problem: Problem, w: np.ndarray, states: Sequence[np.ndarray]) -> np.ndarray:
        """Return what it is evaluated at: its node's states, or its module's weights out of `w (n,)`."""
        if self.condition.node is not None:
            return states[self.condition.node]
        return w[problem.slices[self.condition.group or 0]]

    def violation(self, values: np.ndarray) -> float:
        """Return the largest violation."""
        return float(np.max(np.maximum(self.lower - values, values - self.upper), initial=0.0))

    @cached_property
    def _numeric(self) -> ca.Function:
        """`(x, mu) -> values, (dc/dx)^T mu` of one sample."""
        x = ca.SX.sym("x", self.function.size1_in(0))
        mu = ca.SX.sym("mu", self.function.size1_out(0))
        out = self.function(x)
        return ca.Function("numeric", [x, mu], [ca.densify(out), ca.densify(ca.jtimes(out, x, mu, True))])

    def values_at(self, x: np.ndarray) -> np.ndarray:
        """Evaluate at states `(B, d)` or weights `(n_a,)`."""
        return self._mapped(x, np.zeros(self.shape))[0].reshape(self.shape)

    def pulled_back(self, x: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """Return `(dc/dx)^T mu`, of the shape of x, for multipliers mu."""
        return self._mapped(x, mu)[1].reshape(x.shape)

    def _mapped(self, x: np.ndarray, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        samples = len(x) if self.on_state else 1
        columns = [np.reshape(array, (samples, -1)).T for array in (x, mu)]
        values, pulled = (out.full().T for out in self._numeric(*columns))
        return values, pulled


def place_constraints(problem: Problem, constraints: Any) -> list[PlacedConstraint]:
    """Check constraints against a problem: where they belong, and what they return there.

    Raises
    ------
    InputError
        Naming the constraint, the node or module, what was expected and what came.
    """
    given = [constraints] if isinstance(constraints, Constraint) else list(constraints)
    placed = []
    for number, constraint in enumerate(given, start=1):
        if not isinstance(constraint, Constraint):
            raise InputError(f"constraints must be ao.Constraint objects, got {constraint!r}")
        placed.append(_placed(problem, constraint, constraint.name or f"constraint {number}"))
    return placed


def _placed(problem: Problem, constraint: Constraint, name: str) -> PlacedConstraint:
    network = problem.network
    if isinstance(constraint.on, Module):
        groups = [k for k, group in enumerate(network.groups) if group.module is constraint.on]
        if not groups:
            listed = ", ".join(group.label for group in network.groups)
            raise InputError(f"{name}: {constraint.on!r} is no module of this problem; it has {listed}")
        size, where = network.groups[groups[0]].size, f"module {network.groups[groups[0]].label}"
        values = _tried(name, where, constraint, NUMPY, np.zeros(size) + 0.5, f"weights ({size},)")
        shape = np.shape(values)
        condition = Condition(groups[0], None, shape)
    else:
        index = network.index(constraint.on)
        place, first = network.nodes[index], len(network.data)
        if index < first:
            raise InputError(f"{name}: node {place.name!r} holds data, which no constraint can change")
        size, where, samples = place.size, f"node {place.name!r}", problem.samples
        values = _tried(name, where, constraint, NUMPY, np.zeros((samples, size)) + 0.5, f"states ({samples}, {size})")
        if np.shape(values)[:1] != (samples,) or np.ndim(values) > 2:
            raise InputError(
                f"{name} on {where}: value returned shape {np.shape(values)} for states {(samples, size)}, expected a "
                f"row a sample, ({samples}, m)"
            )
        shape = (samples, int(np.size(values) // samples))
        condition = Condition(None, index - first, shape)
    function = _function(name, where, constraint, size, int(np.prod(shape[1:] if condition.group is None else shape)))
    lower, upper = _limits(name, where, constraint, shape)
    return PlacedConstraint(name, condition, function, lower, upper, condition.group is None, constraint.value)


def _tried(name: str, where: str, constraint: Constraint, ops: Any, x: Any, given: str) -> Any:
    try:
        with np.errstate(all="ignore"):
            values = constraint.value(ops, x)
    except Exception as error:
        raise InputError(
            f"{name} on {where}: value fails on {given}, {type(error).__name__}: {error}; write it with the functions "
            "of ops: ops.unpack and ops.columns take weights and states apart"
        ) from error
    if isinstance(values, (list, tuple)) or values is None:
        came = "None" if values is None else f"a {type(values).__name__}"
        raise InputError(f"{name} on {where}: value returned {came}, expected an array; ops.concatenate joins columns")
    return values


def _function(name: str, where: str, constraint: Constraint, size: int, count: int) -> ca.Function:
    x = ca.SX.sym("x", size)
    out = _tried(name, where, constraint, CASADI, x.T, f"CasADi symbols, a row of {size}")
    out = ca.vec(ca.SX(out).T)  # row-major, as NumPy has it
    if out.numel() != count:
        raise InputError(
            f"{name} on {where}: value returns {out.numel()} numbers on CasADi symbols and {count} on arrays; write it "
            "with the functions of ops alone"
        )
    return ca.Function("constraint", [x], [ca.densify(out)])


def _limits(name: str, where: str, constraint: Constraint, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    limits = []
    for side, given, free in (("lower", constraint.lower, -np.inf), ("upper", constraint.upper, np.inf)):
        try:
            array = np.array(np.broadcast_to(given, shape))
        except ValueError:
            raise InputError(
                f"{name} on {where}: {side} has shape {np.shape(given)}, the values have {shape}"
            ) from None
        limits.append(np.where(np.isnan(array), free, array))
    if (limits[0] > limits[1]).any():
        raise InputError(f"{name} on {where}: the limits cross, a lower one lies above its upper one")
    return limits[0], limits[1]


def make_bounds(problem: Problem, bounds: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper bounds `(n,)` of the weights.

    Parameters
    ----------
    problem : Problem
    bounds : (low, high), {module: (low, high)} or None
        Numbers or arrays `(n,)`; of a module `(n_a,)`. None, or None on one side, is no bound.

    Raises
    ------
    InputError
        If they do not fit or cross.
    """
    lower, upper = np.full(problem.size, -np.inf), np.full(problem.size, np.inf)
    if bounds is None:
        return lower, upper
    if isinstance(bounds, Mapping):
        for module, pair in bounds.items():
            found = [
                g
                for g in problem.groups
                if g.module is module or (isinstance(module, str) and module in (g.name, g.label))
            ]
            if not found:
                listed = ", ".join(group.label for group in problem.groups)
                raise InputError(f"bounds on {module!r}: no module of this problem; it has {listed}")
            group = found[0]
            lower[group.slice], upper[group.slice] = _pair(f"bounds on module {group.label}", pair, group.size)
        return lower, upper
    return _pair("bounds", bounds, problem.size)


def _pair(what: str, pair: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(pair, Sequence | np.ndarray) or len(pair) != 2:
        raise InputError(
            f"{what} must be (low, high), numbers or arrays ({size},), or {{module: (low, high)}}; got {pair!r}"
        )
    sides = []
    for given, free in zip(pair, (-np.inf, np.inf), strict=True):
        array = _numbers(what, free if given is None else given)
        if array.shape not in ((), (size,)):
            raise InputError(f"{what} must be numbers or arrays ({size},), got shape {array.shape}")
        sides.append(np.where(np.isnan(array), free, array) + np.zeros(size))
    crossing = np.flatnonzero(sides[0] > sides[1])
    if crossing.size:
        k = int(crossing[0])
        raise InputError(f"{what} cross at weight {k}: {sides[0][k]:g} lies above {sides[1][k]:g}")
    return sides[0], sides[1]


def start_within(w: np.ndarray, bounds: tuple[np.ndarray, np.ndarray], given: bool) -> np.ndarray:
    """Return the start within bounds: moved there where it was drawn, refused where it was `given` outside."""
    inside = np.clip(w, *bounds)
    apart = abs(inside - w) > SLACK * np.fmax(1.0, abs(w))
    if given and apart.any():
        k = int(np.argmax(apart))
        raise InputError(
            f"the start lies outside its bounds: weight {k} is {w[k]:g}, its bounds are {bounds[0][k]:g} and "
            f"{bounds[1][k]:g}; np.clip(w0, low, high) moves it inside"
        )
    return inside


def _numbers(what: str, given: Any) -> np.ndarray:
    try:
        return np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{what.strip()} must be numbers, got {given!r}") from None
