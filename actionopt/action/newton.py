"""Newton-Krylov on a whole trajectory: a trust region in the preconditioner's norm, Steihaug-Toint steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from actionopt.action.discrete import ActionPoint, DiscreteAction

Preconditioner = Callable[[ActionPoint, np.ndarray], np.ndarray]
_ROUNDING = 10 * np.finfo(float).eps


@dataclass
class NewtonResult:
    """Where Newton's method stopped.

    Attributes
    ----------
    point : ActionPoint
        The best trajectory.
    status : str
        "converged", "iteration limit", "stalled" or "interrupted".
    iterations, products : int
        Newton steps and Hessian products.
    """

    point: ActionPoint
    status: str
    iterations: int
    products: int


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
        Largest entry of the gradient at which to stop.
    max_iterations : int
    report : callable, optional
        Called with the iteration and the point after every step.

    Returns
    -------
    NewtonResult
        Ctrl-C ends the iteration and keeps the last accepted point.
    """
    point = action.at(guess)
    # the step that the preconditioner alone would take sets the first scale
    radius = 10.0 * np.sqrt(_dot(point.gradient, precondition(point, point.gradient)))
    products, iteration = 0, 0
    status = "iteration limit"
    try:
        for iteration in range(max_iterations + 1):
            if report is not None:
                report(iteration, point)
            if point.gradient_norm <= tol:
                status = "converged"
                break
            if iteration == max_iterations:
                break
            accepted, radius, spent = _trust_region_step(action, point, precondition, radius, tol)
            products += spent
            if accepted is None:
                status = "stalled"
                break
            point = accepted
    except KeyboardInterrupt:
        status = "interrupted"
    return NewtonResult(point, status, iteration, products)


def _trust_region_step(
    action: DiscreteAction, point: ActionPoint, precondition: Preconditioner, radius: float, tol: float
) -> tuple[ActionPoint | None, float, int]:
    """Try steps of shrinking radius until one lowers the action; None where none does."""
    forcing = min(0.1, np.sqrt(point.gradient_norm)) * point.gradient_norm
    step = steihaug(point, precondition, radius, max(forcing, 0.1 * tol))
    products = step.products
    for _ in range(30):
        trial = action.at(point.points + step.direction)
        noise = _ROUNDING * max(abs(point.value), 1.0e-300)
        gain = point.value - trial.value + noise
        ratio = gain / (step.decrease + noise) if np.isfinite(trial.value) else -1.0
        if ratio > 0.75 and step.at_boundary:
            radius = 2.5 * step.length
        elif ratio < 0.25:
            radius = 0.25 * step.length
        if ratio > 1e-4 or (step.decrease <= noise and trial.gradient_norm < point.gradient_norm):
            return trial, radius, products
        if step.length == 0.0 or radius < _ROUNDING:
            break
        step = steihaug(point, precondition, radius, max(forcing, 0.1 * tol))
        products += step.products
    return None, radius, products


@dataclass
class KrylovStep:
    """A step of the trust-region subproblem: its length in the preconditioner's norm and the model's decrease."""

    direction: np.ndarray
    length: float
    decrease: float
    at_boundary: bool
    products: int


def steihaug(
    point: ActionPoint, precondition: Preconditioner, radius: float, tol: float, max_products: int = 500
) -> KrylovStep:
    """Minimise the quadratic model within a radius by preconditioned conjugate gradients (Steihaug 1983, Toint 1981).

    Stops where the residual's largest entry is below `tol`, or on the boundary, where negative curvature leads too.
    """
    residual = point.gradient.copy()
    scaled = precondition(point, residual)
    rho = _dot(residual, scaled)
    search = -scaled
    step, step_product = np.zeros_like(residual), np.zeros_like(residual)
    length2, along, search2 = 0.0, 0.0, rho
    for products in range(1, max_products + 1):
        curved = point.product(search)
        curvature = _dot(search, curved)
        alpha = rho / curvature if curvature > 0 else 0.0
        new_length2 = length2 + 2 * alpha * along + alpha**2 * search2 if curvature > 0 else np.inf
        if new_length2 >= radius**2:
            alpha = _to_boundary(length2, along, search2, radius)
            return _finish(point, step + alpha * search, step_product + alpha * curved, True, products, radius)
        step += alpha * search
        step_product += alpha * curved
        residual += alpha * curved
        length2 = new_length2
        if abs(residual).max() <= tol:
            break
        scaled = precondition(point, residual)
        rho, old = _dot(residual, scaled), rho
        beta = rho / old
        along = beta * (along + alpha * search2)
        search2 = rho + beta**2 * search2
        search = beta * search - scaled
    return _finish(point, step, step_product, False, products, np.sqrt(length2))


def _finish(
    point: ActionPoint, step: np.ndarray, step_product: np.ndarray, at_boundary: bool, products: int, length: float
) -> KrylovStep:
    decrease = -(_dot(point.gradient, step) + 0.5 * _dot(step, step_product))
    return KrylovStep(step, float(length), decrease, at_boundary, products)


def _to_boundary(length2: float, along: float, search2: float, radius: float) -> float:
    """Positive alpha at which `|step + alpha search|` reaches the radius."""
    root = np.sqrt(max(along**2 + search2 * (radius**2 - length2), 0.0))
    return (root - along) / search2 if along <= 0 else (radius**2 - length2) / (along + root)


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.vdot(a, b))
