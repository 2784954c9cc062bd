"""The stages of a run: what each computes, what it depends on, and what it shows in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from actionopt.action.checkpoint import Checkpoint
from actionopt.action.continuation import continue_action
from actionopt.action.flow import COLLOCATION, flow
from actionopt.action.lagrangian import Lagrangian
from actionopt.action.scheme import make_grid, make_scheme
from actionopt.action.task import make_task
from actionopt.action.trajectory import Trajectory
from actionopt.archive import save_arrays
from actionopt.contraction.certify import certify
from actionopt.contraction.rate import rates_along
from actionopt.errors import InputError
from actionopt.interrupts import unless_interrupted
from actionopt.nlp import check_solver
from actionopt.problem import Problem
from actionopt.report.known import AGREE, beside
from actionopt.report.proof import PROOF, find_proof
from actionopt.report.proof import SIZE as PROOF_SIZE
from actionopt.report.scale import RESOLVED, at_rest, resolved_flow, settled, settling_time
from actionopt.report.training import SECONDS, TRAINED, saved, say, train_from
from actionopt.report.transition import TRANSITION, Ends, find_ends, find_transition

FLOW, ACTION, PATH, ADJOINTS, RATES = "flow.npz", "action.npz", "path.npz", "adjoints.npz", "contraction.npz"
HORIZONS = "path-horizons.npz"  # actions of the shorter times on the way
SOLVED = 1e-12  # largest discrete action of a marched flow, relative to the energy it loses
LEAST_LOSS = 1e-6  # of the energy's size, that a flow is taken to lose where it loses less
FLOW_SCHEME, PATH_SCHEME = "radau5", "midpoint"  # unless the user chooses
PATH_STEPS = (100, 200, 400, 800)  # numbers of steps for a path, until its action settles
RATE_NODES, RATE_SIZE = 21, 400  # nodes at which the contraction rate is computed, and weights up to which it is


@dataclass(frozen=True)
class Options:
    """What the user asks of a run; None stands for what the problem itself suggests."""

    start: np.ndarray | None = None
    end: np.ndarray | None = None
    horizon: float | None = None
    steps: int | None = None
    metric: str = "layerwise"
    scheme: str | None = None
    solver: str = "ipopt"
    seed: int = 0
    as_the_file_asks: bool = True  # start, end and horizon are those of the file, so that its known answers are theirs


@dataclass(frozen=True)
class Outcome:
    """What a stage brought: `state` ok, failed or skipped, a message that advises, figures, and files written.

    `headline` is what it found in a few words, for the table that is read first.
    """

    state: str
    message: str
    summary: dict[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    headline: str = ""


@dataclass
class Context:
    """What the stages work on: the system, the options, the folder, the POINTS of the problem file."""

    what: Problem | Lagrangian
    options: Options
    folder: Path
    points: dict[str, Any] = field(default_factory=dict)
    known: dict[str, float] = field(default_factory=dict)
    draw: Callable[..., None] | None = None  # of the problem file: draw(ax, problem, w)
    checkpoint: Checkpoint | None = None  # of the stage that runs

    @cached_property
    def start(self) -> np.ndarray:
        """The start of every trajectory, `(n,)`."""
        if self.options.start is not None:
            return self.options.start
        if isinstance(self.what, Problem):
            return self.what.initial_weights(self.options.seed)
        if self.attractors is not None:
            return self.attractors[0][1]
        raise InputError(f"a {type(self.what).__name__} has no initial weights: give --start")

    @cached_property
    def attractors(self) -> Ends | None:
        """Two attractors with their names, where the problem file names two."""
        return find_ends(self)

    @property
    def problem(self) -> Problem:
        """The system, where it is a Problem."""
        assert isinstance(self.what, Problem)
        return self.what

    @cached_property
    def at_rest(self) -> bool:
        """Whether the start is a stationary point of the energy."""
        return at_rest(self.problem, self.start, self.options.seed)

    def trajectory(self, name: str) -> Trajectory:
        """Read a trajectory that an earlier stage saved."""
        return Trajectory.load(self.folder / name)


@dataclass(frozen=True)
class Stage:
    """A stage: its name, title, the stages and options it depends on, whom it applies to, and its function."""

    name: str
    title: str
    run: Callable[[Context], Outcome]
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    applies: Callable[[Context], bool] = lambda context: isinstance(context.what, Problem)


def check_stage(context: Context) -> Outcome:
    """Compare the multipliers of the layer equations with the adjoints of backpropagation."""
    from actionopt.constrained import check_adjoints

    problem, solver = context.problem, context.options.solver
    w, place = context.start, "at the start"
    if context.at_rest:  # where all adjoints are rounding
        w, place = problem.initial_weights(context.options.seed), "at the initial weights, as the start is stationary"
    check = check_adjoints(problem, w, solver=solver)
    arrays = {f"multipliers_{i}": array for i, array in enumerate(check.multipliers)}
    arrays |= {f"adjoints_{i}": array for i, array in enumerate(check.adjoints)}
    save_arrays(context.folder / ADJOINTS, arrays)
    summary = {
        "relative_error": check.relative_error,
        "gradient_error": check.gradient_error,
        "solver": solver,
    }
    verdict = "are" if check.ok else "are NOT"
    apart = "they are equal to the last bit"
    if check.relative_error:
        apart = f"they differ by {check.relative_error:.1e} of the largest adjoint, at most"
    message = (
        f"The multipliers of the layer equations, from {solver}, {verdict} the adjoints of backpropagation {place}: "
        f"{apart}."
    )
    count = sum(array.size for array in check.multipliers)
    off = f"{check.relative_error:.1e} off at most" if check.relative_error else "equal to the last bit"
    headline = f"{count} multiplier{'' if count == 1 else 's'}, {off}"
    return Outcome("ok" if check.ok else "failed", message, summary, (ADJOINTS,), headline)


def train_stage(context: Context) -> Outcome:
    """Train to a point where the optimality conditions hold."""
    problem = context.problem
    found = train_from(context)
    headline, message, summary = say(problem, context.start, found)
    save_arrays(context.folder / TRAINED, saved(found))
    said, known = beside("energy", found.energy, context.known, float(problem.energy(context.start)))
    summary |= known
    if found.status == "time limit":
        message += f" It was stopped after {SECONDS:g} s: `actionopt train` goes on."
        return Outcome("skipped", message, summary, (TRAINED,), headline)
    return Outcome("ok" if found.success else "failed", message + said, summary, (TRAINED,), headline)


def flow_stage(context: Context) -> Outcome:
    """Follow the gradient flow by an explicit method, where one serves."""
    options, problem = context.options, context.problem
    if context.at_rest:
        message = "Skipped: the start is stationary, and the flow rests there. Give another --start to follow it."
        return Outcome("skipped", message)
    chosen = options.horizon is None
    horizon = options.horizon or settling_time(problem, context.start, options.metric)
    found, change = resolved_flow(problem, context.start, horizon, options.metric, options.steps)
    found.save(context.folder / FLOW)
    energy = found.energy
    assert energy is not None
    summary = {
        "horizon": horizon,
        "horizon_chosen": chosen,
        "steps": len(found.times) - 1,
        "step_error": change,
        "method": found.stats.get("method"),
        "energy_start": energy[0],
        "energy_end": energy[-1],
        "certificate": found.certificate,
        "distance_max": None if found.distance is None else found.distance.max(),
        "action": found.action,
        "settled": settled(problem, found, options.metric),
    }
    pace = "it has settled" if summary["settled"] else "it has slowed but not settled" if chosen else "it goes on"
    message = (
        f"The {options.metric} gradient flow takes the energy from {energy[0]:.4g} to {energy[-1]:.4g} in time "
        f"{horizon:g}, where {pace}; {summary['steps']} steps of {summary['method']}."
    )
    headline = f"energy {energy[0]:.3g} to {energy[-1]:.3g} in time {horizon:g}"
    state = "ok" if found.success else "failed"
    return Outcome(state, f"{message} {_sentence(found)}", summary, (FLOW,), headline)


def action_stage(context: Context) -> Outcome:
    """March the flow that minimises the discrete action on the same steps, and certify it."""
    options, explicit, problem = context.options, context.trajectory(FLOW), context.problem
    scheme = FLOW_SCHEME if options.scheme is None else options.scheme
    method = {name: method for method, name in COLLOCATION.items()}[scheme]
    found = flow(
        problem,
        context.start,
        times=explicit.times,
        method=method,
        metric=options.metric,
        checkpoint=context.checkpoint,
        throw=False,
    )
    unless_interrupted(found).save(context.folder / ACTION)
    moved = float(abs(found.weights - explicit.weights[: len(found.weights)]).max())
    lost = max(-float(found.energy_change or 0.0), LEAST_LOSS * abs(float(problem.energy(context.start))))
    relative = found.action / lost if lost else 0.0
    summary = {**found.summary, "relative_action": relative, "distance_to_flow": moved}
    message = (
        f"By {method}, whose equations say that the discrete action is least, on the same steps: {_sentence(found)} No "
        f"weight differs by more than {moved:.1e} from the flow above. The discrete action is {found.action:.1e}, "
        f"{relative:.1e} of the energy lost."
    )
    far = (
        "not certified" if found.distance is None else f"within {found.distance.max():.1e} of the true flow, estimated"
    )
    if not found.success:
        return Outcome("failed", f"{message} The trajectory is not certified.", summary, (ACTION,), far)
    if found.action > SOLVED * lost and not found.stats.get("in_parts"):
        return Outcome("failed", f"{message} Its equations do not hold: take more steps.", summary, (ACTION,), far)
    return Outcome("ok", f"{message} The trajectory is certified.", summary, (ACTION,), far)


def _sentence(found: Trajectory) -> str:
    """Write a flow's message as a sentence."""
    return f"{found.message[0].upper()}{found.message[1:]}."


