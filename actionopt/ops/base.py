"""What every namespace offers to a formula."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from actionopt.errors import InputError, unknown_name

Array = Any  # a NumPy array, a Dual, a Linear or a CasADi expression: the namespace decides

ELEMENTWISE = (
    "exp", "log", "log1p", "sqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh", "arctan",
    "abs", "relu", "step", "sigmoid", "softplus",
)  # fmt: skip


class Incomparable:
    """Numbers of a namespace that formulas may not compare: Python would answer by identity, silently."""

    __slots__ = ()
    __hash__ = object.__hash__

    def _refuse(self, *_: Any) -> bool:
        raise TypeError("a formula cannot ask whether numbers are equal, or zero: ops.step tells them apart")

    __eq__ = __ne__ = __bool__ = _refuse


class Ops(ABC):
    """The functions a formula may call. Arithmetic (`+ - * / **`) is written with the usual operators.

    Elementwise, same shape out: exp, log, log1p, sqrt, sin, cos, tan, tanh, sinh, cosh, arctan, abs, relu,
    step (1 where positive, else 0), sigmoid, softplus.
    """

    level: int = 0  # of the infinitesimals, where duals are nested

    def __getattr__(self, name: str) -> Any:  # where nothing of that name is found
        known = {*ELEMENTWISE, *(key for key, entry in vars(Ops).items() if callable(entry) and key[0] != "_")}
        raise AttributeError(str(unknown_name("function of ops", name, known)))

    @abstractmethod
    def unpack(self, w: Array, *shapes: tuple[int, ...]) -> Any:
        """Split weights `(..., n)` row-major: `(out, in)` gives `(..., out, in)`, `(d,)` a row `(..., 1, d)`.

        One shape gives the array itself, several give a tuple.
        """

    @abstractmethod
    def pack(self, *parts: Array) -> Array:
        """Join matrices and rows into `(..., n)`: the inverse of `unpack`."""

    @abstractmethod
    def row(self, values: Any) -> Array:
        """Return constants, one a feature, that broadcast against `(..., d)`."""

    @abstractmethod
    def split(self, z: Array, sizes: Sequence[int]) -> list[Array]:
        """Split the last axis into pieces of the given sizes, which add up to its length."""

    def columns(self, z: Array) -> list[Array]:
        """Split the last axis into pieces of size one: `(..., B, d)` gives d arrays `(..., B, 1)`."""
        return self.split(z, [1] * self.size(z))

    @abstractmethod
    def size(self, z: Array) -> int:
        """Length of the last axis."""

    @abstractmethod
    def rank(self, z: Array) -> int:
        """Count the axes."""

    @abstractmethod
    def concatenate(self, parts: Sequence[Array]) -> Array:
        """Join along the last axis; leading axes broadcast."""

    @abstractmethod
    def matmul(self, a: Array, b: Array) -> Array:
        """Matrix product over the last two axes."""

    @abstractmethod
    def transpose(self, a: Array) -> Array:
        """Swap the last two axes."""

    def affine(self, z: Array, matrix: Array, offset: Array | None = None) -> Array:
        """Return `z @ matrix^T (+ offset)`: z `(..., B, in)`, matrix `(..., out, in)`, offset a row."""
        product = self.matmul(z, self.transpose(matrix))
        return product if offset is None else product + offset

    @abstractmethod
    def take(self, z: Array, indices: Sequence[int] | np.ndarray) -> Array:
        """Return the features at `indices (k,)`, in that order, repeated where an index is: `(..., B, k)`."""

    @abstractmethod
    def put(self, z: Array, indices: Sequence[int] | np.ndarray, size: int) -> Array:
        """Return `size` features, each the sum of those that `indices` sends there: the transpose of `take`.

        Where no index points is zero, so it also pads: `z (..., B, k)`, indices `(k,)`.
        """

    @abstractmethod
    def one_hot(self, z: Array, size: int) -> Array:
        """Return the unit vectors that class numbers `z (..., B, 1)` stand for, `(..., B, size)`; constant in z."""

    @abstractmethod
    def solve(self, matrix: Array, b: Array) -> Array:
        """Return x with `A x_b = b_b` for every sample, `b (..., B, n)`.

        The matrix is one for all samples, `(..., n, n)` as `unpack` gives it, or one a sample, its rows joined as
        features `(..., B, n n)`.
        """

    @abstractmethod
    def matmul_samples(self, a: Array, b: Array, inner: int) -> Array:
        """Multiply a matrix a sample with a matrix a sample, each with its rows joined as features.

        `a (..., B, r inner)` holds matrices `(r, inner)` and `b (..., B, inner c)` matrices `(inner, c)`; the result
        `(..., B, r c)` holds their products.
        """

    def transpose_samples(self, a: Array, rows: int) -> Array:
        """Transpose a matrix a sample, `(rows, columns)` with its rows joined as features."""
        return self.take(a, transposition(self.size(a), rows))

    @abstractmethod
    def parts_as_samples(self, z: Array, count: int) -> Array:
        """Let the `count` equal parts of every sample (tokens, positions) stand as samples.

        `(..., B, count d)` becomes `(..., B count, d)`, on which a function of samples acts part by part. On the CasADi
        side one sample becomes `(count, d)`.
        """

    @abstractmethod
    def samples_as_parts(self, z: Array, count: int) -> Array:
        """Join every `count` samples to one again: the inverse of `parts_as_samples`."""

    @abstractmethod
    def sum(self, z: Array, keepdims: bool = False) -> Array:
        """Sum over the last axis, which is dropped unless `keepdims`."""

    @abstractmethod
    def repeat_columns(self, z: Array, size: int, keepdims: bool = False) -> Array:
        """Repeat along a last axis, new unless `keepdims`: the transpose of `sum`."""

    @abstractmethod
    def sum_samples(self, z: Array) -> Array:
        """Sum over the samples, `(..., B, d)` to `(..., 1, d)`."""

    @abstractmethod
    def repeat_samples(self, row: Array, like: Array) -> Array:
        """Broadcast a row `(..., 1, d)` over the samples of `like`."""

    def defined(self, x: Array, y: Array) -> Array:
        """Return x; over intervals everything where y, the value whose derivative x is, is not known to exist."""
        return x

    @abstractmethod
    def logsumexp(self, z: Array) -> Array:
        """Return `log(sum(exp(z)))` over the last axis, kept with length one; safe from overflow."""

    @abstractmethod
    def softmax(self, z: Array) -> Array:
        """Return `exp(z) / sum(exp(z))` over the last axis; safe from overflow."""

    exp: Any
    log: Any
    log1p: Any
    sqrt: Any
    sin: Any
    cos: Any
    tan: Any
    tanh: Any
    sinh: Any
    cosh: Any
    arctan: Any
    abs: Any
    relu: Any
    step: Any
    sigmoid: Any
    softplus: Any


def checked_indices(indices: Any, size: int) -> np.ndarray:
    """Return indices of features as an array of whole numbers.

    Raises
    ------
    InputError
        If they are no vector of whole numbers `0 .. size - 1`.
    """
    array = np.asarray(indices)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"ops: indices must be a vector of whole numbers, got {indices!r}")
    if array.size and not 0 <= array.min() <= array.max() < size:
        raise InputError(f"ops: indices must lie in 0 .. {size - 1}, got {array.min()} .. {array.max()}")
    return array.astype(np.intp, copy=False)


def columns_of(size: int, rows: int) -> int:
    """Return how many columns a matrix of `size` entries in so many rows has; raise InputError where none fits."""
    if rows < 1 or size % rows:
        raise InputError(f"ops: {size} features are no matrix of {rows} rows, and no {rows} equal parts")
    return size // rows


def transposition(size: int, rows: int) -> np.ndarray:
    """Return where the entries of the transpose lie in a matrix of that many rows, joined row by row."""
    return np.arange(size).reshape(rows, columns_of(size, rows)).T.ravel()


def one_a_sample(matrix_size: int, size: int) -> bool:
    """Whether the last axis of the matrices that `solve` takes holds whole matrices, for `size` unknowns.

    Raises
    ------
    InputError
        If it holds neither rows nor matrices.
    """
    if matrix_size not in (size, size * size):
        raise InputError(
            f"ops.solve: for b (..., B, {size}) the matrix must be (..., {size}, {size}), or one a sample, "
            f"(..., B, {size * size}); its last axis has length {matrix_size}"
        )
    return matrix_size != size
