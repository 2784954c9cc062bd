"""What every namespace offers to a formula."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from actionopt.errors import unknown_name

Array = Any  # a NumPy array, a Dual, a Linear or a CasADi expression: the namespace decides

ELEMENTWISE = (
    "exp", "log", "log1p", "sqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh", "arctan",
    "abs", "relu", "step", "sigmoid", "softplus",
)  # fmt: skip


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
