"""What follows when a solver has converged: the second variation, a way off a saddle, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from actionopt.action.density.formula import LagrangianDensity
from actionopt.action.discrete import DiscreteAction
from actionopt.action.escape import to_a_minimum
from actionopt.action.second_variation import LowestMode, lowest_mode
from actionopt.action.solvers import ActionSolver
from actionopt.action.task import ActionSolution, ActionTask, Limits
from actionopt.action.verdict import judged


@dataclass(frozen=True)
class Looks:
    """How closely to look at a stationary path.

    Attributes
    ----------
    second_order : bool or None
        Whether to compute the second variation; None where that costs little, for systems written as one graph.
    escape : bool
        Whether to leave saddles.
    """

    second_order: bool | None
    escape: bool

    def at_curvature(self, action: DiscreteAction) -> bool:
        """Whether the second variation is computed, and means something: it does not know curved constraints."""
        if _has_conditions(action.task):
            return False
        return isinstance(action.density, LagrangianDensity) if self.second_order is None else self.second_order


def examined(
    solver: ActionSolver,
    action: DiscreteAction,
    solution: ActionSolution,
    looks: Looks,
    limits: Limits,
    tick: Callable[..., None],
) -> ActionSolution:
    """Look at the second variation of a stationary path, leave it where it is a saddle, and judge what is found."""
    mode = None
    if looks.at_curvature(action):
        if looks.escape and not action.task.constrained:
            solution, mode = to_a_minimum(solver, action, solution, limits, tick)
        else:
            mode = _known(solution, lowest_mode(action.at(solution.points)))
    return judged(action, solution, mode)


def _known(solution: ActionSolution, mode: LowestMode | None) -> LowestMode | None:
    """A mode that leads downhill says nothing where active bounds may forbid it."""
    if mode is None or mode.is_minimum or solution.forces is None:
        return mode
    return None if np.any(abs(solution.forces.bounds) > 0) else mode


def _has_conditions(task: ActionTask) -> bool:
    formulas = (task.constraint, task.equality, task.start_constraint, task.end_constraint)
    return any(formula is not None for formula in formulas)
