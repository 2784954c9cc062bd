"""Functions with known minima as objectives, from their derivatives in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Function:
    """A function of a vector, its gradient and its Hessian."""

    value: Callable[[np.ndarray], float]
    gradient: Callable[[np.ndarray], np.ndarray]
    hessian: Callable[[np.ndarray], np.ndarray]
    scale: float = 1.0

    def __call__(self, x: np.ndarray) -> At:
        return At(self, x)


@dataclass(frozen=True)
class At:
    function: Function
    x: np.ndarray

    @property
    def value(self) -> float:
        return self.function.scale * float(self.function.value(self.x))

    @property
    def gradient(self) -> np.ndarray:
        return self.function.scale * self.function.gradient(self.x)

    def product(self, direction: np.ndarray) -> np.ndarray:
        return self.function.scale * direction @ self.function.hessian(self.x)


def rosenbrock(scale: float = 1.0) -> Function:
    """`100 (y - x^2)^2 + (1 - x)^2`: least 0, at (1, 1)."""
    from scipy.optimize import rosen, rosen_der, rosen_hess

    return Function(rosen, rosen_der, rosen_hess, scale)


def quadratic(matrix: Any, centre: Any) -> Function:
    """`1/2 (x - centre) . matrix (x - centre)`."""
    matrix, centre = np.asarray(matrix, dtype=float), np.asarray(centre, dtype=float)
    return Function(
        lambda x: 0.5 * (x - centre) @ matrix @ (x - centre), lambda x: matrix @ (x - centre), lambda x: matrix
    )


def two_wells() -> Function:
    """`(x^2 - 1)^2 / 4 + y^2 / 2`: minima 0 at (-1, 0) and (1, 0), a saddle at the origin."""
    return Function(
        lambda x: 0.25 * (x[0] ** 2 - 1) ** 2 + 0.5 * x[1] ** 2,
        lambda x: np.array([x[0] ** 3 - x[0], x[1]]),
        lambda x: np.diag([3 * x[0] ** 2 - 1, 1.0]),
    )
