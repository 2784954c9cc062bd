"""Duals over intervals that lose less: ranges of whole derivatives, and logarithms of exponentials.

An interval forgets that two numbers are the same one, so a derivative written as a formula, `y (1 - y)`, gets a wider
range than it has. Here the k-th derivative of an elementwise function, whatever the depth of nesting, is one function
of the argument with its exact range; and `log(exp(x))` is x, where the chain rule would divide what it multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial

from actionopt.ops.base import Ops
from actionopt.ops.dual import Dual, DualOps
from actionopt.ops.interval import INTERVAL
from actionopt.ops.rounded import Interval, as_interval, enclosed, point

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
    return lambda x: as_interval(x) ** -order * factor


def range_of(polynomial: Polynomial, x: Interval) -> Interval:
    """Return the range of a polynomial with exact coefficients: its values at the ends where it is monotone.

    Elsewhere, and to tell, it is expanded about the middle, whose powers of the distance are small.
    """
    middle = 0.5 * (x.lo + x.hi)
    around, away = _expanded(polynomial, point(middle)), x - middle
    wide, slope = around[0], point(np.zeros(x.shape))
    for k, coefficient in enumerate(around[1:], start=1):
        wide, slope = wide + coefficient * away**k, slope + coefficient * away ** (k - 1) * float(k)
    a, b = _horner(polynomial, point(x.lo)), _horner(polynomial, point(x.hi))
    monotone = (slope.lo >= 0.0) | (slope.hi <= 0.0)
    lo = np.where(monotone, np.minimum(a.lo, b.lo), wide.lo)
    return enclosed(lo, np.where(monotone, np.maximum(a.hi, b.hi), wide.hi))


def _expanded(polynomial: Polynomial, about: Interval) -> list[Interval]:
    """Return the coefficients of a polynomial in the distance from a point, by repeated division."""
    rest = [point(np.full(about.shape, c)) for c in polynomial.coef]
    found = []
    while rest:
        for k in range(len(rest) - 2, -1, -1):
            rest[k] = rest[k] + rest[k + 1] * about
        found.append(rest.pop(0))
    return found


def _horner(polynomial: Polynomial, x: Interval) -> Interval:
    *rest, leading = polynomial.coef
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
