"""Duals over intervals that lose less: ranges of whole derivatives, and logarithms of exponentials.

An interval forgets that two numbers are the same one, so a derivative written as a formula, `y (1 - y)`, gets a wider
range than it has. Here the k-th derivative of an elementwise function, whatever the depth of nesting, is one function
of the argument with its exact range; and `log(exp(x))` is x, where the chain rule would divide what it multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial

from actionopt.ops.base import Ops
from actionopt.ops.dual import Dual, DualOps
from actionopt.ops.interval import INTERVAL
from actionopt.ops.rounded import Interval, as_interval, enclosed, point, unknown_stays

Jet = Callable[[Any], Any]


class Exponential(Dual):
    """A dual that remembers of what it is the exponential."""

    __slots__ = ("exponent",)

    def __init__(self, dual: Dual, exponent: Any) -> None:
        super().__init__(dual.value, dual.tangent, dual.level)
        self.exponent = exponent


class JetOps(DualOps):
    """Duals over intervals, or over another `JetOps`."""

    def __init__(self, inner: Ops) -> None:
        super().__init__(inner)
        for name in DERIVATIVES:
            setattr(self, name, self.jet(name, 0))
        exp, log = self.exp, self.log
        self.exp = lambda x: Exponential(exp(x), x)
        self.log = lambda x: x.exponent if type(x) is Exponential and x.level == self.level else log(x)

    def jet(self, name: str, order: int) -> Jet:
        """Return the derivative of an elementwise function, of that order."""
        own, next_ = jet_of(self.inner, name, order), jet_of(self.inner, name, order + 1)

        def apply(x: Any) -> Any:
            value, tangent = self.parts(x)
            return self.dual(own(value), None if tangent is None else next_(value) * tangent)

        return apply


def jet_of(ops: Ops, name: str, order: int) -> Jet:
    """Return a derivative of an elementwise function in a namespace of jets, or of intervals."""
    return ops.jet(name, order) if isinstance(ops, JetOps) else DERIVATIVES[name](order)


@cache
def jets_over(inner: Ops) -> JetOps:
    """Return the jets over a namespace; they are without state."""
    return JetOps(inner)


def _of_value(function: str, slope: Polynomial) -> Callable[[int], Jet]:
    """Derivatives of a function with `f' = slope(f)`: polynomials in its value."""

    @cache
    def derivative(order: int) -> Jet:
        value = getattr(INTERVAL, function)
        if order == 0:
            return value
        polynomial = slope
        for _ in range(order - 1):
            polynomial = polynomial.deriv() * slope
        return lambda x: range_of(polynomial, value(x))

    return derivative


def _turning(*names: str) -> Callable[[int], Jet]:
    """Derivatives that come back after four: those of sin and cos."""

    def derivative(order: int) -> Jet:
        sign, function = (1.0, 1.0, -1.0, -1.0)[order % 4], getattr(INTERVAL, names[order % 2])
        sign = sign if names[0] == "sin" else (1.0, -1.0, -1.0, 1.0)[order % 4]
        return lambda x: function(x) * sign

    return derivative


def _softplus(order: int) -> Jet:
    return INTERVAL.softplus if order == 0 else _SIGMOID(order - 1)


def _exponential(order: int) -> Jet:
    return INTERVAL.exp


def _logarithm(order: int) -> Jet:
    if order == 0:
        return INTERVAL.log
    factor = float(np.prod([-k for k in range(1, order)]))
    return lambda x: INTERVAL.defined(as_interval(x) ** -order * factor, INTERVAL.log(x))


def range_of(polynomial: Polynomial, x: Interval) -> Interval:
    """Return the range of a polynomial with exact coefficients: its values at the ends, and where it turns between."""
    ends = _horner(polynomial.coef, Interval(*2 * (np.stack([x.lo, x.hi]),)))
    lo, hi = ends.lo.min(axis=0), ends.hi.max(axis=0)
    for place, value in turns(tuple(polynomial.coef)):
        inside = ~((x.hi < place.lo) | (x.lo > place.hi))
        lo, hi = np.where(inside, np.minimum(lo, value.lo), lo), np.where(inside, np.maximum(hi, value.hi), hi)
    return unknown_stays(enclosed(lo, hi), x)


@cache
def turns(coefficients: tuple[float, ...]) -> list[tuple[Interval, Interval]]:
    """Enclose the places where the derivative of a polynomial vanishes, all of them simple, and its values there.

    A sign change of the derivative, in exact fractions, around as many approximate places as its degree shows that
    there are no others: so it is for the derivatives of tanh and sigmoid as polynomials in their values.
    """
    slope = [Fraction(k * c) for k, c in enumerate(coefficients)][1:]
    found: list[tuple[Interval, Interval]] = []
    for root in np.sort(Polynomial(coefficients).deriv().roots().real):
        low, high = float(root) - 1e-9, float(root) + 1e-9
        if (found and low <= found[-1][0].hi) or _at(slope, low) * _at(slope, high) >= 0:
            raise ValueError(f"the polynomial {coefficients} does not turn at simple places")
        place = Interval(np.float64(low), np.float64(high))
        found.append((place, _horner(coefficients, place)))
    return found


def _at(coefficients: list[Fraction], x: float) -> Fraction:
    return sum((c * Fraction(x) ** k for k, c in enumerate(coefficients)), Fraction(0))


def _horner(coefficients: Any, x: Interval) -> Interval:
    *rest, leading = coefficients
    value = point(np.full(x.shape, leading))
    for coefficient in reversed(rest):
        value = value * x + coefficient
    return value


_SIGMOID = _of_value("sigmoid", Polynomial([0.0, 1.0, -1.0]))

# derivative(order)(x) of elementwise functions; the others are differentiated by the formulas of `dual.py`
DERIVATIVES: dict[str, Callable[[int], Jet]] = {
    "exp": _exponential,
    "log": _logarithm,
    "sin": _turning("sin", "cos"),
    "cos": _turning("cos", "sin"),
    "tanh": _of_value("tanh", Polynomial([1.0, 0.0, -1.0])),
    "sigmoid": _SIGMOID,
    "softplus": _softplus,
}
