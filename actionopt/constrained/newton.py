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

import numbers
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.backprop import adjoints
from actionopt.constrained.energy import Energy, EnergyPoint
from actionopt.constrained.history import LATELY, Moment, Watcher
from actionopt.constrained.solution import Solution
from actionopt.constrained.stages import Chain
from actionopt.errors import InputError, unknown_name
from actionopt.metric.kronecker import KroneckerMetric
from actionopt.metric.output_factor import loss_factor
from actionopt.newton.lanczos import Lowest, lowest_eigenvalue
from actionopt.newton.lbfgs import Lbfgs
from actionopt.newton.lifted import LiftedNewton
from actionopt.newton.point import Minimum, Point, Precondition, largest
from actionopt.newton.trust_region import TrustRegion
from actionopt.nlp.plugins import check_limits
from actionopt.ops import NUMPY
from actionopt.problem import Problem
from actionopt.progress import progress_bar

FORMULATIONS = ("auto", "lifted", "condensed")
FIRST = 40  # steps of L-BFGS before Newton's method, where there are few samples
SHORT = 120  # steps that L-BFGS may still need, at its rate so far, and goes on
DEEP, BATCH, OWN = 10, 400, 200  # modules from which, and numbers a state and weights a module up to which, to lift
MANY = 40_000  # numbers in all states from which the Kronecker metric pays
PAIRS = 250_000  # numbers in the steps that L-BFGS keeps, 20 to 100 of them
REFRESH = 30  # iterations after which the Kronecker metric is built anew
DAMPING = 1e-4  # of the Kronecker metric where there is no decay, as a part of a block's mean eigenvalue
NEAR = 1e-4  # a gradient at the start below this part of its terms says nothing of their size

ADVICE = {
    "converged": "the gradient vanishes to the tolerance, and no direction of negative curvature was found",
    "saddle": "the gradient vanishes, but the curvature is negative and no step along it lowers the energy: "
    "start elsewhere",
    "iteration limit": "more iterations (max_iterations=), a looser tol, or a start nearer to the answer may get there",
    "stalled": "no step lowers the energy further, as happens at a kink (relu, abs) and at the limit of rounding: "
    "loosen tol, or use a smooth activation such as softplus",
    "unbounded": "the energy falls without end: weight_decay or bounds keep it from doing so",
    "not finite": "the gradient at the start is not finite: start elsewhere",
    "time limit": "these are the best weights so far; give more time (time_limit=) or go on from them",
    "interrupted": "these are the best weights so far; another run can go on from them",
    "stopped": "the callback ended the run; these are the best weights so far",
}
VALLEY = (
    "; the gradient has shrunk by less than half in the last {count} iterations while the weights moved by "
    "{moved:.0%}: a valley, as separable classes or spare units give without weight decay. A small weight_decay "
    "makes the minimum one point"
)


@dataclass(frozen=True)
class NewtonOptions:
    """What `train` hands on; see there."""

    tol: float
    max_iterations: int
    progress: bool = False
    callback: Callable[[Moment], Any] | None = None
    time_limit: float = np.inf
    second_order: bool = False


def train_newton(
    problem: Problem, w0: np.ndarray, formulation: str, casadi_options: Any, options: NewtonOptions
) -> Solution:
    """Minimise E from finite weights `w0 (n,)` at which it is finite.

    Raises
    ------
    InputError
        If there is no such formulation, it does not fit the problem, or an option is out of range.
    """
    began = time.perf_counter()
    _check(problem, formulation, casadi_options, options)
    with np.errstate(all="ignore"):
        scale = energy_scale(problem, w0)
        energy = Energy(problem, scale)
        start = energy(w0)
        run = _Run(energy, options, formulation)
        with progress_bar(None, f"train {problem.name}", options.progress) as tick:
            watcher = Watcher(scale, options.callback, options.time_limit, tick)
            minimum = run.minimize(start, watcher)
        lowest = lowest_eigenvalue(minimum.point.product, problem.size) if options.second_order else None
        return _solution(energy, minimum, watcher, lowest, options, run.engine, time.perf_counter() - began)


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


