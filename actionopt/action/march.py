"""Marching the implicit flow equations interval by interval: the free-end minimiser of a discrete action.

On each interval the stage equations `G(w_q) v_q + g(w_q) = 0` determine the polynomial piece. They are solved by
Newton's method with a Jacobian that is kept while it converges: formed and factorised for few weights, applied inside
GMRES preconditioned by the metric for many.

Where they have no solution, and where a kink of relu or abs is crossed, at which no polynomial is near the flow, the
interval is taken by short explicit steps; where these are unstable in halves, until they are not (`_Parts`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import lu_factor, lu_solve
from scipy.sparse.linalg import LinearOperator, gmres

from actionopt.action.checkpoint import Checkpoint, Reached
from actionopt.action.density.local_model import LocalModel
from actionopt.action.explicit import INTERRUPTED, flow_velocity, rk4_step
from actionopt.action.kinks import sides
from actionopt.action.scheme import Scheme
from actionopt.errors import InputError
from actionopt.metric.batched import BatchedMetric
from actionopt.ops import NUMPY, duals_over

DUALS = duals_over(NUMPY)
DENSE_LIMIT = 300  # unknowns of an interval up to which the Jacobian is formed
SLOW = 0.2  # a Newton step that shrinks the residual by less asks for a new Jacobian
STALLED = 0.5  # by less, once the residual is small, is rounding
NEARLY = 1e-14  # residual up to which that is true of slow steps, too
MAX_ITERATIONS = 60
MAX_JACOBIANS = 8  # of an interval: at a kink steps shrink the residual, but never to zero
ROUNDING = 1e-16
NEGLIGIBLE = 1e-14  # Newton steps below this part of the weights change nothing
HALVINGS = 5  # of an interval that cannot be solved, before explicit steps
SUBSTEPS = 12  # explicit steps for an interval, and twice as many for their error
RISE = 1e-2  # of the energy's size, by which explicit steps may let it rise: more is instability
ROUGH = 0.1  # of the distance moved, which their error may be,
FINE = 1e-3  # or of the weights

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
        `iterations` (Newton steps), `jacobians`; where there are such, how many intervals were taken `in_parts`, and
        how many of these with `explicit` steps.
    errors : dict of int to array (n,)
        Estimated errors of the intervals that were taken in parts.
    """

    points: np.ndarray
    failure: str | None
    stats: dict[str, Any] = field(default_factory=dict)
    errors: dict[int, np.ndarray] = field(default_factory=dict)


