"""Which stage functions stand for a task's system.

A Lagrangian is a graph of scalars. So is a problem's gradient flow where it is lifted, or where a plugin differentiates
it further; otherwise NumPy evaluates it on whole trajectories, which needs no building and was as fast or faster from
13 weights up (docs/action-casadi.md has the figures).
"""

from __future__ import annotations

import casadi as ca

from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.action.density.stage_formula import stage_value
from actionopt.action.lagrangian import Lagrangian
from actionopt.action.program.conditions import Conditions
from actionopt.action.program.flow_stage import FlowStage
from actionopt.action.program.numpy_stages import density_stages
from actionopt.action.program.stages import StageFunctions, symbolic_stages
from actionopt.action.task import ActionTask
from actionopt.errors import InputError
from actionopt.interrupts import Interrupt

HESSIAN_LIMIT = 100_000_000  # numbers in all stages' dense Hessians, of which solvers keep several copies


def stage_functions(
    task: ActionTask,
    conditions: Conditions,
    *,
    lifted: bool,
    differentiable: bool,
    interrupt: Interrupt | None = None,
    scale: float = 1.0,
) -> StageFunctions:
    """Return the functions of a task's stages.

    Parameters
    ----------
    task : ActionTask
    conditions : Conditions
        The user's constraints; those that contain the velocity become conditions of the stages, after the equations of
        the formulation.
    lifted : bool
        Whether states and adjoints are variables of the stages.
    differentiable : bool
        Whether CasADi must be able to differentiate the functions further, as for a plugin that derives its own.
    interrupt : Interrupt, optional
        What makes NumPy's Hessians fail, for a plugin that nothing else stops.
    scale : float
        What the density is divided by.

    Raises
    ------
    InputError
        If a Lagrangian is to be lifted, a formula cannot be evaluated on CasADi symbols, or dense Hessians of the
        stages would not fit in memory.
    """
    stages, what = len(task.scheme.stages), task.what
    w, v, t = conditions.w, conditions.v, conditions.t
    equalities, inequalities = conditions.of_stages
    time = t, task.scheme.stages
    if isinstance(what, Lagrangian):
        if lifted:
            raise InputError(
                "the lifted formulation keeps states and adjoints of a Problem's layers; a Lagrangian has none: "
                'use formulation="condensed"'
            )
        value = stage_value(what, w, v, t) / scale
        return symbolic_stages(ca.vertcat(w, v), value, [equalities], [inequalities], stages, time)
    if lifted or differentiable:
        graph = FlowStage(what, task.metric, lifted, scale)
        variables = ca.vertcat(graph.w, graph.v, graph.extra)
        own = ca.Function("own", [w, v, t], [equalities, inequalities])(graph.w, graph.v, t)
        return symbolic_stages(variables, graph.density, [*graph.equalities, own[0]], [own[1]], stages, time)
    numbers = stages * (2 * task.size) ** 2
    if numbers > HESSIAN_LIMIT:
        raise InputError(
            f"CasADi's solvers form the Hessian of every stage: with {task.size} weights at {stages} stages that is "
            f'{8e-9 * numbers:.1f} GB, several times over. Use solver="newton", which never forms it, or fewer steps'
        )
    path = symbolic_stages(ca.vertcat(w, v), ca.SX(0), [equalities], [inequalities], stages, time)
    density = GradientFlowDensity(what, task.metric)
    return density_stages(density, path, stages, interrupt or Interrupt(), scale)
