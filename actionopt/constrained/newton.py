"""Training by Newton's method in NumPy: no program is built.

Three engines, each where it was measured best (`python -m benchmarks.train`):

- few samples: L-BFGS for forty steps, and for as long as it converges fast; then trust-region Newton-CG on recorded
  Hessian products;
- chains that are deep and hard, where L-BFGS crawls: lifted Newton with Riccati elimination, states as unknowns, from
  the start again; finished by Newton-CG, for a lifted residual of 1e-8 is no gradient of 1e-8 in a deep chain;
- many samples: L-BFGS whose initial Hessian is the Kronecker-factored layerwise metric, rebuilt now and then;
  trust-region Newton-CG in that metric where it stalls.

Either ends in Newton's method, which looks for negative curvature before it calls a point a minimum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from actionopt.backprop import adjoints
from actionopt.constrained.endings import ADVICE, ENDED, Slow, second_word, valley, verdict
from actionopt.constrained.energy import Energy, EnergyPoint
from actionopt.constrained.history import Watcher
from actionopt.constrained.solution import Solution
from actionopt.constrained.stages import Chain, why_no_chain
from actionopt.constrained.task import TrainTask
from actionopt.constrained.watching import watching
from actionopt.errors import InputError
from actionopt.metric.kronecker import KroneckerMetric
from actionopt.metric.output_factor import loss_factor
from actionopt.newton.lanczos import Lowest, lowest_eigenvalue
from actionopt.newton.lbfgs import Lbfgs
from actionopt.newton.lifted import LiftedNewton
from actionopt.newton.point import Minimum, Point, Precondition, largest
from actionopt.newton.trust_region import TrustRegion
from actionopt.ops import NUMPY
from actionopt.problem import Problem

DEEP, BATCH, OWN = 10, 400, 200  # modules from which, and numbers a state and weights a module up to which, to lift
MANY = 40_000  # numbers in all states from which the Kronecker metric pays
PAIRS = 250_000  # numbers in the steps that L-BFGS keeps, 20 to 100 of them
REFRESH = 30  # iterations after which the Kronecker metric is built anew
DAMPING = 1e-4  # of the Kronecker metric where there is no decay, as a part of a block's mean eigenvalue
NEAR = 1e-4  # a gradient at the start below this part of its terms says nothing of their size


def train_newton(task: TrainTask) -> Solution:
    """Minimise E from the task's start; its bounds and constraints are another's (`limited.py`).

    Raises
    ------
    InputError
        If the formulation does not fit the problem, or options are given.
    """
    began = time.perf_counter()
    problem, w0 = task.problem, task.start
    check_newton(task)
    with np.errstate(all="ignore"):
        scale = energy_scale(problem, w0)
        energy = Energy(problem, scale)
        start = energy(w0)
        run = _Run(energy, task)
        with watching(task, scale) as watcher:
            minimum = run.minimize(start, watcher)
        lowest = lowest_eigenvalue(minimum.point.product, problem.size) if task.second_order else None
        return _solution(energy, minimum, watcher, lowest, task, run.engine, time.perf_counter() - began)


def check_newton(task: TrainTask) -> None:
    """Raise InputError for a chain that is none, and for CasADi's options."""
    if task.formulation == "lifted" and (reason := why_no_chain(task.problem, task.constraints)):
        raise InputError(
            f"solver 'newton' lifts chains only, every module on weights of its own: {reason}; formulation='condensed' "
            "takes all"
        )
    if task.options is not None and not (isinstance(task.options, Mapping) and not task.options):
        raise InputError(f"options are those of CasADi's solvers, solver 'newton' takes none; got {task.options!r}")


def energy_scale(problem: Problem, w: np.ndarray) -> float:
    """Return the size of the terms of the first-order conditions at the start, by which gradients are judged.

    The largest entry of |gradient|; where that is below 1e-4 of the loss's mean slope at outputs of zero its terms
    cancel, or the start fits already, and the size of what is summed is taken: |H w|, else the largest sum of
    |adjoints| over the samples. 1 where all of it is 0.
    """
    point = Energy(problem)(w)
    slope = largest(point.gradient)
    if not np.isfinite(slope):
        return 1.0
    if slope > NEAR * _target_slope(problem) > 0:
        return slope
    terms = largest(point.product(w))
    size = slope if slope > NEAR * terms else terms
    if not 0.0 < size < np.inf:
        size = max(float(abs(lam).sum(axis=-2).max(initial=0.0)) for lam in adjoints(problem, w).adjoints)
    return size if 0.0 < size < np.inf else 1.0


def _target_slope(problem: Problem) -> float:
    """Return the mean size of the losses' slopes where all outputs are zero: what the targets alone say."""
    network = problem.network
    states = [np.zeros((network.samples, place.size)) for place in network.nodes]
    slopes = network.slopes(NUMPY, states).values()
    return max(float(abs(slope).sum(axis=-2).max(initial=0.0)) for slope in slopes) / network.samples


def _many(problem: Problem) -> bool:
    states = problem.samples * sum(place.size for place in problem.network.placed)
    return states >= MANY


