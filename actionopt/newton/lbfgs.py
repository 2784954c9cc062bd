"""L-BFGS whose initial inverse Hessian is a metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dtrtrs

from actionopt.newton.line_search import wolfe_step
from actionopt.newton.point import Minimum, Objective, Point, Precondition, Watch, largest
from actionopt.newton.search import Search


@dataclass
class Lbfgs(Search):
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

    def _run(self, result: Minimum) -> None:
        memory = _Memory(self.memory, result.point.x.size)
        inverse: Precondition = np.copy
        rebuilt = -self.refresh
        while True:
            point = result.point
            if self._ended(result, -np.inf):
                return
            if largest(point.gradient) <= self.tol:
                result.status = "converged"
                return
            if result.iterations >= self.max_iterations or (self.enough and self.enough(result.iterations, point)):
                return
            if self.metric is not None and result.iterations - rebuilt >= self.refresh:
                inverse, rebuilt = self.metric(point), result.iterations
            direction = -memory.apply(point.gradient, inverse)
            slope = float(direction @ point.gradient)
            first = 1.0 if memory.count or self.metric is not None else min(1.0, 1.0 / float(np.linalg.norm(direction)))
            found = wolfe_step(self.objective, point, direction, first) if slope < 0 else None
            if found is None:
                if not memory.count:
                    result.status = "stalled"
                    return
                memory.clear()  # the memory misled: start over from the metric
                rebuilt = -self.refresh
                continue
            memory.add(found.x - point.x, found.gradient - point.gradient)
            result.point = found
            result.iterations += 1


class _Memory:
    """The last steps s and changes y of the gradient, as rows of two matrices.

    The two loops over the pairs (Nocedal and Wright, algorithm 7.4) are two triangular systems with `R_ij = s_i . y_j`,
    i <= j: `R a = S g` and `R^T b = diag(R) a - Y r`, with `r = H0 (g - Y^T a)` and the result `r + S^T b`.
    """

    def __init__(self, most: int, size: int) -> None:
        self.most, self.count = most, 0
        self.s, self.y = np.empty((most, size)), np.empty((most, size))
        self.r = np.zeros((most, most))

    def clear(self) -> None:
        self.count = 0

    def add(self, s: np.ndarray, y: np.ndarray) -> None:
        """Keep a pair of positive curvature, in place of the oldest where there are many."""
        product, bound = float(s @ y), float(s @ s) * float(y @ y)
        if not product > 1e-14 * np.sqrt(bound):
            return
        if self.count == self.most:
            for kept in (self.s, self.y):
                kept[:-1] = kept[1:]
            self.r[:-1, :-1] = self.r[1:, 1:]
            self.count -= 1
        k = self.count
        self.s[k], self.y[k] = s, y
        self.r[: k + 1, k] = self.s[: k + 1] @ y
        self.count = k + 1

    def apply(self, gradient: np.ndarray, inverse: Precondition) -> np.ndarray:
        """Return the inverse Hessian of the pairs over `inverse`, scaled to the last pair, times the gradient."""
        k = self.count
        if not k:
            return inverse(gradient)
        s, y, r = self.s[:k], self.y[:k], self.r[:k, :k]
        last = y[-1]
        a = dtrtrs(r, s @ gradient)[0]
        start = inverse(gradient - a @ y) * (r[-1, -1] / float(last @ inverse(last)))
        b = dtrtrs(r, r.diagonal() * a - y @ start, trans=1)[0]
        return start + b @ s
