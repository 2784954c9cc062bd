"""The action density of a problem's Riemannian gradient flow, `l(w, v) = 1/2 |v + G^{-1} g|^2_G`.

With `c = G v + g` and `y = G^{-1} c`: l = c . y / 2, the momentum is c, and the flow's own velocity is `u = v - y`.
As l is the gap phi(w, v) - min_u phi(w, u) of the local model, the force is the difference of the two models'
derivatives at frozen u (the envelope theorem), and Hessian products move u along by one more metric solve.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from actionopt.action.density import Density, Expansion
from actionopt.action.local_model import LocalModel
from actionopt.metric.batched import BatchedMetric
from actionopt.ops import NUMPY, DualOps
from actionopt.problem import Problem

DUALS = DualOps(NUMPY)
# numbers in the widest array of a block: measured fastest at 20-40 thousand (a fifth of a megabyte), where a product
# at n = 1001 on 100 stages takes 34 ms instead of 69
BLOCK_NUMBERS = 25_000


class GradientFlowDensity(Density):
    """The density of a problem in one of its metrics ("layerwise", "joint" or "euclidean")."""

    def __init__(self, problem: Problem, metric: str = "layerwise") -> None:
        self.problem = problem
        self.size = problem.size
        self.model = LocalModel(problem, metric)
        width = max(module.out_size for module in problem.modules)
        tangents = 1 if self.model.constant or metric == "joint" else len(problem.modules)
        self.block = max(8, BLOCK_NUMBERS // (problem.samples * width * tangents))

    def expand(self, w: np.ndarray, v: np.ndarray) -> Expansion:
        return GradientFlowExpansion(self.model, w, v)


class GradientFlowExpansion(Expansion):
    """Expansion about stages `w, v (M, n)`; G is factorised at each of them once."""

    def __init__(self, model: LocalModel, w: np.ndarray, v: np.ndarray) -> None:
        self.model = model
        self.w, self.v = w, v
        self._momentum = model.momentum(NUMPY, w, v)
        self.gap = self.mass_solve(self._momentum)
        self.value = 0.5 * (self._momentum * self.gap).sum(axis=-1)

    @property
    def momentum(self) -> np.ndarray:
        return self._momentum

    @cached_property
    def metric(self) -> BatchedMetric:
        """G at every stage, factorised."""
        return BatchedMetric(self.model.problem, self.w, metric=self.model.metric)

    def mass_solve(self, c: np.ndarray) -> np.ndarray:
        return self.metric.solve(c)

    @property
    def flow_velocity(self) -> np.ndarray:
        """`u = -G^{-1} g (M, n)`."""
        return self.v - self.gap

    @cached_property
    def _velocities(self) -> np.ndarray:
        """Where the model is differentiated: `[v, u] (2, M, n)`, or `v - u (M, n)` where the metric is constant."""
        return self.gap if self.model.constant else np.stack([self.v, self.flow_velocity])

    @cached_property
    def force(self) -> np.ndarray:
        return self._gap_of(self.model.derivatives(NUMPY, self.w, self._velocities)[0])

    def product(self, dw: np.ndarray, dv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moved = DUALS.dual(self.w, dw)
        slope = self.model.momentum(DUALS, moved, DUALS.dual(self.flow_velocity, None)).tangent
        du = -self.mass_solve(slope)
        if self.model.constant:
            force = self.model.derivatives(DUALS, moved, DUALS.dual(self.gap, dv - du))[0].tangent
            # momentum of a constant metric: D v + g, whose change along dw is the slope just found
            return force, slope + self.model.problem.mass * dv
        moved, moves = DUALS.dual(self.w, dw[..., None, :, :]), np.stack([dv, du], axis=-3)
        force, momentum = self.model.derivatives(DUALS, moved, DUALS.dual(self._velocities, moves))
        return self._gap_of(force.tangent), momentum.tangent[..., 0, :, :]

    def _gap_of(self, derivatives: np.ndarray) -> np.ndarray:
        if self.model.constant:
            return derivatives
        return derivatives[..., 0, :, :] - derivatives[..., 1, :, :]

    @cached_property
    def gradient(self) -> np.ndarray:
        """`g = dE/dw (M, n)`."""
        return self.model.problem.gradient(self.w)

    @property
    def kinetic(self) -> np.ndarray:
        return 0.5 * ((self._momentum - self.gradient) * self.v).sum(axis=-1)

    @property
    def potential(self) -> np.ndarray:
        return 0.5 * (self.gradient * self.mass_solve(self.gradient)).sum(axis=-1)
