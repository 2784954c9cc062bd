"""The interval namespace: every function of `ops`, its range over intervals, rounded outward.

It runs under duals as NumPy does, nested to any depth: enclosures of values, Jacobians, Hessians and third derivatives
of every module, over a box of weights, with no change to any module.

The derivative of a function with a kink has no value at the kink. `relu`, `abs` and `step` raise `KinkError` where 0
lies in an argument that is not zero throughout: an interval around both slopes would pass for a smooth function's
(`w^2/2 - |w|` has second derivative 1 on either side of 0 and two minima).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.ops.array import NUMPY
from actionopt.ops.base import Array, Ops, checked_indices, columns_of, one_a_sample
from actionopt.ops.rounded import TINY, UNIT, Interval, as_interval, enclosed, middle, padded, point, unknown_stays


class KinkError(InputError):
    """A function with a kink is evaluated across it."""


class IntervalOps(Ops):
    """Intervals with leading axes; plain arrays are taken as exact numbers."""

    def unpack(self, w: Array, *shapes: tuple[int, ...]) -> Any:
        if len(shapes) == 1:
            return as_interval(w).map(lambda x: NUMPY.unpack(x, *shapes))
        return tuple(self._pieces(w, lambda x: NUMPY.unpack(x, *shapes)))

    def pack(self, *parts: Array) -> Array:
        return self.concatenate([as_interval(part).map(lambda x: x.reshape((*x.shape[:-2], -1))) for part in parts])

    def row(self, values: Any) -> Array:
        return values if isinstance(values, Interval) else point(values)

    def split(self, z: Array, sizes: Sequence[int]) -> list[Array]:
        return self._pieces(z, lambda x: NUMPY.split(x, sizes))

    def _pieces(self, x: Array, cut: Callable[[np.ndarray], Sequence[np.ndarray]]) -> list[Array]:
        x = as_interval(x)
        lows = cut(x.lo)
        highs = lows if x.is_point else cut(x.hi)
        return [Interval(lo, hi) for lo, hi in zip(lows, highs, strict=True)]

    def size(self, z: Array) -> int:
        return int(z.shape[-1])

    def rank(self, z: Array) -> int:
        return len(z.shape)

    def concatenate(self, parts: Sequence[Array]) -> Array:
        whole = [as_interval(part) for part in parts]
        lo = NUMPY.concatenate([part.lo for part in whole])
        points = all(part.is_point for part in whole)
        return Interval(lo, lo if points else NUMPY.concatenate([part.hi for part in whole]))

    def matmul(self, a: Array, b: Array) -> Array:
        a, b = as_interval(a), as_interval(b)
        if a.shape[-1] == 1:
            return a * b
        return _matrix_product(a, b)

    def transpose(self, a: Array) -> Array:
        return as_interval(a).map(NUMPY.transpose)

    def take(self, z: Array, indices: Sequence[int] | np.ndarray) -> Array:
        return as_interval(z).map(lambda x: NUMPY.take(x, indices))

    def put(self, z: Array, indices: Sequence[int] | np.ndarray, size: int) -> Array:
        places = checked_indices(indices, size)
        if len(np.unique(places)) == len(places):
            return as_interval(z).map(lambda x: NUMPY.put(x, places, size))
        return self.matmul(z, point(np.eye(size)[places]))

    def one_hot(self, z: Array, size: int) -> Array:
        z = as_interval(z)
        if not (z.lo == z.hi).all():
            raise InputError("ops.one_hot: class numbers that move have no derivative: nothing can be proved")
        return point(NUMPY.one_hot(z.lo, size))

    def solve(self, matrix: Array, b: Array) -> Array:
        matrix, b = as_interval(matrix), as_interval(b)
        size = b.shape[-1]
        if one_a_sample(matrix.shape[-1], size):
            stacked = matrix.map(lambda x: x.reshape(*x.shape[:-1], size, size))
            return solved(stacked, b[..., None])[..., 0]
        if size == 1:
            return b / matrix
        return solved(matrix, b[:, None])[..., 0] if b.ndim == 1 else self.transpose(solved(matrix, self.transpose(b)))

    def matmul_samples(self, a: Array, b: Array, inner: int) -> Array:
        rows, columns = columns_of(a.shape[-1], inner), columns_of(b.shape[-1], inner)
        left = as_interval(a).map(lambda x: x.reshape(*x.shape[:-1], rows, inner))
        right = as_interval(b).map(lambda x: x.reshape(*x.shape[:-1], inner, columns))
        return self.matmul(left, right).map(lambda x: x.reshape(*x.shape[:-2], rows * columns))

    def parts_as_samples(self, z: Array, count: int) -> Array:
        return as_interval(z).map(lambda x: NUMPY.parts_as_samples(x, count))

    def samples_as_parts(self, z: Array, count: int) -> Array:
        return as_interval(z).map(lambda x: NUMPY.samples_as_parts(x, count))

    def sum(self, z: Array, keepdims: bool = False) -> Array:
        z = as_interval(z)
        terms = z.shape[-1]
        if terms == 1:
            return z.map(lambda x: NUMPY.sum(x, keepdims))
        with np.errstate(all="ignore"):
            low, high = ((NUMPY.sum(x, keepdims), NUMPY.sum(abs(x), keepdims)) for x in (z.lo, z.hi))
            error = terms * UNIT
            return enclosed(np.asarray(low[0] - error * low[1]), np.asarray(high[0] + error * high[1]))

    def repeat_columns(self, z: Array, size: int, keepdims: bool = False) -> Array:
        return as_interval(z).map(lambda x: NUMPY.repeat_columns(x, size, keepdims))

    def sum_samples(self, z: Array) -> Array:
        return self.transpose(self.sum(self.transpose(z), keepdims=True))

    def repeat_samples(self, row: Array, like: Array) -> Array:
        samples = like.shape[-2]
        return as_interval(row).map(lambda x: np.broadcast_to(x, (*x.shape[:-2], samples, x.shape[-1])))

    def defined(self, x: Array, y: Array) -> Array:
        return unknown_stays(as_interval(x), as_interval(y))

    # monotone functions: the values at the ends
    def exp(self, x: Array) -> Array:
        return _monotone(np.exp, x, low=0.0)

    def log(self, x: Array) -> Array:
        return _monotone(np.log, x)

    def log1p(self, x: Array) -> Array:
        return _monotone(np.log1p, x)

    def sqrt(self, x: Array) -> Array:
        return _monotone(np.sqrt, x, low=0.0)

    def tanh(self, x: Array) -> Array:
        return _monotone(np.tanh, x, low=-1.0, high=1.0)

    def sinh(self, x: Array) -> Array:
        return _monotone(np.sinh, x)

    def arctan(self, x: Array) -> Array:
        return _monotone(np.arctan, x)

    def sigmoid(self, x: Array) -> Array:
        return _monotone(_sigmoid, x, units=24.0, low=0.0, high=1.0)

    def softplus(self, x: Array) -> Array:
        return _monotone(_softplus, x, units=32.0, low=0.0)

    def cosh(self, x: Array) -> Array:
        x = as_interval(x)
        with np.errstate(all="ignore"):
            a, b = np.cosh(x.lo), np.cosh(x.hi)
            lo = np.where((x.lo <= 0.0) & (x.hi >= 0.0), 1.0, np.minimum(a, b))
            return unknown_stays(padded(lo, np.maximum(a, b), low=1.0), x)

    def sin(self, x: Array) -> Array:
        return _wave(np.sin, as_interval(x), 0.5 * np.pi)

    def cos(self, x: Array) -> Array:
        return _wave(np.cos, as_interval(x), 0.0)

    def tan(self, x: Array) -> Array:
        x = as_interval(x)
        with np.errstate(all="ignore"):
            pole = _meets(x, 0.5 * np.pi, np.pi)
            found = padded(np.tan(x.lo), np.tan(x.hi))
            return enclosed(np.where(pole, -np.inf, found.lo), np.where(pole, np.inf, found.hi))

    # functions with a kink
    def step(self, x: Array) -> Array:
        x = _smooth("step", as_interval(x))
        value = np.where(x.lo > 0.0, 1.0, 0.0)
        return _unless_unbounded(x, Interval(value, value))

    def relu(self, x: Array) -> Array:
        x = _smooth("relu", as_interval(x))
        return unknown_stays(x.map(lambda end: np.maximum(end, 0.0)), x)

    def abs(self, x: Array) -> Array:
        x = _smooth("abs", as_interval(x))
        negative = x.hi < 0.0
        return _unless_unbounded(x, enclosed(np.where(negative, -x.hi, x.lo), np.where(negative, -x.lo, x.hi)))

    def logsumexp(self, z: Array) -> Array:
        z = as_interval(z)
        with np.errstate(all="ignore"):
            lo, hi = NUMPY.logsumexp(z.lo), NUMPY.logsumexp(z.hi)
            unit = (z.shape[-1] + 24.0) * UNIT  # the sum lies in [1, d]: relative errors of it are absolute ones here
            slack = [
                unit * (1.0 + abs(end) + abs(x).max(axis=-1, keepdims=True)) for end, x in ((lo, z.lo), (hi, z.hi))
            ]
            return unknown_stays(enclosed(lo - slack[0], hi + slack[1]), _worst(z))

    def softmax(self, z: Array) -> Array:
        z = as_interval(z)
        with np.errstate(all="ignore"):  # p_i grows with z_i and falls with every other z_j
            lo, hi = _least_share(z.lo, z.hi), _least_share(z.hi, z.lo)
            return unknown_stays(padded(lo, hi, units=4.0 * z.shape[-1] + 48.0, low=0.0, high=1.0), _worst(z))


INTERVAL = IntervalOps()


def solved(matrix: Interval, right: Interval, slope: Interval | None = None) -> Interval:
    """Enclose `A^-1 b` for all matrices `(..., n, n)` and right-hand sides `(..., n, k)` inside; everything for none.

    With a slope `(..., n, m)` right-hand sides are `b + slope x` for any x with `|x| <= 1`.

    With Y about the inverse and x about the solution, its error e has `|e| <= |Y (b - A x)| + |1 - Y A| |e|`.
    """
    with np.errstate(all="ignore"):
        centre, target = middle(matrix)[0], middle(right)[0]
        n = centre.shape[-1]
        sound = np.isfinite(centre).all(axis=(-1, -2)) & (np.linalg.matrix_rank(np.nan_to_num(centre)) == n)
        safe = np.where(sound[..., None, None], centre, np.eye(n))
        inverse, start = np.linalg.inv(safe), np.linalg.solve(safe, np.nan_to_num(target))
        rest = _matrix_product(point(inverse), right - _matrix_product(matrix, point(start))).magnitude
        if slope is not None:
            moved = _matrix_product(point(inverse), slope).magnitude
            rest = rest + np.sqrt((moved * moved).sum(axis=-1, keepdims=True)) * (1.0 + (moved.shape[-1] + 8) * UNIT)
        lost = (_matrix_product(point(inverse), matrix) - np.eye(n)).magnitude
        grown = 1.0 + (n + 4) * UNIT
        sums = lost.sum(axis=-1) * grown
        factor = sums.max(axis=-1)[..., None, None] * grown
        worst = rest.max(axis=-2, keepdims=True) / (1.0 - factor) * grown
        error = (rest + sums[..., None] * worst) * grown + TINY
        error = np.where((factor < 1.0) & sound[..., None, None], error, np.nan)
        return enclosed(*_around(start, error))


def _around(centre: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of `centre +- reach`, rounded outward."""
    wide = reach + UNIT * (abs(centre) + reach)
    return centre - wide, centre + wide


