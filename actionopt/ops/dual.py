"""Dual numbers over any namespace: exact directional derivatives of every formula, to any order by nesting.

A dual is `value + eps * tangent` with eps^2 = 0. Running a formula on duals gives its value and its derivative
along the tangent; running a *reverse* pass on duals gives second-order products (forward over reverse).
Tangents may carry extra leading axes: a stack of directions then shares one value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from actionopt.ops.base import ELEMENTWISE, Array, Incomparable, Ops, one_a_sample
from actionopt.ops.rounded import Interval, point


class Dual(Incomparable):
    """`value + eps * tangent`; a tangent of None is zero. `level` tells nested infinitesimals apart.

    A tangent has the samples and features of its value, so that sums over them are those of the value's terms; leading
    axes may differ.
    """

    __slots__ = ("level", "tangent", "value")
    __array_ufunc__ = None  # NumPy leaves the operators to this class

    def __init__(self, value: Array, tangent: Array | None, level: int = 1) -> None:
        self.value = value
        self.tangent = tangent
        self.level = level

    def _parts(self, other: Any) -> tuple[Array, Array | None] | None:
        """Value and tangent of an operand at this level; None when the other one's level is higher."""
        level = getattr(other, "level", 0)
        if level < self.level:
            return other, None
        return (other.value, other.tangent) if level == self.level else None

    def __add__(self, other: Any) -> Any:
        if (parts := self._parts(other)) is None:
            return other + self
        value, tangent = parts
        out = self.value + value
        if tangent is None:
            return Dual(out, _spread(self.tangent, self.value, out), self.level)
        slope = _spread(tangent, value, out) if self.tangent is None else self.tangent + tangent
        return Dual(out, slope, self.level)

    __radd__ = __add__

    def __neg__(self) -> Dual:
        return Dual(-self.value, None if self.tangent is None else -self.tangent, self.level)

    def __sub__(self, other: Any) -> Any:
        if (parts := self._parts(other)) is None:
            return other.__rsub__(self)
        value, tangent = parts
        out = self.value - value
        if tangent is None:
            return Dual(out, _spread(self.tangent, self.value, out), self.level)
        slope = _spread(-tangent, value, out) if self.tangent is None else self.tangent - tangent
        return Dual(out, slope, self.level)

    def __rsub__(self, other: Any) -> Any:
        return -self + other  # a constant at this level

    def __mul__(self, other: Any) -> Any:
        if (parts := self._parts(other)) is None:
            return other * self
        value, tangent = parts
        if other is self:
            slope = None if tangent is None else tangent * (2.0 * value)
        else:
            slope = _accumulate(_product(self.tangent, value), _product(tangent, self.value))
        return Dual(self.value * value, slope, self.level)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self * (other**-1.0 if isinstance(other, Dual) else _reciprocal(other, self.value))

    def __rtruediv__(self, other: Any) -> Any:
        return self**-1.0 * other

    def __pow__(self, power: Any) -> Any:
        if isinstance(power, Dual):
            raise TypeError("a power must be a number; write x**y as ops.exp(y * ops.log(x))")
        constant = self.tangent is None or power == 0  # 0 x^-1 would be no number at 0
        slope = None if constant else power * self.value ** (power - 1) * self.tangent
        return Dual(self.value**power, slope, self.level)


def _add(a: Array | None, b: Array | None) -> Array | None:
    if a is None:
        return b
    return a if b is None else a + b


def _spread(tangent: Array | None, value: Array, out: Array) -> Array | None:
    """Give a tangent the samples and features that its value was broadcast to, as `out`, by a constant."""
    if tangent is None:
        return None
    before, after = _own_axes(value), _own_axes(out)
    return tangent if before == after else tangent * np.ones(after)


def _own_axes(x: Array) -> tuple[int, ...]:
    while type(x) is Dual:
        x = x.value
    return np.shape(x)[-2:]


def _accumulate(a: Array | None, b: Array | None) -> Array | None:
    """Add b to a, in the memory of a where it fits; both are temporaries."""
    if isinstance(a, Dual) and isinstance(b, Dual):
        return Dual(_accumulate(a.value, b.value), _accumulate(a.tangent, b.tangent), a.level)
    if type(a) is np.ndarray and type(b) is np.ndarray and a.ndim >= b.ndim and a.shape[a.ndim - b.ndim :] == b.shape:
        return np.add(a, b, out=a)
    return _add(a, b)


