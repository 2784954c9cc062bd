"""Where Newton's method within limits ended, certified from the problem itself, as a result.

The gradient of the Lagrangian is that of backpropagation, every multiplier of an equation an adjoint; a chain whose
states were unknowns is gone through by stages, all of a kind in one call.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actionopt.constrained.backpropagated import backpropagate, simulate
from actionopt.constrained.certify import listed, unresolved, violated
from actionopt.constrained.endings import ADVICE, second_word, valley, verdict
from actionopt.constrained.history import Watcher
from actionopt.constrained.scale import terms_at
from actionopt.constrained.second_order import second_order
from actionopt.constrained.solution import Solution
from actionopt.constrained.stage_point import ChainPoint
from actionopt.constrained.stage_terms import stage_slopes, stage_terms
from actionopt.constrained.stages import Chain
from actionopt.constrained.task import TrainTask
from actionopt.constrained.training import Trained
from actionopt.newton.point import largest
from actionopt.newton.quadratic import LiftedPoint

COARSE = 100  # times tol: what every weight's gradient is held to, relative to its own terms


@dataclass
class Ended:
    """Where an engine stopped.

    Attributes
    ----------
    w, force : arrays (n,)
        Weights, and multipliers of their bounds.
    mu : list of arrays
        Multipliers of the constraints.
    status, engine : str
    iterations, products : int
    point : LiftedPoint or None
        Where states were unknowns; its energy is over the task's scale.
    """

    w: np.ndarray
    force: np.ndarray
    mu: list[np.ndarray]
    status: str
    engine: str
    iterations: int
    products: int = 0
    point: LiftedPoint | None = None
    _certificate: Certificate | None = None

    def certified(self, task: TrainTask) -> Certificate:
        """Return the certificate, computed once: by stages where the states were unknowns, else by backpropagation."""
        if self._certificate is None:
            point = self.point
            self._certificate = _by_backpropagation(task, self) if point is None else _by_stages(task, self, point)
        return self._certificate


@dataclass(frozen=True)
class Certificate:
    """What the problem itself says of an end.

    Attributes
    ----------
    states, adjoints : list of arrays (B, d_k)
        Of the nodes that results list: the solver's own where there are constraints on states, else those that the
        weights lead to; and the adjoints there, constraints as sources.
    gradient : array (n,)
        dE/dw at the states that the weights lead to.
    residual, relative : arrays (n,)
        Of the first-order conditions in the weights, and over the size of its terms.
    infeasibility, adjoint_error : float
    """

    states: list[np.ndarray]
    adjoints: list[np.ndarray]
    energy: float
    gradient: np.ndarray
    residual: np.ndarray
    relative: np.ndarray
    infeasibility: float
    adjoint_error: float

    @property
    def worst(self) -> float:
        """The largest relative residual; NaN where one is."""
        return float(np.max(self.relative, initial=0.0)) if not np.isnan(self.relative).any() else float("nan")


def _by_backpropagation(task: TrainTask, ended: Ended) -> Certificate:
    problem, w = task.problem, ended.w
    states = simulate(problem, w)
    back = backpropagate(problem, w, states)
    terms = terms_at(problem, w).after(task.terms)
    residual = _free(task, back.gradient + ended.force)
    return Certificate(
        listed(problem, states),
        listed(problem, back.adjoints),
        problem.energy(w),
        back.gradient,
        residual,
        terms.relative(residual),
        infeasibility=_outside(task, w),
        adjoint_error=0.0,
    )


def _by_stages(task: TrainTask, ended: Ended, point: LiftedPoint) -> Certificate:
    w, chain = ended.w, task.by_stages.chain
    simulated = chain.at(w, chain.simulate(w))
    own = chain.at(w, point.z) if any(c.condition.node is not None for c in task.constraints) else simulated
    mu = np.concatenate([np.zeros(0), *(m.ravel() for m in ended.mu)])
    lam = own.adjoints(mu)
    residual = _free(task, _in_weights(own, lam, mu) + ended.force)
    terms = stage_terms(simulated, stage_slopes(simulated)).after(task.terms)
    nothing = np.zeros_like(mu)
    error = largest(task.scale * point.lam - lam) / (max(largest(lam), task.terms.slope) or 1.0)
    violation = max(largest(own.gaps), _violation(own.conditions, chain.low, chain.high))
    return Certificate(
        chain.by_stage(own.z),
        chain.by_stage(lam),
        simulated.energy,
        _in_weights(simulated, simulated.adjoints(nothing), nothing),
        residual,
        terms.relative(residual),
        infeasibility=max(violation, _outside(task, w)),
        adjoint_error=error,
    )


def _in_weights(point: ChainPoint, lam: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """Return the gradient of the Lagrangian in the weights."""
    return point.slopes[0] + point.pull(lam)[0] + point.pull_conditions(mu)[0]


def _free(task: TrainTask, residual: np.ndarray) -> np.ndarray:
    """Leave out weights that their bounds hold at one value."""
    return np.where(task.bounds[0] == task.bounds[1], 0.0, residual)


def _outside(task: TrainTask, w: np.ndarray) -> float:
    return _violation(w, *task.bounds)


def _violation(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    return float(np.max(np.maximum(low - values, values - high), initial=0.0))


def solution_of(task: TrainTask, ended: Ended, watcher: Watcher, seconds: float) -> Solution:
    """Turn an end into a result: "converged" only where our own residuals agree."""
    found = ended.certified(task)
    status, scale, w = ended.status, task.scale, ended.w
    if status == "converged" and not np.isfinite([found.worst, found.energy]).all():
        status = "not finite"
    words = _residuals(task, ended, found)
    message = f"newton: {status} after {ended.iterations} iterations ({words}); {ADVICE[status]}"
    if status == "converged" and not found.worst <= COARSE * task.tol:
        status = "unresolved"
        message = unresolved(task.problem, found.relative, "newton", ended.iterations)
    lowest = None
    if task.second_order and np.isfinite(w).all():
        lowest = second_order(task, _as_trained(task, ended, found))
    if status == "infeasible":
        message += violated(task, _as_trained(task, ended, found))
    message += valley(status, watcher, task.problem.weight_decay)
    if lowest is not None:
        message += second_word(lowest)
    complementarity = _complementarity(task, ended)
    return Solution(
        weights=w,
        energy=found.energy,
        multipliers=found.adjoints,
        gradient_norm=largest(found.gradient),
        success=status == "converged",
        status=status,
        message=message,
        stats={
            "solver": "newton",
            "formulation": "condensed" if ended.point is None else "lifted",
            "engine": ended.engine,
            "iterations": ended.iterations,
            "products": ended.products,
            "build_time": 0.0,
            "solve_time": seconds,
            "stationarity": largest(found.residual),
            "infeasibility": found.infeasibility,
            "complementarity": complementarity,
            "scale": scale,
            "scaled_stationarity": largest(found.residual) / scale,
            "scaled_infeasibility": found.infeasibility,
            "scaled_complementarity": complementarity / scale,
            "relative_residual": found.worst,
        },
        lowest_eigenvalue=None if lowest is None else lowest.value,
        is_minimum=verdict(status, lowest),
        history=watcher.history,
        states=found.states,
        bounds_multipliers=ended.force,
        constraint_multipliers=ended.mu,
        adjoint_error=found.adjoint_error,
    )


def _residuals(task: TrainTask, ended: Ended, found: Certificate) -> str:
    return (
        f"stationarity {largest(found.residual) / task.scale:.1e}, infeasibility {found.infeasibility:.1e}, "
        f"complementarity {_complementarity(task, ended) / task.scale:.1e}"
    )


def _complementarity(task: TrainTask, ended: Ended) -> float:
    """Return the largest multiplier of a bound times the distance from it."""
    low, high = task.bounds
    distances = np.where(ended.force > 0, high - ended.w, ended.w - low)
    return largest(np.where(ended.force != 0.0, ended.force * np.where(np.isfinite(distances), distances, 1.0), 0.0))


def _as_trained(task: TrainTask, ended: Ended, found: Certificate) -> Trained:
    """Return the end as `second_order` and `violated` take it, a state a node of the network."""
    problem, w = task.problem, ended.w
    if ended.point is None:
        own = simulate(problem, w)
    else:
        own = Chain(problem).by_node(w, np.concatenate([states.ravel() for states in found.states]))
    back = backpropagate(problem, w, own, task.constraints, ended.mu)
    return Trained(None, w, own, back.adjoints, ended.force, ended.mu)  # type: ignore[arg-type]
