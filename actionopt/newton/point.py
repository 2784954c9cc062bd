"""What a minimiser sees of a function, what it returns, and how it is watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Point(Protocol):
    """A function at one point; all but the value may be computed when first asked for.

    Attributes
    ----------
    x, gradient : arrays of one shape
    value : float
        Not finite where the function is not defined.
    """

    @property
    def x(self) -> np.ndarray: ...

    @property
    def value(self) -> float: ...

    @property
    def gradient(self) -> np.ndarray: ...

    def product(self, direction: np.ndarray) -> np.ndarray:
        """Return the Hessian times a direction, or times each of a stack of them `(k, n)`."""
        ...


Objective = Callable[[np.ndarray], Point]
Precondition = Callable[[np.ndarray], np.ndarray]  # symmetric positive definite: an approximate inverse Hessian
Watch = Callable[[int, Point], str | None]  # after each iteration; a text ends the run and is its status


@dataclass
class Minimum:
    """Where a minimiser stopped.

    Attributes
    ----------
    point : Point
        The last accepted point: no other had a lower value.
    status : str
        "converged": the largest entry of the gradient is within the tolerance, and no direction of negative curvature
        was found; "saddle": there is one, but no step along it lowers the value; "iteration limit"; "stalled": no
        step lowers the value further; "unbounded"; "interrupted"; or what the watch said.
    iterations, products : int
        Accepted or tried steps, and Hessian products.
    """

    point: Point
    status: str
    iterations: int = 0
    products: int = 0


def largest(values: np.ndarray) -> float:
    """Return the largest entry by modulus; NaN where one is."""
    return float(abs(values).max(initial=0.0))


def size_of(point: Point) -> float:
    """Return a size of the function about a point: its value and what its slope adds over the size of x; 1 if nothing.

    A function may vanish where it starts, and its gradient too.
    """
    size = abs(point.value) + largest(point.gradient) * max(largest(point.x), 1.0)
    return size or 1.0
