"""L-BFGS whose initial inverse Hessian is a metric."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from actionopt.newton.line_search import wolfe_step
from actionopt.newton.point import Minimum, Objective, Point, Precondition, Watch, largest


@dataclass
class Lbfgs:
    """Minimise a function by limited-memory BFGS (Nocedal and Wright, Numerical Optimization, 2nd ed., 7.2).

    Attributes
    ----------
    objective : callable
        `objective(x)` gives a `Point`; no Hessian product is asked for.
    tol : float
        Largest entry of the gradient at which to stop.
    metric : callable, optional
        `metric(point)` gives an approximate inverse Hessian at a point, H0 of the recursion; it is asked for anew
        every `refresh` iterations.
    memory, refresh, max_iterations : int
    watch : callable, optional
        Called with the iteration and the point after every step.
    enough : callable, optional
        `enough(iteration, point)` says after every step whether another method should go on.
    """

    objective: Objective
    tol: float
    metric: Callable[[Point], Precondition] | None = None
    memory: int = 20
    refresh: int = 30
    max_iterations: int = 10_000
    watch: Watch | None = None
    enough: Callable[[int, Point], bool] | None = None

    def minimize(self, start: Point) -> Minimum:
        """Minimise from a point whose value is finite; Ctrl-C ends the run at the best point."""
        result = Minimum(start, "iteration limit")
        try:
            self._run(result)
        except KeyboardInterrupt:
            result.status = "interrupted"
        return result

    def _run(self, result: Minimum) -> None:
        pairs: deque[_Pair] = deque(maxlen=self.memory)
        inverse: Precondition = np.copy
        rebuilt = -self.refresh
        while True:
            point = result.point
            stop = self.watch(result.iterations, point) if self.watch else None
            if stop is not None:
                result.status = stop
                return
            if largest(point.gradient) <= self.tol:
                result.status = "converged"
                return
            if result.iterations >= self.max_iterations or (self.enough and self.enough(result.iterations, point)):
                return
            if self.metric is not None and result.iterations - rebuilt >= self.refresh:
                inverse, rebuilt = self.metric(point), result.iterations
            direction = -_two_loops(point.gradient, pairs, inverse)
            slope = float(direction @ point.gradient)
            first = 1.0 if pairs or self.metric is not None else min(1.0, 1.0 / float(np.linalg.norm(direction)))
            found = wolfe_step(self.objective, point, direction, first) if slope < 0 else None
            if found is None:
                if not pairs:
                    result.status = "stalled"
                    return
                pairs.clear()  # the memory misled: start over from the metric
                rebuilt = -self.refresh
                continue
            pair = _Pair.of(found.x - point.x, found.gradient - point.gradient)
            if pair is not None:
                pairs.append(pair)
            result.point = found
            result.iterations += 1


@dataclass(frozen=True)
class _Pair:
    """A step s, the gradient's change y, and 1/(s . y), positive."""

    s: np.ndarray
    y: np.ndarray
    rho: float

    @classmethod
    def of(cls, s: np.ndarray, y: np.ndarray) -> _Pair | None:
        product = float(s @ y)
        return cls(s, y, 1.0 / product) if product > 1e-14 * np.linalg.norm(s) * np.linalg.norm(y) else None


def _two_loops(gradient: np.ndarray, pairs: deque[_Pair], inverse: Precondition) -> np.ndarray:
    """Return the inverse Hessian of the pairs over `inverse`, times the gradient."""
    q = gradient.copy()
    steps = []
    for pair in reversed(pairs):
        alpha = pair.rho * float(pair.s @ q)
        q -= alpha * pair.y
        steps.append(alpha)
    r = inverse(q)
    if pairs:
        last = pairs[-1]
        r = r * (1.0 / (last.rho * float(last.y @ inverse(last.y))))
    for pair, alpha in zip(pairs, reversed(steps), strict=True):
        r += (alpha - pair.rho * float(pair.y @ r)) * pair.s
    return r
