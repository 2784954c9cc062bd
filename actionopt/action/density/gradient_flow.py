"""The action density of a problem's Riemannian gradient flow, `l(w, v) = 1/2 |v + G^{-1} g|^2_G`.

With `c = G v + g` and `y = G^{-1} c`: l = c . y / 2, the momentum is c, and the flow's own velocity is `u = v - y`.
As l is the gap phi(w, v) - min_u phi(w, u) of the local model, the force is the difference of the two models'
derivatives at frozen u (the envelope theorem), and Hessian products move u along by one more metric solve. They are
recorded once a point: what does not depend on the direction is then not computed again.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from actionopt.action.density.density import Density, Expansion
from actionopt.action.density.local_model import LocalModel
from actionopt.metric.batched import BatchedMetric
from actionopt.metric.kinds import kind_of
from actionopt.ops import NUMPY, Dual, Linear, LinearOps, LinearProgram, duals_over
from actionopt.problem import Problem

RECORD = LinearOps(NUMPY)
DUALS = duals_over(RECORD)
# numbers in the widest array of a block: measured fastest at 20-40 thousand (a fifth of a megabyte), where a product
# at n = 1001 on 100 stages takes 34 ms instead of 69
BLOCK_NUMBERS = 25_000


class GradientFlowDensity(Density):
    """The density of a problem in one of its metrics ("layerwise", "joint" or "euclidean")."""

    def __init__(self, problem: Problem, metric: str = "layerwise") -> None:
        self.problem = problem
        self.size = problem.size
        self.model = LocalModel(problem, metric)
        width = max(place.size for place in problem.network.placed)
        tangents = len(kind_of(metric).tangents(problem) or [0])
        self.block = max(8, BLOCK_NUMBERS // (problem.samples * width * tangents))

    def expand(self, w: np.ndarray, v: np.ndarray, t: np.ndarray | None = None) -> Expansion:
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
    def force(self) -> np.ndarray:
        if self.model.constant:
            return self.model.pulled(NUMPY, self.w, self.gap)[0]
        return _difference(self.model.pulled(NUMPY, self.w, np.stack([self.v, self.flow_velocity]))[0])

    def term_sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """The momentum's terms are `G v` and g; the force is not taken apart."""
        return abs(self.force), abs(self._momentum - self.gradient) + abs(self.gradient)

    def product(self, dw: np.ndarray, dv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        force, momentum = self._changes(dw, dv)
        return force, momentum

    @cached_property
    def _changes(self) -> LinearProgram:
        """What a direction `(dw, dv)` does to force and momentum, recorded."""
        dw, dv = RECORD.variable((self.w.shape[1],)), RECORD.variable((self.w.shape[1],))
        return self._record_constant(dw, dv) if self.model.constant else self._record_varying(dw, dv)

    def _record_constant(self, dw: Linear, dv: Linear) -> LinearProgram:
        """Record `H y` and `D v + g`, the force and the momentum of a metric D; here `dy = dv + D^{-1} H dw`."""
        dy, mass = RECORD.variable(dw.lengths), self.model.problem.mass
        force, gradient = self.model.pulled(DUALS, DUALS.dual(self.w, dw), DUALS.dual(self.gap, dy))
        curved = _tangent(gradient, dw)
        changes = [_tangent(force, dw), curved + dv * mass]
        return LinearProgram([dw, dv], changes, {dy: dv + curved * (1.0 / mass)})

    def _record_varying(self, dw: Linear, dv: Linear) -> LinearProgram:
        """Record the difference of the model's derivatives at the two velocities v and u."""
        u = self.flow_velocity
        slope = self.model.momentum(DUALS, DUALS.dual(self.w, dw), DUALS.dual(u, None))
        du = RECORD.apply(lambda slope: -self.mass_solve(slope), _tangent(slope, dw))
        both = RECORD.apply(lambda dv, du: np.stack(np.broadcast_arrays(dv, du), axis=-3), dv, du)
        moved = DUALS.dual(self.w, RECORD.apply(lambda dw: dw[..., None, :, :], dw))
        force, momentum = self.model.derivatives(DUALS, moved, DUALS.dual(np.stack([self.v, u]), both))
        changes = [RECORD.apply(_difference, _tangent(force, both)), RECORD.apply(_first, _tangent(momentum, both))]
        return LinearProgram([dw, dv], changes)

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


def _tangent(x: Dual, like: Linear) -> Linear:
    """Return what was recorded of x, zero where it does not depend on the direction."""
    return like * 0.0 if x.tangent is None else x.tangent


def _difference(pair: np.ndarray) -> np.ndarray:
    return pair[..., 0, :, :] - pair[..., 1, :, :]


def _first(pair: np.ndarray) -> np.ndarray:
    return pair[..., 0, :, :]
