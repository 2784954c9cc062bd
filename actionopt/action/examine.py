"""What follows when a solver has converged: the second variation, a way off a saddle, more time, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from actionopt.action.attractor import Attractor, attractor_of, rests, turns
from actionopt.action.density.formula import LagrangianDensity
from actionopt.action.discrete import DiscreteAction
from actionopt.action.escape import to_a_minimum
from actionopt.action.guess import arcs
from actionopt.action.lagrangian import Drift
from actionopt.action.longer import fading, over_longer
from actionopt.action.second_variation import LowestMode, lowest_mode
from actionopt.action.solution import ActionSolution
from actionopt.action.solvers import ActionSolver
from actionopt.action.task import ActionTask, Limits
from actionopt.action.verdict import judged
from actionopt.interrupts import unless_interrupted, was_interrupted

GIVEN_UP = "interrupted before the solver was done"
BRIEF = 200  # iterations from a guess that was not asked for


@dataclass(frozen=True)
class Looks:
    """How closely to look at a stationary path.

    Attributes
    ----------
    second_order : bool or None
        Whether to compute the second variation; None where that costs little, for systems written as one graph.
    around : bool
        Whether to leave saddles, and, between given ends of a flow, to try other guesses than the straight line.
    """

    second_order: bool | None
    around: bool

    def at_curvature(self, action: DiscreteAction) -> bool:
        """Whether the second variation is computed, and means something: it does not know curved constraints."""
        if _has_conditions(action.task):
            return False
        return isinstance(action.density, LagrangianDensity) if self.second_order is None else self.second_order


def found_and_examined(
    solver: ActionSolver,
    action: DiscreteAction,
    points: np.ndarray,
    looks: Looks,
    limits: Limits,
    tick: Callable[..., None],
) -> ActionSolution:
    """Solve from `points (K, n)`, and from other guesses where `looks.around`; examine the least of what converged."""
    try:
        solution = solver.solve(action, points, limits, tick)
    except KeyboardInterrupt:  # before its first iteration, as while it is built
        return _given_up(action, points)
    if was_interrupted(solution):
        return solution
    try:
        return _examined(_Heeding(solver), action, points, solution, looks, limits, tick)
    except KeyboardInterrupt:
        message = "interrupted; the path is stationary, and was not looked at further" if solution.success else GIVEN_UP
        return replace(solution, status="interrupted", message=f"{message}. Continue from it with guess=")


@dataclass(frozen=True)
class _Heeding:
    """A solver beside the first: what Ctrl-C leaves of its work is no path to compare with, but the search's end."""

    solver: ActionSolver

    @property
    def name(self) -> str:
        return self.solver.name

    def solve(
        self, action: DiscreteAction, points: np.ndarray, limits: Limits, tick: Callable[..., None]
    ) -> ActionSolution:
        return unless_interrupted(self.solver.solve(action, points, limits, tick))


def _given_up(action: DiscreteAction, points: np.ndarray) -> ActionSolution:
    """Keep the guess where that is all there is."""
    stats = {"iterations": 0, "gradient_norm": action.at(points).gradient_norm, "build_time": 0.0, "solve_time": 0.0}
    return ActionSolution(points, "interrupted", f"{GIVEN_UP}: this is its first guess", stats)


def _examined(
    solver: ActionSolver,
    action: DiscreteAction,
    points: np.ndarray,
    solution: ActionSolution,
    looks: Looks,
    limits: Limits,
    tick: Callable[..., None],
) -> ActionSolution:
    """Try what else `looks` asks for beside a solution, and judge the least of what converged."""
    attractor = attractor_of(action, points) if looks.around else None
    if looks.around:
        solution = _least(solver, action, solution, _others(action, points, attractor, solution), limits, tick)
    if not solution.success:
        return solution
    mode = None
    if looks.at_curvature(action):
        if looks.around and not action.task.constrained:
            solution, mode = to_a_minimum(solver, action, solution, limits, tick)
        else:
            mode = _known(solution, lowest_mode(action.at(solution.points)))
    if not solution.success:
        return solution
    longer = None if attractor is None else over_longer(solver, action, solution, attractor, limits, tick)
    slow = not looks.around and rests(action, points)
    return judged(action, solution, mode, longer, fading(action.at(solution.points)) if slow else 0.0)


def _others(
    action: DiscreteAction, points: np.ndarray, attractor: Attractor | None, first: ActionSolution
) -> list[np.ndarray]:
    """Which guesses to try beside the line.

    Drifts that leave an attractor have many ways out. Between constraints a line may lead through what it should go
    around, or be stationary as it is, as doing nothing often is.
    """
    task = action.task
    if attractor is not None and isinstance(task.what, Drift):
        return arcs(task, points) if attractor.positions is None else turns(task, attractor)
    unmoved = np.allclose(first.points, points, rtol=0.0, atol=1e-6 * (np.ptp(points, axis=0).max() or 1.0))
    failed = first.status in ("infeasible", "stopped", "iteration limit", "underresolved")
    return arcs(task, points) if _has_conditions(task) and (unmoved or failed) else []


def _least(
    solver: ActionSolver,
    action: DiscreteAction,
    first: ActionSolution,
    guesses: list[np.ndarray],
    limits: Limits,
    tick: Callable[..., None],
) -> ActionSolution:
    """Return the least of the paths that converge from the guesses, the first where none does."""
    if not guesses:
        return first
    brief = Limits(limits.tol, min(limits.max_iterations, BRIEF))
    others = [solver.solve(action, guess, brief, tick) for guess in guesses]
    converged = [found for found in (first, *others) if found.success]
    if not converged:
        return first
    best = min(converged, key=lambda found: action.at(found.points).value)
    return replace(best, stats={**best.stats, "guesses": 1 + len(guesses)})


def _known(solution: ActionSolution, mode: LowestMode | None) -> LowestMode | None:
    """A mode that leads downhill says nothing where active bounds may forbid it."""
    if mode is None or mode.is_minimum or solution.forces is None:
        return mode
    return None if np.any(abs(solution.forces.bounds) > 0) else mode


def _has_conditions(task: ActionTask) -> bool:
    formulas = (task.constraint, task.equality, task.start_constraint, task.end_constraint)
    return any(formula is not None for formula in formulas)
