"""The metric of a problem whose samples lie in shards, `G = D + sum_i B_i/B K_i^T K_i`, and its inverse."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from actionopt.errors import InputError, SolverError
from actionopt.metric.layer_metric import Direction

ITERATIONS = 2000  # of conjugate gradients
REFINEMENTS = 3  # of a direct solution


class Asked(Protocol):
    """What the metric asks of a problem in shards."""

    counts: list[int]
    mass: np.ndarray
    _shares: np.ndarray

    def gradient(self, w: Any) -> np.ndarray: ...
    def check_point(self, w: Any, what: str = "weights") -> np.ndarray: ...
    def _mean(self, question: str, *arguments: Any) -> Any: ...
    def _ask(self, question: str, arguments: Sequence[tuple[Any, ...] | None]) -> list[Any]: ...


class ShardedMetric:
    """G at one point; what `LayerMetric` is where all samples are in one place.

    Attributes
    ----------
    w : array (n,)
    iterations : int
        Of conjugate gradients in the last solution: as many rounds of questions to the workers.
    """

    def __init__(self, shards: Asked, w: np.ndarray, joint: bool, solve: str, tol: float) -> None:
        self.problem, self.w = shards, w
        self.iterations = 0
        self._joint, self._solve, self._tol = joint, solve, tol

    @cached_property
    def gradient(self) -> np.ndarray:
        """`dE/dw (n,)`."""
        gradient = self.problem.gradient(self.w)
        if not np.isfinite(gradient).all():
            raise InputError("the gradient is not finite at these weights; take a smaller step or a larger mass")
        return gradient

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        """Return `G v (n,)`: one round of questions."""
        v = self.problem.check_point(v, "vectors")
        return np.asarray(self.problem.mass * v + self.problem._mean("product", self.w, self._joint, v))

    def solve(self, c: Any) -> np.ndarray:
        """Return `G^{-1} c (n,)`, exact to the tolerance.

        Raises
        ------
        SolverError
            If it is not reached.
        """
        c = self.problem.check_point(c, "vectors")
        return self._directly(c) if self._solve == "primal" else self._by_products(c)

    def change(self, d: Any) -> float:
        """Return `|J d|^2`, the mean square change of the outputs along `d (n,)`."""
        return float(self.problem._mean("change", self.w, self._joint, self.problem.check_point(d, "vectors")))

    def own_trust(self) -> float:
        """Return the bound on the change that a step takes by itself."""
        return float(self.problem._mean("trust", self.w, self._joint))

    def solve_gradient(self, v: np.ndarray | None = None) -> Direction:
        """Return `x = G^{-1} (g + D v)` and what a step along x does."""
        g = self.gradient
        x = self.solve(g if v is None else g + self.problem.mass * v)
        return Direction(x, float(g @ x), self.change(x))

    @cached_property
    def _owner(self) -> tuple[np.ndarray, int]:
        """Which block each weight belongs to, and how many there are; the last one is of weights without rows."""
        cuts = self.problem._ask("blocks", [(self.w, self._joint), *[None] * (len(self.problem.counts) - 1)])[0]
        owner = np.full(len(self.w), len(cuts))
        for number, cut in enumerate(cuts):
            owner[cut] = number
        return owner, len(cuts) + 1

    def _by_products(self, c: np.ndarray) -> np.ndarray:
        """Conjugate gradients on `I + K~^T K~` of all blocks at once, each with step sizes of its own."""
        owner, count = self._owner
        root = np.sqrt(self.problem.mass)

        def dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.bincount(owner, weights=a * b, minlength=count)

        def over(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.divide(a, b, out=np.zeros_like(a), where=b > 0.0)[owner]

        x, residual = np.zeros_like(c), c / root
        direction, square = residual.copy(), dots(residual, residual)
        self.iterations = 0
        # no eigenvalue is below one: the residual bounds the error
        while (square > self._tol**2 * dots(x, x)).any():
            if self.iterations == ITERATIONS or not np.isfinite(square).all():
                raise SolverError(
                    f"conjugate gradients over shards did not reach {self._tol:.1e} in {self.iterations} iterations; "
                    "use solve='primal', or a larger mass"
                )
            image = direction + self.problem._mean("product", self.w, self._joint, direction / root) / root
            step = over(square, dots(direction, image))
            x += step * direction
            residual -= step * image
            fresh = dots(residual, residual)
            direction = residual + over(fresh, square) * direction
            square = fresh
            self.iterations += 1
        return x / root

    @cached_property
    def _factors(self) -> list[tuple[slice, np.ndarray, Any]]:
        """The matrices `I + K~^T K~` of the blocks, summed from the workers, and their factors."""
        answers = self.problem._ask("normals", [(self.w, self._joint)] * len(self.problem.counts))
        found = []
        for parts in zip(*answers, strict=True):
            matrix = sum(share * part for share, (_, part) in zip(self.problem._shares, parts, strict=True))
            matrix = np.eye(len(matrix)) + matrix
            found.append((parts[0][0], matrix, cho_factor(matrix)))
        return found

    def _directly(self, c: np.ndarray) -> np.ndarray:
        """Solve with the factors, and refine."""
        root = np.sqrt(self.problem.mass)
        x = c / self.problem.mass
        for cut, matrix, factor in self._factors:
            scaled = c[cut] / root[cut]
            y = cho_solve(factor, scaled)
            for _ in range(REFINEMENTS):
                residual = scaled - matrix @ y
                if np.linalg.norm(residual) <= self._tol * np.linalg.norm(y):
                    break
                y = y + cho_solve(factor, residual)
            else:
                raise SolverError(f"a block of the metric is not solved to {self._tol:.1e}: take a larger mass")
            x[cut] = y / root[cut]
        return x
