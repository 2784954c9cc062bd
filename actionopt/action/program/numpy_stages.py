"""The density of a problem's gradient flow, evaluated by NumPy at all stages and called from CasADi.

Graphs of scalars pay for every weight and sample at every stage, and second derivatives of larger networks written
that way take minutes. Here the metric is eliminated where it is factorised, in NumPy, on whole trajectories: the
unknowns are positions and velocities alone, and CasADi sees three functions: values, slopes and Hessians.
"""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np

from actionopt.action.density.density import Blocks, Expansion
from actionopt.action.density.gradient_flow import GradientFlowDensity, GradientFlowExpansion
from actionopt.action.program.stages import StageFunctions
from actionopt.interrupts import Interrupt
from actionopt.nlp.evaluated import Evaluated, Valued

STACKED = 4  # how many times the numbers of a block a Hessian product takes at once, as directions: flat from 2 to 8


def density_stages(
    density: GradientFlowDensity, path: StageFunctions, stages: int, interrupt: Interrupt, scale: float = 1.0
) -> StageFunctions:
    """Return the functions of M stages of a gradient flow, its density divided by a scale.

    Parameters
    ----------
    density : GradientFlowDensity
    path : StageFunctions
        Constraints on `(w, v)`; their own density is zero.
    stages : int
    interrupt : Interrupt
        Once it is raised, Hessians fail, so that a plugin without an iteration callback stops too.
    """
    evaluated = _DensityCalls(density, stages, interrupt, scale)
    xi, factor = ca.MX.sym("xi", path.variables, stages), ca.MX.sym("s", 1, stages)
    mu = ca.MX.sym("mu", path.equalities + path.inequalities, stages)
    dense = ca.Sparsity.dense(path.variables, path.variables)
    hessian = evaluated.hessian(xi, factor)
    if path.hessian_pattern.nnz():
        places = path.hessian_pattern.find()
        put = ca.Sparsity.triplet(dense.nnz(), len(places), places, list(range(len(places))))
        hessian = hessian + ca.DM(put, 1.0) @ path.hessian(xi, factor, mu)
    return StageFunctions(
        variables=path.variables,
        equalities=path.equalities,
        inequalities=path.inequalities,
        value=ca.Function("value", [xi], [evaluated.value(xi), path.value(xi)[1]]),
        slopes=evaluated.slopes,
        jacobian=path.jacobian,
        jacobian_pattern=path.jacobian_pattern,
        hessian=ca.Function("hessian", [xi, factor, mu], [hessian]),
        hessian_pattern=dense,
        keeps=evaluated,
    )


class _DensityCalls:
    """Value, slopes and Hessian of a density as CasADi functions.

    Solvers ask for the three at one point after the other, so that the last expansion is kept.
    """

    def __init__(self, density: GradientFlowDensity, stages: int, interrupt: Interrupt, scale: float) -> None:
        self.density = density
        self.scale = scale
        self._point: np.ndarray | None = None
        self._expansion: Expansion | None = None
        n = density.size
        shape = (2 * n, stages)
        self.slopes = Evaluated("slopes", [shape], shape, self._evaluate_slopes)
        self.value = Valued("density", [shape], (1, stages), self._evaluate_value)
        self.value.slopes = self.slopes
        curvature = [shape, (1, stages)], (4 * n * n, stages)
        self.hessian = Evaluated("curvature", *curvature, self._evaluate_hessian, interrupt)

    def _expand(self, xi: np.ndarray) -> Expansion:
        """Expand about the stages `xi (M, 2n)`."""
        if self._expansion is None or self._point is None or not np.array_equal(xi, self._point):
            n = self.density.size
            self._point = xi.copy()
            self._expansion = self.density.expand_blocks(self._point[:, :n], self._point[:, n:])
        return self._expansion

    def _evaluate_value(self, xi: np.ndarray) -> np.ndarray:
        return self._expand(xi).value[:, None] / self.scale

    def _evaluate_slopes(self, xi: np.ndarray) -> np.ndarray:
        expansion = self._expand(xi)
        return np.concatenate([expansion.force, expansion.momentum], axis=-1) / self.scale

    def _evaluate_hessian(self, xi: np.ndarray, factor: np.ndarray) -> np.ndarray:
        expansion = self._expand(xi)
        parts: list[Any] = expansion.parts if isinstance(expansion, Blocks) else [expansion]
        hessians = np.concatenate([stage_hessians(part, self.density.block) for part in parts])
        hessians *= factor[:, :, None] / self.scale
        return hessians.reshape(len(xi), -1)


def stage_hessians(expansion: GradientFlowExpansion, block: int) -> np.ndarray:
    """Return the Hessian of l in (w, v) at every stage, `(M, 2n, 2n)`; `block` stages fit the cache."""
    stages, n = expansion.w.shape
    stacked = min(max(1, STACKED * block // stages), n)
    hessian = np.empty((stages, 2 * n, 2 * n))
    unit = np.eye(n)[:, None]
    still = np.zeros((stacked, stages, n))
    hessian[:, n:, n:] = expansion.metric.product(np.broadcast_to(unit, (n, stages, n))).transpose(1, 2, 0)
    for first in range(0, n, stacked):
        some = slice(first, min(first + stacked, n))
        along = np.array(np.broadcast_to(unit[some], (some.stop - first, stages, n)))
        force, momentum = expansion.product(along, still[: len(along)])
        hessian[:, :n, some] = force.transpose(1, 2, 0)
        hessian[:, n:, some] = momentum.transpose(1, 2, 0)
    hessian[:, :n, n:] = hessian[:, n:, :n].swapaxes(-1, -2)
    return hessian
