"""What a solver's end is worth: residuals, multipliers and a second word, computed from the problem itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from actionopt.constrained.backpropagated import backpropagate, largest, simulate
from actionopt.constrained.endings import second_word
from actionopt.constrained.further import falls_by_newton, falls_for_ever
from actionopt.constrained.scale import terms_at
from actionopt.constrained.second_order import second_order
from actionopt.constrained.solution import Solution
from actionopt.constrained.task import TrainTask
from actionopt.constrained.training import Trained
from actionopt.nlp import NlpSolution
from actionopt.problem import Problem

ADVICE = {
    "unresolved": "the gradient is small beside the largest, not beside its own terms: weight {weight} of module "
    "{module} is off by {worst:.0e} of them. Inputs or targets of very different sizes do that: standardise them",
    "valley": "the gradient is small beside its terms, but a Newton step still lowers the energy by {part:.1%}: a "
    "narrow valley. Go on from these weights, with a smaller tol or solver='newton'",
    "diverging": "the energy still falls along the way from the start, however far: it has no minimum there, as with "
    "separable classes. weight_decay or bounds give it one",
    "saddle": "the gradient vanishes, but the curvature is negative there: start elsewhere, or take solver='newton', "
    "which leaves saddles",
}


@dataclass(frozen=True)
class Certificate:
    """What is known of a solver's end.

    Attributes
    ----------
    trained : Trained
        With states and multipliers, from backpropagation where the solver had none.
    residual : array (n,)
        Of the first-order conditions in the weights, `d(E + penalty + mu^T c)/dw + nu`.
    relative : array (n,)
        The same over the size of its terms.
    adjoint_error : float
        Largest |multiplier - adjoint| over the largest |adjoint|, or the size of a cost's slope where all vanish, at
        the solver's own states.
    falls : float
        The part by which a Newton step still lowers the energy, where the residual is small.
    """

    trained: Trained
    residual: np.ndarray
    relative: np.ndarray
    adjoint_error: float
    falls: float = 0.0

    @property
    def worst(self) -> float:
        """The largest relative residual; NaN where one is."""
        return float(np.max(self.relative, initial=0.0)) if not np.isnan(self.relative).any() else float("nan")

    def going_on_from(self, before: NlpSolution, task: TrainTask) -> Certificate:
        """Return the certificate with the work done before added, residuals at the task's own scale.

        What was asked for at a finer scale may be finer than rounding: that it was not reached is no failure.
        """
        nlp = self.trained.nlp
        stats = {**nlp.stats, "scale": task.scale}
        for name in ("iterations", "solve_time"):
            stats[name] += before.stats[name]
        for name in ("stationarity", "complementarity"):
            stats[f"scaled_{name}"] = stats[name] / task.scale
        settled = nlp.success or max(stats[f"scaled_{n}"] for n in ("stationarity", "complementarity")) <= task.tol
        status, message = ("converged", before.message) if settled else (nlp.status, nlp.message)
        found = replace(nlp, success=settled, status=status, message=message, stats=stats)
        return replace(self, trained=replace(self.trained, nlp=found))


def certify(task: TrainTask, trained: Trained) -> Certificate:
    """Compute the certificate."""
    problem, w, start = task.problem, trained.weights, task.terms
    with np.errstate(all="ignore"):
        if not np.isfinite(w).all():
            nothing = [np.full((problem.samples, place.size), np.nan) for place in problem.network.placed]
            bad = replace(trained, states=trained.states or nothing, multipliers=trained.multipliers or nothing)
            return Certificate(bad, np.full(problem.size, np.nan), np.full(problem.size, np.nan), np.nan)
        simulated = simulate(problem, w)
        # without constraints on states their equations alone decide: what counts is where the weights lead
        own = any(c.condition.node is not None for c in task.constraints) and trained.states is not None
        states = trained.states if trained.states is not None else simulated
        mu = trained.constraint_multipliers
        back = backpropagate(problem, w, states, task.constraints, mu)
        error = 0.0
        if trained.multipliers is not None:
            difference = [a - b for a, b in zip(trained.multipliers, back.adjoints, strict=True)]
            error = largest(difference) / (max(largest(back.adjoints), start.slope) or 1.0)
        at = back if own else backpropagate(problem, w, simulated, task.constraints, mu)
        residual = at.gradient + trained.bounds_multipliers
        if task.penalty is not None:
            residual = residual + task.penalty.gradient(w)
        terms = terms_at(problem, w).after(start)
    filled = replace(trained, states=states, multipliers=trained.multipliers or back.adjoints)
    relative = terms.relative(residual)
    small = trained.nlp.success and bool((relative <= task.tol).all())
    return Certificate(filled, residual, relative, error, falls_by_newton(task, w, terms) if small else 0.0)


def solution_of(task: TrainTask, certificate: Certificate, formulation: str) -> Solution:
    """Turn a certificate into a result: the status is the solver's only where our residuals agree."""
    trained, problem = certificate.trained, task.problem
    nlp, w = trained.nlp, trained.weights
    usable = bool(np.isfinite(w).all())
    with np.errstate(all="ignore"):
        energy = problem.energy(w) if usable else np.nan
        gradient = problem.gradient(w) if usable else np.array([np.nan])
        if task.penalty is not None and usable:
            gradient = gradient + task.penalty.gradient(w)
    status, message = nlp.status, nlp.message
    if status == "converged":
        status, message = _checked(task, certificate, energy, message)
    asked, lowest = task.second_order or nlp.stats["iterations"] == 0, None
    if usable and (task.second_order or (status == "converged" and (asked or not task.constraints))):
        lowest = second_order(task, trained, brief=not asked)
    if status == "converged" and lowest is not None and lowest.sign < 0:
        status, message, asked = "saddle", _said(nlp.stats["solver"], "saddle", nlp.stats["iterations"]), True
    if status == "infeasible":
        message += violated(task, trained)
    if lowest is not None:
        message += second_word(lowest)
    minimum = None if lowest is None or status != "converged" else {-1: False, 0: None, 1: True}[lowest.sign]
    return Solution(
        weights=w,
        energy=energy,
        multipliers=listed(problem, trained.multipliers),
        gradient_norm=float(abs(gradient).max(initial=0.0)),
        success=status == "converged",
        status=status,
        message=message,
        stats={**nlp.stats, "formulation": formulation, "relative_residual": certificate.worst},
        states=listed(problem, trained.states),
        bounds_multipliers=trained.bounds_multipliers,
        constraint_multipliers=trained.constraint_multipliers,
        adjoint_error=certificate.adjoint_error,
        lowest_eigenvalue=lowest.value if lowest is not None and asked else None,
        is_minimum=False if status == "saddle" else minimum,
    )


