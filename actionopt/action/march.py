"""Marching the implicit flow equations interval by interval: the free-end minimiser of a discrete action.

On each interval the stage equations `G(w_q) v_q + g(w_q) = 0` determine the polynomial piece. They are solved by
Newton's method with a Jacobian that is kept while it converges: formed and factorised for few weights, applied inside
GMRES preconditioned by the metric for many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import lu_factor, lu_solve
from scipy.sparse.linalg import LinearOperator, gmres

from actionopt.action.density.local_model import LocalModel
from actionopt.action.scheme import Scheme
from actionopt.metric.batched import BatchedMetric
from actionopt.ops import NUMPY, duals_over

DUALS = duals_over(NUMPY)
DENSE_LIMIT = 300  # unknowns of an interval up to which the Jacobian is formed
SLOW = 0.2  # a Newton step that shrinks the residual by less asks for a new Jacobian
MAX_ITERATIONS = 60
ROUNDING = 1e-16
NEGLIGIBLE = 1e-14  # Newton steps below this part of the weights change nothing
INTERRUPTED = "interrupted"

Inverse = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class March:
    """How far marching came.

    Attributes
    ----------
    points : array (k, n)
        Values at the scheme's points reached, all of them where `failure` is None.
    failure : str or None
        What stopped it; `INTERRUPTED` for Ctrl-C.
    stats : dict
        `iterations` (Newton steps), `jacobians`.
    """

    points: np.ndarray
    failure: str | None
    stats: dict[str, Any] = field(default_factory=dict)


def march(
    model: LocalModel, scheme: Scheme, start: np.ndarray, *, tol: float, tick: Callable[[], None] = lambda: None
) -> March:
    """Solve the stage equations of every interval in turn, from `start (n,)`.

    Parameters
    ----------
    model : LocalModel
        Gives `G v + g`.
    scheme : Scheme
    start : array (n,)
    tol : float
        Largest entry of the residual `G v + g`, relative to that of g at the start; steps go on to rounding.
    tick : callable
        Called after each interval.
    """
    intervals = len(scheme.times) - 1
    stages, degree = len(scheme.stages) // intervals, len(scheme.points[1:]) // intervals
    points = np.tile(start, (len(scheme.points), 1))
    solver = _StageSolver(model, tol)
    slope = np.zeros_like(start)

    def advance(k: int) -> str | None:
        nonlocal slope
        rows, columns = slice(k * stages, (k + 1) * stages), slice(k * degree, (k + 1) * degree + 1)
        position, velocity = (m[rows, columns].toarray() for m in (scheme.position, scheme.velocity))
        offsets = scheme.points[columns][1:, None] - scheme.points[columns][0]
        first = points[k * degree]
        found = solver.solve(position, velocity, first, first + offsets * slope)
        if found is None:
            return f"the step from t = {scheme.times[k]:.4g} was not solved (residual {solver.residual:.1e})"
        points[k * degree + 1 : (k + 1) * degree + 1] = found
        slope = velocity[-1] @ points[columns]
        tick()
        return None

    for k in range(intervals):
        try:
            failure = advance(k)
        except KeyboardInterrupt:
            failure = INTERRUPTED
        if failure is not None:
            return March(points[: k * degree + 1], failure, solver.stats)
    return March(points, None, solver.stats)


class _StageSolver:
    """Newton's method for the stage equations of one interval; the Jacobian outlives the interval."""

    def __init__(self, model: LocalModel, tol: float) -> None:
        self.model = model
        self.tol = tol
        self.residual = np.inf
        self.scale = 0.0
        self.stats = {"iterations": 0, "jacobians": 0}
        self._inverse: Inverse | None = None
        self._velocity = np.empty(0)

    def solve(
        self, position: np.ndarray, velocity: np.ndarray, first: np.ndarray, guess: np.ndarray
    ) -> np.ndarray | None:
        """Return the interval's points after the first, `(degree, n)`, or None where Newton's method fails.

        It goes on until rounding stops it, so that the action of the trajectory is zero to rounding.
        """
        interval = _Interval(self.model, position, velocity, first)
        if self._velocity.shape != velocity.shape or not np.allclose(self._velocity, velocity):
            self._inverse, self._velocity = None, velocity
        self.scale = self.scale or self._scale(first)
        best, residual = guess, interval.residual(guess)
        size, fresh = _size(residual) / self.scale, False
        if not np.isfinite(size):
            self.residual = np.inf
            return None
        for _ in range(MAX_ITERATIONS):
            if size <= ROUNDING:
                break
            if self._inverse is None:
                self._inverse, fresh = interval.inverse(best), True
                self.stats["jacobians"] += 1
                if self._inverse is None:
                    break
            step = self._inverse(residual)
            self.stats["iterations"] += 1
            for damping in (1.0, 0.5, 0.25, 0.125) if fresh and size > self.tol else (1.0,):
                trial = best - damping * step
                trial_residual = interval.residual(trial)
                trial_size = _size(trial_residual) / self.scale
                if trial_size < size:
                    break
            slow = trial_size > SLOW * size
            if trial_size < size:
                best, residual, size, fresh = trial, trial_residual, trial_size, False
            elif _size(step) <= NEGLIGIBLE * (1.0 + _size(best)):
                # near a critical point rounding of g is all that is left, however small the scale
                size = min(size, self.tol)
                break
            elif fresh and size > self.tol:
                break
            if slow and size <= self.tol:
                break
            if slow:
                self._inverse = None
        self.residual = size
        return best if size <= self.tol else None

    def _scale(self, start: np.ndarray) -> float:
        """What residuals are compared with: the gradient at the start, or the energy where that is nearly critical."""
        problem = self.model.problem
        with np.errstate(all="ignore"):
            return max(_size(problem.gradient(start)), 0.1 * abs(problem.energy(start)), np.finfo(float).tiny)