def _reciprocal(number: Any, like: Array) -> Any:
    """Return `1 / number`, which is rounded: an interval around it in formulas over intervals."""
    while isinstance(like, Dual):
        like = like.value
    return (point(1.0) if isinstance(like, Interval) else 1.0) / number


def _product(a: Array | None, b: Array) -> Array | None:
    return None if a is None else a * b


class DualOps(Ops):
    """Duals whose values and tangents live in the namespace `inner`."""

    def __init__(self, inner: Ops) -> None:
        self.inner = inner
        self.level = inner.level + 1
        for name in ELEMENTWISE:
            setattr(self, name, self._elementwise(getattr(inner, name), DERIVATIVES[name]))

    def dual(self, value: Array, tangent: Array | None) -> Dual:
        """Return `value + eps * tangent` at this level."""
        return Dual(value, tangent, self.level)

    def parts(self, x: Any) -> tuple[Array, Array | None]:
        """Return value and tangent of `x`; a constant has no tangent."""
        return (x.value, x.tangent) if isinstance(x, Dual) and x.level == self.level else (x, None)

    def _elementwise(self, function: Callable[..., Any], derivative: Callable[..., Any]) -> Callable[..., Any]:
        def apply(x: Any) -> Any:
            value, tangent = self.parts(x)
            out = function(value)
            return self.dual(out, None if tangent is None else derivative(self.inner, value, out) * tangent)

        return apply

    def _linear(self, function: Callable[[Array], Array], x: Any) -> Dual:
        value, tangent = self.parts(x)
        return self.dual(function(value), None if tangent is None else function(tangent))

    def _split(self, function: Callable[[Array], Sequence[Array]], x: Any) -> list[Dual]:
        value, tangent = self.parts(x)
        values = function(value)
        tangents = [None] * len(values) if tangent is None else function(tangent)
        return [self.dual(v, t) for v, t in zip(values, tangents, strict=True)]

    def unpack(self, w: Array, *shapes: tuple[int, ...]) -> Any:
        if len(shapes) == 1:
            return self._linear(lambda x: self.inner.unpack(x, *shapes), w)
        return tuple(self._split(lambda x: self.inner.unpack(x, *shapes), w))

    def _join(self, function: Callable[..., Array], parts: Sequence[Array]) -> Dual:
        pairs = [self.parts(part) for part in parts]
        value = function(*[v for v, _ in pairs])
        if all(t is None for _, t in pairs):
            return self.dual(value, None)
        return self.dual(value, function(*[v * 0.0 if t is None else t for v, t in pairs]))

    def pack(self, *parts: Array) -> Array:
        return self._join(self.inner.pack, parts)

    def row(self, values: Any) -> Array:
        return self.inner.row(values)

    def split(self, z: Array, sizes: Sequence[int]) -> list[Array]:
        return self._split(lambda x: self.inner.split(x, sizes), z)

    def size(self, z: Array) -> int:
        return self.inner.size(self.parts(z)[0])

    def rank(self, z: Array) -> int:
        return self.inner.rank(self.parts(z)[0])

    def concatenate(self, parts: Sequence[Array]) -> Array:
        return self._join(lambda *arrays: self.inner.concatenate(arrays), parts)

    def matmul(self, a: Array, b: Array) -> Array:
        (a, da), (b, db) = self.parts(a), self.parts(b)
        left = None if da is None else self.inner.matmul(da, b)
        right = None if db is None else self.inner.matmul(a, db)
        return self.dual(self.inner.matmul(a, b), _accumulate(left, right))

    def take(self, z: Array, indices: Sequence[int] | np.ndarray) -> Array:
        return self._linear(lambda x: self.inner.take(x, indices), z)

    def put(self, z: Array, indices: Sequence[int] | np.ndarray, size: int) -> Array:
        return self._linear(lambda x: self.inner.put(x, indices, size), z)

    def one_hot(self, z: Array, size: int) -> Array:
        return self.dual(self.inner.one_hot(self.parts(z)[0], size), None)

    def solve(self, matrix: Array, b: Array) -> Array:
        (a, da), (b, db) = self.parts(matrix), self.parts(b)
        x = self.inner.solve(a, b)
        # d(A x) = dA x + A dx = db
        source = db if da is None else _add(-self._product_with(da, x), db)
        return self.dual(x, None if source is None else self.inner.solve(a, source))

    def _product_with(self, matrix: Array, x: Array) -> Array:
        """Return A x for every sample, with a matrix as `solve` takes it."""
        size = self.inner.size(x)
        if size == 1:
            return matrix * x
        each = one_a_sample(self.inner.size(matrix), size)
        return self.inner.matmul_samples(matrix, x, size) if each else self.inner.affine(x, matrix)

    def matmul_samples(self, a: Array, b: Array, inner: int) -> Array:
        (a, da), (b, db) = self.parts(a), self.parts(b)
        left = None if da is None else self.inner.matmul_samples(da, b, inner)
        right = None if db is None else self.inner.matmul_samples(a, db, inner)
        return self.dual(self.inner.matmul_samples(a, b, inner), _accumulate(left, right))

    def parts_as_samples(self, z: Array, count: int) -> Array:
        return self._linear(lambda x: self.inner.parts_as_samples(x, count), z)

    def samples_as_parts(self, z: Array, count: int) -> Array:
        return self._linear(lambda x: self.inner.samples_as_parts(x, count), z)

    def transpose(self, a: Array) -> Array:
        return self._linear(self.inner.transpose, a)

    def sum(self, z: Array, keepdims: bool = False) -> Array:
        return self._linear(lambda x: self.inner.sum(x, keepdims), z)

    def sum_samples(self, z: Array) -> Array:
        return self._linear(self.inner.sum_samples, z)

    def repeat_columns(self, z: Array, size: int, keepdims: bool = False) -> Array:
        return self._linear(lambda x: self.inner.repeat_columns(x, size, keepdims), z)

    def repeat_samples(self, row: Array, like: Array) -> Array:
        return self._linear(lambda x: self.inner.repeat_samples(x, self.parts(like)[0]), row)

    def defined(self, x: Array, y: Array) -> Array:
        (value, tangent), (known, _) = self.parts(x), self.parts(y)
        slope = None if tangent is None else self.inner.defined(tangent, known)
        return self.dual(self.inner.defined(value, known), slope)

    def logsumexp(self, z: Array) -> Array:
        value, tangent = self.parts(z)
        if tangent is None:
            return self.dual(self.inner.logsumexp(value), None)
        slope = self.inner.sum(self.inner.softmax(value) * tangent, keepdims=True)
        return self.dual(self.inner.logsumexp(value), slope)

    def softmax(self, z: Array) -> Array:
        value, tangent = self.parts(z)
        p = self.inner.softmax(value)
        if tangent is None:
            return self.dual(p, None)
        weighted = p * tangent
        return self.dual(p, weighted - p * self.inner.sum(weighted, keepdims=True))


