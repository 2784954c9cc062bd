"""Intervals on NumPy: `lo <= x <= hi` with the rounding errors of their own arithmetic inside **[ours]**.

What is assumed, and nothing else: additions, products and quotients of float64 round to nearest (IEEE 754), sums and
matrix products add up in any order, with or without fused operations, and NumPy's elementary functions are off by
at most 4 units in the last place, as NumPy says of its own (here twice that is padded). Constants that a formula writes
as Python numbers are the doubles they became.

Where an end is not a number both become infinite: nothing is known there, not even that there is a number, and nothing
is known of any function of it. 0 times infinity is everything.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from actionopt.ops.base import Incomparable

UNIT = 2.0**-52  # two rounding errors
TINY = 2.0**-900  # far more than what underflow loses in a product, and far from subnormal numbers, which are slow
Lengths = tuple[int, ...]


class Interval(Incomparable):
    """An array of intervals; `lo is hi` marks points, numbers that are exact.

    Parameters
    ----------
    lo, hi : arrays of one shape
        The ends.

    Notes
    -----
    `x * x` with both operands the same object is a square, never negative. Comparisons are refused: whether an
    interval lies above a number is asked of its `lo`.
    """

    __slots__ = ("hi", "lo")
    __array_ufunc__ = None  # NumPy leaves the operators to this class

    def __init__(self, lo: Any, hi: Any) -> None:
        self.lo = lo
        self.hi = hi

    @property
    def shape(self) -> Lengths:
        """Shape of the ends."""
        return self.lo.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.lo.ndim

    @property
    def is_point(self) -> bool:
        """Whether these are exact numbers."""
        return self.lo is self.hi

    @property
    def magnitude(self) -> np.ndarray:
        """The largest absolute value."""
        return np.maximum(abs(self.lo), abs(self.hi))

    @property
    def finite(self) -> bool:
        """Whether all ends are finite."""
        return bool(np.isfinite(self.lo).all() and np.isfinite(self.hi).all())

    def __len__(self) -> int:
        return len(self.lo)

    def __repr__(self) -> str:
        return f"Interval({self.lo!r}, {self.hi!r})"

    def __getitem__(self, index: Any) -> Interval:
        return self.map(lambda x: x[index])

    def map(self, function: Any) -> Interval:
        """Apply a function that only moves or repeats entries to both ends."""
        lo = function(self.lo)
        return Interval(lo, lo if self.lo is self.hi else function(self.hi))

    def __neg__(self) -> Interval:
        if self.lo is self.hi:
            return point(-self.lo)
        return Interval(-self.hi, -self.lo)

    def __add__(self, other: Any) -> Any:
        if hasattr(other, "level"):
            return NotImplemented
        low, high = (other.lo, other.hi) if isinstance(other, Interval) else (other, other)
        with np.errstate(all="ignore"):
            return _summed(self.lo + low, self.hi + high)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if hasattr(other, "level"):
            return NotImplemented
        low, high = (other.lo, other.hi) if isinstance(other, Interval) else (other, other)
        with np.errstate(all="ignore"):
            return _summed(self.lo - high, self.hi - low)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        if other is self:
            return self.square()
        if hasattr(other, "level"):
            return NotImplemented
        with np.errstate(all="ignore"):
            if not isinstance(other, Interval):
                return _scaled(self, other)
            if other.lo is other.hi:
                return _scaled(self, other.lo)
            if self.lo is self.hi:
                return _scaled(other, self.lo)
            a, b, c, d = self.lo * other.lo, self.lo * other.hi, self.hi * other.lo, self.hi * other.hi
            lo, hi = np.minimum(a, b), np.maximum(a, b)
            for end in (c, d):
                lo, hi = _into(np.minimum, lo, end), _into(np.maximum, hi, end)
            exact = None
            if not lo.all():
                exact = ((self.lo == 0.0) & (self.hi == 0.0)) | ((other.lo == 0.0) & (other.hi == 0.0))
            return _multiplied(lo, hi, exact)

    __rmul__ = __mul__

    def square(self) -> Interval:
        """Return the squares, which are >= 0."""
        with np.errstate(all="ignore"):
            a, b = self.lo * self.lo, self.hi * self.hi
            lo = np.where((self.lo <= 0.0) & (self.hi >= 0.0), 0.0, np.minimum(a, b))
            found = _multiplied(lo, np.maximum(a, b), (self.lo == 0.0) & (self.hi == 0.0))
        return unknown_stays(Interval(np.maximum(found.lo, 0.0), found.hi), self)

    def reciprocal(self) -> Interval:
        """Return `1 / x`: everything where 0 is inside."""
        with np.errstate(all="ignore"):
            inside = (self.lo <= 0.0) & (self.hi >= 0.0)
            lo = np.where(inside, -np.inf, 1.0 / self.hi)
            return _multiplied(lo, np.where(inside, np.inf, 1.0 / self.lo))

    def __truediv__(self, other: Any) -> Any:
        if hasattr(other, "level"):
            return NotImplemented
        return self * as_interval(other).reciprocal()

    def __rtruediv__(self, other: Any) -> Any:
        return self.reciprocal() * other

    def __pow__(self, power: Any) -> Any:
        power = float(power)
        if power == int(power):
            return self._whole_power(int(power))
        with np.errstate(all="ignore"):  # NaN below 0, so everything
            a, b = np.power(self.lo, power), np.power(self.hi, power)
            # a power less 1, as derivatives have it, is rounded: that counts as often as the base has powers of e
            units = 8.0 + 4.0 * np.maximum(abs(np.log(self.lo)), abs(np.log(self.hi)))
            units = np.where(np.isfinite(units), units, 8.0 + 4.0 * 745.0)
            return padded(np.minimum(a, b), np.maximum(a, b), units, low=0.0)

    def _whole_power(self, power: int) -> Interval:
        if power < 0:
            return self._whole_power(-power).reciprocal()
        if power < 3:
            return (point(np.ones(self.shape)), self, self.square())[power] if power != 2 else self.square()
        with np.errstate(all="ignore"):
            a, b = np.power(self.lo, power), np.power(self.hi, power)
            if power % 2:
                return padded(a, b)
            lo = np.where((self.lo <= 0.0) & (self.hi >= 0.0), 0.0, np.minimum(a, b))
            return unknown_stays(padded(lo, np.maximum(a, b), low=0.0), self)


def point(x: Any) -> Interval:
    """Return exact numbers as intervals."""
    array = np.asarray(x, dtype=float)
    return Interval(array, array)


def as_interval(x: Any) -> Interval:
    """Return an interval as it is, and numbers as points."""
    return x if isinstance(x, Interval) else point(x)


def ball(centre: Any, radius: Any) -> Interval:
    """Return intervals that hold `[centre - radius, centre + radius]`."""
    return point(centre) + Interval(-np.asarray(radius, dtype=float), np.asarray(radius, dtype=float))


def enclosed(lo: np.ndarray, hi: np.ndarray) -> Interval:
    """Return the interval of two ends; where one is not a number nothing is known."""
    if not (lo <= hi).all():
        unknown = np.isnan(lo) | np.isnan(hi)
        lo, hi = np.where(unknown, -np.inf, lo), np.where(unknown, np.inf, hi)
    return Interval(lo, hi)


def unknown_stays(found: Interval, x: Interval) -> Interval:
    """Return what was found of a function of x: everything where nothing is known of x."""
    unknown = (x.lo == -np.inf) & (x.hi == np.inf)
    if not unknown.any():
        return found
    return Interval(np.where(unknown, -np.inf, found.lo), np.where(unknown, np.inf, found.hi))


def padded(lo: np.ndarray, hi: np.ndarray, units: Any = 8.0, low: float = -np.inf, high: float = np.inf) -> Interval:
    """Widen the values of an elementary function by so many units in the last place, within its range."""
    lo = lo - (units * UNIT * abs(lo) + TINY)
    hi = hi + (units * UNIT * abs(hi) + TINY)
    if low > -np.inf or high < np.inf:
        lo, hi = np.clip(lo, low, high), np.clip(hi, low, high)
    return enclosed(np.asarray(lo), np.asarray(hi))


def middle(x: Interval) -> tuple[np.ndarray, Any]:
    """Return a middle, and a radius that reaches both ends from it."""
    if x.is_point:
        return x.lo, 0.0
    centre = 0.5 * (x.lo + x.hi)
    return centre, np.maximum(x.hi - centre, centre - x.lo) * (1.0 + 2.0 * UNIT)


def meet(a: Interval, b: Interval) -> Interval:
    """Return what two enclosures of the same numbers have in common."""
    return Interval(np.maximum(a.lo, b.lo), np.minimum(a.hi, b.hi))


def _summed(lo: Any, hi: Any) -> Interval:
    """Round the ends of a sum or difference outward; a sum that is below the normal numbers is exact."""
    return enclosed(*_widened(lo, hi, UNIT, 0.0))


def _widened(lo: Any, hi: Any, unit: float, least: float) -> tuple[Any, Any]:
    """Move two ends, which are temporaries, apart by so much of their own size, and at least by so much."""
    moved = []
    hi = np.array(hi) if hi is lo else hi
    for end, move in ((lo, np.subtract), (hi, np.add)):
        size = _into(np.multiply, abs(end), unit)
        moved.append(_into(move, end, _into(np.add, size, least) if least else size))
    return moved[0], moved[1]


def _into(function: Any, x: Any, y: Any) -> Any:
    """Apply a function of two arrays in the memory of the first, a temporary."""
    own = type(x) is np.ndarray and (type(y) is float or y.shape == x.shape)
    return function(x, y, out=x) if own else function(x, y)


def _multiplied(lo: Any, hi: Any, exact: Any = None) -> Interval:
    """Round the ends of a product outward, also where a factor was rounded once before; `exact` marks products by 0."""
    lo, hi = _widened(lo, hi, 2.0 * UNIT, TINY)
    if exact is not None and np.any(exact):
        lo, hi = np.where(exact & ~np.isnan(lo), 0.0, lo), np.where(exact & ~np.isnan(hi), 0.0, hi)
    return enclosed(lo, hi)


def _scaled(x: Interval, factor: Any) -> Interval:
    """Multiply by plain numbers."""
    a = x.lo * factor
    if x.lo is x.hi:
        lo = hi = a
    else:
        b = x.hi * factor
        lo, hi = np.minimum(a, b), np.maximum(a, b)
    if np.all(lo):
        return _multiplied(lo, hi)
    return _multiplied(lo, hi, (np.asarray(factor) == 0.0) | ((x.lo == 0.0) & (x.hi == 0.0)))
