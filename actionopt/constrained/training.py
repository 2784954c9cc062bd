"""The constrained problem with its weights free: two transcriptions, states kept (lifted) or eliminated (condensed).

    minimise over (w, z)   E + penalty(w)   subject to   f_a(z_{a-1,b}, w_a) - z_{a,b} = 0

Lifted variables are ordered `w_1, z_1, w_2, z_2, ..`, z_a the states of the whole batch: depth is the stage index of an
optimal-control problem with states z_{a-1} and controls w_a, the structure fatrop solves stage by stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import casadi as ca
import numpy as np

from actionopt.backprop import adjoints
from actionopt.constrained.graph import (
    condensed_energy,
    mean_loss,
    module_functions,
    multiplier_sign,
    offsets,
    state_sizes,
    weight_sizes,
)
from actionopt.errors import InputError, unknown_name
from actionopt.nlp import NlpSolution, NlpSolver, Stages
from actionopt.nlp.plugins import merged
from actionopt.problem import Problem

FORMULATIONS = ("lifted", "condensed")
LARGE = 500  # weights beyond which ipopt gets limited-memory second derivatives of the condensed energy

Penalty = Callable[[list[ca.MX]], ca.MX]  # of the weights, one piece a module


@dataclass(frozen=True)
class Trained:
    """Where a transcription ended: the solver's own account, weights, and multipliers of the layer equations."""

    nlp: NlpSolution
    weights: np.ndarray
    multipliers: list[np.ndarray]


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
    if formulation not in FORMULATIONS:
        raise unknown_name("formulation", formulation, FORMULATIONS)
    make = Lifted if formulation == "lifted" else Condensed
    settings = {"solver": solver, "tol": tol, "max_iterations": max_iterations, "options": options}
    return make(problem, penalty, settings)


class Lifted:
    """States of the batch are variables and layer equations are constraints; a module is a stage."""

    def __init__(self, problem: Problem, penalty: Penalty | None, settings: dict[str, Any]) -> None:
        self.problem = problem
        self.sign = multiplier_sign(settings["solver"])
        batch = problem.samples
        weights = [ca.MX.sym("w", size) for size in weight_sizes(problem)]
        states = [ca.MX.sym("z", size * batch) for size in state_sizes(problem)]
        columns = [ca.reshape(z, size, batch) for z, size in zip(states, state_sizes(problem), strict=True)]
        parts = zip(
            module_functions(problem, batched=True), [ca.DM(problem.inputs.T), *columns[:-1]], weights, strict=True
        )
        equations = [
            self.sign * (ca.vec(f(before, piece)) - z) for (f, before, piece), z in zip(parts, states, strict=True)
        ]
        energy = mean_loss(problem, columns[-1])
        energy += sum(0.5 * problem.weight_decay * ca.sumsqr(piece) for piece in weights)
        energy += 0.0 if penalty is None else penalty(weights)
        stage_states = (0, *(size * batch for size in state_sizes(problem)))
        self.nlp = NlpSolver(
            ca.vertcat(*(v for pair in zip(weights, states, strict=True) for v in pair)),
            energy,
            ca.vertcat(*equations),
            stages=Stages(stage_states, (*weight_sizes(problem), 0), (0,) * len(stage_states)),
            **settings,
        )

    def solve(self, w: np.ndarray) -> Trained:
        """Start from the states and adjoints at `w (n,)`, which satisfy the equations."""
        point = adjoints(self.problem, w)
        x0 = [
            part
            for piece, z in zip(self.problem.unflatten(w), point.states, strict=True)
            for part in (piece, z.reshape(-1))
        ]
        lam0 = self.sign * np.concatenate([lam.reshape(-1) for lam in point.adjoints])
        solution = self.nlp.solve(np.concatenate(x0), lam_g0=lam0)
        sizes = [size * self.problem.samples for size in state_sizes(self.problem)]
        ends = offsets([size for pair in zip(weight_sizes(self.problem), sizes, strict=True) for size in pair])
        weights = np.concatenate(np.split(solution.x, ends[1:-1])[::2])
        multipliers = np.split(self.sign * solution.lam_g, offsets(sizes)[1:-1])
        return Trained(solution, weights, [lam.reshape(self.problem.samples, -1) for lam in multipliers])


class Condensed:
    """States are eliminated, which leaves the weights alone; multipliers come from backpropagation at the solution."""

    def __init__(self, problem: Problem, penalty: Penalty | None, settings: dict[str, Any]) -> None:
        self.problem = problem
        w = ca.MX.sym("w", problem.size)
        energy = condensed_energy(problem, w)
        energy += 0.0 if penalty is None else penalty(ca.vertsplit(w, offsets(weight_sizes(problem))))
        if settings["solver"] == "ipopt" and problem.size > LARGE:
            limited = {"ipopt": {"hessian_approximation": "limited-memory"}}
            settings = {**settings, "options": merged(limited, settings["options"])}
        self.nlp = NlpSolver(w, energy, stages=Stages((0,), (problem.size,), (0,)), **settings)

    def solve(self, w: np.ndarray) -> Trained:
        """Start from `w (n,)`."""
        solution = self.nlp.solve(w)
        with np.errstate(all="ignore"):
            multipliers = adjoints(self.problem, np.nan_to_num(solution.x)).adjoints
        return Trained(solution, solution.x, multipliers)


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
