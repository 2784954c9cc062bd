"""Newton's method on a chain whose states are unknowns beside its weights: multiple shooting in depth.

    minimise E(w, z)   subject to   f_a(z_{a-1}, w_a) - z_a = 0,   low <= w <= high,   limits on c(w, z)

Each step solves the quadratic program of the Lagrangian by Riccati elimination, with the Hessian shifted until its
reduced form is positive definite; a filter decides how far to go. Where no step is taken feasibility is restored: the
states are simulated anew, or the least step to satisfy the linearised equations is taken. Bounds are barriers:
diagonals on the Hessian of the weights. An inequality has a slack within its limits, which is eliminated from every
step and leaves `dc^T diag(sigma) dc` on the Hessian; the few equalities are a Schur complement, one column a row.

Source: A. Waechter and L. Biegler, On the implementation of an interior-point filter line-search algorithm, Math.
Program. 106 (2006). The shift of the Hessian in states and restoration by simulation are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import LinAlgError

from actionopt.newton.barrier import Barrier
from actionopt.newton.point import Watch, largest
from actionopt.newton.quadratic import Direction, LiftedPoint, Linearised, Quadratic

LEAST_SHIFT, FIRST_SHIFT, MOST_SHIFT = 1e-7, 1e-4, 1e10
FIRST_PENALTY, MOST_PENALTY = 10.0, 1e3  # on equalities, which their curvature gets in the elimination
KEPT = 1e-5  # part of the violation by which a step must improve violation or objective
ARMIJO = 1e-4
RESTORATIONS, RESTORING = 20, 30  # how often, and how many steps at most
FEASIBLE = 1e-12  # violation, over the number of equations, below which there is nothing to restore
ESCAPES, OFF_SADDLE = 3, 1e-2  # how often a saddle is left, and by which part of the weights' size
TRIALS = 14
TIGHT = 100.0  # times the tolerance at which multipliers times distances are judged: they are what the energy is off by
FIRST_BARRIER, LEAST_BARRIER = 0.1, 5e-3  # its parameter at the start, and at the end as a part of the tolerance


class Program(Protocol):
    """What the solver asks of a chain; `low` and `high` are the limits of its conditions."""

    @property
    def low(self) -> np.ndarray: ...
    @property
    def high(self) -> np.ndarray: ...
    def simulate(self, w: np.ndarray) -> np.ndarray: ...
    def at(self, w: np.ndarray, z: np.ndarray) -> Linearised: ...


@dataclass
class LiftedResult:
    """Where the solver stopped: "converged", "iteration limit", "stalled", "infeasible", "saddle", "interrupted" or
    what the watch said.

    Attributes
    ----------
    point : LiftedPoint
    error : float
        The largest residual there.
    """

    point: LiftedPoint
    status: str
    iterations: int = 0
    error: float = np.inf


class LiftedNewton:
    """The solver of one program.

    Parameters
    ----------
    program : Program
        Its energy divided by a scale, so that it is of order one.
    tol : float
        On the first-order conditions.
    max_iterations : int
    low, high : arrays (n,), optional
        Bounds of the weights; weights whose bounds are equal stay there.
    watch : callable, optional
        Called with the iteration and the point after every step.
    """

    def __init__(
        self,
        program: Program,
        tol: float,
        max_iterations: int = 500,
        low: np.ndarray | None = None,
        high: np.ndarray | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.program, self.tol, self.max_iterations, self.watch = program, tol, max_iterations, watch
        self.low, self.high = low, high
        self.equal = program.low == program.high
        self.barrier = 0.0  # its parameter
        self.shift, self.penalty = 0.0, FIRST_PENALTY
        self.filter: list[tuple[float, float]] = []
        self.restorations, self.escapes = 0, 0

    def minimize(self, w: np.ndarray, z: np.ndarray | None = None) -> LiftedResult:
        """Minimise from weights; `z` are the states that they lead to, where these are known."""
        self._bound(w)
        x = self.bounds.inside(np.concatenate([w, np.zeros(len(self.equal))]))
        inside = np.where(self.fixed, w, x[: len(w)])
        z = self.program.simulate(inside) if z is None or (inside != w).any() else z
        w = inside
        at = self.program.at(w, z)
        s = np.where(self.equal, self.program.low, at.conditions)
        if self.bounds.any:
            s = np.where(self.equal, s, self.bounds.inside(np.concatenate([w, s]))[len(w) :])
            self.barrier = FIRST_BARRIER
            self.bounds.start(np.concatenate([w, s]), self.barrier)
        return self.go_on(LiftedResult(self._point(w, z, s, at, np.zeros(len(s))), "iteration limit"))

    def go_on(self, result: LiftedResult) -> LiftedResult:
        """Go on from where a run ended, as after `tol` became smaller; Ctrl-C ends it at the last point."""
        result.status = "iteration limit"
        try:
            self._run(result)
        except KeyboardInterrupt:
            result.status = "interrupted"
        return result

    def _bound(self, w: np.ndarray) -> None:
        """Set up the bounds of weights and slacks; what is fixed, weights and equalities, is free of them."""
        low = np.full(len(w), -np.inf) if self.low is None else self.low
        high = np.full(len(w), np.inf) if self.high is None else self.high
        self.fixed = low == high
        sides = ((low, self.program.low, -np.inf), (high, self.program.high, np.inf))
        low, high = (
            np.concatenate([np.where(self.fixed, free, own), np.where(self.equal, free, limit)])
            for own, limit, free in sides
        )
        self.bounds = Barrier(low, high)

    def _run(self, result: LiftedResult) -> None:
        while True:
            point = result.point
            result.error = self._error(point, 0.0)
            stop = self.watch(result.iterations, point) if self.watch else None
            if stop is not None:
                result.status = stop
                return
            if result.error <= self.tol:
                if self._convex(point):
                    result.status = "converged"
                    return
                if self.escapes >= ESCAPES:
                    result.status = "saddle"
                    return
                result.point = self._beside(point)
                result.iterations += 1
                continue
            if result.iterations >= self.max_iterations:
                return
            self._lower_barrier(point)
            step = self._search(point)
            if step is None:
                step = self._restored(point)
            if step is None:
                feasible = point.violation <= FEASIBLE * (len(point.z) + len(point.s)) ** 0.5 + 1e-6
                result.status = "stalled" if feasible else "infeasible"
                return
            result.point = step
            result.iterations += 1

    def _convex(self, point: LiftedPoint) -> bool:
        """Whether the Hessian has no clearly negative curvature along the constraints."""
        quadratic = self._quadratic(point)
        for _ in range(2):
            try:
                quadratic.factorise(LEAST_SHIFT)
            except LinAlgError:
                if not self.equal.any() or self.penalty >= MOST_PENALTY:
                    return False
                self.penalty = MOST_PENALTY
                quadratic = self._quadratic(point)
            else:
                return True
        return False

    def _beside(self, point: LiftedPoint) -> LiftedPoint:
        """Return a point a little off a saddle, from which the way is down: shifted Hessians repel from it."""
        self.escapes += 1
        self.filter.clear()
        random = np.random.default_rng(self.escapes).standard_normal(len(point.w))
        step = np.where(self.fixed, 0.0, OFF_SADDLE * np.maximum(1.0, abs(point.w)) * random)
        still = np.zeros(len(point.s))
        share = self.bounds.reach(self._x(point), np.concatenate([step, still]))
        w = point.w + share * step
        z = self.program.simulate(w)
        return self._point(w, z, point.s, self.program.at(w, z), point.mu)

    def _x(self, point: LiftedPoint) -> np.ndarray:
        return np.concatenate([point.w, point.s])

    def _lower_barrier(self, point: LiftedPoint) -> None:
        least = LEAST_BARRIER * self.tol
        while self.barrier > least and self._error(point, self.barrier) <= 10.0 * self.barrier:
            self.barrier = max(least, min(0.2 * self.barrier, self.barrier**1.5))
            self.filter.clear()

    def _error(self, point: LiftedPoint, barrier: float) -> float:
        """Return the largest residual of the first-order conditions with the barrier's parameter."""
        in_weights, in_states = point.slopes
        size = max(1.0, largest(point.z))
        worst = max(
            largest(np.where(self.fixed, 0.0, in_weights)),
            largest(in_states),
            largest(point.at.gaps) / size,
            largest(point.misses) / max(1.0, largest(point.s)),
        )
        in_slacks = np.where(self.equal, 0.0, self.bounds.force[len(point.w) :] - point.mu)
        pairs = self.bounds.complementarity(self._x(point), barrier)
        return max(worst, largest(in_slacks), pairs if barrier else TIGHT * pairs)

    def _objective(self, point: LiftedPoint) -> float:
        value = point.at.energy
        return value + self.barrier * self.bounds.value(self._x(point)) if self.barrier else value

    def _search(self, point: LiftedPoint) -> LiftedPoint | None:
        """Take the longest acceptable step along the solution of the quadratic program."""
        quadratic = self._factorised(point)
        if quadratic is None:
            return None
        x = self._x(point)
        step = quadratic.solve(point.at.gaps, point.misses)
        share = self._reach(x, step)
        descent = quadratic.descent(step)
        value, violation = self._objective(point), point.violation
        for trial in range(TRIALS):
            found = self._trial(point, step, share)
            verdict = self._acceptable(found, value, violation, descent, share)
            if trial == 0 and not verdict and found.violation >= violation and np.isfinite(found.value):
                corrected = quadratic.solve(  # for the curvature of the constraints that the step's end shows
                    share * point.at.gaps + found.at.gaps, share * point.misses + found.misses
                )
                shorter = min(share, self._reach(x, corrected))
                second = self._trial(point, corrected, shorter)
                if self._acceptable(second, value, violation, descent, share):
                    step, share, found, verdict = corrected, shorter, second, True
            if verdict:
                if not self._armijo(found, value, violation, descent, share):
                    self.filter.append(((1.0 - KEPT) * violation, value - KEPT * violation))
                self.bounds.move(x, np.concatenate([step.w, step.s]), share, self.barrier)
                found.force = self.bounds.force[: len(point.w)]
                return found
            share *= 0.5
        return None

    def _reach(self, x: np.ndarray, step: Direction) -> float:
        return self.bounds.reach(x, np.concatenate([step.w, step.s]))

    def _acceptable(self, found: LiftedPoint, value: float, violation: float, descent: float, share: float) -> bool:
        new, gap = self._objective(found), found.violation
        if not (np.isfinite(new) and np.isfinite(gap)):
            return False
        noise = 1e-13 * (abs(value) + 1.0)
        if any(gap >= held[0] and new >= held[1] + noise for held in self.filter):
            return False
        if self._wants_descent(violation, descent, share):
            return new <= value + ARMIJO * share * descent + noise
        return gap <= (1.0 - KEPT) * violation or new <= value - KEPT * violation + noise

    def _armijo(self, found: LiftedPoint, value: float, violation: float, descent: float, share: float) -> bool:
        new = self._objective(found)
        return self._wants_descent(violation, descent, share) and new <= value + ARMIJO * share * descent

    def _wants_descent(self, violation: float, descent: float, share: float) -> bool:
        """Whether the objective's decrease is what matters at a point this close to feasible (Waechter, Biegler)."""
        return descent < 0 and violation <= 1e-2 and share * (-descent) ** 2.3 > violation**1.1

    def _trial(self, point: LiftedPoint, step: Direction, share: float) -> LiftedPoint:
        w, z, s = point.w + share * step.w, point.z + share * step.z, point.s + share * step.s
        lam, mu = point.lam + share * (step.lam - point.lam), point.mu + share * (step.mu - point.mu)
        return LiftedPoint(w, z, s, lam, mu, point.force, self.program.at(w, z))

    def _point(self, w: np.ndarray, z: np.ndarray, s: np.ndarray, at: Linearised, mu: np.ndarray) -> LiftedPoint:
        """Return a point whose multipliers are the adjoints there."""
        return LiftedPoint(w, z, s, at.adjoints(mu), mu, self.bounds.force[: len(w)], at)

    def _quadratic(self, point: LiftedPoint, least: bool = False) -> Quadratic:
        return Quadratic(point, self.bounds, self.barrier, self.penalty, self.equal, self.fixed, least)

    def _factorised(self, point: LiftedPoint) -> Quadratic | None:
        """Factorise the quadratic program, with as little shift as makes it convex on the constraints."""
        shift, quadratic = 0.0, self._quadratic(point)
        while shift <= MOST_SHIFT:
            try:
                quadratic.factorise(shift)
            except LinAlgError:
                if self.equal.any() and shift == 0.0 and self.penalty < MOST_PENALTY:
                    self.penalty *= 100.0
                    quadratic = self._quadratic(point)
                elif shift:
                    shift *= 4.0
                else:  # near the last one, below it
                    shift = max(self.shift / 3.0, LEAST_SHIFT) if self.shift else FIRST_SHIFT
                continue
            self.shift = shift
            return quadratic
        return None

    def _restored(self, point: LiftedPoint) -> LiftedPoint | None:
        """Come back to the constraints; None where that fails, or was tried too often."""
        if point.violation <= FEASIBLE * (len(point.z) + len(point.s)) or self.restorations >= RESTORATIONS:
            return None
        self.restorations += 1
        self.filter.clear()
        if not len(point.s):
            z = self.program.simulate(point.w)
            return self._point(point.w, z, point.s, self.program.at(point.w, z), point.mu)
        before = point.violation
        for _ in range(RESTORING):
            nearer = self._nearer(point)
            if nearer is None:
                break
            point = nearer
            if point.violation <= 1e-2 * before:
                break
        return point if point.violation <= 0.9 * before else None

    def _nearer(self, point: LiftedPoint) -> LiftedPoint | None:
        """Take the least step that satisfies the linearised equations, as far as it brings the violation down."""
        try:
            quadratic = self._quadratic(point, least=True)
            quadratic.factorise(1.0)
        except LinAlgError:
            return None
        step = quadratic.solve(point.at.gaps, point.misses)
        share = self._reach(self._x(point), step)
        for _ in range(TRIALS):
            w, z, s = point.w + share * step.w, point.z + share * step.z, point.s + share * step.s
            found = self._point(w, z, s, self.program.at(w, z), point.mu)
            if found.violation <= (1.0 - 1e-3 * share) * point.violation:
                return found
            share *= 0.5
        return None
