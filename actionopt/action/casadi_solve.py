"""Action tasks solved by CasADi's NLP solvers: bounds, path constraints, the lifted formulation, multipliers."""

from __future__ import annotations

import time
from typing import Any

import casadi as ca
import numpy as np

from actionopt.action.casadi_flow import FlowStage, extra_values
from actionopt.action.casadi_density import DensityStages
from actionopt.action.gradient_flow import GradientFlowDensity
from actionopt.action.casadi_stages import StageFunctions, symbolic_stages
from actionopt.action.casadi_transcription import Layout, transcribe
from actionopt.action.lagrangian import Lagrangian
from actionopt.action.task import ActionSolution, ActionTask
from actionopt.errors import InputError
from actionopt.nlp import NlpSolution, NlpSolver, check_solver
from actionopt.ops import CASADI

ENGINE = 'graph'
# what each plugin asks of its program, by function: the outputs. Given in its cache, they are not derived from the
# graph of the whole trajectory; a plugin that is not listed derives them
ORACLES = {
    "ipopt": {"nlp_grad_f": ["f", "grad_f_x"], "nlp_jac_g": ["g", "jac_g_x"], "nlp_hess_l": ["triu_hess_gamma_x_x"]},
    "fatrop": {
        "nlp_grad_f": ["grad_f_x"],
        "nlp_jac_g": ["g", "jac_g_x"],
        "nlp_hess_l": ["grad_gamma_x", "hess_gamma_x_x"],
    },
    "sqpmethod": {"nlp_jac_fg": ["f", "grad_f_x", "g", "jac_g_x"], "nlp_hess_l": ["hess_gamma_x_x"]},
    "qrsqp": {"nlp_jac_fg": ["f", "grad_f_x", "g", "jac_g_x"], "nlp_hess_l": ["hess_gamma_x_x"]},
    "feasiblesqpmethod": {
        "nlp_grad_f": ["grad_f_x"],
        "nlp_jac_g": ["jac_g_x"],
        "nlp_hess_l": ["hess_gamma_x_x"],
    },
    "uno": {"nlp_grad_f": ["grad_f_x"], "nlp_jac_g": ["jac_g_x"], "nlp_hess_l": ["triu_hess_gamma_x_x"]},
    "blocksqp": {"nlp_gf_jg": ["f", "g", "grad_f_x", "jac_g_x"], "nlp_hess_l": ["triu_hess_gamma_x_x"]},
}


def solve_casadi(
    task: ActionTask,
    points: np.ndarray,
    *,
    solver: str = "ipopt",
    formulation: str = "condensed",
    tol: float = 1e-8,
    max_iterations: int = 1000,
    options: dict[str, Any] | None = None,
) -> ActionSolution:
    check_solver(solver)
    began = time.perf_counter()
    functions, extra = _stages(task, points, formulation == "lifted", ENGINE)
    keep = functions
    functions = functions.functions if hasattr(functions, "functions") else functions
    layout = Layout(task, extra.shape[1], functions.equalities + functions.inequalities)
    program = transcribe(layout, functions)
    lbx, ubx, lbg, ubg = layout.bounds(functions.inequalities)
    nlp = NlpSolver(
        program["x"],
        program["f"],
        program["g"],
        solver=solver,
        tol=tol,
        max_iterations=max_iterations,
        options={"cache": _oracle(program, solver), **(options or {})},
        equality=lbg == ubg,
        stages=layout.stages,
    )
    build_time = time.perf_counter() - began
    found = nlp.solve(layout.variables(points, extra), lbx=lbx, ubx=ubx, lbg=lbg, ubg=ubg)
    return ActionSolution(layout.points(found.x), found.success, found.status, found.message, {**found.stats, 'build_time': build_time, 'lam_g': found.lam_g, 'layout': layout})


def _stages(task: ActionTask, points: np.ndarray, lifted: bool, engine='graph') -> tuple[StageFunctions, np.ndarray]:
    stages = len(task.scheme.stages)
    if isinstance(task.what, Lagrangian):
        if lifted:
            raise InputError("the lifted formulation keeps states and adjoints of a Problem; a Lagrangian has none")
        w, v = ca.SX.sym("w", task.size), ca.SX.sym("v", task.size)
        density, equalities, e = task.what.value(CASADI, w.T, v.T), [], ca.SX(0, 1)
        extra = np.zeros((stages, 0))
    elif engine == 'density':
        w, v = ca.SX.sym("w", task.size), ca.SX.sym("v", task.size)
        path = [] if task.constraint is None else [ca.vec(task.constraint(CASADI, w.T, v.T))]
        return DensityStages(GradientFlowDensity(task.what, task.metric), path, ca.vertcat(w, v), stages), np.zeros((stages,0))
    else:
        graph = FlowStage(task.what, task.metric, lifted)
        w, v, density, equalities, e = graph.w, graph.v, graph.density, graph.equalities, graph.extra
        extra = extra_values(task.what, task.metric, task.scheme.position @ points, lifted)
    path = [] if task.constraint is None else [ca.vec(task.constraint(CASADI, w.T, v.T))]
    return symbolic_stages(ca.vertcat(w, v, e), density, equalities, path, stages), extra


def _oracle(program: dict[str, ca.MX], solver: str) -> dict[str, ca.Function]:
    """Functions of the program and its derivatives, under the names that a plugin looks for."""
    functions = {}
    for name, outputs in ORACLES.get(solver, {}).items():
        inputs = ["x", "p"] + (["lam_f", "lam_g"] if name == "nlp_hess_l" else [])
        functions[name] = ca.Function(
            name, [program[i] for i in inputs], [program[o] for o in outputs], inputs, outputs
        )
    return functions
