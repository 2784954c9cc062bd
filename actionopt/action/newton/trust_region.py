"""Newton-Krylov on a whole trajectory: a trust region in the preconditioner's norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from actionopt.action.discrete import RESTING, ActionPoint, DiscreteAction
from actionopt.errors import InputError, SolverError
from actionopt.newton.krylov import krylov_path

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
    trouble : str
        Why an iterate could not be gone on from, where it could not.
    """

    point: ActionPoint
    status: str
    iterations: int
    products: int
    scale: float
    trouble: str = ""


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
    least = 0.0
    # the step that the preconditioner alone would take sets the first scale
    radius = 10.0 * np.sqrt(_dot(point.gradient, precondition(point, point.gradient)))
    products, iteration, trouble = 0, 0, ""
    status = "iteration limit"
    try:
        for iteration in range(max_iterations + 1):
            if report is not None:
                report(iteration, point)
            if point.gradient_norm <= tol * scale:
                # a guess far off may not loosen what is asked of the answer
                terms = max(point.terms(), least)
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
            if point.value - accepted.value <= _ROUNDING * point.magnitude:  # all that is left may be rounding
                least = max(least, RESTING * accepted.resting_terms())
                scale = max(scale, least)
            point = accepted
    except KeyboardInterrupt:
        status = "interrupted"
    except (InputError, SolverError) as error:  # of the preconditioner: no Hessian, no convex part
        if iteration == 0:
            raise
        status, trouble = "stalled", str(error)
    return NewtonResult(point, status, iteration, products, scale, trouble)


def _trust_region_step(
    action: DiscreteAction, point: ActionPoint, precondition: Preconditioner, radius: float, tol: float, scale: float
) -> tuple[ActionPoint | None, float, int]:
    """Follow one Krylov path, shortened until its end lowers the action; None where no length does."""
    forcing = min(0.1, np.sqrt(point.gradient_norm / scale)) * point.gradient_norm
    path = krylov_path(
        point.gradient,
        point.product,
        lambda residual: precondition(point, residual),
        radius=radius,
        tol=max(forcing, 0.2 * tol * scale),
    )
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


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.vdot(a, b))
