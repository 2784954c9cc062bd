"""The two forms in which a block is solved: with a matrix of the size of its weights, or of the rank of its rows.

In scaled coordinates, `x~ = D^{1/2} x` and `c~ = D^{-1/2} c`, a block is `I + K^T K`:

    primal    (I + K^T K) x~ = c~
    dual      (I + K K^T) y = K c~,    x~ = c~ - K^T y        (Woodbury)

Both matrices have eigenvalues of at least one, so a residual bounds the error of the solution.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from actionopt.metric.block import Block

EPS = float(np.finfo(float).eps)


class Form(ABC):
    """A block's linear system in one form; vectors of the system are flat, `(size,)`."""

    name: str

    def __init__(self, block: Block) -> None:
        self.block = block

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of unknowns."""

    @abstractmethod
    def apply(self, y: np.ndarray) -> np.ndarray:
        """Return the system's matrix times `y (size,)`, without forming it."""

    @abstractmethod
    def matrix(self) -> np.ndarray:
        """Return the system's matrix `(size, size)`."""

    @abstractmethod
    def lift(self, c: np.ndarray) -> np.ndarray:
        """Return the system's right-hand side for `c~`."""

    @abstractmethod
    def recover(self, c: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return `x~` from the system's solution."""

    @abstractmethod
    def error(self, cc: float, b: np.ndarray, y: np.ndarray, residual: np.ndarray, squared: float) -> float:
        """Bound `|x~ - exact| / |x~|` from the system's residual `b - A y` and its square; `cc` is `c~ . c~`."""


class Primal(Form):
    """`(I + K^T K) x~ = c~`: the error is at most the residual."""

    name = "primal"

    @property
    def size(self) -> int:
        return self.block.size

    def apply(self, y: np.ndarray) -> np.ndarray:
        return y + self.block.pull(self.block.push(y))

    def matrix(self) -> np.ndarray:
        matrix = self.block.normal()
        matrix.flat[:: len(matrix) + 1] += 1.0
        return matrix

    def lift(self, c: np.ndarray) -> np.ndarray:
        return c

    def recover(self, c: np.ndarray, y: np.ndarray) -> np.ndarray:
        return y

    def error(self, cc: float, b: np.ndarray, y: np.ndarray, residual: np.ndarray, squared: float) -> float:
        return _ratio(squared, float(np.dot(y, y)))


class Dual(Form):
    """`(I + K K^T) y = K c~`: the error is at most half the residual, for `lam / (1 + lam)^2 <= 1/4`."""

    name = "dual"

    def __init__(self, block: Block) -> None:
        super().__init__(block)
        self.shape = block.shape

    @property
    def size(self) -> int:
        return self.block.rank

    def apply(self, y: np.ndarray) -> np.ndarray:
        return y + self.block.pull_push(y.reshape(self.shape)).ravel()

    def matrix(self) -> np.ndarray:
        matrix = self.block.gram()
        matrix.flat[:: len(matrix) + 1] += 1.0
        return matrix

    def lift(self, c: np.ndarray) -> np.ndarray:
        return self.block.push(c).ravel()

    def recover(self, c: np.ndarray, y: np.ndarray) -> np.ndarray:
        return c - self.block.pull(y.reshape(self.shape))

    def error(self, cc: float, b: np.ndarray, y: np.ndarray, residual: np.ndarray, squared: float) -> float:
        # |x~|^2 = c.c - 2 y.b + y.K K^T y, and K K^T y = b - residual - y
        square = cc - float(np.dot(y, b)) - float(np.dot(y, residual)) - float(np.dot(y, y))
        return 0.5 * _ratio(squared, max(square, EPS * cc))


FORMS: dict[str, type[Form]] = {"primal": Primal, "dual": Dual}


def _ratio(numerator: float, denominator: float) -> float:
    """Return `sqrt(numerator / denominator)`, zero where both are."""
    if numerator == 0.0:
        return 0.0
    return math.sqrt(numerator / denominator) if denominator > 0.0 else np.inf
