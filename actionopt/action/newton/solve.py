"""The Newton-Krylov solver of an action task: which density, which preconditioner, and what its status means."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from actionopt.action.density.density import Density
from actionopt.action.density.formula import HESSIAN_LIMIT, LagrangianDensity
from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.action.discrete import ActionPoint, DiscreteAction
from actionopt.action.lagrangian import Lagrangian
from actionopt.action.newton.assembled import AssembledHessian
from actionopt.action.newton.time_laplacian import TimeLaplacian
from actionopt.action.newton.trust_region import Preconditioner, newton
from actionopt.action.solution import ActionSolution
from actionopt.action.task import ActionTask, Limits, relative
from actionopt.errors import InputError
from actionopt.metric.kinds import kind_of
from actionopt.problem import Problem

SMALL = 12  # weights up to which a problem's flow is written as one scalar graph, measured in benchmarks/action.py
FEW_TERMS = 256  # and samples times weights


class NewtonSolver:
    """Newton's method on the whole trajectory; no constraints."""

    name = "newton"

    def solve(
        self, action: DiscreteAction, points: np.ndarray, limits: Limits, tick: Callable[..., None]
    ) -> ActionSolution:
        """Minimise from `points (K, n)`; `tick` reports progress."""
        began = time.perf_counter()
        with np.errstate(all="ignore"):
            check_guess(action.at(points))
            precondition = _preconditioner(action)
            built = time.perf_counter()
            result = newton(
                action,
                points,
                precondition,
                tol=limits.tol,
                max_iterations=limits.max_iterations,
                report=lambda _, point: tick(f"S = {point.value:.6g}, |dS| = {point.gradient_norm:.1e}"),
            )
        norm = result.point.gradient_norm
        stats = {
            "iterations": result.iterations,
            "products": result.products,
            "gradient_norm": norm,
            "scale": result.scale,
            "residual": relative(norm, result.scale),
            "build_time": built - began,
            "solve_time": time.perf_counter() - built,
        }
        message = _MESSAGES[result.status].format(**stats)
        if result.trouble:
            message = f"no step could be computed from an iterate: {result.trouble}"
        return ActionSolution(result.point.points, result.status, message, stats)


_MESSAGES = {
    "converged": "the action is stationary",
    "iteration limit": "not stationary after {iterations} iterations. Continue from this trajectory (guess=), take "
    "more steps, or approach the horizon by continuation",
    "stalled": "no step lowers the action further, as happens at the limit of rounding or from a poor guess. Loosen "
    "tol, take more steps, or start from another guess",
    "unbounded": "the action falls without bound: it has no minimum between these ends over this horizon. Take a "
    "shorter horizon, or bounds",
    "interrupted": "interrupted; this is the last trajectory. Continue from it with guess=",
}


def make_density(task: ActionTask, *, small: bool = False) -> Density:
    """Return the density of a task's system; `small` allows the scalar graph of a problem's flow."""
    if isinstance(task.what, Lagrangian) or (small and _is_scalar_flow(task)):
        return LagrangianDensity(task.what)
    return GradientFlowDensity(task.what, task.metric)


def _is_scalar_flow(task: ActionTask) -> bool:
    """Whether a problem's flow is small enough, in a constant metric, to be written as one scalar graph."""
    problem = task.what
    if not isinstance(problem, Problem):
        return False
    constant = kind_of(task.metric).constant(problem)
    return constant and problem.size <= SMALL and problem.samples * problem.size <= FEW_TERMS


def takes_free_start(task: ActionTask) -> bool:
    """Whether the start is fixed, or the assembled Hessian preconditions, which does without."""
    return not np.isnan(task.start).any() or (
        task.size <= HESSIAN_LIMIT and (isinstance(task.what, Lagrangian) or _is_scalar_flow(task))
    )


def _preconditioner(action: DiscreteAction) -> Preconditioner:
    if isinstance(action.density, LagrangianDensity) and action.density.has_hessian:
        return AssembledHessian(action).solve
    laplacian = TimeLaplacian(action.task)
    return lambda point, residual: laplacian.solve(point.expansion, residual)


def check_guess(point: ActionPoint) -> None:
    """Raise InputError where the Lagrangian or its derivatives are not finite at the trajectory to start from."""
    finite = np.isfinite(point.expansion.value) & np.isfinite(point.expansion.force).all(axis=-1)
    if not finite.all():
        stage = int(np.flatnonzero(~finite)[0])
        time_there = point.action.scheme.stages[stage]
        raise InputError(
            f"the Lagrangian is not finite at the guess (t = {time_there:.4g}, "
            f"w = {np.array2string(point.expansion.w[stage], precision=4, threshold=6)}): give another guess"
        )
