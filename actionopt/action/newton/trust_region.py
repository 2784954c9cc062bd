"""Newton-Krylov on a whole trajectory: a trust region in the preconditioner's norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from actionopt.action.discrete import REST, RESTING, ActionPoint, DiscreteAction

Preconditioner = Callable[[ActionPoint, np.ndarray], np.ndarray]
_ROUNDING = 10 * np.finfo(float).eps
UNBOUNDED = 1e10  # an action below minus this many times what it was a sum of at the guess has no minimum


@dataclass
class NewtonResult:
    """Where Newton's method stopped.

    Attributes
    ----------
    point : ActionPoint
        The best trajectory.
    status : str
        "converged", "iteration limit", "stalled", "unbounded" or "interrupted".
    iterations, products : int
        Newton steps and Hessian products.
    scale : float
        Size of the terms of the gradient, which `tol` is relative to.
    """

    point: ActionPoint
    status: str
    iterations: int
    products: int
    scale: float


def newton(
    action: DiscreteAction,
    guess: np.ndarray,
    precondition: Preconditioner,
    *,
    tol: float,
    max_iterations: int,
    report: Callable[[int, ActionPoint], None] | None = None,
) -> NewtonResult:
    """Minimise the discrete action from a guess.

    Parameters
    ----------
    action : DiscreteAction
    guess : array (K, n)
    precondition : callable
        `precondition(point, residual) -> (K, n)`, symmetric positive definite on the free entries.
    tol : float
        Largest entry of the gradient at which to stop, relative to the size of its terms at the guess.
    max_iterations : int
    report : callable, optional
        Called with the iteration and the point after every step.

    Returns
    -------
    NewtonResult
        Ctrl-C ends the iteration and keeps the last accepted point.
    """
    point = action.at(guess)
    scale, floor = point.terms(), -UNBOUNDED * point.magnitude
    # the step that the preconditioner alone would take sets the first scale
    radius = 10.0 * np.sqrt(_dot(point.gradient, precondition(point, point.gradient)))
    products, iteration = 0, 0
    status = "iteration limit"
    try:
        for iteration in range(max_iterations + 1):
            if report is not None:
                report(iteration, point)
            if point.gradient_norm <= tol * scale:
                # a guess far off may not loosen what is asked of the answer
                terms = max(point.terms(), REST * scale)
                if point.gradient_norm <= tol * terms:
                    status, scale = "converged", terms
                    break
                scale = terms
            if point.value < floor:
                status = "unbounded"
                break
            if iteration == max_iterations:
                break
            accepted, radius, spent = _trust_region_step(action, point, precondition, radius, tol, scale)
            products += spent
            if accepted is None:
                scale = max(scale, point.terms(), RESTING * point.resting_terms())
                status = "converged" if point.gradient_norm <= tol * scale else "stalled"
                break
            point = accepted
    except KeyboardInterrupt:
        status = "interrupted"
    return NewtonResult(point, status, iteration, products, scale)


def _trust_region_step(
    action: DiscreteAction, point: ActionPoint, precondition: Preconditioner, radius: float, tol: float, scale: float
) -> tuple[ActionPoint | None, float, int]:
    """Follow one Krylov path, shortened until its end lowers the action; None where no length does."""
    forcing = min(0.1, np.sqrt(point.gradient_norm / scale)) * point.gradient_norm
    path = krylov_path(point, precondition, radius, max(forcing, 0.2 * tol * scale))
    for _ in range(30):
        step = path.within(radius)
        trial = action.at(point.points + step.direction)
        noise = _ROUNDING * max(point.magnitude, 1.0e-300)
        finite = np.isfinite(trial.value) and np.isfinite(trial.gradient_norm)
        if finite and step.decrease <= noise:
            # the action cannot tell the two apart: the gradient decides
            return (trial if trial.gradient_norm < point.gradient_norm else None), radius, path.products
        ratio = (point.value - trial.value + noise) / (step.decrease + noise) if finite else -1.0
        if ratio > 0.75 and step.at_boundary:
            radius = 2.5 * step.length
        elif not ratio >= 0.25:
            radius = 0.25 * step.length
        if ratio > 1e-4:
            return trial, radius, path.products
        if radius <= 0.0:
            break
    return None, radius, path.products


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

    def within(self, radius: float) -> KrylovStep:
        """Return the point where the path leaves the radius, or its end."""
        for leg in self.legs:
            if leg.alpha == np.inf or leg.length_at(leg.alpha) >= radius:
                return leg.step(leg.reach(radius), True)
        last = self.legs[-1]
        return last.step(last.alpha, False)


def krylov_path(
    point: ActionPoint, precondition: Preconditioner, radius: float, tol: float, max_products: int = 1000
) -> KrylovPath:
    """Minimise the quadratic model of the action by preconditioned conjugate gradients.

    The path ends where the residual's largest entry is below `tol`, where it leaves the radius, or at a direction of
    negative curvature, which it follows (Steihaug 1983, Toint 1981).
    """
    path = KrylovPath()
    residual = point.gradient.copy()
    scaled = precondition(point, residual)
    step, search = np.zeros_like(residual), -scaled
    rho = _dot(residual, scaled)
    length2, along, search2, decrease = 0.0, 0.0, rho, 0.0
    for _ in range(max_products):
        curved = point.product(search)
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
        scaled = precondition(point, residual)
        rho, old = _dot(residual, scaled), rho
        beta = rho / old
        along = beta * (along + alpha * search2)
        search2 = rho + beta**2 * search2
        search = beta * search - scaled
    return path


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.vdot(a, b))
