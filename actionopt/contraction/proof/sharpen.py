"""A network over a ball of weights, its states made sharper node by node **[ours]**.

An interval forgets that two numbers are the same one, and a box reaches up to sqrt(n) times as far as the ball in it; a
chain of modules compounds both. By the mean value theorem the k-th derivative of a state in x moves over the ball
`|x| <= R`, entry by entry, by at most R times the norm of the gradient of that entry, which is a row of the (k+1)-th.
So each node's state, highest derivative but one first, is met with its value at the centre plus or minus that, before
the next node takes it. What is an exponential is sharpened in its exponent too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from actionopt.contraction.proof.derivatives import ROUNDED, box_of, derivative_of, exact_network, seeded
from actionopt.contraction.proof.symmetry import symmetric
from actionopt.network import Place
from actionopt.ops.base import Array, Ops
from actionopt.ops.dual import Dual, DualOps
from actionopt.ops.jets import Exponential
from actionopt.ops.rounded import UNIT, Interval, as_interval, meet
from actionopt.problem import Problem

Tensors = list[Interval]  # a value and its derivatives in x, their axes last


@dataclass(frozen=True)
class Centre:
    """What is known of a network's states at the centre of a ball.

    Attributes
    ----------
    problem : Problem
    weights : array (n,)
    order : int
        Of the highest derivative known.
    """

    problem: Problem
    weights: np.ndarray
    order: int

    @cached_property
    def states(self) -> dict[int, tuple[Tensors, Tensors | None]]:
        """By node: the state with its derivatives, and its exponent's where it is an exponential."""
        ops, w = seeded(self.problem, box_of(self.problem, self.weights, 0.0), self.order)
        network, found = exact_network(self.problem), {}
        states = network.forward(ops, network.split(ops, w))
        for place in network.placed:
            state = states[place.index]
            exponent = self._tensors(ops, place, state.exponent) if type(state) is Exponential else None
            found[place.index] = self._tensors(ops, place, state), exponent
        return found

    def sharper(self, ops: Ops, radius: float) -> Any:
        """Return a visit for `Network.forward` over the ball of that radius, in jets of at most one order more."""

        def visit(place: Place, piece: Array, z: Array) -> Array:
            assert place.module is not None
            state = place.module.forward(ops, piece, z)
            if not isinstance(state, Dual):
                return state
            known, exponents = self.states[place.index]
            if type(state) is Exponential and exponents is not None:
                exponent = self._met(ops, place, state.exponent, exponents, radius)
                return Exponential(self._met(ops, place, ops.exp(exponent), known, radius), exponent)
            return self._met(ops, place, state, known, radius)

        return visit

    def _met(self, ops: Ops, place: Place, state: Array, known: Tensors, radius: float) -> Any:
        return _assembled(ops, sharpened(self._tensors(ops, place, state), known, radius))

    def _tensors(self, ops: Ops, place: Place, state: Array) -> Tensors:
        own = (self.problem.samples, place.size)
        n, order = self.problem.size, ops.level
        return [symmetric(derivative_of(ops, state, order, k, n, own), k) for k in range(order + 1)]


def sharpened(wide: Tensors, centre: Tensors, radius: float) -> Tensors:
    """Meet a value and its derivatives over the ball `|x| <= radius` with what the mean value theorem says of them.

    All but the highest; `centre` has at least as many but one.
    """
    found = list(wide)
    with np.errstate(all="ignore"):
        for k in range(len(wide) - 2, -1, -1):
            slope = found[k + 1].magnitude
            n = slope.shape[-1]
            reach = np.sqrt((slope * slope).sum(axis=-1)) * (radius * ROUNDED) * (1.0 + (n + 12) * UNIT) + 2.0**-500
            reach = np.where(np.isnan(reach), np.inf, reach)
            found[k] = meet(found[k], centre[k] + Interval(-reach, reach))
    return found


def _assembled(ops: Ops, tensors: Tensors) -> Any:
    """Return the nested dual whose derivatives are these."""
    own = tensors[0].shape

    def entry(levels: frozenset[int]) -> Interval:
        k = len(levels)
        lengths = [tensors[1].shape[-1] if level in levels else 1 for level in range(max(levels, default=0), 0, -1)]
        return tensors[k].map(lambda x: np.moveaxis(x, range(-k, 0), range(k)).reshape(*lengths, *own) if k else x)

    def build(inner: Ops, levels: frozenset[int]) -> Any:
        if not isinstance(inner, DualOps):
            return as_interval(entry(levels))
        return inner.dual(build(inner.inner, levels), build(inner.inner, levels | {inner.level}))

    return build(ops, frozenset())
