"""The constrained problem with its weights free: two transcriptions, states kept (lifted) or eliminated (condensed).

    minimise over (w, z)   E + penalty(w)   subject to   f_a(z_{a-1,b}, w_a) - z_{a,b} = 0

Lifted variables are ordered `w_1, z_1, w_2, z_2, ..`, z_a the states of the whole batch: depth is the stage index of an
optimal-control problem with states z_{a-1} and controls w_a, the structure fatrop solves stage by stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import casadi as ca
import numpy as np

from actionopt.backprop import adjoints
from actionopt.constrained.derivatives import ChainDerivatives, StageDerivatives
from actionopt.constrained.graph import (
    condensed_loss,
    mean_loss,
    module_functions,
    multiplier_sign,
    offsets,
    sample_loss,
    state_sizes,
    weight_sizes,
)
from actionopt.errors import InputError, unknown_name
from actionopt.nlp import Derivatives, NlpSolution, NlpSolver, Stages
from actionopt.nlp.plugins import merged
from actionopt.problem import Problem
from actionopt.symbolic import SCALAR_LIMIT

FORMULATIONS = ("auto", "lifted", "condensed")
LARGE = 500  # weights beyond which ipopt gets limited-memory second derivatives of the condensed energy
# where few weights meet many samples MUMPS's own ordering fills the factor (20 times slower on iris); deep chains of
# few samples are better left to it
NESTED_DISSECTION = {"ipopt": {"mumps_pivot_order": 5}}

Penalty = Callable[[list[ca.MX]], ca.MX]  # of the weights, one piece a module


@dataclass(frozen=True)
class Trained:
    """Where a transcription ended: the solver's own account, weights, and multipliers of the layer equations."""

    nlp: NlpSolution
    weights: np.ndarray
    multipliers: list[np.ndarray]


def resolve_formulation(problem: Problem, formulation: str, solver: str) -> str:
    """Return "lifted" or "condensed"; "auto" is lifted unless ipopt meets a module whose own Hessian is large.

    Raises
    ------
    InputError
        If there is no such formulation.
    """
    if formulation not in FORMULATIONS:
        raise unknown_name("formulation", formulation, FORMULATIONS)
    if formulation != "auto":
        return formulation
    return "condensed" if solver == "ipopt" and max(weight_sizes(problem)) > SCALAR_LIMIT else "lifted"


class Transcription(Protocol):
    """A constrained problem, built once, solved from any weights."""

    def solve(self, w: np.ndarray) -> Trained: ...


def transcribe(
    problem: Problem,
    formulation: str,
    *,
    solver: str,
    tol: float,
    max_iterations: int,
    options: Mapping[str, Any] | None,
    penalty: Penalty | None = None,
) -> Transcription:
    """Build the problem in the given formulation, with a term of the weights added to E if there is a `penalty`.

    Raises
    ------
    InputError
        If the formulation, the solver or an option is unknown.
    """
    formulation = resolve_formulation(problem, formulation, solver)
    make = Lifted if formulation == "lifted" else Condensed
    settings = {"solver": solver, "tol": tol, "max_iterations": max_iterations, "options": options}
    return make(problem, penalty, settings)


@dataclass(frozen=True)
class LiftedProgram:
    """The lifted problem as expressions of `x = (w_1, z_1, w_2, z_2, ..)`, and how arrays are laid out in it.

    Attributes
    ----------
    sign : int
        The equations are `sign (f - z) = 0`, see `multiplier_sign`.
    """

    problem: Problem
    sign: int
    x: ca.MX
    energy: ca.MX
    equations: ca.MX
    stages: Stages
    derivatives: Derivatives

    @classmethod
    def of(cls, problem: Problem, penalty: Penalty | None, sign: int) -> LiftedProgram:
        """Write the problem down, a penalty included."""
        weights = [ca.MX.sym("w", size) for size in weight_sizes(problem)]
        states = [ca.MX.sym("z", size * problem.samples) for size in state_sizes(problem)]
        inputs, targets = ca.DM(problem.inputs.T), ca.DM(problem.target_array.T)
        columns: list[Any] = [inputs, *(ca.reshape(z, -1, problem.samples) for z in states)]
        parts = zip(module_functions(problem, batched=True), columns[:-1], weights, strict=True)
        outputs = [ca.vec(function(before, piece)) for function, before, piece in parts]
        equations = ca.vertcat(*(sign * (out - z) for out, z in zip(outputs, states, strict=True)))
        joined = ca.MX.sym("w", problem.size)
        pieces = ca.vertsplit(joined, offsets(weight_sizes(problem)))
        terms = weight_terms(problem, pieces, penalty)
        of_weights = ca.Function("of_weights", [joined], [terms, ca.hessian(terms, joined)[0]])
        value, curvature = of_weights(ca.vertcat(*weights))
        lam_f, lam_g = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", equations.numel())
        chain = ChainDerivatives(_stages(problem), sample_loss(problem), problem.samples, sign)
        hessian = chain.hessian(weights, columns, targets, lam_f, lam_g, curvature)
        stage_states = (0, *(z.numel() for z in states))
        return cls(
            problem=problem,
            sign=sign,
            x=ca.vertcat(*(v for pair in zip(weights, states, strict=True) for v in pair)),
            energy=mean_loss(problem, columns[-1]) + value,
            equations=equations,
            stages=Stages(stage_states, (*weight_sizes(problem), 0), (0,) * len(stage_states)),
            derivatives=Derivatives(chain.jacobian(weights, columns), hessian, lam_f, lam_g),
        )

    def point(self, w: np.ndarray, states: list[np.ndarray]) -> np.ndarray:
        """Lay weights `(n,)` and states `(B, d_a)`, one array a module, out as x."""
        pairs = zip(self.problem.unflatten(w), states, strict=True)
        return np.concatenate([part for piece, z in pairs for part in (piece, z.reshape(-1))])

    def weights(self, x: np.ndarray) -> np.ndarray:
        """Take the weights `(n,)` out of x."""
        sizes = [size * self.problem.samples for size in state_sizes(self.problem)]
        ends = offsets([size for pair in zip(weight_sizes(self.problem), sizes, strict=True) for size in pair])
        return np.concatenate(np.split(x, ends[1:-1])[::2])

    def multipliers(self, lam_g: np.ndarray) -> list[np.ndarray]:
        """Return the multipliers of `f - z = 0`, `(B, d_a)` a module."""
        sizes = [size * self.problem.samples for size in state_sizes(self.problem)]
        pieces = np.split(self.sign * lam_g, offsets(sizes)[1:-1])
        return [lam.reshape(self.problem.samples, -1) for lam in pieces]


