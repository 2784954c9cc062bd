"""The minimum-action solver against what people would write without it: `python -m benchmarks.action`.

Each contestant runs in a child forked from the one process, one at a time and on one BLAS thread, so that it can be
cut off after `--limit` seconds of CPU time; build and solve are timed apart, and every answer is judged by the same
naive action.
Ratios are of CPU seconds, build and solve together, which load on the machine distorts less than the clock's.
The forward-only contestant is a user's module: the same dense layer, as `forward` alone.

Parts: `fixed` (both ends fixed, G = I), `flow` (free end, layerwise metric, against the flow), `layerwise` (both ends
fixed, layerwise metric, 139 weights), `horizon` (T = 5 from several guesses), `large` (1001 weights), `scaling`.
"""

from __future__ import annotations

import functools
import importlib.util
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import click
import numpy as np

import actionopt as ao
from actionopt.action.minimize import minimize_action
from benchmarks import _action_peers as peers
from benchmarks._action_peers import Answer, Case
from benchmarks._report import Report, Timing, peak_memory, slope

COLUMNS = (
    "case",
    "contestant",
    "total",
    "cpu",
    "build",
    "solve",
    "iterations",
    "action",
    "agrees",
    "memory_gb",
    "ratio",
    "note",
)


class ForwardOnly(ao.Module):
    """A dense layer as a user writes it: sizes and one equation."""

    def __init__(self, in_size: int, out_size: int, activation: str | None = None) -> None:
        super().__init__(in_size, out_size, out_size * (in_size + 1))
        self.activation = activation

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        matrix, offset = ops.unpack(w, (self.out_size, self.in_size), (self.out_size,))
        pre = ops.matmul(z, ops.transpose(matrix)) + offset
        return pre if self.activation is None else ops.tanh(pre)


# Cases


def make_case(
    name: str, sizes: Sequence[int], steps: int, horizon: float, *, fixed: bool, classes: bool = False, seed: int = 0
) -> Case:
    """Draw data and ends: eight samples, `sin(x1 x2)` or random classes; ends are two seeded initial weights."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((8, sizes[0]))
    labels = rng.integers(0, sizes[-1], 8) if classes else None
    targets = np.sin(inputs[:, :1] * inputs[:, 1:2]) if labels is None else np.eye(sizes[-1])[labels]
    start, end = (initial_weights(sizes, 2 * seed + i) for i in (1, 2))
    mass = 0.1 if classes else 1.0
    return Case(name, tuple(sizes), inputs, targets, labels, start, end if fixed else None, horizon, steps, mass)


def xor_case() -> Case:
    """XOR with a 2-4-1 network, 17 weights: its flow over five units of time."""
    inputs = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    targets, sizes = np.array([[0.0], [1.0], [1.0], [0.0]]), (2, 4, 1)
    start = initial_weights(sizes, 1)
    return Case("XOR flow, 17", sizes, inputs, targets, None, start, None, 5.0, 50, 0.1)


def build(kind: Callable[..., ao.Module], sizes: Sequence[int]) -> ao.Chain:
    names = ["tanh"] * (len(sizes) - 2) + [None]
    return ao.Chain(*[kind(a, b, name) for a, b, name in zip(sizes[:-1], sizes[1:], names, strict=True)])


def initial_weights(sizes: Sequence[int], seed: int) -> np.ndarray:
    return build(ao.Dense, sizes).initial_weights(np.random.default_rng(seed))


def problem(case: Case, kind: Callable[..., ao.Module]) -> ao.Problem:
    loss = ao.SquaredError() if case.labels is None else ao.SoftmaxCrossEntropy()
    targets = case.targets if case.labels is None else case.labels
    return ao.Problem(build(kind, case.sizes).parts, case.inputs, targets, loss, mass=case.mass)


def ours(case: Case, kind: Callable[..., ao.Module] = ao.Dense, metric: str | None = None, **options: Any) -> Answer:
    """Build the problem and minimise with solver="newton"."""
    metric = metric or ("layerwise" if case.end is None else "euclidean")
    began = time.perf_counter()
    what = problem(case, kind)
    built = time.perf_counter()
    settings = {"horizon": case.horizon, "steps": case.steps, "metric": metric, "solver": "newton", "throw": False}
    found = minimize_action(what, case.start, case.end, **{"certify": False, **settings, **options})
    iterations = found.stats["iterations"]
    note = f"{found.status}, {found.stats['products']} products"
    return Answer(found.weights, built - began, time.perf_counter() - built, iterations, note)


# Contests


def contest(
    report: Report,
    case: Case,
    contestants: dict[str, Callable[[], Answer]],
    limit: float,
    *,
    judge: Callable[[np.ndarray], float] | None = None,
    repeats: int = 15,
) -> dict[str, float]:
    """Run all contestants; the first is the reference of the check. Returns CPU seconds, the limit where cut off."""
    judge = judge or functools.partial(peers.midpoint_action, case)
    totals: dict[str, float] = {}
    reference = None
    for name, work in contestants.items():
        answers, cpu, memory = in_child(work, limit, repeats)
        if not answers:
            totals[name] = limit
            report.add(
                case=case.name,
                contestant=name,
                note=memory if isinstance(memory, str) else f"cut off at {limit:g} s of CPU time",
            )
            continue
        answer = answers[-1]
        action = judge(answer.points)
        reference = (answer.points, action) if reference is None else reference
        # the mean: processor time may come in ticks of 4 ms; without the first run, which imports and fills caches
        totals[name] = statistics.fmean(cpu[1:] if len(cpu) > 3 else cpu)
        report.add(
            case=case.name,
            contestant=name,
            total=Timing([a.build + a.solve for a in answers]),
            cpu=totals[name],
            build=statistics.median(a.build for a in answers),
            solve=statistics.median(a.solve for a in answers),
            iterations=answer.iterations,
            action=f"{action:.10g}",
            agrees=agreement(case, answer.points, action, reference),
            memory_gb=memory,
            ratio=totals[name] / next(iter(totals.values())),
            note=answer.status,
        )
    return totals


def agreement(case: Case, points: np.ndarray, action: float, reference: tuple[np.ndarray, float]) -> str:
    """Say whether an answer is the reference's: the action to 8 digits, or the trajectory where the action is 0."""
    if case.end is None:
        difference = float(abs(points - reference[0]).max())
        return "yes" if difference < 1e-6 else f"no: points differ by {difference:.1e}"
    difference = abs(action - reference[1]) / abs(reference[1])
    return "yes" if difference < 1e-8 else f"no: {difference:.1e}"


