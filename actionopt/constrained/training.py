"""Training as a program with its weights free: the two ways CasADi's solvers are given it.

    minimise over (w, z)   E + penalty(w)   subject to   f_k(z_of(k), w_group(k)) - z_k = 0,   constraints, bounds

Lifted, the states are variables and the equations constraints (`LiftedProgram`); condensed, they are eliminated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import casadi as ca
import numpy as np

from actionopt.backprop import adjoints
from actionopt.constrained.assembly import as_casadi
from actionopt.constrained.evaluated import EvaluatedEnergy
from actionopt.constrained.graph import SymbolicNetwork, multiplier_sign
from actionopt.constrained.lifted import LiftedProgram
from actionopt.constrained.task import TrainTask
from actionopt.errors import InputError
from actionopt.nlp import Derivatives, NlpSolution, NlpSolver, Stages
from actionopt.nlp.derivatives import takes_gradient
from actionopt.nlp.plugins import merged
from actionopt.symbolic import over_samples

Watch = Callable[[np.ndarray], bool]
LARGE = 500  # weights beyond which ipopt gets limited-memory second derivatives of the condensed energy
WIDE = 3000  # variables of one stage beyond which fatrop, whose stages are dense, is refused
EVALUATED = 300  # numbers in all states from which NumPy evaluates a condensed energy
LONG, TYPICAL = 60.0, 20  # seconds of set-up and so many iterations beyond which fatrop wants a time limit
# where few weights meet many samples MUMPS's own ordering fills the factor (20 times slower on iris); deep chains of
# few samples are better left to it
NESTED_DISSECTION = {"ipopt": {"mumps_pivot_order": 5}}


@dataclass(frozen=True)
class Trained:
    """Where a solver ended.

    Attributes
    ----------
    nlp : NlpSolution
        The solver's own account, or one of the same form.
    weights : array (n,)
    states, multipliers : list of arrays (B, d_k), or None
        The solver's own; None where the states were eliminated.
    bounds_multipliers : array (n,)
    constraint_multipliers : list of arrays
    """

    nlp: NlpSolution
    weights: np.ndarray
    states: list[np.ndarray] | None
    multipliers: list[np.ndarray] | None
    bounds_multipliers: np.ndarray
    constraint_multipliers: list[np.ndarray]


class Transcription(Protocol):
    """A program built once, solved from any point and at any scale."""

    def solve(self, start: np.ndarray | Trained, scale: float) -> Trained: ...


def transcribe(task: TrainTask, watch: Watch | None = None) -> Transcription:
    """Build the program of a task for CasADi's solvers; `watch` gets the weights of every iterate, and may end a solve.

    Raises
    ------
    InputError
        If the solver or an option is unknown, or the network has no stages for fatrop.
    """
    return (Lifted if task.formulation == "lifted" else Condensed)(task, watch)


def _settings(task: TrainTask) -> dict[str, Any]:
    names = ("solver", "tol", "max_iterations", "time_limit", "options")
    return {name: getattr(task, name) for name in names}


class Lifted:
    """States of the batch are variables and the nodes' equations constraints."""

    def __init__(self, task: TrainTask, watch: Watch | None = None) -> None:
        began = time.perf_counter()
        problem = task.problem
        settings = _settings(task)
        if task.solver == "ipopt" and len(problem.modules) <= problem.samples:
            settings["options"] = merged(NESTED_DISSECTION, settings["options"])
        sign = multiplier_sign(task.solver)
        self.task = task
        self.program = program = LiftedProgram(
            SymbolicNetwork(problem), sign, penalty=task.penalty, constraints=task.constraints
        )
        if task.solver == "fatrop":
            check_stages(program.layout.stages, task.time_limit)
        self.limits = program.limits(task.bounds)
        self.nlp = NlpSolver(
            program.x,
            program.energy,
            program.equations,
            stages=program.layout.stages,
            derivatives=program.derivatives,
            equality=self.limits["lbg"] == self.limits["ubg"],
            watch=None if watch is None else lambda x: watch(x[program.layout.weights]),
            **settings,
        )
        self.nlp.build_time = time.perf_counter() - began  # the expressions included

    def solve(self, start: np.ndarray | Trained, scale: float) -> Trained:
        """Start from the states and adjoints at weights, which satisfy the equations, or from where a solve ended."""
        program = self.program
        if isinstance(start, Trained):
            given: dict[str, Any] = {"lam_g0": start.nlp.lam_g, "lam_x0": start.nlp.lam_x}
            x0 = start.nlp.x
        else:
            point = adjoints(program.problem, start)
            given = {"lam_g0": program.to_multipliers(point.adjoints)}
            x0 = program.point(start, point.states)
        found = self.nlp.solve(x0, scale=scale, sizes=self._sizes(x0), **given, **self.limits)
        return Trained(
            nlp=found,
            weights=found.x[program.layout.weights],
            states=program.states_at(found.x),
            multipliers=program.multipliers(found.lam_g),
            bounds_multipliers=found.lam_x[program.layout.weights],
            constraint_multipliers=program.constraint_multipliers(found.lam_g),
        )

    def _sizes(self, x0: np.ndarray) -> np.ndarray:
        """Sizes of what the equations compare: states and what they are to become, or 1 where those are smaller."""
        sizes, network = np.ones(self.program.layout.rows), self.program.network
        compared = [[states] for states in self.program.states_at(x0)]
        for term, targets in zip(network.costs, network.targets, strict=True):
            if term.node >= len(network.data):
                compared[term.node - len(network.data)].append(targets)
        for places, arrays in zip(self.program.layout.equations, compared, strict=True):
            sizes[places] = max(1.0, *(float(abs(np.nan_to_num(array)).max(initial=0.0)) for array in arrays))
        return sizes


