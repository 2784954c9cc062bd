"""Newton's method on a chain whose states are unknowns beside its weights: multiple shooting in depth.

    minimise E(w, z)   subject to   f_a(z_{a-1}, w_a) - z_a = 0,   low <= w <= high

Each step solves the quadratic program of the Lagrangian by Riccati elimination, with the Hessian shifted until its
reduced form is positive definite; a filter decides how far to go. Where no step is taken the states are simulated
anew, which restores feasibility exactly. Bounds are barriers: diagonals on the Hessian of the weights.

Source: A. Waechter and L. Biegler, On the implementation of an interior-point filter line-search algorithm, Math.
Program. 106 (2006). The shift of the Hessian in states and restoration by simulation are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.linalg import LinAlgError

from actionopt.newton.point import Watch, largest
from actionopt.newton.riccati import Riccati, Stage, Step

Arrays = Sequence[np.ndarray]

LEAST_SHIFT, FIRST_SHIFT, MOST_SHIFT = 1e-7, 1e-4, 1e10
FRACTION = 0.995  # of the way to a bound that a step may go
KEPT = 1e-5  # part of the violation by which a step must improve violation or objective
ARMIJO = 1e-4
RESTORATIONS = 20


class Program(Protocol):
    """What the solver asks of a chain; weights and states are lists of arrays, one a module."""

    def simulate(self, weights: Arrays) -> list[np.ndarray]: ...
    def adjoints(self, weights: Arrays, states: Arrays) -> list[np.ndarray]: ...
    def outputs(self, weights: Arrays, states: Arrays) -> list[np.ndarray]: ...
    def energy(self, weights: Arrays, states: Arrays) -> float: ...
    def slopes(self, states: Arrays) -> list[np.ndarray]: ...
    def weight_slopes(self, weights: Arrays) -> list[np.ndarray]: ...
    def pull(
        self, weights: Arrays, states: Arrays, multipliers: Arrays
    ) -> tuple[list[np.ndarray], list[np.ndarray]]: ...
    def stages(self, weights: Arrays, states: Arrays, multipliers: Arrays) -> tuple[list[Stage], np.ndarray]: ...


@dataclass
class Bounds:
    """Bounds of the weights, one array a module, and their multipliers, all positive."""

    low: list[np.ndarray]
    high: list[np.ndarray]
    at_low: list[np.ndarray] = field(default_factory=list)
    at_high: list[np.ndarray] = field(default_factory=list)

    @cached_property
    def any(self) -> bool:
        return any(np.isfinite(x).any() for x in (*self.low, *self.high))

    def inside(self, weights: Arrays) -> list[np.ndarray]:
        """Move weights off the bounds: by 1 % of their size, and of the distance between them."""
        moved = []
        for w, low, high in zip(weights, self.low, self.high, strict=True):
            sizes = [np.where(np.isfinite(side), np.maximum(1.0, abs(side)), 1.0) for side in (low, high)]
            left, right = (
                low + 1e-2 * np.minimum(sizes[0], high - low),
                high - 1e-2 * np.minimum(sizes[1], high - low),
            )
            moved.append(np.clip(w, left, right))
        return moved

    def start(self, weights: Arrays, mu: float) -> None:
        self.at_low = [mu / (w - low) for w, low in zip(weights, self.low, strict=True)]
        self.at_high = [mu / (high - w) for w, high in zip(weights, self.high, strict=True)]

    def barrier(self, weights: Arrays) -> float:
        """Return `-sum log(distance)`, infinite outside."""
        total = 0.0
        for w, low, high in zip(weights, self.low, self.high, strict=True):
            for gap in (w - low, high - w):
                finite = gap[np.isfinite(gap)]
                if (finite <= 0).any():
                    return np.inf
                total -= float(np.log(finite).sum())
        return total

    def slopes(self, weights: Arrays) -> list[np.ndarray]:
        """Return the gradient of `barrier`."""
        parts = zip(weights, self.low, self.high, strict=True)
        return [-1.0 / (w - low) + 1.0 / (high - w) for w, low, high in parts]

    def diagonals(self, weights: Arrays) -> list[np.ndarray]:
        """Return the primal-dual Hessian of the barrier, multipliers over distances."""
        parts = zip(weights, self.low, self.high, self.at_low, self.at_high, strict=True)
        return [y / (w - low) + v / (high - w) for w, low, high, y, v in parts]

    def pull(self) -> list[np.ndarray]:
        """Return what the multipliers add to the gradient in the weights."""
        return [v - y for y, v in zip(self.at_low, self.at_high, strict=True)]

    def complementarity(self, weights: Arrays, mu: float) -> float:
        worst = 0.0
        if not self.any:
            return worst
        parts = zip(weights, self.low, self.high, self.at_low, self.at_high, strict=True)
        for w, low, high, y, v in parts:
            for gap, multiplier in ((w - low, y), (high - w, v)):
                finite = np.isfinite(gap)
                worst = max(worst, float(abs(gap[finite] * multiplier[finite] - mu).max(initial=0.0)))
        return worst

    def reach(self, weights: Arrays, steps: Arrays) -> float:
        """Return the longest step, at most 1, that keeps a part of every distance."""
        longest = 1.0
        if not self.any:
            return longest
        for w, step, low, high in zip(weights, steps, self.low, self.high, strict=True):
            for gap, move in ((w - low, -step), (high - w, step)):
                shrinking = move > 0
                longest = min(longest, float((FRACTION * gap[shrinking] / move[shrinking]).min(initial=1.0)))
        return longest

    def move(self, weights: Arrays, steps: Arrays, share: float, mu: float) -> None:
        """Take the multipliers' Newton step, kept positive, and near what the barrier says."""
        if not self.any:
            return
        new = []
        for gaps, moves, multipliers in (
            ([w - low for w, low in zip(weights, self.low, strict=True)], steps, self.at_low),
            ([high - w for w, high in zip(weights, self.high, strict=True)], [-s for s in steps], self.at_high),
        ):
            side = []
            for gap, move, y in zip(gaps, moves, multipliers, strict=True):
                full = mu / gap - y * move / gap
                longest = 1.0
                falling = full < y * (1 - FRACTION)
                if falling.any():
                    longest = float((FRACTION * y[falling] / (y - full)[falling]).min())
                taken = y + min(1.0, longest) * (full - y)
                after = gap + share * move
                side.append(np.clip(taken, mu / (1e10 * after), 1e10 * mu / after))
            new.append(side)
        self.at_low, self.at_high = new


