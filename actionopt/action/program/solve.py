"""Action tasks solved by CasADi's NLP solvers: bounds, path constraints, the lifted formulation, multipliers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from actionopt.action.density.formula import LagrangianExpansion
from actionopt.action.discrete import DiscreteAction
from actionopt.action.newton.solve import check_guess, make_density
from actionopt.action.program.flow_stage import extra_values
from actionopt.action.program.multipliers import multipliers
from actionopt.action.program.oracle import PLUGINS, oracle
from actionopt.action.program.stages import StageFunctions
from actionopt.action.program.system import stage_functions
from actionopt.action.program.transcription import Layout, transcribe
from actionopt.action.program.watch import WATCHABLE, Interrupt, Watch
from actionopt.action.task import STATIONARY, ActionSolution, ActionTask
from actionopt.nlp import NlpSolver, check_solver
from actionopt.problem import Problem

_ADVICE = {
    "converged": f"; {STATIONARY}",
    "iteration limit": "; continue from this trajectory (guess=)",
    "infeasible": "; for a path constraint take more steps or a longer horizon",
    "not finite": "; start from another guess",
    "stopped": "; take more steps, or approach the horizon by continuation",
    "interrupted": "; continue from it with guess=",
}


def solve_casadi(
    task: ActionTask,
    points: np.ndarray,
    *,
    solver: str = "ipopt",
    formulation: str = "condensed",
    tol: float = 1e-8,
    max_iterations: int = 1000,
    options: Mapping[str, Any] | None = None,
    tick: Callable[..., None] = lambda note=None: None,
) -> ActionSolution:
    """Solve an action task as a nonlinear program.

    Parameters
    ----------
    task : ActionTask
    points : array (K, n)
        Where to start.
    solver : str
        "ipopt", "fatrop" (with the stages of the optimal-control problem given by hand) or another CasADi plugin.
    formulation : "condensed" or "lifted"
        Lifted keeps the states and adjoints of every stage as variables, and the equations of the layers and their
        adjoints as constraints.
    tol : float
        Tolerance on the first-order conditions.
    max_iterations : int
    options : mapping, optional
        CasADi's options for the plugin.
    tick : callable
        Called with a short note after each iteration, by the plugins that report them.

    Returns
    -------
    ActionSolution
        `stats` adds to the common ones `formulation`, `variables` and `constraints` (counts), the residuals
        `stationarity`, `infeasibility` and `complementarity` of the program, and `multipliers`, a dict of arrays (see
        `casadi_multipliers.multipliers`). Where constraints are active, `gradient_norm` is not small.

    Raises
    ------
    InputError
        For a solver, an option or a formula that cannot be used, or a Lagrangian that is not finite at the start or,
        without constraints that could bound it, not convex in v there.
    """
    check_solver(solver)
    began = time.perf_counter()
    interrupt, lifted = Interrupt(), formulation == "lifted"
    functions = stage_functions(
        task,
        lifted=lifted,
        differentiable=solver not in PLUGINS,
        interrupt=None if solver in WATCHABLE else interrupt,
    )
    action = DiscreteAction(make_density(task), task)
    _check_start(task, action, points)
    layout = Layout(task, functions.variables - 2 * task.size, functions.equalities + functions.inequalities)
    bounds = layout.bounds(functions.inequalities)
    watch = Watch(layout.size, layout.constraints, interrupt, tick) if solver in WATCHABLE else None
    limits = {"tol": tol, "max_iterations": max_iterations}
    nlp = _nlp(layout, functions, solver, watch, equality=bounds["lbg"] == bounds["ubg"], options=options, **limits)
    stats: dict[str, Any] = {
        "formulation": formulation,
        "variables": layout.size,
        "constraints": layout.constraints,
        "iterations": 0,
        "build_time": time.perf_counter() - began,
        "solve_time": 0.0,
    }
    start = layout.variables(points, _extra_values(task, points, functions, lifted))
    try:
        # where nobody would look, CasADi itself raises Ctrl-C
        with interrupt.catching() if watch or functions.keeps else contextlib.nullcontext():
            found = nlp.solve(start, **bounds)
    except KeyboardInterrupt:
        message = f"{solver}: interrupted, and its last iterate is lost: this is where it started"
        return _finished(action, points, "interrupted", message, stats)
    stats |= {key: value for key, value in found.stats.items() if key != "build_time"}
    stats["multipliers"] = multipliers(layout, functions, found, lifted=lifted)
    status, message = found.status, found.message
    if interrupt.raised and not found.success:
        status, message = "interrupted", f"{solver}: interrupted; this is the last iterate"
    return _finished(action, layout.points(found.x), status, message + _ADVICE.get(status, ""), stats)


def _nlp(
    layout: Layout,
    functions: StageFunctions,
    solver: str,
    watch: Watch | None,
    *,
    options: Mapping[str, Any] | None,
    **given: Any,
) -> NlpSolver:
    """Build the program, with the derivatives that the plugin asks for; the user's options come last."""
    program = transcribe(layout, functions)
    own: dict[str, Any] = {"cache": oracle(program, solver)}
    if watch is not None:
        own["iteration_callback"] = watch
    return NlpSolver(
        program["x"],
        program["f"],
        program["g"],
        solver=solver,
        options={**own, **(options or {})},
        stages=layout.stages,
        **given,
    )


def _check_start(task: ActionTask, action: DiscreteAction, points: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        start = action.at(points)
        check_guess(start)
        if isinstance(start.expansion, LagrangianExpansion) and not task.constrained:
            _ = start.expansion.mass  # raises where l is not convex in v


def _extra_values(task: ActionTask, points: np.ndarray, functions: StageFunctions, lifted: bool) -> np.ndarray:
    """Values `(M, e)` of what the stages know beside positions and velocities."""
    if functions.variables == 2 * task.size:
        return np.zeros((len(task.scheme.stages), 0))
    assert isinstance(task.what, Problem)
    return extra_values(task.what, task.metric, task.scheme.position @ points, lifted)


def _finished(
    action: DiscreteAction, points: np.ndarray, status: str, message: str, stats: dict[str, Any]
) -> ActionSolution:
    with np.errstate(all="ignore"):
        stats["gradient_norm"] = action.at(points).gradient_norm
    return ActionSolution(points, status == "converged", status, message, stats)
