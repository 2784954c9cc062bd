"""The path of preconditioned conjugate gradients through a quadratic model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Linear = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class KrylovStep:
    """A step: its length in the preconditioner's norm and the decrease that the quadratic model promises."""

    direction: np.ndarray
    length: float
    decrease: float
    at_boundary: bool


@dataclass(frozen=True)
class _Leg:
    """One straight piece of a Krylov path: from `start` along `search`, at most by `alpha` (infinite: for ever)."""

    start: np.ndarray
    search: np.ndarray
    alpha: float
    length2: float  # |start|^2, start . search and |search|^2 in the preconditioner's norm
    along: float
    search2: float
    decrease: float  # of the model at the start, its slope and its curvature along the search
    slope: float
    curvature: float

    def reach(self, radius: float) -> float:
        """The alpha at which the piece leaves the radius."""
        root = np.sqrt(max(self.along**2 + self.search2 * (radius**2 - self.length2), 0.0))
        if self.along <= 0:
            return (root - self.along) / self.search2
        return (radius**2 - self.length2) / (self.along + root)

    def length_at(self, alpha: float) -> float:
        return float(np.sqrt(max(self.length2 + 2 * alpha * self.along + alpha**2 * self.search2, 0.0)))

    def step(self, alpha: float, at_boundary: bool) -> KrylovStep:
        decrease = self.decrease - alpha * self.slope - 0.5 * alpha**2 * self.curvature
        return KrylovStep(self.start + alpha * self.search, self.length_at(alpha), decrease, at_boundary)


class KrylovPath:
    """The path of preconditioned conjugate gradients from the origin; its length grows monotonically (Steihaug 1983).

    The step for a smaller radius lies on the same path, so a rejected step costs no further product.
    """

    def __init__(self) -> None:
        self.legs: list[_Leg] = []

    @property
    def products(self) -> int:
        """Hessian products spent: one a piece."""
        return len(self.legs)

    def first_radius(self) -> float:
        """Return a radius to start with: the whole path's length, or ten times its first leg where it never ends."""
        last = self.legs[-1]
        if last.alpha < np.inf:
            return 1.01 * last.length_at(last.alpha)
        first = self.legs[0]
        if first.alpha < np.inf:
            return 10.0 * first.length_at(first.alpha)
        return float(np.sqrt(first.search2)) * abs(first.slope / (first.curvature or first.slope))

    def within(self, radius: float) -> KrylovStep:
        """Return the point where the path leaves the radius, or its end."""
        for leg in self.legs:
            if leg.alpha == np.inf or leg.length_at(leg.alpha) >= radius:
                return leg.step(leg.reach(radius), True)
        last = self.legs[-1]
        return last.step(last.alpha, False)


def krylov_path(
    gradient: np.ndarray,
    product: Linear,
    precondition: Linear,
    *,
    radius: float,
    tol: float,
    max_products: int = 1000,
) -> KrylovPath:
    """Minimise the quadratic model `gradient . p + 1/2 p . H p` by preconditioned conjugate gradients.

    The path ends where the residual's largest entry is below `tol`, where it leaves the radius, or at a direction of
    negative curvature, which it follows (Steihaug 1983, Toint 1981).

    Parameters
    ----------
    gradient : array
        Of any shape, which `product` and `precondition` take and give.
    product, precondition : callable
        H, symmetric, and an approximate inverse of it, symmetric positive definite: its own inverse measures lengths.
    radius, tol : float
    max_products : int
    """
    path = KrylovPath()
    residual = gradient.copy()
    scaled = precondition(residual)
    step, search = np.zeros_like(residual), -scaled
    rho = _dot(residual, scaled)
    length2, along, search2, decrease = 0.0, 0.0, rho, 0.0
    for _ in range(max_products):
        curved = product(search)
        curvature = _dot(search, curved)
        alpha = rho / curvature if curvature > 0 else np.inf
        leg = _Leg(step, search, alpha, length2, along, search2, decrease, -rho, curvature)
        path.legs.append(leg)
        if alpha == np.inf or leg.length_at(alpha) >= radius:
            break
        step = step + alpha * search
        residual = residual + alpha * curved
        length2 = leg.length_at(alpha) ** 2
        decrease += 0.5 * alpha * rho
        if abs(residual).max() <= tol:
            break
        scaled = precondition(residual)
        rho, old = _dot(residual, scaled), rho
        beta = rho / old
        along = beta * (along + alpha * search2)
        search2 = rho + beta**2 * search2
        search = beta * search - scaled
    return path


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.vdot(a, b))