@dataclass
class LiftedPoint:
    """Weights, states and multipliers, with the objective and what the constraints are violated by.

    `gradient` is that of the Lagrangian in the weights, once the solver has looked at the point.
    """

    weights: list[np.ndarray]
    states: list[np.ndarray]
    multipliers: list[np.ndarray]
    value: float
    gaps: list[np.ndarray]
    gradient: np.ndarray

    @property
    def x(self) -> np.ndarray:
        return np.concatenate(self.weights)

    @property
    def violation(self) -> float:
        return float(sum(abs(gap).sum() for gap in self.gaps))

    def product(self, direction: np.ndarray) -> np.ndarray:
        raise NotImplementedError("the Hessian of a lifted point is that of its stages")


@dataclass
class LiftedResult:
    """Where the solver stopped: "converged", "iteration limit", "stalled", "interrupted" or what the watch said."""

    point: LiftedPoint
    status: str
    iterations: int
    bounds: Bounds
    positive: bool = False  # whether the last reduced Hessian was positive definite without a shift


class LiftedNewton:
    """The solver of one program.

    Parameters
    ----------
    program : Program
        Its energy divided by a scale, so that it is of order one.
    tol : float
        On the first-order conditions.
    max_iterations : int
    bounds : Bounds, optional
    watch : callable, optional
        Called with the iteration and the point after every step.
    """

    def __init__(
        self,
        program: Program,
        tol: float,
        max_iterations: int = 500,
        bounds: Bounds | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.program, self.tol, self.max_iterations, self.watch = program, tol, max_iterations, watch
        self.bounds = bounds
        self.mu = 0.0
        self.shift = 0.0
        self.filter: list[tuple[float, float]] = []
        self.restorations = 0

    def minimize(self, weights: Arrays) -> LiftedResult:
        """Minimise from weights and the states that they lead to."""
        weights = [np.array(w) for w in weights]
        free = [np.full_like(w, np.inf) for w in weights]
        bounds = self.bounds = self.bounds or Bounds([-x for x in free], free)
        if bounds.any:
            weights, self.mu = bounds.inside(weights), 0.1
        bounds.start(weights, self.mu)
        result = LiftedResult(self._simulated(weights), "iteration limit", 0, bounds)
        try:
            self._run(result)
        except KeyboardInterrupt:
            result.status = "interrupted"
        return result

    def _run(self, result: LiftedResult) -> None:
        while True:
            point = result.point
            error = self._error(point, 0.0)
            stop = self.watch(result.iterations, point) if self.watch else None
            if stop is not None:
                result.status = stop
                return
            if error <= self.tol:
                result.status = "converged"
                return
            if result.iterations >= self.max_iterations:
                return
            self._lower_barrier(point)
            factored = self._factorise(point)
            accepted = None if factored is None else self._step(point, factored)
            result.positive = factored is not None and self.shift == 0.0
            if accepted is None:
                accepted = self._restored(point)
                if accepted is None:
                    result.status = "stalled"
                    return
            result.point = accepted
            result.iterations += 1

    def _lower_barrier(self, point: LiftedPoint) -> None:
        while self.mu > 0.1 * self.tol and self._error(point, self.mu) <= 10.0 * self.mu:
            self.mu = max(0.1 * self.tol, min(0.2 * self.mu, self.mu**1.5))
            self.filter.clear()

    def _error(self, point: LiftedPoint, mu: float) -> float:
        """Return the largest residual of the first-order conditions with the barrier's parameter mu."""
        to_weights, to_states = self.program.pull(point.weights, point.states, point.multipliers)
        own, bound = self.program.weight_slopes(point.weights), self.bounds.pull()  # type: ignore[union-attr]
        point.gradient = np.concatenate([g + r + n for g, r, n in zip(to_weights, own, bound, strict=True)])
        worst = largest(point.gradient)
        slopes = self.program.slopes(point.states)
        for a, lam in enumerate(point.multipliers):
            onward = to_states[a + 1] if a + 1 < len(to_states) else 0.0
            worst = max(worst, largest(slopes[a] + onward - lam))
        size = max(1.0, *(largest(z) for z in point.states))
        worst = max(worst, *(largest(gap) / size for gap in point.gaps))
        return max(worst, self.bounds.complementarity(point.weights, mu))  # type: ignore[union-attr]

    def _factorise(self, point: LiftedPoint) -> Riccati | None:
        """Factorise the quadratic program, with as little shift as makes it convex on the constraints."""
        stages, end = self.program.stages(point.weights, point.states, point.multipliers)
        if self.mu:
            diagonals = self.bounds.diagonals(point.weights)  # type: ignore[union-attr]
            stages = [Stage(s.a, s.b, s.zz, s.zw, s.ww + np.diag(d)) for s, d in zip(stages, diagonals, strict=True)]
        # below the last shift first: where one was needed the next Hessian is hardly ever convex without
        shift = self.shift / 2.0 if self.shift > LEAST_SHIFT else 0.0
        while shift <= MOST_SHIFT:
            try:
                factored = Riccati(stages, end, shift)
            except LinAlgError:
                shift = max(FIRST_SHIFT if not self.shift else 0.0, 8.0 * shift, LEAST_SHIFT)
                continue
            self.shift = shift
            return factored
        return None

    def _objective(self, weights: Arrays, states: Arrays) -> float:
        value = self.program.energy(weights, states)
        return value + self.mu * self.bounds.barrier(weights) if self.mu else value  # type: ignore[union-attr]

    def _step(self, point: LiftedPoint, factored: Riccati) -> LiftedPoint | None:
        """Take the longest acceptable step along the solution of the quadratic program."""
        slopes = self.program.slopes(point.states)
        own = self.program.weight_slopes(point.weights)
        if self.mu:
            barrier = self.bounds.slopes(point.weights)  # type: ignore[union-attr]
            own = [r + self.mu * b for r, b in zip(own, barrier, strict=True)]
        step = factored.solve(point.gaps, slopes, own)
        longest = self.bounds.reach(point.weights, step.weights)  # type: ignore[union-attr]
        descent = sum(float(r @ w) for r, w in zip(own, step.weights, strict=True))
        descent += sum(float((q * z).sum()) for q, z in zip(slopes, step.states, strict=True))
        value, violation = self._objective(point.weights, point.states), point.violation
        share = longest
        for trial in range(14):
            found = self._trial(point, step, share)
            verdict = self._acceptable(found, value, violation, descent, share)
            if trial == 0 and not verdict and found.violation >= violation and np.isfinite(found.value):
                corrected = self._corrected(point, factored, found, share, slopes, own)
                if self._acceptable(corrected[1], value, violation, descent, share):
                    step, found = corrected
                    verdict = True
            if verdict:
                if not self._armijo(found, value, violation, descent, share):
                    self.filter.append(((1.0 - KEPT) * violation, value - KEPT * violation))
                self.bounds.move(point.weights, step.weights, share, self.mu)  # type: ignore[union-attr]
                return found
            share *= 0.5
        return None

    def _corrected(
        self, point: LiftedPoint, factored: Riccati, found: LiftedPoint, share: float, slopes: Arrays, own: Arrays
    ) -> tuple[Step, LiftedPoint]:
        """Correct a step for the curvature of the constraints that its end shows (second-order correction)."""
        gaps = [share * before + after for before, after in zip(point.gaps, found.gaps, strict=True)]
        step = factored.solve(gaps, slopes, own)
        return step, self._trial(point, step, min(share, self.bounds.reach(point.weights, step.weights)))  # type: ignore[union-attr]

    def _acceptable(self, found: LiftedPoint, value: float, violation: float, descent: float, share: float) -> bool:
        new, gap = self._objective(found.weights, found.states), found.violation
        if not (np.isfinite(new) and np.isfinite(gap)):
            return False
        noise = 1e-13 * (abs(value) + 1.0)
        if any(gap >= held[0] and new >= held[1] + noise for held in self.filter):
            return False
        if self._wants_descent(violation, descent, share):
            return new <= value + ARMIJO * share * descent + noise
        return gap <= (1.0 - KEPT) * violation or new <= value - KEPT * violation + noise

    def _armijo(self, found: LiftedPoint, value: float, violation: float, descent: float, share: float) -> bool:
        new = self._objective(found.weights, found.states)
        return self._wants_descent(violation, descent, share) and new <= value + ARMIJO * share * descent

    def _wants_descent(self, violation: float, descent: float, share: float) -> bool:
        """Whether the objective's decrease is what matters at a point this close to feasible (Waechter, Biegler)."""
        return descent < 0 and violation <= 1e-2 and share * (-descent) ** 2.3 > violation**1.1

    def _trial(self, point: LiftedPoint, step: Step, share: float) -> LiftedPoint:
        weights = [w + share * s for w, s in zip(point.weights, step.weights, strict=True)]
        states = [z + share * s for z, s in zip(point.states, step.states, strict=True)]
        multipliers = [lam + share * (new - lam) for lam, new in zip(point.multipliers, step.multipliers, strict=True)]
        return self._at(weights, states, multipliers)

    def _at(self, weights: list[np.ndarray], states: list[np.ndarray], multipliers: list[np.ndarray]) -> LiftedPoint:
        gaps = [f - z for f, z in zip(self.program.outputs(weights, states), states, strict=True)]
        return LiftedPoint(weights, states, multipliers, self.program.energy(weights, states), gaps, np.zeros(0))

    def _simulated(self, weights: list[np.ndarray]) -> LiftedPoint:
        """Return the feasible point of these weights, with its adjoints for multipliers."""
        states = self.program.simulate(weights)
        return self._at(weights, states, self.program.adjoints(weights, states))

    def _restored(self, point: LiftedPoint) -> LiftedPoint | None:
        """Simulate the states anew; None where they were simulated already, or too often."""
        if point.violation == 0.0 or self.restorations >= RESTORATIONS:
            return None
        self.restorations += 1
        self.filter.clear()
        return self._simulated(point.weights)