class Condensed:
    """States are eliminated, which leaves the weights alone."""

    def __init__(self, task: TrainTask, watch: Watch | None = None) -> None:
        began = time.perf_counter()
        problem, settings = task.problem, _settings(task)
        self.task = task
        w = ca.MX.sym("w", problem.size)
        self.evaluated = EvaluatedEnergy(problem) if is_evaluated(task) else None
        energy, g = self._by_graph(w) if self.evaluated is None else self._by_numpy(w, self.evaluated)
        energy = energy if task.penalty is None else energy + task.penalty.symbolic(w)
        self.limits = {
            "lbx": task.bounds[0],
            "ubx": task.bounds[1],
            "lbg": np.concatenate([np.zeros(0), *(c.lower.ravel() for c in task.constraints)]),
            "ubg": np.concatenate([np.zeros(0), *(c.upper.ravel() for c in task.constraints)]),
        }
        if task.solver == "ipopt" and problem.size > LARGE:
            limited = {"ipopt": {"hessian_approximation": "limited-memory"}}
            settings["options"] = merged(limited, settings["options"])
        stages = Stages((0,), (problem.size,), (g.numel(),))
        if task.solver == "fatrop":
            check_stages(stages, task.time_limit)
        equality = self.limits["lbg"] == self.limits["ubg"]
        derivatives = None if self.evaluated is None else self._derivatives(w, g, self.evaluated)
        self.nlp = NlpSolver(
            w, energy, g, stages=stages, equality=equality, watch=watch, derivatives=derivatives, **settings
        )
        self.nlp.build_time = time.perf_counter() - began  # the expressions included

    def _by_graph(self, w: ca.MX) -> tuple[ca.MX, ca.MX]:
        """Return E and the constraints as one graph."""
        problem, graph = self.task.problem, SymbolicNetwork(self.task.problem)
        pieces = graph.pieces(w)
        states = graph.forward(pieces)
        parts, first = [], len(problem.network.data)
        for constraint in self.task.constraints:
            condition = constraint.condition
            if condition.node is None:
                parts.append(constraint.function(pieces[condition.group]))  # type: ignore[index]
            else:
                function = over_samples(constraint.function, problem.samples, [])
                parts.append(ca.vec(function(states[first + condition.node])))
        energy = graph.mean_loss(states) + 0.5 * problem.weight_decay * ca.sumsqr(w)
        return energy, ca.vertcat(ca.MX(0, 1), *parts)

    def _by_numpy(self, w: ca.MX, evaluated: EvaluatedEnergy) -> tuple[ca.MX, ca.MX]:
        """Return E as NumPy evaluates it, and the constraints, all of them on weights."""
        groups = self.task.problem.network.groups
        pieces = [groups[c.condition.group].slice for c in self.task.constraints]  # type: ignore[index]
        parts = [c.function(w[at]) for c, at in zip(self.task.constraints, pieces, strict=True)]
        return evaluated.at(w), ca.vertcat(ca.MX(0, 1), *parts)

    def _derivatives(self, w: ca.MX, g: ca.MX, evaluated: EvaluatedEnergy) -> Derivatives:
        lam_f, lam_g = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", g.numel())
        gradient, hessian = evaluated.gradient(w), lam_f * evaluated.hessian(w)
        if g.numel():
            hessian = hessian + ca.hessian(ca.dot(lam_g, g), w)[0]
        if self.task.penalty is not None:
            gradient = gradient + ca.gradient(self.task.penalty.symbolic(w), w)
            hessian = hessian + lam_f * as_casadi(self.task.penalty.matrix)
        return Derivatives(ca.jacobian(g, w), hessian, lam_f, lam_g, gradient)

    def solve(self, start: np.ndarray | Trained, scale: float) -> Trained:
        """Start from weights `(n,)`, or from where a solve ended."""
        if isinstance(start, Trained):
            given: dict[str, Any] = {"lam_g0": start.nlp.lam_g, "lam_x0": start.nlp.lam_x}
            start = start.weights
        else:
            given = {}
        found = self.nlp.solve(start, scale=scale, **given, **self.limits)
        ends = np.cumsum([constraint.lower.size for constraint in self.task.constraints])[:-1]
        pieces = np.split(found.lam_g, ends) if self.task.constraints else []
        shaped = [lam.reshape(c.shape) for lam, c in zip(pieces, self.task.constraints, strict=True)]
        return Trained(found, found.x, None, None, found.lam_x, shaped)


