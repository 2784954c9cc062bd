"""The Newton-Krylov solver of an action task: which density, which preconditioner, and what its status means."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from actionopt.action.density.density import Density
from actionopt.action.density.formula import LagrangianDensity
from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.action.discrete import ActionPoint, DiscreteAction
from actionopt.action.lagrangian import Lagrangian
from actionopt.action.newton.assembled import AssembledHessian
from actionopt.action.newton.time_laplacian import TimeLaplacian
from actionopt.action.newton.trust_region import Preconditioner, newton
from actionopt.action.task import STATIONARY, ActionSolution, ActionTask
from actionopt.errors import InputError
from actionopt.problem import Problem

SMALL = 12  # coordinates up to which the assembled Hessian preconditions, measured in benchmarks/action.py
FEW_TERMS = 256  # samples times coordinates up to which a problem's gradient flow is written as one scalar graph


def solve_newton(
    task: ActionTask, points: np.ndarray, tol: float, max_iterations: int, tick: Callable[..., None]
) -> ActionSolution:
    """Minimise from `points (K, n)` until the largest entry of the gradient is below `tol`; `tick` reports progress."""
    began = time.perf_counter()
    density = make_density(task, small=True)
    action = DiscreteAction(density, task)
    with np.errstate(all="ignore"):
        check_guess(action.at(points))
    precondition = _preconditioner(action)
    built = time.perf_counter()
    with np.errstate(all="ignore"):
        result = newton(
            action,
            points,
            precondition,
            tol=tol,
            max_iterations=max_iterations,
            report=lambda _, point: tick(f"S = {point.value:.6g}, |dS| = {point.gradient_norm:.1e}"),
        )
    message = {
        "converged": f"the action is stationary; {STATIONARY}",
        "iteration limit": f"not stationary after {result.iterations} iterations. Continue from this trajectory "
        "(guess=), take more steps, or approach the horizon by continuation",
        "stalled": "no step lowers the action further, as happens at the limit of rounding or from a poor guess. "
        "Loosen tol, take more steps, or start from another guess",
        "interrupted": "interrupted; this is the last trajectory. Continue from it with guess=",
    }[result.status]
    stats = {
        "iterations": result.iterations,
        "products": result.products,
        "gradient_norm": result.point.gradient_norm,
        "build_time": built - began,
        "solve_time": time.perf_counter() - built,
    }
    return ActionSolution(result.point.points, result.status == "converged", result.status, message, stats)


def make_density(task: ActionTask, *, small: bool = False) -> Density:
    """Return the density of a task's system; `small` allows the scalar graph of a problem's flow."""
    if isinstance(task.what, Lagrangian) or (small and _is_scalar_flow(task)):
        return LagrangianDensity(task.what)
    return GradientFlowDensity(task.what, task.metric)


def _is_scalar_flow(task: ActionTask) -> bool:
    """Whether a problem's flow is small enough, in a constant metric, to be written as one scalar graph."""
    problem = task.what
    assert isinstance(problem, Problem)
    constant = task.metric == "euclidean" or problem.output_metric is None
    return constant and problem.size <= SMALL and problem.samples * problem.size <= FEW_TERMS


def _preconditioner(action: DiscreteAction) -> Preconditioner:
    if isinstance(action.density, LagrangianDensity) and action.density.size <= SMALL:
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