def listed(problem: Problem, arrays: list[np.ndarray] | None) -> list[np.ndarray]:
    """Leave out the nodes that only gather what a cost sees."""
    pairs = zip(problem.modules, arrays or [], strict=False)
    return [array for module, array in pairs if not module.is_reading]


def _checked(task: TrainTask, certificate: Certificate, energy: float, message: str) -> tuple[str, str]:
    """Look again at an end that the solver's program calls converged."""
    nlp = certificate.trained.nlp
    solver = nlp.stats["solver"]
    if not np.isfinite([certificate.worst, energy]).all():
        return "not finite", f"{solver}: not finite; energy or gradient at the weights are NaN or infinite"
    if certificate.worst > task.tol:
        return "unresolved", unresolved(task.problem, certificate.relative, solver, nlp.stats["iterations"])
    if falls_for_ever(task, certificate.trained.weights, energy):
        return "diverging", _said(solver, "diverging", nlp.stats["iterations"])
    if part := certificate.falls:
        return "valley", valley(part, solver, nlp.stats["iterations"])
    return "converged", message


def unresolved(problem: Problem, relative: np.ndarray, solver: str, iterations: int) -> str:
    """Return the message for a gradient that is small beside the largest terms and not beside its own."""
    k = int(np.argmax(relative))
    group = next(g for g in problem.groups if g.slice.start <= k < g.slice.stop)
    words = {"weight": k - group.slice.start, "module": group.label, "worst": float(relative[k])}
    return _said(solver, "unresolved", iterations, **words)


def valley(part: float, solver: str, iterations: int) -> str:
    """Return the message for a gradient that is small beside its terms where the energy still falls far."""
    return _said(solver, "valley", iterations, part=part)


def _said(solver: str, status: str, iterations: int, **words: Any) -> str:
    return f"{solver}: {status} after {iterations} iterations; {ADVICE[status].format(**words)}"


def violated(task: TrainTask, trained: Trained) -> str:
    """Name the constraint that is violated most."""
    states = trained.states or simulate(task.problem, trained.weights)
    found = []
    for constraint in task.constraints:
        values = constraint.values_at(constraint.argument(task.problem, trained.weights, states))
        found.append((constraint.violation(values), constraint.name))
    if not found:
        return ""
    worst, name = max(found)
    return f"; constraint {name!r} is violated most, by {worst:.2g}"