def path_stage(context: Context) -> Outcome:
    """Find the path of least action to the given end, over horizons and then steps that double."""
    options = context.options
    horizon = options.horizon or _path_time(context)
    shorter = _paths(context, [horizon / 4, horizon / 2, horizon], options.steps or PATH_STEPS[0], None)
    paths = shorter[-1:]
    change = np.inf
    for steps in PATH_STEPS[1:] if options.steps is None else ():
        paths += _paths(context, [horizon], steps, paths[-1])
        change = abs(paths[-1].action - paths[-2].action) / max(abs(paths[-1].action), np.finfo(float).tiny)
        if change <= RESOLVED:
            break
    found = paths[-1]
    found.save(context.folder / PATH)
    times = np.array([path.times[-1] for path in shorter])
    save_arrays(context.folder / HORIZONS, {"times": times, "actions": np.array([path.action for path in shorter])})
    files = (PATH, HORIZONS)
    summary = {**found.summary, "step_error": change if len(paths) > 1 else None}
    message = (
        f"A path of least action to the given end, as a rule a local minimum, takes time {found.times[-1]:g} and "
        f"action {found.action:.6g}, with {len(found.times) - 1} steps."
    )
    if found.energy is not None:
        climb = found.energy.max() - found.energy[0]
        if climb > 0.0:
            message += (
                f" It climbs by {climb:.6g} in energy; for long times twice the climb, {2 * climb:.6g}, is the least."
            )
    said, known = beside("path action", found.action, context.known, 0.0)
    message, summary = message + said, {**summary, **known}
    headline = f"action {found.action:.6g} in time {found.times[-1]:g}"
    if not found.success:
        return Outcome("failed", f"{message} {found.message}", summary, files, headline)
    if len(paths) > 1 and change > RESOLVED:
        message += f" Its action still moved by {change:.1e} at the last doubling of the steps: give more --steps."
    return Outcome("ok", message, summary, files, headline)


