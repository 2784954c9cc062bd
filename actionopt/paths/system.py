"""A flow with noise as the geometric action sees it: in coordinates where the noise at the start is the identity.

All lengths, directions and steps of this room are measured there, `z = R x` with `R^T R = M(start)`, so that units of
coordinates, of the noise and of time change nothing but the units of the result **[ours]**.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from actionopt.action.density.density import Blocks, Density, Expansion
from actionopt.action.density.formula import LagrangianDensity
from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.action.density.local_model import LocalModel
from actionopt.action.lagrangian import Drift
from actionopt.action.noise import Constant
from actionopt.action.program.numpy_stages import stage_hessians
from actionopt.errors import InputError, is_name, unknown_name
from actionopt.metric.batched import METRICS, BatchedMetric
from actionopt.ops import NUMPY, duals_over
from actionopt.problem import Problem

SCALAR_TERMS = 2000  # samples times weights up to which a problem's flow in a constant metric is one scalar graph
DUALS = duals_over(NUMPY)


class System:
    """The drift, its slopes and the action density of `what`, in the coordinates z.

    Attributes
    ----------
    size : int
        Number n of coordinates.
    root : array (n, n)
        R, upper triangular: `z = R x`.
    """

    def __init__(self, flow: DriftFlow | ProblemFlow, start: np.ndarray) -> None:
        self.flow = flow
        self.size = flow.size
        self.root = cholesky(flow.metric_at(start[None])[0])
        self.inverse = solve_triangular(self.root, np.eye(self.size))

    def inward(self, x: np.ndarray) -> np.ndarray:
        """Return z of points `x (..., n)`."""
        return x @ self.root.T

    def outward(self, z: np.ndarray) -> np.ndarray:
        """Return x of points `z (..., n)`."""
        return z @ self.inverse.T

    def drift(self, z: np.ndarray) -> np.ndarray:
        """Return b at `z (..., n)`: `(..., n)`, NaN where it is not finite."""
        with np.errstate(all="ignore"):
            drift = self.flow.drift(self.outward(z).reshape(-1, self.size)) @ self.root.T
        return np.where(np.isfinite(drift), drift, np.nan).reshape(z.shape)

    def jacobian(self, z: np.ndarray) -> np.ndarray:
        """Return db/dz at `z (..., n)`: `(..., n, n)`; of a problem whose metric varies, right where b = 0."""
        with np.errstate(all="ignore"):
            slopes = self.flow.jacobian(self.outward(z).reshape(-1, self.size))
        return (self.root @ slopes @ self.inverse).reshape(*z.shape, self.size)

    def metric_at(self, z: np.ndarray) -> np.ndarray:
        """Return M at `z (..., n)`: `(..., n, n)`, NaN where not positive definite; a constant one is the identity."""
        if self.flow.constant:
            return np.broadcast_to(np.eye(self.size), (*z.shape, self.size))
        metric = self.flow.metric_at(self.outward(z).reshape(-1, self.size), check=False)
        return (self.inverse.T @ metric @ self.inverse).reshape(*z.shape, self.size)

    def expand(self, z: np.ndarray, v: np.ndarray, hessian: bool = False) -> tuple[np.ndarray, ...]:
        """Expand the Lagrangian `l = 1/2 |v - b|^2_M` of time about `z, v (M, n)`.

        Returns
        -------
        value (M,), slopes (M, 2n) in (z, v), and where asked for the Hessian (M, 2n, 2n)
        """
        n, turn = self.size, self.inverse
        with np.errstate(all="ignore"):
            expansion = self.flow.density.expand_blocks(self.outward(z), self.outward(v))
            slopes = np.concatenate([expansion.force @ turn, expansion.momentum @ turn], axis=-1)
            if not hessian:
                return expansion.value, slopes
            dense = _hessians(expansion, self.flow.density)
        pairs = dense.reshape(-1, 2, n, 2, n)
        if not np.array_equal(turn, np.eye(n)):
            pairs = np.einsum("ki,makbl,lj->maibj", turn, pairs, turn, optimize=True)
        return expansion.value, slopes, pairs.reshape(dense.shape)


class DriftFlow:
    """The flow of a Drift."""

    def __init__(self, what: Drift) -> None:
        self.what = what
        self.name, self.size = what.name, what.size
        self.density: Density = LagrangianDensity(what, dense=True)
        self.constant = isinstance(what.form, Constant)

    def drift(self, x: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.what.drift(NUMPY, x), dtype=float), x.shape)

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        unit = np.broadcast_to(np.eye(self.size)[:, None, :], (self.size, *x.shape))
        slopes = DUALS.parts(self.what.drift(DUALS, DUALS.dual(x, unit)))[1]
        if slopes is None:
            return np.zeros((*x.shape, self.size))
        return np.moveaxis(np.broadcast_to(slopes, unit.shape), 0, -1)

    def metric_at(self, x: np.ndarray, check: bool = True) -> np.ndarray:
        return self.what.form.metric_at(x, check)


class ProblemFlow:
    """The gradient flow `w' = -G^{-1} g` of a Problem, with the noise `G^{-1}`."""

    def __init__(self, problem: Problem, metric: str) -> None:
        if not is_name(metric, METRICS):
            raise unknown_name("metric", metric, METRICS)
        self.problem, self.metric = problem, metric
        self.name, self.size = problem.name, problem.size
        self.constant = metric == "euclidean" or problem.output_metric is None
        small = self.constant and problem.samples * problem.size <= SCALAR_TERMS
        self._scalar = LagrangianDensity(problem, dense=True) if small else None
        self.density: Density = self._scalar or GradientFlowDensity(problem, metric)
        self.model = LocalModel(problem, "euclidean")

    def drift(self, x: np.ndarray) -> np.ndarray:
        if not np.isfinite(x).all():
            return np.full_like(x, np.nan)
        if self._scalar is not None:  # the momentum at rest is the gradient
            return -self._scalar.expand(x, np.zeros_like(x)).momentum / self.problem.mass
        return -BatchedMetric(self.problem, x, metric=self.metric).solve(self.problem.gradient(x))

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        unit = np.broadcast_to(np.eye(self.size)[:, None, :], (self.size, *x.shape))
        curved = self.model.pulled(NUMPY, x, unit)[0]
        return -np.moveaxis(BatchedMetric(self.problem, x, metric=self.metric).solve(curved), 0, -1)

    def metric_at(self, x: np.ndarray, check: bool = True) -> np.ndarray:
        unit = np.broadcast_to(np.eye(self.size)[:, None, :], (self.size, *x.shape))
        return np.moveaxis(BatchedMetric(self.problem, x, metric=self.metric).product(unit), 0, -1)


def make_flow(what: Any, metric: str) -> DriftFlow | ProblemFlow:
    """Return the flow of what `least_action_path` is given.

    Raises
    ------
    InputError
        If it is neither a Problem nor a Drift.
    """
    if isinstance(what, Drift):
        return DriftFlow(what)
    if isinstance(what, Problem):
        return ProblemFlow(what, metric)
    raise InputError(
        f"expected a Problem or a Drift, whose action is 1/2 |v - b|^2 in a metric, got {type(what).__name__}; "
        "for another Lagrangian there is minimize_action, at a given horizon"
    )


def _hessians(expansion: Expansion, density: Density) -> np.ndarray:
    parts: list[Any] = expansion.parts if isinstance(expansion, Blocks) else [expansion]
    if isinstance(density, LagrangianDensity):
        return np.concatenate([part.hessian for part in parts])
    return np.concatenate([stage_hessians(part, density.block) for part in parts])