def _matrix_product(a: Interval, b: Interval) -> Interval:
    """Middle and radius: `|AB - A_c B_c| <= |A_c| B_r + A_r (|B_c| + B_r)`, and the rounding of it all."""
    terms = a.shape[-1]
    unit = (terms + 2) * UNIT  # twice gamma of so many terms, whatever their order
    with np.errstate(all="ignore"):
        (ac, ar), (bc, br) = middle(a), middle(b)
        am, bm = abs(ac), abs(bc)
        if b.is_point:
            spread = np.matmul(unit * am if a.is_point else ar + unit * am, bm)
        else:
            spread = np.matmul(am, br + unit * bm)
            if not a.is_point:
                spread = spread + np.matmul(ar, bm + br)
        lost: Any = terms * TINY
        if not spread.all():  # exact where every term has a zero factor
            lost = np.where(np.matmul((am + ar != 0.0) * 1.0, (bm + br != 0.0) * 1.0) == 0.0, 0.0, lost)
        product = np.matmul(ac, bc)
        spread = spread * (1.0 + 4.0 * unit) + (lost + UNIT * abs(product))
        return enclosed(product - spread, product + spread)


def _monotone(
    function: Callable[[Any], np.ndarray], x: Array, units: float = 8.0, low: float = -np.inf, high: float = np.inf
) -> Interval:
    x = as_interval(x)
    with np.errstate(all="ignore"):  # NaN outside the domain, so everything
        lo = function(x.lo)
        return unknown_stays(padded(lo, lo if x.is_point else function(x.hi), units, low, high), x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """Relative accuracy on both sides, where `1/2 + tanh(x/2)/2` has absolute accuracy alone."""
    e = np.exp(-abs(x))
    return np.where(x < 0.0, e, 1.0) / (1.0 + e)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-abs(x)))


