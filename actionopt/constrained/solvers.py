"""The solvers of training, behind one interface: who they are, and which one a task gets.

A solver of our own is a class with `solve` and a line in `OWN`; every other name is one of CasADi's.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Protocol

import numpy as np

from actionopt.constrained.backpropagated import largest, simulate
from actionopt.constrained.certify import Certificate, certify, solution_of, unresolved, valley
from actionopt.constrained.endings import ADVICE, ENDED
from actionopt.constrained.further import falls_by_newton
from actionopt.constrained.limited import is_limited, train_limited, why_not_newton
from actionopt.constrained.newton import train_newton
from actionopt.constrained.scale import terms_at
from actionopt.constrained.solution import Solution
from actionopt.constrained.task import TrainTask, resolve_formulation
from actionopt.constrained.training import solve_casadi
from actionopt.constrained.watching import Iterates, watching
from actionopt.errors import InputError, is_name, unknown_name
from actionopt.nlp.deadline import STOPPABLE
from actionopt.nlp.plugins import installed_solvers, is_nlp_solver

COARSE = 100  # times tol: what "newton", which does not go on at the scale of single weights, is held to for each
SPENT = ("iterations", "products", "evaluations", "solve_time")
FINER = 1e-6  # the least part of itself that a scale is made at once
DOWN = 1e-4  # the part that it is made in a valley
REFINED = 4  # how often a solve goes on at a smaller scale where a weight's own terms are smaller than the largest


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
        task = replace(task, formulation=resolve_formulation(task))
        if task.callback is not None and task.solver not in STOPPABLE:
            raise InputError(
                f"solver {task.solver!r} shows no iterations, leave callback out or take newton, {', '.join(STOPPABLE)}"
            )
        with np.errstate(all="ignore"), watching(task) as watcher:  # what is not finite is named
            iterates = Iterates(task, watcher)
            iterates(task.start)
            found = solution_of(task, _refined(task, iterates), task.formulation)
        iterates.raise_error()
        if iterates.status in ENDED and not found.success:
            count, status = len(watcher.history) - 1, iterates.status
            message = f"{task.solver}: {status} after {count} iterations; {ADVICE[status]}"
            stats = {**found.stats, "iterations": count}
            found = replace(found, status=status, message=message, stats=stats)
        return replace(found, history=watcher.history)


class Newton:
    """Newton's method in NumPy: no program is built."""

    def solve(self, task: TrainTask) -> Solution:
        """Solve, and go on from there where the scale of the start was too coarse for where it ended."""
        left = _Clock(task)
        found = self._judged(task, task)
        for _ in range(REFINED):
            if found.status not in ("unresolved", "valley") or not left():
                break
            finer = DOWN if found.status == "valley" else 1.0
            again = self._judged(task, replace(task, start=found.weights, tol=finer * task.tol))
            if not again.stats["stationarity"] < found.stats["stationarity"]:
                break
            spent = {name: again.stats[name] + found.stats[name] for name in SPENT if name in found.stats}
            history = found.history.followed_by(again.history) if found.history and again.history else again.history
            found = replace(again, stats=again.stats | spent, history=history)
        return found

    def _judged(self, asked: TrainTask, task: TrainTask) -> Solution:
        """Solve one task as a part of another, which says what is small enough."""
        if is_limited(task):
            return train_limited(task)
        found = train_newton(task)
        if task.tol < asked.tol and found.status == "stalled":  # finer than rounding
            found = replace(found, success=True, status="converged")
        return _resolved(asked, found)


class _Clock:
    """Whether there is time to go on, once a solve has ended: half of its limit at least."""

    def __init__(self, task: TrainTask) -> None:
        self.end = time.perf_counter() + 0.5 * (math.inf if task.time_limit is None else task.time_limit)

    def __call__(self) -> bool:
        return time.perf_counter() < self.end


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
    if is_name(name, OWN):
        return OWN[name]
    if not is_nlp_solver(name):
        raise unknown_name("solver", name, (*OWN, *installed_solvers()))
    return Casadi()


def _refined(task: TrainTask, iterates: Iterates) -> Certificate:
    left = _Clock(task)
    trained, transcription = solve_casadi(task, iterates)
    certificate = certify(task, trained)
    scale = task.scale
    for _ in range(REFINED):
        small = not certificate.worst > task.tol and not certificate.falls
        if trained.nlp.status != "converged" or small or not left():
            break
        scale *= DOWN if certificate.falls else max(0.1 * task.tol / certificate.worst, FINER)
        again = transcription.solve(trained, scale)
        better = certify(task, again)
        if not (better.worst < certificate.worst or largest([better.residual]) < 0.1 * largest([certificate.residual])):
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
    terms = terms_at(problem, solution.weights).after(task.terms)
    relative = terms.relative(problem.gradient(solution.weights))
    worst = float(np.max(relative, initial=0.0))
    filled = replace(filled, stats={**solution.stats, "relative_residual": worst})
    if worst <= COARSE * task.tol:
        part = falls_by_newton(task, solution.weights, terms)
        if not part:
            return filled
        message = valley(part, "newton", solution.stats["iterations"])
        return replace(filled, success=False, status="valley", message=message, is_minimum=None)
    message = unresolved(problem, relative, "newton", solution.stats["iterations"])
    return replace(filled, success=False, status="unresolved", message=message, is_minimum=None)