@cache
def duals_over(inner: Ops) -> DualOps:
    """Return the duals over a namespace; they are without state, so one of each is enough."""
    return DualOps(inner)


# derivative(ops, x, f(x)) of every elementwise function, from the value where that is cheaper
DERIVATIVES: dict[str, Callable[..., Any]] = {
    "exp": lambda ops, x, y: y,
    "log": lambda ops, x, y: ops.defined(x**-1.0, y),
    "log1p": lambda ops, x, y: ops.defined((1.0 + x) ** -1.0, y),
    "sqrt": lambda ops, x, y: 0.5 * y**-1.0,
    "sin": lambda ops, x, y: ops.cos(x),
    "cos": lambda ops, x, y: -ops.sin(x),
    "tan": lambda ops, x, y: ops.defined(1.0 + y * y, y),
    "tanh": lambda ops, x, y: 1.0 - y * y,
    "sinh": lambda ops, x, y: ops.cosh(x),
    "cosh": lambda ops, x, y: ops.sinh(x),
    "arctan": lambda ops, x, y: (1.0 + x * x) ** -1.0,
    "abs": lambda ops, x, y: ops.step(x) - ops.step(-x),
    "relu": lambda ops, x, y: ops.step(y),
    "step": lambda ops, x, y: 0.0 * x,
    "sigmoid": lambda ops, x, y: y * (1.0 - y),
    "softplus": lambda ops, x, y: ops.sigmoid(x),
}