def is_evaluated(task: TrainTask) -> bool:
    """Whether a condensed program is evaluated by NumPy: of many samples, its constraints on weights alone."""
    problem = task.problem
    states = problem.samples * sum(place.size for place in problem.network.placed)
    on_states = any(constraint.condition.node is not None for constraint in task.constraints)
    return not on_states and states >= EVALUATED and takes_gradient(task.solver)


def check_stages(stages: Stages, time_limit: float | None = None) -> None:
    """Raise InputError where a stage is too wide for fatrop, or it would work for long and was given no time limit."""
    widest = max(x + u for x, u in zip(stages.states, stages.controls, strict=True))
    if widest > WIDE:
        raise InputError(
            f"solver 'fatrop' factorises stages densely, and one of this network has {widest} variables: weights that "
            "are used at several depths, or states that skip, hold it together; take solver='ipopt'"
        )
    setup, iteration = fatrop_seconds(stages)
    if time_limit is None and setup + TYPICAL * iteration > LONG:
        raise InputError(
            f"solver 'fatrop' factorises stages densely: here, {len(stages.states)} of up to {widest} variables, it "
            f"takes about {setup:.2g} s to set up and {iteration:.2g} s an iteration; solver='newton' and 'ipopt' take "
            "less, so do fewer samples, and with a time_limit= it runs all the same"
        )


def fatrop_seconds(stages: Stages) -> tuple[float, float]:
    """Estimate CasADi's set-up of fatrop and one iteration, in seconds of a core of 2024.

    The set-up inserts block after block into one sparse matrix: entries of all blocks, times stages. An iteration is a
    dense factorisation a stage. Both were measured on chains of 3 to 200 stages, 6 to 2500 variables each, and are
    right to within a factor of two there.
    """
    widths = [x + u for x, u in zip(stages.states, stages.controls, strict=True)]
    onward = [*stages.states[1:], 0]
    blocks = zip(widths, onward, stages.constraints, strict=True)
    entries = sum(width * (width + after + rows) for width, after, rows in blocks)
    return entries * (1e-7 + 8e-9 * len(widths)), 5e-10 * sum(float(width) ** 3 for width in widths)


def solve_casadi(task: TrainTask, watch: Watch | None = None) -> tuple[Trained, Transcription]:
    """Solve a task by one of CasADi's NLP solvers; the transcription can be solved again."""
    transcription = transcribe(task, watch)
    return transcription.solve(task.start, task.scale), transcription