def _paths(context: Context, horizons: list[float], steps: int, guess: Trajectory | None) -> list[Trajectory]:
    options = context.options
    found = continue_action(
        context.what,
        context.start,
        options.end,
        horizons=horizons,
        steps=steps,
        guess=guess,
        scheme=PATH_SCHEME if options.scheme is None else options.scheme,
        metric=options.metric,
        throw=False,
    )
    unless_interrupted(found[-1])
    return found


def _path_time(context: Context) -> float:
    """Return five times the time in which the flow settles from half-way between start and end."""
    assert context.options.end is not None
    free = np.isnan(context.options.end)
    middle = np.where(free, context.start, 0.5 * (context.start + np.where(free, 0.0, context.options.end)))
    return 5.0 * settling_time(context.problem, middle, context.options.metric)


def transition_stage(context: Context) -> Outcome:
    """Find the path of least action from one attractor to another over all horizons."""
    found, message = find_transition(context)
    summary = {
        "action": found.action,
        "action_error": found.action_error,
        "lowest_eigenvalue": found.lowest_eigenvalue,
        "gradient_norm": found.stats["gradient_norm"],
        "candidates": [{"name": c.name, "action": c.action, "elements": c.elements} for c in found.candidates],
    }
    said, known = beside("action", found.action, context.known, 0.0)
    wrong = bool(known) and known["off_the_known_answer"] > AGREE
    state = "ok" if found.is_minimum and not wrong else "failed"
    headline = f"action {found.action:.7g} over all times, a minimum" if found.is_minimum else f"{found.action:.7g}"
    return Outcome(state, message + said, summary | known, (TRANSITION,), headline)