class _Run:
    """The engines in turn.

    Attributes
    ----------
    engine : str
        The one that did the work.
    """

    def __init__(self, energy: Energy, task: TrainTask) -> None:
        self.energy, self.task = energy, task
        self.problem = energy.problem
        self.lifted = task.formulation == "lifted"
        self.may_lift = task.formulation == "auto" and is_deep(self.problem)
        self.engine = "Kronecker L-BFGS" if _many(self.problem) else "trust region"

    def minimize(self, start: EnergyPoint, watcher: Watcher) -> Minimum:
        """Run one engine after the other until the gradient vanishes; each goes on from the best point so far."""
        if not np.isfinite(start.gradient).all():
            return Minimum(start, "not finite")
        metric = _kronecker(self.problem) if _many(self.problem) and not self.lifted else None
        found = Minimum(start, "iteration limit") if self.lifted else self._lbfgs(start, metric, watcher)
        if found.status in ENDED or (found.status == "iteration limit" and self._left(found) <= 0):
            return found
        if self.lifted or (self.may_lift and found.status == "iteration limit"):
            found = self._lift(start, found, watcher)
            if found.status in ENDED:
                return found
        newton = TrustRegion(
            self.energy,
            self.task.tol,
            max_iterations=self._left(found),
            precondition=None if metric is None else metric(found.point),
            watch=watcher,
        ).minimize(found.point)
        newton.iterations += found.iterations
        return newton

    def _left(self, found: Minimum) -> int:
        return self.task.max_iterations - found.iterations

    def _lbfgs(self, start: EnergyPoint, metric: Any, watcher: Watcher) -> Minimum:
        slow = Slow(self.task.tol)
        return Lbfgs(
            self.energy,
            self.task.tol,
            metric=metric,
            memory=int(np.clip(PAIRS // max(self.problem.size, 1), 20, 100)),
            refresh=REFRESH,
            max_iterations=self.task.max_iterations,
            watch=watcher,
            enough=None if metric is not None else lambda iteration, point: slow(largest(point.gradient)),
        ).minimize(start)

    def _lift(self, start: EnergyPoint, found: Minimum, watcher: Watcher) -> Minimum:
        """Lift from the start; return where that ended, or what was found before if that is lower."""
        self.engine = "lifted Riccati"
        chain = Chain(self.problem, self.energy.scale)
        lifted = LiftedNewton(chain, self.task.tol, self._left(found), watch=watcher).minimize(start.x)
        end = self.energy(lifted.point.x)
        iterations = found.iterations + lifted.iterations
        usable = np.isfinite(end.value) and np.isfinite(end.gradient).all()
        if not usable or (end.value > found.point.value and lifted.status != "converged"):
            end = found.point  # type: ignore[assignment]
        return Minimum(end, lifted.status, iterations, found.products)


def is_deep(problem: Problem) -> bool:
    """Whether a problem is a chain that Riccati elimination is made for: deep, small states, small modules."""
    if not Chain.fits(problem) or len(problem.network.placed) < DEEP:
        return False
    widest = max(place.size for place in problem.network.placed)
    return problem.samples * widest <= BATCH and max(group.size for group in problem.groups) <= OWN


def _kronecker(problem: Problem) -> Callable[[Point], Precondition]:
    """Return the Kronecker-factored metric of the loss's own curvature, damped by the decay, as a preconditioner."""

    def at(point: Any) -> Precondition:
        states = point.passed.states
        factors = [loss_factor(problem, states[term.node], j) for j, term in enumerate(problem.costs)]
        metric = KroneckerMetric(
            problem,
            point.x,
            damping=problem.weight_decay,
            relative=0.0 if problem.weight_decay else DAMPING,
            passed=point.passed,
            factors=factors,
        )
        return metric.solve

    return at


def _solution(
    energy: Energy,
    minimum: Minimum,
    watcher: Watcher,
    lowest: Lowest | None,
    task: TrainTask,
    engine: str,
    seconds: float,
) -> Solution:
    """Certify where the engine stopped: gradient, energy and adjoints are those of the problem at the weights."""
    problem, scale = energy.problem, energy.scale
    point = adjoints(problem, minimum.point.x)
    norm = largest(point.gradient)
    status = minimum.status
    if status == "converged" and not norm <= task.tol * scale:  # never on the engine's word
        status = "stalled"
    success = status == "converged"
    eigenvalue = None if lowest is None else lowest.value * scale
    return Solution(
        weights=minimum.point.x,
        energy=problem.energy(minimum.point.x),
        multipliers=point.adjoints,
        gradient_norm=norm,
        success=success,
        status=status,
        message=_message(status, norm, scale, minimum, watcher, lowest, problem),
        stats={
            "solver": "newton",
            "formulation": "lifted" if engine == "lifted Riccati" else "condensed",
            "engine": engine,
            "iterations": minimum.iterations,
            "products": minimum.products,
            "evaluations": energy.evaluations,
            "build_time": 0.0,
            "solve_time": seconds,
            "stationarity": norm,
            "infeasibility": 0.0,
            "complementarity": 0.0,
            "scale": scale,
            "scaled_stationarity": norm / scale,
        },
        lowest_eigenvalue=eigenvalue,
        is_minimum=verdict(status, lowest),
        history=watcher.history,
    )


def _message(
    status: str,
    norm: float,
    scale: float,
    minimum: Minimum,
    watcher: Watcher,
    lowest: Lowest | None,
    problem: Problem,
) -> str:
    message = (
        f"newton: {status} after {minimum.iterations} iterations "
        f"(|gradient| {norm:.1e}, {norm / scale:.1e} of its scale); {ADVICE[status]}"
    )
    message += valley(status, watcher, problem.weight_decay)
    return message if lowest is None or status != "converged" else message + second_word(lowest, scale)
