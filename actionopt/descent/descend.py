"""Mini-batch descent: a layerwise step a batch, with momentum, the model's step size and a cool-down."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from actionopt.backprop import adjoints
from actionopt.descent.options import Options
from actionopt.descent.result import Descent
from actionopt.errors import InputError, SolverError
from actionopt.metric.damping import Damping
from actionopt.metric.move import Move, move
from actionopt.metric.sampling import sampled
from actionopt.metric.step_metric import StepMetric
from actionopt.metric.tangent import Manifold, Placed, placed, retracted
from actionopt.ops import NUMPY
from actionopt.problem import Problem, check_problem
from actionopt.shards.shards import Shards

AT_ONCE = 4096  # samples whose energy is evaluated at once
ROSE = 100.0  # times the energy of the start: a run that ends higher above it has diverged
ROUNDING = 1e-9  # of the energy at weights of zero: what a fit may lose that was exact

Validation = Problem | Shards | Callable[[np.ndarray], float] | None
Callback = Callable[["Progress"], Any] | None


@dataclass(frozen=True, eq=False)
class Progress:
    """What a callback sees at the end of an epoch.

    Attributes
    ----------
    epoch : int
        Epochs done.
    epochs : int
        Epochs in all.
    steps : int
        Steps taken.
    weights : array (n,)
    energy : float
    validation : float or None
    step_size : float
        Of the last step.
    """

    epoch: int
    epochs: int
    steps: int
    weights: np.ndarray
    energy: float
    validation: float | None
    step_size: float


def descend(
    problem: Problem | Shards,
    w: Any = None,
    *,
    batch: int = 64,
    epochs: int = 10,
    step: float | str = "model",
    momentum: float = 0.5,
    trust: float | None = None,
    rows: int | str = "exact",
    metric: str = "layerwise",
    solve: str = "auto",
    tol: float = 1e-2,
    cooldown: float = 0.4,
    adapt: bool = True,
    not_finite: str = "stop",
    manifolds: Iterable[Manifold] = (),
    seed: int = 0,
    validation: Validation = None,
    callback: Callback = None,
    progress: bool = False,
    throw: bool = True,
) -> Descent:
    """Train by mini-batches: `x = G^{-1} (g + momentum D x_prev)`, `w <- w - alpha x`, G and g those of the batch.

    Parameters
    ----------
    problem : Problem or Shards
        Of samples in shards each batch is gathered here, and the energy of an epoch is summed from the workers.
        All the data; the mass is its `mass`. Scale of the mass: 0.1 to 1 where the output metric's is one.
    w : array (n,) or Descent, optional
        Where to start; `problem.initial_weights(seed)` where None. A `Descent` goes on where it ended, with its own
        options, to the iterates it would have had (`epochs` beyond its own are not asked for here: its end is its own).
    batch : int
        At most this many samples a step; all samples are visited once an epoch. `problem.samples` is full batch.
    epochs : int
    step : "model" or float
        alpha: the minimum of the joint model along x, at most one; or a number.
    momentum : float
        In [0, 1).
    trust : float, optional
        Bound on the mean square change of the outputs in a step, in the output metric; see `ao.step`.
    rows : "exact" or int
        Rows of the output metric's factor a sample; a number m takes m random combinations of them with signs, whose
        mean is the metric, instead.
    metric : "layerwise", "joint" or "euclidean"
    solve, tol
        How G is inverted and how exactly; see `LayerMetric`.
    cooldown : float
        Share of the steps at the end over which alpha falls linearly to zero.
    adapt : bool
        Whether the mass follows the steps, where step is "model": a factor of it falls while steps are too short and
        rises, to four at most, where they make the energy of the next batch rise; it stays while alpha cools down. So a
        mass that is off by ten costs little. Without, D is the problem's mass throughout.
    not_finite : "stop" or "skip"
        What to do with a batch where states, gradient or metric are not finite: end the run, or leave it out.
    manifolds : iterable of Stiefel, Positive, Simplex or Ball
        Sets that weights of modules stay in, as for `ao.step`; the start is retracted onto them. A run that goes on
        needs them again.
    seed : int
        Fixes batches and sampled rows.
    validation : Problem or callable, optional
        Another problem of as many weights, whose energy is measured at the end of every epoch; or a function of the
        weights.
    callback : callable, optional
        Called with a `Progress` at the end of every epoch; a true answer stops the run.
    progress : bool
        Show a bar.
    throw : bool
        Whether a run that stops early by itself raises.

    Returns
    -------
    Descent
        `.weights .energy .validation .steps .step_sizes .status .plot() .save(path)`. Ctrl-C ends it with status
        "interrupted" and the best weights.

    Raises
    ------
    InputError
        If an option is out of range.
    SolverError
        If something was not finite, or the energy grew beyond all bounds; with what was reached as `.result`.

    Notes
    -----
    Where this pays and where it does not is measured in docs/descend.md. The step and its parts: `ao.step`.

    Examples
    --------
    >>> found = ao.descend(problem, batch=2, epochs=3)
    >>> found.status, len(found.energy)
    ('finished', 3)
    """
    if not isinstance(problem, Shards):
        check_problem("descend", problem)
    if isinstance(w, Descent):
        state = _resumed(problem, w)
    else:
        options = Options(
            batch, epochs, step, momentum, trust, rows, metric, solve, tol, cooldown, adapt, not_finite, seed
        )  # fmt: skip
        options.check(problem)
        state = _started(problem, w, options)
    where = placed(problem, manifolds)
    if where and not state.steps:
        start = retracted(state.last, where)
        state = replace(state, last=start, best=start)
    if not state.steps:
        with np.errstate(over="ignore", invalid="ignore"):  # the first batch names what is not finite
            state = replace(state, start=mean_energy(problem, state.last))
    measure = _measured(problem, validation)
    from tqdm import tqdm  # loads on use

    steps = state.options.epochs * state.options.steps_of(problem.samples)
    bar = tqdm(total=steps, initial=state.steps, disable=not progress, unit="step")
    with bar:
        found = _run(problem, state, measure, callback, where, bar)
    if throw and found.status in ("not finite", "failed", "diverged"):
        raise SolverError(found.message, found)
    return found


def _started(problem: Problem | Shards, w: Any, options: Options) -> Descent:
    w = problem.initial_weights(options.seed) if w is None else problem.check_point(w, "starting weights").copy()
    none = np.zeros(0)
    return Descent(
        w, w, none, none, 0, none, none, 0, False, "running", "", options, None, problem.name, problem.samples,
        Damping(), np.nan,
    )  # fmt: skip


def _resumed(problem: Problem | Shards, state: Descent) -> Descent:
    if (len(state.last), state.samples) != (problem.size, problem.samples):
        raise InputError(
            f"this descent is of a problem with {len(state.last)} weights and {state.samples} samples, got one with "
            f"{problem.size} and {problem.samples}"
        )
    state.options.check(problem)
    return replace(state, status="running", message="", success=False)


def _measured(problem: Problem | Shards, validation: Validation) -> Callable[[np.ndarray], float] | None:
    if isinstance(validation, (Problem, Shards)):
        if validation.size != problem.size:
            raise InputError(f"validation has {validation.size} weights, the problem has {problem.size}")
        return lambda w: mean_energy(validation, w)
    if validation is not None and not callable(validation):
        raise InputError(f"validation must be a Problem or a function of the weights, got {validation!r}")
    return validation


def mean_energy(problem: Problem | Shards, w: np.ndarray) -> float:
    """Return E(w), with the samples evaluated in pieces."""
    if isinstance(problem, Shards):
        return problem.energy(w)
    pieces = problem.network.split(NUMPY, w)
    total = 0.0
    for start in range(0, problem.samples, AT_ONCE):
        part = problem.network.take(slice(start, start + AT_ONCE))
        total += float(part.values(NUMPY, part.forward(NUMPY, pieces)).sum())
    return total / problem.samples + 0.5 * problem.weight_decay * float(w @ w)


def _run(
    problem: Problem | Shards,
    state: Descent,
    measure: Callable[[np.ndarray], float] | None,
    callback: Callback,
    where: Placed,
    bar: Any,
) -> Descent:
    """Go from a state to the end; every state on the way is whole, so Ctrl-C loses at most one step."""
    options, per_epoch = state.options, state.options.steps_of(problem.samples)
    sizes, factors = list(state.step_sizes), list(state.mass_factors)

    def ended(status: str, message: str) -> Descent:
        success = status in ("finished", "stopped")
        return replace(
            state, step_sizes=np.array(sizes)[: state.steps], mass_factors=np.array(factors)[: state.steps],
            status=status, message=message, success=success,
        )  # fmt: skip

    try:
        while state.epochs < options.epochs:
            batches = options.batches(problem.samples, state.epochs)
            for index in range(state.steps - state.epochs * per_epoch, per_epoch):
                taken = _step(problem.take(batches[index]), state, index, where)
                if isinstance(taken, Failure):
                    if options.not_finite == "stop" or taken.status != "not finite":
                        place = f"epoch {state.epochs + 1}, batch {index + 1} of {per_epoch}"
                        return ended(taken.status, f"{place}: {taken.message}")
                    sizes.append(np.nan)
                    factors.append(state.damping.factor)
                    state = replace(state, steps=state.steps + 1, skipped=state.skipped + 1)
                else:
                    found, damping = taken
                    sizes.append(found.step_size)
                    factors.append(damping.factor)
                    state = replace(
                        state, last=found.weights, direction=found.direction, damping=damping, steps=state.steps + 1
                    )
                bar.update()
            state = _measure(problem, state, measure)
            bar.set_postfix_str(f"energy {state.energy[-1]:.4g}")
            if not np.isfinite(state.energy[-1]):
                return ended("diverged", f"the energy is not finite after epoch {state.epochs}; {_remedy(options)}")
            if callback is not None and callback(_progress(state, sizes)):
                return ended("stopped", f"the callback stopped it after epoch {state.epochs}")
    except KeyboardInterrupt:
        return ended("interrupted", f"interrupted in epoch {state.epochs + 1}; weights are the best so far")
    said = f"; {state.skipped} batches were skipped, as something was not finite there" if state.skipped else ""
    if state.epochs and state.energy[-1] > state.start:
        rose = f"the energy rose from {state.start:.4g} to {state.energy[-1]:.4g}"
        if _has_diverged(problem, state):
            return ended("diverged", f"{rose} in {state.epochs} epochs; {_remedy(options)}{said}")
        said = f"; {rose}{said}"
    return ended("finished", f"{state.epochs} epochs, {state.steps} steps{said}")


@dataclass(frozen=True)
class Failure:
    """Why a batch gave no step."""

    status: str
    message: str


def _step(batch: Problem, state: Descent, index: int, where: Placed) -> tuple[Move, Damping] | Failure:
    """Take a step on a batch; also return the damping that remembers it."""
    options = state.options
    total = options.epochs * options.steps_of(state.samples)
    signs = options.signs(state.epochs, index)
    if signs is not None:
        batch = sampled(batch, int(options.rows), signs)
    try:
        metric = StepMetric(batch, state.last, joint=options.metric == "joint", solve=options.solve, tol=options.tol)
        cooled, damping = options.cooled(state.steps, total), state.damping
        if options.adapts and cooled == 1.0:
            damping = damping.judged(metric, state.direction, options.momentum)
        found = move(
            metric.with_mass(damping.factor),
            options.step,
            momentum=options.momentum,
            previous=state.direction,
            trust=options.trust,
            cooled=cooled,
            euclidean=options.metric == "euclidean",
            manifolds=where,
        )
    except SolverError as error:
        return Failure("failed", str(error))
    except InputError as error:
        if _is_finite(batch, state.last):
            raise
        return Failure("not finite", str(error))
    if not np.isfinite(found.weights).all():
        return Failure("not finite", "the step is not finite; take a smaller one")
    return found, damping.noted(found)


def _has_diverged(problem: Problem | Shards, state: Descent) -> bool:
    """Whether a run ended far above its start, and not by the rounding of a start that was an exact fit."""
    rise = float(state.energy[-1]) - state.start
    with np.errstate(all="ignore"):
        exact = ROUNDING * abs(mean_energy(problem, np.zeros_like(state.last)))
    return rise > ROSE * abs(state.start) and not rise <= exact


def _is_finite(batch: Problem, w: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        found = adjoints(batch, w)
    return all(np.isfinite(array).all() for array in (*found.states, found.gradient))


def _measure(problem: Problem | Shards, state: Descent, measure: Callable[[np.ndarray], float] | None) -> Descent:
    """Note what an epoch ended at, and whether it is the best."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite ends the run
        energy = np.append(state.energy, mean_energy(problem, state.last))
        validation = state.validation if measure is None else np.append(state.validation, float(measure(state.last)))
    judged = energy if measure is None else validation
    best = state.last if not (judged[:-1] <= judged[-1]).any() and np.isfinite(judged[-1]) else state.best
    return replace(state, energy=energy, validation=validation, best=best)


def _progress(state: Descent, sizes: list[float]) -> Progress:
    validation = float(state.validation[-1]) if len(state.validation) else None
    return Progress(
        state.epochs, state.options.epochs, state.steps, state.last, float(state.energy[-1]), validation, sizes[-1]
    )


def _remedy(options: Options) -> str:
    return "take step='model'" if options.step != "model" else "give the problem a larger mass, or set trust"