def contraction_stage(context: Context) -> Outcome:
    """Compute the contraction rate along the certified trajectory."""
    problem = context.problem
    if problem.size > RATE_SIZE:
        message = (
            f"Skipped: the rate is an eigenvalue of dense matrices at every node, and {problem.size} weights are more "
            f"than {RATE_SIZE}. `actionopt contract` computes it all the same."
        )
        return Outcome("skipped", message)
    found = context.trajectory(ACTION)
    nodes = np.unique(np.linspace(0, len(found.times) - 1, RATE_NODES).round().astype(int))
    arrays = {"times": found.times[nodes]}
    if context.options.metric == "joint":  # its modules have no lengths of their own
        arrays["rates"] = rates_along(problem, found.weights[nodes], metric="joint")
    else:
        parts = certify(problem, found.weights[nodes], metric=context.options.metric)
        arrays |= {"rates": parts.whole, "modules": parts.rates, "composed": parts.composed}
    rates = arrays["rates"]
    save_arrays(context.folder / RATES, arrays)
    worst = int(rates.argmin())
    summary = {"least": rates[worst], "time": found.times[nodes[worst]], "start": rates[0], "end": rates[-1]}
    if rates[worst] > 0:
        meaning = f"neighbouring trajectories approach each other at least like exp(-{rates[worst]:.3g} t)"
    else:
        meaning = "there neighbouring trajectories may separate"
    message = (
        f"The contraction rate in the {context.options.metric} metric is least, {rates[worst]:.4g}, at "
        f"t = {summary['time']:.4g}: {meaning}. At the end it is {rates[-1]:.4g}."
    )
    if "composed" in arrays:
        summary["least_composed"], summary["least_of_a_module"] = arrays["composed"].min(), arrays["modules"].min()
        message += f" Composed from the modules' own rates and couplings it is {arrays['composed'].min():.4g} at least."
    headline = f"least rate {rates[worst]:.3g}" + ("" if rates[worst] > 0 else ": flows may part there")
    return Outcome("ok", message, summary, (RATES,), headline)


def proof_stage(context: Context) -> Outcome:
    """Prove contraction around the minimum, and a tube that leads there."""
    problem = context.problem
    if problem.size > PROOF_SIZE:
        message = f"Skipped: proofs enclose derivatives over regions, here of up to {PROOF_SIZE} weights."
        return Outcome("skipped", message)
    message, summary, arrays = find_proof(problem, context.start, context.trajectory(FLOW).weights[-1])
    if not arrays:
        return Outcome("ok", message, summary, headline="nothing proved")
    save_arrays(context.folder / PROOF, arrays)
    proved = summary["status"] == "proved"
    headline = f"proved on a ball of radius {summary['radius']:.2g}" if proved else str(summary["status"])
    return Outcome("ok", message, summary, (PROOF,), headline)


STAGES = (
    Stage("check", "Adjoints are multipliers", check_stage, options=("start", "seed", "solver")),
    Stage("train", "Trained to a stationary point", train_stage, options=("start", "seed")),
    Stage("flow", "Gradient flow", flow_stage, options=("start", "seed", "metric", "horizon", "steps")),
    Stage("action", "Action and certificate", action_stage, needs=("flow",), options=("scheme",)),
    Stage(
        "path",
        "Path of least action to the given end",
        path_stage,
        options=("start", "seed", "end", "horizon", "steps", "metric", "scheme", "as_the_file_asks"),
        applies=lambda context: _has_path(context),
    ),
    Stage(
        "transition",
        "Transition path between two attractors",
        transition_stage,
        options=("start", "end", "metric", "as_the_file_asks"),
        applies=lambda context: context.attractors is not None,
    ),
    Stage("contraction", "Contraction along the trajectory", contraction_stage, needs=("action",)),
    Stage("proof", "What is proved", proof_stage, needs=("flow",)),
)


def _has_path(context: Context) -> bool:
    """Whether a path to a given end is asked for; of a Lagrangian only in a given time."""
    if isinstance(context.what, Lagrangian):
        return context.options.horizon is not None
    return context.options.end is not None


def check_options(context: Context) -> None:
    """Raise InputError for options that no stage could use, before any work is done."""
    options = context.options
    grid = make_grid(1.0 if options.horizon is None else options.horizon, 1 if options.steps is None else options.steps)
    make_task(
        context.what,
        context.start,
        options.end,
        make_scheme(PATH_SCHEME if options.scheme is None else options.scheme, grid),
        metric=options.metric,
    )
    check_solver(options.solver)
    if not isinstance(context.what, Problem) and options.horizon is None and context.attractors is None:
        raise InputError("a Lagrangian has no time scale of its own: give --horizon")
