"""The solvers of training, behind one interface: who they are, and which one a task gets.

A solver of our own is a class with `solve` and a line in `OWN`; every other name is one of CasADi's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from actionopt.constrained.backpropagated import simulate
from actionopt.constrained.certify import Certificate, certify, solution_of, unresolved
from actionopt.constrained.limited import is_limited, train_limited, why_not_newton
from actionopt.constrained.newton import train_newton
from actionopt.constrained.scale import cost_slopes, terms_at
from actionopt.constrained.solution import Solution
from actionopt.constrained.task import TrainTask, resolve_formulation
from actionopt.constrained.training import solve_casadi
from actionopt.errors import unknown_name
from actionopt.nlp.plugins import installed_solvers, is_nlp_solver

COARSE = 100  # times tol: what "newton", which does not go on at the scale of single weights, is held to for each
REFINED = 3  # how often a solve goes on at a smaller scale where a weight's own terms are smaller than the largest


class TrainSolver(Protocol):
    """Solves a task and certifies where it ended."""

    def solve(self, task: TrainTask) -> Solution:
        """Return the result, its status "converged" only where our own residuals say so."""


class Casadi:
    """CasADi's plugins, `task.solver` among them.

    Where a weight's residual is small beside the largest terms but not beside its own, the solve goes on from there at
    the scale of its own.
    """

    def solve(self, task: TrainTask) -> Solution:
        task = replace(task, formulation=resolve_formulation(task.problem, task.formulation, task.solver))
        with np.errstate(all="ignore"):  # what is not finite is named
            return solution_of(task, _refined(task), task.formulation)


class Newton:
    """Newton's method in NumPy: no program is built."""

    def solve(self, task: TrainTask) -> Solution:
        if is_limited(task):
            return train_limited(task)
        return _resolved(task, train_newton(task))


class Auto:
    """What was measured best: "newton", and "ipopt" for what it does not take."""

    def solve(self, task: TrainTask) -> Solution:
        name = "ipopt" if task.options or why_not_newton(task) else "newton"
        return make_solver(name).solve(replace(task, solver=name))


OWN: dict[str, TrainSolver] = {"auto": Auto(), "newton": Newton()}


def make_solver(name: str) -> TrainSolver:
    """Return the solver of a name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name in OWN:
        return OWN[name]
    if not is_nlp_solver(name):
        raise unknown_name("solver", name, (*OWN, *installed_solvers()))
    return Casadi()


def _refined(task: TrainTask) -> Certificate:
    trained, transcription = solve_casadi(task)
    certificate = certify(task, trained)
    scale = task.scale
    for _ in range(REFINED):
        if trained.nlp.status != "converged" or not certificate.worst > task.tol:
            break
        scale *= max(0.1 * task.tol / certificate.worst, 1e-6)
        again = transcription.solve(trained, scale)
        better = certify(task, again)
        if not better.worst < certificate.worst:
            break
        certificate = better.going_on_from(trained.nlp, task)
        trained = certificate.trained
    return certificate


def _resolved(task: TrainTask, solution: Solution) -> Solution:
    """Hold every weight's gradient against its own terms, and add what belongs to every result."""
    problem = task.problem
    filled = replace(solution, states=simulate(problem, solution.weights), bounds_multipliers=np.zeros(problem.size))
    if not solution.success:
        return filled
    terms = task.terms.at_least(terms_at(problem, solution.weights, cost_slopes(problem, task.start)))
    relative = terms.relative(problem.gradient(solution.weights))
    worst = float(np.max(relative, initial=0.0))
    filled = replace(filled, stats={**solution.stats, "relative_residual": worst})
    if worst <= COARSE * task.tol:
        return filled
    message = unresolved(problem, relative, "newton", solution.stats["iterations"])
    return replace(filled, success=False, status="unresolved", message=message, is_minimum=None)