class _Interval:
    """The stage equations of one interval: `G v + g` at the stages, as a function of the points after the first."""

    def __init__(self, model: LocalModel, position: np.ndarray, velocity: np.ndarray, first: np.ndarray) -> None:
        self.model = model
        self.position, self.velocity = position[:, 1:], velocity[:, 1:]
        self.start = position[:, :1] * first, velocity[:, :1] * first

    def stages(self, unknowns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position and velocity at the stages."""
        return self.start[0] + self.position @ unknowns, self.start[1] + self.velocity @ unknowns

    def residual(self, unknowns: np.ndarray) -> np.ndarray:
        """`G v + g` at the stages, `(stages, n)`; infinite where it overflows."""
        with np.errstate(all="ignore"):
            residual = self.model.momentum(NUMPY, *self.stages(unknowns))
        return residual if np.isfinite(residual).all() else np.full_like(residual, np.inf)

    def inverse(self, unknowns: np.ndarray) -> Inverse | None:
        """Return a function that applies the inverse Jacobian to a residual, None where that is not finite."""
        return self._dense(unknowns) if unknowns.size <= DENSE_LIMIT else self._krylov(unknowns)

    def _dense(self, unknowns: np.ndarray) -> Inverse | None:
        w, v = self.stages(unknowns)
        count, n = w.shape
        along = np.broadcast_to(np.eye(n)[:, None], (n, count, n))
        with np.errstate(all="ignore"):
            by_position = self.model.momentum(DUALS, DUALS.dual(w, along), DUALS.dual(v, np.zeros_like(along))).tangent
            by_velocity = self.model.momentum(DUALS, DUALS.dual(w, np.zeros_like(along)), DUALS.dual(v, along)).tangent
            jacobian = np.einsum("jqi,qp->qipj", by_position, self.position)
            jacobian += np.einsum("jqi,qp->qipj", by_velocity, self.velocity)
        if not np.isfinite(jacobian).all():
            return None
        factor = lu_factor(jacobian.reshape(count * n, count * n))
        return lambda residual: lu_solve(factor, residual.ravel()).reshape(unknowns.shape)

    def _krylov(self, unknowns: np.ndarray) -> Inverse:
        w, v = self.stages(unknowns)
        metric = BatchedMetric(self.model.problem, w, metric=self.model.metric)
        shape, unmix = unknowns.shape, np.linalg.inv(self.velocity)

        def apply(x: np.ndarray) -> np.ndarray:
            x = x.reshape(shape)
            moved = DUALS.dual(w, self.position @ x), DUALS.dual(v, self.velocity @ x)
            return self.model.momentum(DUALS, *moved).tangent.ravel()

        size = unknowns.size
        operator = LinearOperator((size, size), apply)
        guess = LinearOperator((size, size), lambda r: (unmix @ metric.solve(r.reshape(w.shape))).ravel())
        return lambda r: gmres(operator, r.ravel(), M=guess, rtol=1e-3, restart=60, maxiter=2)[0].reshape(shape)


def _size(residual: np.ndarray) -> float:
    return float(abs(residual).max(initial=0.0))
