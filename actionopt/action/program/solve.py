"""Action tasks solved by CasADi's NLP solvers: bounds, path constraints, the lifted formulation, multipliers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import casadi as ca
import numpy as np

from actionopt.action.density.formula import LagrangianExpansion
from actionopt.action.discrete import RESTING, ActionPoint, DiscreteAction
from actionopt.action.newton.solve import check_guess
from actionopt.action.program.conditions import Conditions, end_conditions, make_conditions
from actionopt.action.program.flow_stage import extra_values
from actionopt.action.program.multipliers import Reader
from actionopt.action.program.point_set import PointSet
from actionopt.action.program.stages import symbolic_stages
from actionopt.action.program.system import stage_functions
from actionopt.action.program.transcription import Layout, transcribe
from actionopt.action.program.violation import Violation, violation
from actionopt.action.program.watch import WATCHABLE, Watch
from actionopt.action.solution import ActionSolution
from actionopt.action.task import ActionTask, Limits, relative
from actionopt.interrupts import Interrupt
from actionopt.nlp import Derivatives, NlpSolution, NlpSolver
from actionopt.nlp.derivatives import takes_gradient
from actionopt.problem import Problem

_ADVICE = {
    "converged": "",
    "iteration limit": "; continue from this trajectory (guess=)",
    "infeasible": "; for a path constraint take more steps or a longer horizon",
    "not finite": "; start from another guess",
    "stopped": "; take more steps, or approach the horizon by continuation",
    "interrupted": "; continue from it with guess=",
}


_UNRESOLVED = (
    "unresolved after {iterations} iterations; the conditions hold beside the terms of the guess, and are off by "
    "{residual:.1e} beside those of the path: go on from it with guess="
)
REFINED = 4  # how often a solve goes on at a smaller scale
FINER = 1e-6  # the least part of itself that the scale is made at once
FLOOR = 1e-12  # of the terms of the guess, which count where those of the path vanish
COARSE = 100  # times tol: what the residual may be where rounding ends it

NOWHERE = np.zeros(0)
BETWEEN = np.arange(1, 8) / 8.0  # places on every interval for conditions on positions, where nodes do not hold them


class CasadiSolver:
    """One of CasADi's NLP plugins: "ipopt", "fatrop" (with the stages given by hand) or another by its name.

    Parameters
    ----------
    name : str
    formulation : "condensed" or "lifted"
        Lifted keeps the states and adjoints of every stage as variables, and the equations of the layers and their
        adjoints as constraints.
    options : mapping, optional
        CasADi's options for the plugin.
    """

    def __init__(self, name: str, formulation: str = "condensed", options: Mapping[str, Any] | None = None) -> None:
        self.name, self.formulation, self.options = name, formulation, options

    def solve(
        self,
        action: DiscreteAction,
        points: np.ndarray,
        limits: Limits,
        tick: Callable[..., None] = lambda note=None: None,
    ) -> ActionSolution:
        """Minimise from `points (K, n)`.

        Returns
        -------
        ActionSolution
            `stats` adds to the common ones `formulation`, `variables` and `constraints` (counts), the residuals
            `stationarity`, `infeasibility` and `complementarity` of the program, whose action is divided by the scale
            and whose conditions are divided by the size of their terms, and `multipliers`, a dict of arrays (see
            `multipliers.Reader`). Where constraints are active, `gradient_norm` is not small.

        Raises
        ------
        InputError
            For a solver, an option or a formula that cannot be used, or a Lagrangian that is not finite at the start
            or, without constraints that could bound it, not convex in v there.
        """
        began = time.perf_counter()
        start = _checked_start(action, points)
        scale = max(start.terms(), RESTING * start.resting_terms()) or 1.0
        conditions = make_conditions(action.task, points)
        solution, found = self._solved(action, points, points, conditions, limits, tick, scale, NOWHERE)
        if action.task.constrained and found:
            broken = violation(action.task, conditions, solution.points)
            if solution.success and broken.between_nodes:
                # once more from there, imposed between the nodes as well
                again, _ = self._solved(action, points, solution.points, conditions, limits, tick, scale, BETWEEN)
                spent = ("iterations", "build_time", "solve_time")
                sums = {key: again.stats[key] + solution.stats[key] for key in spent}
                solution = replace(again, stats=again.stats | sums)
                broken = violation(action.task, conditions, solution.points)
            bounded = np.isfinite(action.task.lower).any() or np.isfinite(action.task.upper).any()
            if bounded or conditions.inequalities.numel():
                solution = _with_violation(solution, broken)
        built = time.perf_counter() - began - solution.stats["solve_time"]
        return replace(solution, stats=solution.stats | {"build_time": built})

    def _solved(
        self,
        action: DiscreteAction,
        given: np.ndarray,
        points: np.ndarray,
        conditions: Conditions,
        limits: Limits,
        tick: Callable[..., None],
        scale: float,
        between: np.ndarray,
    ) -> tuple[ActionSolution, bool]:
        """Solve one program from `points`, conditions on positions imposed `between` nodes; whether it was not lost."""
        began = time.perf_counter()
        program = _Program(self, action, given, conditions, limits, tick, scale, between)
        stats: dict[str, Any] = {
            "formulation": self.formulation,
            "variables": program.layout.size,
            "constraints": program.layout.constraints,
            "iterations": 0,
            "build_time": time.perf_counter() - began,
            "solve_time": 0.0,
        }
        try:
            found = program.solve(points)
        except KeyboardInterrupt:
            message = f"{self.name}: interrupted, and its last iterate is lost: this is where it started"
            norm = action.at(points).gradient_norm
            return ActionSolution(points, "interrupted", message, stats | {"gradient_norm": norm}), False
        solution = self._judged(program, found, limits, stats)
        scale = 1.0
        for _ in range(REFINED):
            # a guess where the terms are huge makes residuals look small that are large beside those of the path
            if solution.status != "converged" or not solution.stats["residual"] > limits.tol:
                break
            scale *= max(0.1 * limits.tol / solution.stats["residual"], FINER)
            again = program.go_on(found, scale)
            better = self._judged(program, again, limits, solution.stats)
            if not better.stats["residual"] < solution.stats["residual"]:
                break
            found, solution = again, better
        if solution.status == "converged" and not solution.stats["residual"] <= COARSE * limits.tol:
            message = f"{self.name}: {_UNRESOLVED.format(**solution.stats)}"
            solution = replace(solution, status="unresolved", message=message)
        return solution, True

    def _judged(self, program: _Program, found: NlpSolution, limits: Limits, stats: dict[str, Any]) -> ActionSolution:
        """Compute the residual of the conditions at what was found, whatever the plugin says of it."""
        reader, action = program.reader, program.action
        points, forces = program.layout.points(found.x), reader.forces(found)
        spent = {key: stats[key] + found.stats[key] for key in ("iterations", "solve_time")}
        stats = stats | {key: value for key, value in found.stats.items() if key != "build_time"} | spent
        with np.errstate(all="ignore"):
            point = action.at(points)
            scale = max(forces.terms(point), RESTING * point.resting_terms(), FLOOR * program.scale)
            residual = forces.residual(point)
            stats |= {
                "gradient_norm": point.gradient_norm,
                "scale": scale,
                "residual": relative(residual, scale),
                "multipliers": reader.multipliers(found),
            }
        status, message = found.status, found.message
        if program.interrupt.raised and not found.success:
            status, message = "interrupted", f"{self.name}: interrupted; this is the last iterate"
        return ActionSolution(points, status, message + _ADVICE.get(status, ""), stats, forces)


class _Program:
    """The program of a task, its action divided by `scale`."""

    def __init__(
        self,
        solver: CasadiSolver,
        action: DiscreteAction,
        points: np.ndarray,
        conditions: Conditions,
        limits: Limits,
        tick: Callable[..., None],
        scale: float,
        between: np.ndarray,
    ) -> None:
        task, name = action.task, solver.name
        self.action, self.scale, self.interrupt = action, scale, Interrupt()
        self.lifted = solver.formulation == "lifted"
        self.functions = functions = stage_functions(
            task,
            conditions,
            lifted=self.lifted,
            differentiable=not takes_gradient(name),
            interrupt=None if name in WATCHABLE else self.interrupt,
            scale=scale,
        )
        ends, sizes = _end_sets(task, conditions, points)
        sets = [*conditions.point_sets(task, between), *ends]
        self.layout = layout = Layout(
            task, functions.variables - 2 * task.size, functions.equalities + functions.inequalities, sets
        )
        self.reader = Reader(layout, functions, conditions, sizes, self.lifted, scale)
        self.bounds = layout.bounds(functions.inequalities)
        self.watch = Watch(layout.size, layout.constraints, self.interrupt, tick, scale) if name in WATCHABLE else None
        program = transcribe(layout, functions, action.end_cost, scale)
        own: dict[str, Any] = {} if self.watch is None else {"iteration_callback": self.watch}
        keys = ("jac_g_x", "hess_gamma_x_x", "lam_f", "lam_g", "grad_f_x")
        self.nlp = NlpSolver(
            program["x"],
            program["f"],
            program["g"],
            solver=name,
            options={**own, **(solver.options or {})},  # the user's come last
            derivatives=Derivatives(*(program[key] for key in keys)),
            interrupt=self.interrupt if self.watch or self.functions.keeps else None,  # somebody looks at it
            stages=layout.stages,
            equality=self.bounds["lbg"] == self.bounds["ubg"],
            tol=limits.tol,
            max_iterations=limits.max_iterations,
        )

    def solve(self, points: np.ndarray) -> NlpSolution:
        """Solve from `points (K, n)`."""
        start = self.layout.variables(points, self._extra_values(points))
        return self.nlp.solve(start, **self.bounds, scale=1.0)  # the program is scaled already

    def go_on(self, found: NlpSolution, scale: float) -> NlpSolution:
        """Go on from where a solve ended, its action divided by one more scale."""
        return self.nlp.solve(found.x, **self.bounds, lam_g0=found.lam_g, lam_x0=found.lam_x, scale=scale)

    def _extra_values(self, points: np.ndarray) -> np.ndarray:
        """Values `(M, e)` of what the stages know beside positions and velocities."""
        task = self.action.task
        if self.functions.variables == 2 * task.size:
            return np.zeros((len(task.scheme.stages), 0))
        assert isinstance(task.what, Problem)
        return extra_values(task.what, task.metric, task.scheme.position @ points, self.lifted, self.scale)


def _with_violation(solution: ActionSolution, broken: Violation) -> ActionSolution:
    """Add what a curve breaks of its constraints, and what that means for a solver's word."""
    stats = solution.stats | {"constraint_violation": broken.largest}
    message = f"{solution.message}; along the curve constraints are broken by {broken.largest:.1e} at most"
    if solution.success and not broken.kept:
        message += ": too much, between the places where they are imposed. Take more steps"
        return replace(solution, status="underresolved", message=message, stats=stats)
    return replace(solution, message=message, stats=stats)


def _end_sets(
    task: ActionTask, conditions: Conditions, points: np.ndarray
) -> tuple[list[PointSet], tuple[np.ndarray, np.ndarray]]:
    """Return the conditions on the ends as point sets of one point, and their sizes."""
    sets, sizes = [], []
    for name, formula, interval, at in (
        ("start_constraint", task.start_constraint, 0, points[0]),
        ("end_constraint", task.end_constraint, len(task.scheme.times) - 1, points[-1]),
    ):
        c, size = end_conditions(name, formula, conditions.w, at)
        sizes.append(size)
        if c.numel():
            functions = symbolic_stages(conditions.w, ca.SX(0), [c], [], 1)
            sets.append(PointSet(functions, np.array([interval]), np.zeros(1)))
    return sets, (sizes[0], sizes[1])


def _checked_start(action: DiscreteAction, points: np.ndarray) -> ActionPoint:
    with np.errstate(all="ignore"):
        start = action.at(points)
        check_guess(start)
        if isinstance(start.expansion, LagrangianExpansion) and not action.task.constrained:
            _ = start.expansion.mass  # raises where l is not convex in v
    return start
