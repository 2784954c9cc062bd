"""Newton's method within bounds: a trust region whose steps are projected.

A projected gradient step says which bounds to rest on; conjugate gradients minimise the model over the unknowns that
are left free; what leaves the bounds is projected back. Unknowns at a bound lie on it exactly.

Source: C.-J. Lin and J. More, Newton's method for large bound-constrained optimization problems, SIAM J. Optim. 9
(1999).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from actionopt.newton.krylov import krylov_path
from actionopt.newton.lanczos import lowest_eigenvalue
from actionopt.newton.point import Minimum, Objective, Point, Watch, largest
from actionopt.newton.search import Search, floor_of

SUFFICIENT = 0.01  # of the first-order decrease that a projected step must bring
ACCEPTED, GOOD, BAD = 1e-4, 0.75, 0.25  # ratios of actual to promised decrease
FACES = 4  # faces that one step looks at
PROBE = 12  # Hessian products of the look for negative curvature
_ROUNDING = 10 * np.finfo(float).eps


def projected(gradient: np.ndarray, x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the gradient without what pushes against a bound: zero at a point that is stationary within bounds."""
    held = ((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0))
    return np.where(held, 0.0, gradient)


@dataclass
class ProjectedNewton(Search):
    """Minimise a function within `low <= x <= high`, arrays `(n,)`.

    Attributes
    ----------
    objective : callable
        `objective(x)` gives a `Point`.
    low, high : arrays (n,)
    tol : float
        Largest entry of the projected gradient at which to stop.
    max_iterations : int
    watch : callable, optional
    """

    objective: Objective
    low: np.ndarray
    high: np.ndarray
    tol: float
    max_iterations: int = 1000
    watch: Watch | None = None

    def _run(self, result: Minimum) -> None:
        floor = floor_of(result.point)
        radius, scale = np.inf, 0.0
        while True:
            point = result.point
            if self._ended(result, floor):
                return
            norm = largest(projected(point.gradient, point.x, self.low, self.high))
            if norm <= self.tol:
                left = self._leave_saddle(result)
                if left is None:
                    return
                result.point, radius = left, np.inf
                continue
            if result.iterations >= self.max_iterations:
                return
            scale = max(scale, norm)
            found, radius = self._step(result, radius, min(0.1, np.sqrt(norm / scale)) * norm)
            if found is None:
                result.status = "stalled"
                return
            result.point = found
            result.iterations += 1

    def _step(self, result: Minimum, radius: float, tol: float) -> tuple[Point | None, float]:
        """Return a lower point, and the radius to go on with; None where there is none."""
        point = result.point
        for _ in range(40):
            step, decrease = self._within(result, radius, tol)
            length = float(np.linalg.norm(step))
            if not length > _ROUNDING * float(np.linalg.norm(point.x)):
                return None, radius
            trial = self.objective(self._inside(point.x + step))
            noise = _ROUNDING * abs(point.value)
            finite = bool(np.isfinite(trial.value)) and bool(np.isfinite(trial.gradient).all())
            if finite and decrease <= noise:  # the value cannot tell the two apart: the gradient decides
                if self._norm(trial) < self._norm(point):
                    return trial, radius
                ratio = -1.0
            else:
                ratio = (point.value - trial.value + noise) / (decrease + noise) if finite else -1.0
            if ratio < BAD:
                radius = 0.25 * length
            elif ratio > GOOD and length >= 0.9 * radius:
                radius = 2.5 * radius
            if ratio > ACCEPTED:
                return trial, radius
        return None, radius

    def _inside(self, x: np.ndarray) -> np.ndarray:
        """Move x within the bounds, onto those that it meets but for rounding."""
        for bound in (self.low, self.high):
            x = np.where(np.isfinite(bound) & (abs(x - bound) <= _ROUNDING * abs(bound)), bound, x)
        return np.clip(x, self.low, self.high)

    def _norm(self, point: Point) -> float:
        return largest(projected(point.gradient, point.x, self.low, self.high))

    def _within(self, result: Minimum, radius: float, tol: float) -> tuple[np.ndarray, float]:
        """Return a step within bounds and radius, and the decrease that the quadratic model promises."""
        point = result.point

        def product(direction: np.ndarray) -> np.ndarray:
            result.products += 1
            return point.product(direction)

        step, curved = self._cauchy(point, product, radius)
        for _ in range(FACES):
            model = point.gradient + curved  # the model's gradient at the step
            at = point.x + step
            free = (at > self.low) & (at < self.high)
            left = float(np.sqrt(max(radius**2 - step @ step, 0.0))) if np.isfinite(radius) else np.inf
            if not free.any() or largest(model[free]) <= tol or left <= 1e-3 * radius < np.inf:
                break
            path = krylov_path(model[free], _on(product, free), np.copy, radius=left, tol=tol)
            limit = left if np.isfinite(left) else path.first_radius()
            along = np.zeros_like(step)
            along[free] = path.within(limit).direction
            taken, more = self._projected_search(point.x + step, along, model, product)
            step, curved = step + taken, curved + more
            if (abs(taken[free] - along[free]) <= 1e-12 * abs(along[free]).max()).all():
                break  # inside the face: the model is minimised there
        return step, -float(point.gradient @ step + 0.5 * step @ curved)

    def _cauchy(
        self, point: Point, product: Callable[[np.ndarray], np.ndarray], radius: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a projected gradient step that lowers the model enough, with its Hessian product."""
        gradient = projected(point.gradient, point.x, self.low, self.high)
        along = product(gradient)
        curvature, square = float(gradient @ along), float(gradient @ gradient)
        length = min(square / curvature if curvature > 0 else np.inf, radius / np.sqrt(square))
        if not np.isfinite(length):
            length = max(float(np.linalg.norm(point.x)), 1.0) / np.sqrt(square)
        for _ in range(40):
            step = np.clip(point.x - length * gradient, self.low, self.high) - point.x
            whole = np.array_equal(step, -length * gradient)
            curved = -length * along if whole else product(step)
            slope = float(gradient @ step)
            if slope + 0.5 * float(step @ curved) <= SUFFICIENT * slope:
                break
            length *= 0.25
        return step, curved

    def _projected_search(
        self, at: np.ndarray, along: np.ndarray, model: np.ndarray, product: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the longest projected part of a direction that lowers the model, with its Hessian product."""
        share = 1.0
        for _ in range(30):
            step = np.clip(at + share * along, self.low, self.high) - at
            curved = product(step)
            slope = float(model @ step)
            if slope + 0.5 * float(step @ curved) <= SUFFICIENT * min(slope, 0.0):
                return step, curved
            share *= 0.5
        return np.zeros_like(along), np.zeros_like(along)

    def _leave_saddle(self, result: Minimum) -> Point | None:
        """Look for negative curvature among the free unknowns; return a lower point, or None with the status set."""
        point = result.point
        free = (point.x > self.low) & (point.x < self.high)
        result.status = "converged"
        if not free.any():
            return None
        lowest = lowest_eigenvalue(_on(point.product, free), int(free.sum()), max_products=PROBE)
        result.products += lowest.products
        if lowest.sign >= 0:
            return None
        direction = np.zeros_like(point.x)
        direction[free] = lowest.vector if point.gradient[free] @ lowest.vector <= 0 else -lowest.vector
        length = max(float(np.linalg.norm(point.x)), 1.0)
        for _ in range(40):
            for sign in (1.0, -1.0):
                trial = self.objective(self._inside(point.x + sign * length * direction))
                moved = float(np.linalg.norm(trial.x - point.x))
                promised = -0.25 * lowest.value * moved**2
                if np.isfinite(trial.value) and point.value - trial.value >= 1e-2 * promised > 0:
                    result.iterations += 1
                    return trial
            length *= 0.5
        result.status = "saddle"
        return None


def _on(product: Callable[[np.ndarray], np.ndarray], free: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the product with the block of the free unknowns."""

    def restricted(direction: np.ndarray) -> np.ndarray:
        full = np.zeros((*direction.shape[:-1], free.size))
        full[..., free] = direction
        return product(full)[..., free]

    return restricted