def in_child(work: Callable[[], Answer], limit: float, repeats: int) -> tuple[list[Answer], list[float], Any]:
    """Run `work` in a forked child, `repeats` times or for two seconds: answers, CPU seconds, peak memory in GB."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def child() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(np.ceil(limit)),) * 2)
        answers: list[Answer] = []
        cpu: list[float] = []
        try:
            began = time.perf_counter()
            while len(answers) < repeats and (not answers or time.perf_counter() - began < 2.0):
                clock = time.process_time()
                answers.append(work())
                cpu.append(time.process_time() - clock)
            there.send((answers, cpu, peak_memory()))
        except Exception as error:
            there.send(([], [], f"{type(error).__name__}: {error}".splitlines()[0][:60]))

    process = context.Process(target=child, daemon=True)
    process.start()
    there.close()
    try:
        outcome = here.recv()
    except EOFError:  # the child was cut off
        outcome = ([], [], None)
    process.join()
    return outcome


def peers_of_fixed(case: Case, limit: float) -> dict[str, Callable[[], Answer]]:
    contestants: dict[str, Callable[[], Answer]] = {
        "SciPy L-BFGS-B, closed-form gradient": lambda: peers.scipy_fixed(case),
        "CasADi map + ipopt, exact Hessian": lambda: peers.casadi_fixed(case, "exact", limit),
        "CasADi map + ipopt, L-BFGS": lambda: peers.casadi_fixed(case, "limited-memory", limit),
    }
    if importlib.util.find_spec("rockit") is not None:
        contestants["rockit"] = lambda: peers.rockit_fixed(case, limit)
    return contestants


def us(case: Case, **options: Any) -> dict[str, Callable[[], Answer]]:
    return {
        "actionopt": lambda: ours(case, **options),
        "actionopt, forward-only module": lambda: ours(case, ForwardOnly, **options),
    }


def summarise(report: Report, name: str, totals: dict[str, float]) -> None:
    """Note how much longer the best peer takes than either of ours."""
    mine = {key: value for key, value in totals.items() if key.startswith("actionopt")}
    best = min((value, key) for key, value in totals.items() if key not in mine)
    for key, value in mine.items():
        report.find(**{f"{name}: {best[1]} / {key}": best[0] / value})


# Parts


def fixed(report: Report, limit: float) -> None:
    for weights, hidden, steps in ((13, 3, 50), (61, 15, 100), (201, 50, 50)):
        case = make_case(f"fixed ends, {weights}", (2, hidden, 1), steps, 1.0, fixed=True)
        totals = contest(report, case, {**us(case), **peers_of_fixed(case, limit)}, limit)
        summarise(report, case.name, totals)


def flow(report: Report, limit: float) -> None:
    for case in (xor_case(), make_case("4-8-8-3 flow, 139", (4, 8, 8, 3), 50, 5.0, fixed=False, classes=True)):
        casadi = {
            f"CasADi map + ipopt, {kind}": functools.partial(peers.casadi_flow, case, kind, limit)
            for kind in ("exact", "gauss-newton", "limited-memory")
        }
        summarise(report, case.name, contest(report, case, {**us(case), **casadi}, limit))


def layerwise(report: Report, limit: float) -> None:
    case = layerwise_case(1.0)
    contest(report, case, us(case, metric="layerwise"), limit, judge=layerwise_judge(case), repeats=3)


def layerwise_case(horizon: float) -> Case:
    return make_case(
        f"layerwise, fixed ends, 139, T = {horizon:g}", (4, 8, 8, 3), 50, horizon, fixed=True, classes=True
    )


def layerwise_judge(case: Case) -> Callable[[np.ndarray], float]:
    """The naive action in the layerwise metric, for both ends fixed."""
    return lambda points: peers.midpoint_action(case, points, layerwise=True)


def horizon(report: Report, limit: float) -> None:
    """T = 5 from the straight line, by continuation in T, and by two detours."""
    case, judge = layerwise_case(5.0), layerwise_judge(layerwise_case(5.0))

    def continued(steps: Sequence[float]) -> Answer:
        began, guess = time.perf_counter(), None
        for t in steps:
            answer = minimize_action(
                problem(case, ao.Dense), case.start, case.end, horizon=t, steps=case.steps, guess=guess, throw=False
            )
            guess = answer.weights
        spent = time.perf_counter() - began
        return Answer(answer.weights, 0.0, spent, answer.stats["iterations"], answer.status)

    contestants: dict[str, Callable[[], Answer]] = {
        "straight line": lambda: ours(case, metric="layerwise"),
        "continuation 1, 2, 3, 4, 5": lambda: continued([1, 2, 3, 4, 5]),
        "continuation 1, 1.25, ... 5": lambda: continued(np.arange(1.0, 5.01, 0.25)),
        **{
            f"detour {seed}": functools.partial(ours, case, metric="layerwise", guess=detour(case, seed))
            for seed in range(4)
        },
    }
    contest(report, case, contestants, limit, judge=judge, repeats=1)


def detour(case: Case, seed: int) -> np.ndarray:
    """Bend the straight line by a random arc of half its length."""
    away = np.random.default_rng(seed).standard_normal(case.size)
    away *= 0.5 * np.linalg.norm(case.end - case.start) / np.linalg.norm(away)
    return case.line + np.sin(np.linspace(0.0, np.pi, case.steps + 1))[:, None] * away


def large(report: Report, limit: float) -> None:
    case = make_case("fixed ends, 1001", (2, 250, 1), 100, 1.0, fixed=True)
    scipy = {"SciPy L-BFGS-B, closed-form gradient": lambda: peers.scipy_fixed(case)}
    summarise(report, case.name, contest(report, case, {**us(case), **scipy}, limit, repeats=3))
    free = make_case("layerwise, free end, 1001", (2, 250, 1), 100, 1.0, fixed=False)
    contest(report, free, us(free), limit, repeats=1)


def scaling(report: Report, limit: float) -> None:
    """CPU seconds against the number of steps at 61 weights, and against weights at 50 steps."""
    grids, widths = (50, 100, 200, 400, 800, 1600), (4, 8, 16, 32, 64, 128, 256)
    for kind, label in ((ao.Dense, "actionopt"), (ForwardOnly, "forward-only")):
        steps = [timed(report, (2, 15, 1), count, kind, label, limit) for count in grids]
        weights = [timed(report, (2, width, 1), 50, kind, label, limit) for width in widths]
        sizes = [4 * width + 1 for width in widths]
        report.find(
            **{f"{label}: seconds ~ steps^": slope(grids, steps), f"{label}: seconds ~ weights^": slope(sizes, weights)}
        )


def timed(
    report: Report, sizes: Sequence[int], steps: int, kind: Callable[..., ao.Module], label: str, limit: float
) -> float:
    case = make_case(f"scaling, {4 * sizes[1] + 1} weights, {steps} steps", sizes, steps, 1.0, fixed=True)
    answers, cpu, memory = in_child(lambda: ours(case, kind), limit, 5)
    answer = answers[0]
    fastest = min(cpu)
    report.add(
        case=case.name,
        contestant=label,
        total=Timing([a.build + a.solve for a in answers]),
        cpu=fastest,
        iterations=answer.iterations,
        memory_gb=memory,
        note=answer.status,
    )
    return fastest


PARTS: dict[str, Callable[[Report, float], None]] = {
    "fixed": fixed,
    "flow": flow,
    "layerwise": layerwise,
    "horizon": horizon,
    "large": large,
    "scaling": scaling,
}


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(list(PARTS)), help="Run these only; all otherwise.")
@click.option("--limit", default=100.0, show_default=True, help="CPU seconds after which a contestant is cut off.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False), help="Write the JSON here.")
def main(parts: tuple[str, ...], limit: float, json_path: str | None) -> None:
    """Race the minimum-action solver against CasADi, rockit and SciPy."""
    report = Report("Minimum action", COLUMNS, ["rockit-meco"])
    for part in parts or PARTS:
        PARTS[part](report, limit)
    report.emit(json_path)


if __name__ == "__main__":
    main()