class Lifted:
    """States of the batch are variables and layer equations are constraints; a module is a stage."""

    def __init__(self, problem: Problem, penalty: Penalty | None, settings: dict[str, Any]) -> None:
        began = time.perf_counter()
        if settings["solver"] == "ipopt" and len(problem.modules) <= problem.samples:
            settings = {**settings, "options": merged(NESTED_DISSECTION, settings["options"])}
        self.program = program = LiftedProgram.of(problem, penalty, multiplier_sign(settings["solver"]))
        self.nlp = NlpSolver(
            program.x,
            program.energy,
            program.equations,
            stages=program.stages,
            derivatives=program.derivatives,
            **settings,
        )
        self.nlp.build_time = time.perf_counter() - began  # the expressions included

    def solve(self, w: np.ndarray) -> Trained:
        """Start from the states and adjoints at `w (n,)`, which satisfy the equations."""
        program = self.program
        point = adjoints(program.problem, w)
        lam0 = program.sign * np.concatenate([lam.reshape(-1) for lam in point.adjoints])
        solution = self.nlp.solve(program.point(w, point.states), lam_g0=lam0)
        return Trained(solution, program.weights(solution.x), program.multipliers(solution.lam_g))


class Condensed:
    """States are eliminated, which leaves the weights alone; multipliers come from backpropagation at the solution."""

    def __init__(self, problem: Problem, penalty: Penalty | None, settings: dict[str, Any]) -> None:
        began = time.perf_counter()
        self.problem = problem
        w = ca.MX.sym("w", problem.size)
        energy = condensed_loss(problem, w) + weight_terms(
            problem, ca.vertsplit(w, offsets(weight_sizes(problem))), penalty
        )
        if settings["solver"] == "ipopt" and problem.size > LARGE:
            limited = {"ipopt": {"hessian_approximation": "limited-memory"}}
            settings = {**settings, "options": merged(limited, settings["options"])}
        self.nlp = NlpSolver(w, energy, stages=Stages((0,), (problem.size,), (0,)), **settings)
        self.nlp.build_time = time.perf_counter() - began  # the expressions included

    def solve(self, w: np.ndarray) -> Trained:
        """Start from `w (n,)`."""
        solution = self.nlp.solve(w)
        with np.errstate(all="ignore"):
            multipliers = adjoints(self.problem, np.nan_to_num(solution.x)).adjoints
        return Trained(solution, solution.x, multipliers)


def weight_terms(problem: Problem, weights: list[ca.MX], penalty: Penalty | None) -> ca.MX:
    """Return what E and the penalty say of the weights alone."""
    decay = 0.5 * problem.weight_decay * sum((ca.sumsqr(piece) for piece in weights), start=ca.MX(0))
    return decay if penalty is None else decay + penalty(weights)


def _stages(problem: Problem) -> list[StageDerivatives]:
    shared: dict[str, StageDerivatives] = {}
    stages = []
    for function in module_functions(problem):
        key = function.serialize()
        if key not in shared:
            shared[key] = StageDerivatives(function, problem.samples)
        stages.append(shared[key])
    return stages


def check_start(problem: Problem, w: Any) -> np.ndarray:
    """Return the weights `(n,)`, `problem.initial_weights()` for None.

    Raises
    ------
    InputError
        If they do not fit, are not finite, or the energy is not finite there.
    """
    w = problem.check_weights(problem.initial_weights() if w is None else w, "starting weights")
    if w.ndim != 1:
        raise InputError(f"starting weights must be one point ({problem.size},), got shape {w.shape}")
    with np.errstate(all="ignore"):
        energy = problem.energy(w)
    if not np.isfinite(energy):
        raise InputError(f"the energy at the starting weights is {energy}: choose smaller ones")
    return w