def march(
    model: LocalModel,
    scheme: Scheme,
    start: np.ndarray,
    *,
    tol: float,
    tick: Callable[[], None] = lambda: None,
    checkpoint: Checkpoint | None = None,
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
    checkpoint : Checkpoint, optional
        Where it is kept meanwhile, and gone on from: to rounding, as the Jacobian is formed anew.
    """
    intervals = len(scheme.times) - 1
    stages, degree = len(scheme.stages) // intervals, len(scheme.points[1:]) // intervals
    points = np.tile(start, (len(scheme.points), 1))
    marcher = Marcher(model, start, tol)
    slope, done = np.zeros_like(start), 0
    earlier = None if checkpoint is None else checkpoint.load()
    if earlier is not None and _fits(earlier, points, degree):
        slope, done = earlier.slope, (len(earlier.points) - 1) // degree
        points[: len(earlier.points)] = earlier.points
        marcher.stats.update(earlier.stats)
        marcher.errors.update(earlier.errors)

    def advance(k: int) -> str | None:
        nonlocal slope
        rows, columns = slice(k * stages, (k + 1) * stages), slice(k * degree, (k + 1) * degree + 1)
        position, velocity = (m[rows, columns].toarray() for m in (scheme.position, scheme.velocity))
        offsets = scheme.points[columns][1:, None] - scheme.points[columns][0]
        first = points[k * degree]
        found = marcher.advance(k, position, velocity, first, offsets, first + offsets * slope)
        if isinstance(found, str):
            return found
        points[k * degree + 1 : (k + 1) * degree + 1] = found
        slope = velocity[-1] @ points[columns]
        return None

    def keep(intervals: int, now: bool) -> None:
        if checkpoint is not None:
            reached = Reached(points[: intervals * degree + 1], slope, marcher.stats, marcher.errors)
            checkpoint.keep(reached, now=now)

    for _ in range(done):
        tick()
    for k in range(done, intervals):
        try:
            failure = advance(k)
            keep(k + 1, now=False)
            tick()
        except KeyboardInterrupt:
            failure = INTERRUPTED
        if failure is not None:
            keep(k, now=failure == INTERRUPTED)
            return March(points[: k * degree + 1], failure, marcher.stats, marcher.errors)
    keep(intervals, now=True)
    return March(points, None, marcher.stats, marcher.errors)


def _fits(earlier: Reached, points: np.ndarray, degree: int) -> bool:
    """Whether what is kept are whole intervals of this march, from its start."""
    kept = earlier.points
    whole = kept.shape[1] == points.shape[1] and (len(kept) - 1) % degree == 0 and 1 < len(kept) <= len(points)
    return whole and np.array_equal(kept[0], points[0])


class Marcher:
    """Takes the intervals of one trajectory, whole or in parts.

    Attributes
    ----------
    stats, errors
        As those of `March`.
    """

    def __init__(self, model: LocalModel, start: np.ndarray, tol: float) -> None:
        self._solver = _StageSolver(model, tol, start)
        self._parts = _Parts(model, self._solver)
        self.stats, self.errors = self._solver.stats, self._parts.errors

    def advance(
        self,
        k: int,
        position: np.ndarray,
        velocity: np.ndarray,
        first: np.ndarray,
        offsets: np.ndarray,
        guess: np.ndarray,
    ) -> np.ndarray | str:
        """Return the points `(degree, n)` of interval k after its first, at `offsets (degree, 1)`; or what failed."""
        self._parts.start(first)
        found = None if self._parts.crosses(guess[-1]) else self._solver.solve(position, velocity, first, guess)
        if found is None or self._parts.crosses(found[-1]):
            residual = self._solver.residual
            found = self._parts.points(position, velocity * offsets[-1], first, offsets[:, 0], k)
            if found is None:
                return f"a step was not solved, whole or in parts (residual {residual:.1e})"
        return found


class _StageSolver:
    """Newton's method for the stage equations of one interval; the Jacobian outlives the interval."""

    def __init__(self, model: LocalModel, tol: float, start: np.ndarray) -> None:
        self.model = model
        self.tol = tol
        self.residual = np.inf
        self.scale, self.reach = residual_scale(model, start), _size(start)
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
        best, residual = guess, interval.residual(guess)
        size, fresh, formed = _size(residual) / self.scale, False, 0
        if not np.isfinite(size):
            self.residual = np.inf
            return None
        for _ in range(MAX_ITERATIONS):
            if size <= ROUNDING:
                break
            if self._inverse is None:
                if (formed := formed + 1) > MAX_JACOBIANS:
                    break
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
            slow, stalled = trial_size > SLOW * size, trial_size > STALLED * size
            if trial_size < size:
                best, residual, size, fresh = trial, trial_residual, trial_size, False
            elif _size(step) <= NEGLIGIBLE * (self.reach + _size(best)):
                # near a critical point rounding of g is all that is left, however small the scale
                size = min(size, self.tol)
                break
            elif fresh and size > self.tol:
                break
            if size <= self.tol and (stalled or (slow and size <= NEARLY)):
                break
            if slow:
                self._inverse = None
        self.residual = size
        return best if size <= self.tol else None


def residual_scale(model: LocalModel, start: np.ndarray) -> float:
    """Return what residuals are compared with: the gradient at the start, or the energy where that is nearly zero."""
    problem = model.problem
    with np.errstate(all="ignore"):
        return max(_size(problem.gradient(start)), 0.1 * abs(problem.energy(start)), np.finfo(float).tiny)


class _Parts:
    """Intervals that cannot be solved whole: by explicit steps, or in halves where these do not serve."""

    def __init__(self, model: LocalModel, solver: _StageSolver) -> None:
        self.problem = model.problem
        self.solver = solver
        self.flow = flow_velocity(model.problem, model.metric)
        self.errors: dict[int, np.ndarray] = {}

    def start(self, w: np.ndarray) -> None:
        """Start an interval."""
        self._sides = sides(self.problem, w)

    def crosses(self, w: np.ndarray) -> bool:
        """Whether a kink lies between the interval's first point and w."""
        if not self._sides.size:
            return False
        return not np.isfinite(w).all() or bool((sides(self.problem, w) != self._sides).any())

    def points(
        self, position: np.ndarray, velocity: np.ndarray, first: np.ndarray, offsets: np.ndarray, interval: int
    ) -> np.ndarray | None:
        """Return the interval's points `(degree, n)` at `offsets` from its first, or None where not finite.

        `velocity` is that of an interval of length one.
        """
        explicit, self._error = self.solver.stats.get("explicit", 0), np.zeros_like(first)
        found, w, reached = [], first, 0.0
        with np.errstate(all="ignore"):
            for offset in offsets.tolist():
                share = (offset - reached) / offsets[-1]
                moved = self._part(position, velocity, w, offset - reached, share, 0)
                if moved is None:
                    return None
                w, reached = moved, offset
                found.append(w)
        self.errors[interval] = self._error
        self.solver.stats["in_parts"] = len(self.errors)
        self.solver.stats["explicit"] = min(self.solver.stats.get("explicit", 0), explicit + 1)
        return np.array(found)

    def _part(
        self, position: np.ndarray, velocity: np.ndarray, first: np.ndarray, h: float, share: float, halvings: int
    ) -> np.ndarray | None:
        """Return where the flow is after h: by an implicit step, by explicit ones, or in two halves."""
        if halvings:
            found = self.solver.solve(position, velocity / h, first, np.tile(first, (velocity.shape[1] - 1, 1)))
            if found is not None:
                return np.asarray(found[-1])
        crossed, error, serves = self._cross(first, h, max(1, round(SUBSTEPS * share)))
        if serves or halvings == HALVINGS or (halvings and self._error.any()):
            if not np.isfinite(crossed).all():
                return None
            self.solver.stats["explicit"] = self.solver.stats.get("explicit", 0) + 1
            self._error = self._error + error
            return crossed
        middle = self._part(position, velocity, first, 0.5 * h, share, halvings + 1)
        return None if middle is None else self._part(position, velocity, middle, 0.5 * h, share, halvings + 1)

    def _cross(self, first: np.ndarray, h: float, count: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """Take explicit steps, and twice as many: where they lead, by how much the two differ, and whether they serve.

        At a kink they are of order one, so that the difference is the error of the second.
        """
        ends = []
        for steps in (count, 2 * count):
            w = first
            try:
                for _ in range(steps):
                    w = rk4_step(self.flow, w, h / steps)
            except InputError:  # weights that are not finite
                w = np.full_like(first, np.nan)
            if not np.isfinite(w).all():
                return np.full_like(first, np.nan), first, False
            ends.append(w)
        error, moved = ends[1] - ends[0], ends[1] - first
        before, after = (float(self.problem.energy(w)) for w in (first, ends[1]))
        serves = after <= before + RISE * abs(before) and _size(error) <= max(ROUGH * _size(moved), FINE * _size(first))
        return ends[1], error, bool(serves)


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
        (jacobian,) = stage_jacobians(self.model, w[None], v[None], self.position, self.velocity)
        if not np.isfinite(jacobian).all():
            return None
        factor = lu_factor(jacobian)
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


def stage_jacobians(
    model: LocalModel, w: np.ndarray, v: np.ndarray, position: np.ndarray, velocity: np.ndarray
) -> np.ndarray:
    """Return the Jacobians of the stage equations of one interval in its unknowns, for S trajectories.

    Parameters
    ----------
    w, v : array (S, q, n)
        At the stages.
    position, velocity : array (q, degree)
        What the unknowns do to them.

    Returns
    -------
    array (S, q n, degree n)
    """
    count, stages, n = w.shape
    shape = (n, count, stages, n)
    along = np.broadcast_to(np.eye(n)[:, None], (n, count * stages, n))
    w, v = w.reshape(-1, n), v.reshape(-1, n)
    with np.errstate(all="ignore"):
        by_position = model.momentum(DUALS, DUALS.dual(w, along), DUALS.dual(v, np.zeros_like(along))).tangent
        by_velocity = model.momentum(NUMPY, w, along) - model.problem.gradient(w)
        jacobians = np.einsum("jsqi,qp->sqipj", by_position.reshape(shape), position)
        jacobians += np.einsum("jsqi,qp->sqipj", by_velocity.reshape(shape), velocity)
    return jacobians.reshape(count, stages * n, -1)


def _size(residual: np.ndarray) -> float:
    return float(abs(residual).max(initial=0.0))
