"""Newton's method in a trust region, its steps taken from a path of conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actionopt.newton.krylov import KrylovPath, KrylovStep, krylov_path
from actionopt.newton.lanczos import lowest_eigenvalue
from actionopt.newton.point import Minimum, Objective, Point, Precondition, Watch, largest
from actionopt.newton.search import Search, floor_of

_ROUNDING = 10 * np.finfo(float).eps
PROBE = 12  # Hessian products of the look for negative curvature at a stationary point


@dataclass
class TrustRegion(Search):
    """Minimise a function by trust-region Newton-CG (Steihaug 1983).

    Attributes
    ----------
    objective : callable
        `objective(x)` gives a `Point`.
    tol : float
        Largest entry of the gradient at which to stop.
    max_iterations : int
        Newton steps, rejected ones not counted: a rejected step takes a shorter point of the same path.
    precondition : callable, optional
        Approximate inverse Hessian, symmetric positive definite. Its inverse is the norm of the trust region.
    watch : callable, optional
        Called with the iteration and the point after every step.

    Notes
    -----
    Nothing here depends on the units of the function or of x. Every end that looks stationary is probed for
    negative curvature by a few Lanczos products, and left along it where there is some: a start on a saddle is no
    minimum.
    """

    objective: Objective
    tol: float
    max_iterations: int = 1000
    precondition: Precondition | None = None
    watch: Watch | None = None

    def _run(self, result: Minimum) -> None:
        norm0 = 0.0
        floor = floor_of(result.point)
        radius = None
        while True:
            point = result.point
            if self._ended(result, floor):
                return
            norm = largest(point.gradient)
            if norm <= self.tol:
                left = self._leave_saddle(result)
                if left is None:
                    return
                result.point, radius = left, None
                continue
            if result.iterations >= self.max_iterations:
                return
            norm0 = max(norm0, norm)
            path = self._path(point, radius, norm, norm0)
            result.products += path.products
            if radius is None:
                radius = path.first_radius()
            accepted, radius = self._step(point, path, radius)
            if accepted is None:  # where stiff directions are at rest and flat ones are not, a longer path may tell
                path = self._path(point, None, norm, 0.0)
                result.products += path.products
                accepted, radius = self._step(point, path, path.first_radius())
            if accepted is None:
                result.status = "stalled"
                return
            result.point = accepted
            result.iterations += 1

    def _path(self, point: Point, radius: float | None, norm: float, norm0: float) -> KrylovPath:
        """Follow conjugate gradients about as far as Newton's method can use (Eisenstat and Walker 1996).

        `norm0` is the largest gradient so far; with 0 the path goes on to the tolerance.
        """
        forcing = min(0.1, np.sqrt(norm / norm0)) * norm if norm0 else 0.0
        return krylov_path(
            point.gradient,
            point.product,
            self.precondition or np.copy,
            radius=np.inf if radius is None else radius,
            tol=max(forcing, 0.2 * self.tol),
        )

    def _step(self, point: Point, path: KrylovPath, radius: float) -> tuple[Point | None, float]:
        """Take the longest point of the path that lowers the value; None where none does."""
        for _ in range(60):
            step = path.within(radius)
            trial = self.objective(point.x + step.direction)
            noise = _ROUNDING * abs(point.value)
            finite = bool(np.isfinite(trial.value)) and bool(np.isfinite(trial.gradient).all())
            if finite and step.decrease <= noise:
                # the value cannot tell the two apart: the gradient decides
                if largest(trial.gradient) < largest(point.gradient):
                    return trial, radius
                if step.length <= _ROUNDING * float(np.linalg.norm(point.x)):
                    break
                radius = 0.25 * step.length
                continue
            ratio = (point.value - trial.value + noise) / (step.decrease + noise) if finite else -1.0
            radius = _next_radius(radius, ratio, step)
            if ratio > 1e-4:
                return trial, radius
            if radius <= 0.0:
                break
        return None, radius

    def _leave_saddle(self, result: Minimum) -> Point | None:
        """Look for negative curvature; return a lower point along it, or None with the status set."""
        point = result.point
        lowest = lowest_eigenvalue(point.product, point.x.size, max_products=PROBE)
        result.products += lowest.products
        if lowest.sign >= 0:
            result.status = "converged"
            return None
        direction = lowest.vector if point.gradient @ lowest.vector <= 0 else -lowest.vector
        length = max(float(np.linalg.norm(point.x)), 1.0)
        for _ in range(40):
            trial = self.objective(point.x + length * direction)
            promised = -0.25 * lowest.value * length**2
            if np.isfinite(trial.value) and point.value - trial.value >= 1e-2 * promised > 0:
                result.iterations += 1
                return trial
            length *= 0.5
        result.status = "saddle"
        return None


def _next_radius(radius: float, ratio: float, step: KrylovStep) -> float:
    if ratio > 0.75 and step.at_boundary:
        return 2.5 * step.length
    if not ratio >= 0.25:
        return 0.25 * step.length
    return radius