def _check(problem: Problem, formulation: str, casadi_options: Any, options: NewtonOptions) -> None:
    if formulation not in FORMULATIONS:
        raise unknown_name("formulation", formulation, FORMULATIONS)
    if formulation == "lifted" and not Chain.fits(problem):
        raise InputError(
            "solver 'newton' lifts chains only, every module on weights of its own; formulation='condensed' takes all"
        )
    if casadi_options:
        raise InputError(f"options are those of CasADi's solvers, solver 'newton' takes none; got {casadi_options!r}")
    check_limits(options.tol, options.max_iterations)
    seconds = options.time_limit
    if isinstance(seconds, bool) or not isinstance(seconds, numbers.Real) or not float(seconds) > 0:
        raise InputError(f"time_limit must be a positive number of seconds, got {seconds!r}")


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

    def __init__(self, energy: Energy, options: NewtonOptions, formulation: str) -> None:
        self.energy, self.options = energy, options
        self.problem = energy.problem
        self.lifted = formulation == "lifted"
        self.may_lift = formulation == "auto" and _deep(self.problem)
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
            self.options.tol,
            max_iterations=self._left(found),
            precondition=None if metric is None else metric(found.point),
            watch=watcher,
        ).minimize(found.point)
        newton.iterations += found.iterations
        return newton

    def _left(self, found: Minimum) -> int:
        return self.options.max_iterations - found.iterations

    def _lbfgs(self, start: EnergyPoint, metric: Any, watcher: Watcher) -> Minimum:
        return Lbfgs(
            self.energy,
            self.options.tol,
            metric=metric,
            memory=int(np.clip(PAIRS // max(self.problem.size, 1), 20, 100)),
            refresh=REFRESH,
            max_iterations=self.options.max_iterations,
            watch=watcher,
            enough=_slow(self.options.tol) if metric is None else None,
        ).minimize(start)

    def _lift(self, start: EnergyPoint, found: Minimum, watcher: Watcher) -> Minimum:
        """Lift from the start; return where that ended, or what was found before if that is lower."""
        self.engine = "lifted Riccati"
        chain = Chain(self.problem, self.energy.scale)
        solver = LiftedNewton(chain, self.options.tol, self._left(found), watch=watcher)
        lifted = solver.minimize(chain.split(start.x))
        end = self.energy(lifted.point.x)
        iterations = found.iterations + lifted.iterations
        usable = np.isfinite(end.value) and np.isfinite(end.gradient).all()
        if not usable or (end.value > found.point.value and lifted.status != "converged"):
            end = found.point  # type: ignore[assignment]
        return Minimum(end, lifted.status, iterations, found.products)


def _deep(problem: Problem) -> bool:
    """Whether a problem is a chain that Riccati elimination is made for: deep, small states, small modules."""
    if not Chain.fits(problem) or len(problem.network.placed) < DEEP:
        return False
    widest = max(place.size for place in problem.network.placed)
    return problem.samples * widest <= BATCH and max(group.size for group in problem.groups) <= OWN


ENDED = ("unbounded", "interrupted", "time limit", "stopped")  # what is not left to another engine


def _slow(tol: float) -> Callable[[int, Point], bool]:
    """Return a test of whether L-BFGS, at the rate of its last steps, is far from the tolerance."""
    norms: list[float] = []

    def enough(iteration: int, point: Point) -> bool:
        norms.append(largest(point.gradient))
        if iteration < FIRST or iteration % 10:
            return False
        rate = np.log(min(norms[-FIRST : -FIRST // 2]) / min(norms[-FIRST // 2 :])) / (FIRST // 2)
        return not np.log(norms[-1] / tol) < SHORT * rate

    return enough


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
    options: NewtonOptions,
    engine: str,
    seconds: float,
) -> Solution:
    """Certify where the engine stopped: gradient, energy and adjoints are those of the problem at the weights."""
    problem, scale = energy.problem, energy.scale
    point = adjoints(problem, minimum.point.x)
    norm = largest(point.gradient)
    status = minimum.status
    if status == "converged" and not norm <= options.tol * scale:  # never on the engine's word
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
        is_minimum=None if lowest is None or not success else {-1: False, 0: None, 1: True}[lowest.sign],
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
    if status in ("iteration limit", "time limit") and not problem.weight_decay:
        moved = watcher.drift
        message += "" if moved is None else VALLEY.format(count=LATELY, moved=moved)
    if lowest is not None and status == "converged":
        word = {-1: "a saddle", 0: "flat in some direction, to rounding", 1: "a minimum"}[lowest.sign]
        message += f"; lowest eigenvalue of the Hessian {lowest.value * scale:.2e}: {word}"
    return message
