"""The solvers of an action task, behind one interface: who they are, and which one a task gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from actionopt.action.discrete import DiscreteAction
from actionopt.action.newton.solve import NewtonSolver, takes_free_start
from actionopt.action.solution import ActionSolution
from actionopt.action.task import ActionTask, Limits
from actionopt.errors import InputError, is_name, unknown_name
from actionopt.nlp import check_solver, installed_solvers

FORMULATIONS = ("condensed", "lifted")


class ActionSolver(Protocol):
    """Minimises a discrete action from a guess."""

    @property
    def name(self) -> str: ...

    def solve(
        self, action: DiscreteAction, points: np.ndarray, limits: Limits, tick: Callable[..., None]
    ) -> ActionSolution:
        """Minimise from `points (K, n)`; `tick(note)` reports progress."""


def make_solver(task: ActionTask, name: str, formulation: str, options: Mapping[str, Any] | None) -> ActionSolver:
    """Return the solver of a name for a task; "auto" is newton where it can solve the task, ipopt elsewhere.

    Raises
    ------
    InputError
        If there is no such solver or formulation, or the solver cannot solve the task or take the options.
    """
    if not is_name(formulation, FORMULATIONS):
        raise unknown_name("formulation", formulation, FORMULATIONS)
    if name == "auto":
        name = "ipopt" if formulation == "lifted" or _not_for_newton(task) else "newton"
    if name != "newton":
        return _casadi_solver(name, formulation, options)
    if reason := _not_for_newton(task):
        raise InputError(f'solver "newton" takes no {reason}: use "ipopt" or "fatrop"')
    if formulation == "lifted":
        raise InputError('solver "newton" is condensed: the lifted formulation needs "ipopt" or "fatrop"')
    if options is not None and not (isinstance(options, Mapping) and not options):
        raise InputError(f'options are those of a CasADi solver, and solver "newton" has none; got {options!r}')
    return NewtonSolver()


def _casadi_solver(name: str, formulation: str, options: Mapping[str, Any] | None) -> ActionSolver:
    try:
        check_solver(name)
    except InputError:
        raise unknown_name("solver", name, ("auto", "newton", *installed_solvers())) from None
    from actionopt.action.program.solve import CasadiSolver

    return CasadiSolver(name, formulation, options)


def _not_for_newton(task: ActionTask) -> str | None:
    if task.constrained:
        return "bounds or path constraints"
    return None if takes_free_start(task) else f"free start with {task.size} coordinates"
