"""Newton-Krylov on a whole trajectory: a trust region in the preconditioner's norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from actionopt.action.discrete import ActionPoint, DiscreteAction
from actionopt.newton.krylov import krylov_path

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
    """Follow one Krylov path, shortened until its end lowers the action; None where no length does."""
    forcing = min(0.1, np.sqrt(point.gradient_norm)) * point.gradient_norm
    path = krylov_path(
        point.gradient,
        point.product,
        lambda residual: precondition(point, residual),
        radius=radius,
        tol=max(forcing, 0.2 * tol),
    )
    for _ in range(30):
        step = path.within(radius)
        trial = action.at(point.points + step.direction)
        noise = _ROUNDING * max(abs(point.value), 1.0e-300)
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


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.vdot(a, b))