def _wave(function: Callable[[Any], np.ndarray], x: Interval, peak: float) -> Interval:
    """Range of sin or cos, whose largest values lie at `peak + 2 pi k`."""
    with np.errstate(all="ignore"):
        a, b = function(x.lo), function(x.hi)
        found = padded(np.minimum(a, b), np.maximum(a, b), low=-1.0, high=1.0)
        top, bottom = _meets(x, peak, 2.0 * np.pi), _meets(x, peak + np.pi, 2.0 * np.pi)
        lo, hi = (
            np.where(bottom | ~np.isfinite(x.lo), -1.0, found.lo),
            np.where(top | ~np.isfinite(x.hi), 1.0, found.hi),
        )
        return unknown_stays(enclosed(lo, hi), x)


def _meets(x: Interval, offset: float, period: float) -> np.ndarray:
    """Whether a point `offset + period k` may lie in the interval; rounding errs on the side of yes."""
    low, high = (x.lo - offset) / period, (x.hi - offset) / period
    slack = 16.0 * UNIT
    low, high = low - slack * (1.0 + abs(low)), high + slack * (1.0 + abs(high))
    return ~(np.floor(high) < np.ceil(low))  # also where nothing is known


def _smooth(name: str, x: Interval) -> Interval:
    """Refuse a bounded argument that has the kink inside or at an end, unless it is zero throughout."""
    with np.errstate(all="ignore"):
        kink = (x.lo <= 0.0) & (x.hi >= 0.0) & ~((x.lo == 0.0) & (x.hi == 0.0)) & np.isfinite(x.lo) & np.isfinite(x.hi)
    if kink.any():
        raise KinkError(
            f"ops.{name} is evaluated across its kink at 0 over this region, which has no second derivative there; "
            "nothing can be proved there. Take a smaller region, or a smooth function such as softplus"
        )
    return x


def _unless_unbounded(x: Interval, found: Interval) -> Interval:
    """Nothing is known where the kink lies in an unbounded argument."""
    kink = (x.lo <= 0.0) & (x.hi >= 0.0) & ~((x.lo == 0.0) & (x.hi == 0.0))
    if not kink.any():
        return found
    return Interval(np.where(kink, -np.inf, found.lo), np.where(kink, np.inf, found.hi))


def _worst(z: Interval) -> Interval:
    """Everything where nothing is known of one of the last axis."""
    unknown = ((z.lo == -np.inf) & (z.hi == np.inf)).any(axis=-1, keepdims=True)
    return Interval(np.where(unknown, -np.inf, 0.0), np.where(unknown, np.inf, 0.0))


def _least_share(own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """`1 / (1 + sum_{j != i} exp(others_j - own_i))`."""
    differences = others[..., None, :] - own[..., :, None]
    terms = np.exp(differences)
    size = own.shape[-1]
    terms[..., range(size), range(size)] = 1.0
    return 1.0 / terms.sum(axis=-1)
