"""The energy of many samples for CasADi's solvers: values, gradients and Hessians by NumPy, all samples at once.

A condensed program written as a graph pays for every weight at every sample, twice over for second derivatives.
"""

from __future__ import annotations

import casadi as ca
import numpy as np

from actionopt.constrained.energy import Energy, EnergyPoint
from actionopt.nlp.evaluated import Evaluated, Valued
from actionopt.problem import Problem

BLOCK = 4_000_000  # numbers in the states of all directions that one Hessian product takes


class EvaluatedEnergy:
    """E as CasADi functions of a column of weights: `value (1,)`, `gradient (n,)` and `hessian (n, n)`.

    Solvers ask for the three at one point after the other: the last one is kept. CasADi does not keep Python's objects;
    whoever holds the functions holds this.
    """

    def __init__(self, problem: Problem) -> None:
        n = problem.size
        self.energy = Energy(problem)
        self.states = max(problem.samples * sum(place.size for place in problem.network.placed), 1)
        self.last: EnergyPoint | None = None
        self.gradient = Evaluated("gradient", [(n, 1)], (n, 1), self._gradient)
        self.value = Valued("energy", [(n, 1)], (1, 1), self._value)
        self.value.slopes = self.gradient
        self.hessian = Evaluated("curvature", [(n, 1)], (n, n), self._hessian)

    def at(self, w: ca.MX) -> ca.MX:
        """Return E at a symbol."""
        return self.value(w)

    def _point(self, w: np.ndarray) -> EnergyPoint:
        if self.last is None or not np.array_equal(w[0], self.last.x):
            self.last = self.energy(w[0].copy())
        return self.last

    def _value(self, w: np.ndarray) -> np.ndarray:
        return np.full((1, 1), self._point(w).value)

    def _gradient(self, w: np.ndarray) -> np.ndarray:
        return self._point(w).gradient[None]

    def _hessian(self, w: np.ndarray) -> np.ndarray:
        point, n = self._point(w), w.shape[1]
        many = max(BLOCK // self.states, 1)
        rows = [point.product(np.eye(n)[first : first + many]) for first in range(0, n, many)]
        hessian = np.concatenate(rows)
        return 0.5 * (hessian + hessian.T)
