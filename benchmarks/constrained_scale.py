"""How the constrained problem scales: check_adjoints on all digits and at depth 1000, train against depth.

    python -m benchmarks.constrained_scale --json out/constrained_scale.json

Seconds are CPU time of this one process and thread, which is wall time on an idle machine; the checks give wall time.
Building and solving are given apart. All solvers start from the same weights and must end in the same point (weights
to 1e-6); all see the same function evaluations, block by block. ipopt runs with either ordering of its linear solver
MUMPS: nested dissection, or what MUMPS chooses by itself.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import numpy as np

import actionopt as ao
from actionopt.constrained.task import make_task
from actionopt.constrained.training import Trained, transcribe
from benchmarks._report import Report, Timing, measure, peak_memory, slope
from problems.digits import build as digits

DEPTHS = (10, 20, 40, 80)
COLUMNS = ("case", "solver", "total", "build", "solve", "iterations", "relative error", "peak GB")


def deep(depth: int, samples: int, weight_decay: float = 0.0) -> ao.Problem:
    """Return `depth` residual tanh layers of width 4 that learn a fixed map of four features."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((samples, 4))
    targets = np.tanh(inputs @ rng.standard_normal((4, 4)))
    modules = [ao.Residual(ao.Dense(4, 4, "tanh")) for _ in range(depth)]
    return ao.Problem(modules, inputs, targets, ao.SquaredError(), weight_decay=weight_decay, name=f"depth {depth}")


def start(depth: int) -> np.ndarray:
    """Return the same layer at every depth, scaled as a step of a flow: the deep limit exists."""
    return np.tile(0.3 * np.random.default_rng(1).standard_normal(20), depth) / depth


def check(report: Report, problem: ao.Problem, w: np.ndarray, solver: str, repeats: int) -> None:
    """Time check_adjoints and refuse a result that does not hold."""
    timing = measure(lambda: ao.check_adjoints(problem, w, solver=solver), repeats=repeats)
    result = timing.value
    if not (result.ok and result.relative_error <= 1e-10):
        raise SystemExit(f"{problem.name}, {solver}: {result.message}")
    report.add(
        **{
            "case": f"check {problem.name}",
            "solver": solver,
            "total": timing,
            "build": sum(part["build_time"] for part in result.stats.values()),
            "solve": sum(part["solve_time"] for part in result.stats.values()),
            "iterations": result.stats["layers"]["iterations"],
            "relative error": result.relative_error,
            "peak GB": peak_memory(),
        }
    )


CONTESTANTS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "fatrop": ("fatrop", None),
    "ipopt, nested dissection": ("ipopt", {"ipopt": {"mumps_pivot_order": 5}}),
    "ipopt, MUMPS's ordering": ("ipopt", {"ipopt": {"mumps_pivot_order": 7}}),
}


def train(report: Report, depth: int, repeats: int) -> dict[str, tuple[Timing, Timing]]:
    """Time all solvers in turn, so that load on the machine meets all; return totals and solve times."""
    problem = deep(depth, samples=20, weight_decay=0.02 * depth)
    runs: dict[str, list[tuple[float, float, Trained]]] = {name: [] for name in CONTESTANTS}
    for _ in range(repeats):
        for name, entries in runs.items():
            entries.append(_train_once(problem, start(depth), name))
    reference = runs["fatrop"][0][2].weights
    times = {}
    for name, entries in runs.items():
        last = entries[-1][2]
        apart = abs(last.weights - reference).max()
        if not last.nlp.success or apart > 1e-6:
            raise SystemExit(f"depth {depth}, {name}: {last.nlp.message}; {apart:.1e} from fatrop's weights")
        build, solve = (Timing([entry[place] for entry in entries]) for place in (0, 1))
        total = Timing([entry[0] + entry[1] for entry in entries])
        iterations = last.nlp.stats["iterations"]
        report.add(
            case=f"train depth {depth}", solver=name, total=total, build=build, solve=solve, iterations=iterations
        )
        times[name] = (total, solve)
    return times


def _train_once(problem: ao.Problem, w: np.ndarray, name: str) -> tuple[float, float, Trained]:
    """Return CPU seconds of building and of solving, and where it ended."""
    solver, options = CONTESTANTS[name]
    began = time.process_time()
    task = make_task(problem, w, solver=solver, formulation="lifted", options=options)
    transcription = transcribe(task)
    built = time.process_time()
    trained = transcription.solve(w, task.scale)
    return built - began, time.process_time() - built, trained


@click.command(help=__doc__)
@click.option("--repeats", default=5, show_default=True, help="Runs a figure; the median counts.")
@click.option("--samples", default=1797, show_default=True, help="Digits to check.")
@click.option("--depth", default=1000, show_default=True, help="Depth of the deep check.")
@click.option("--depths", default=",".join(map(str, DEPTHS)), show_default=True, help="Depths to train at.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
def main(repeats: int, samples: int, depth: int, depths: str, json_path: Path | None) -> None:
    report = Report("The constrained problem at scale", COLUMNS)
    timed = {size: train(report, size, repeats) for size in map(int, depths.split(","))}
    problem = deep(depth, samples=8)
    check(report, problem, start(depth), "ipopt", repeats)
    problem = digits(samples=samples)
    check(report, problem, problem.initial_weights(0), "ipopt", repeats)
    sizes = list(timed)
    for index, what in enumerate(("total", "solve")):
        seconds = {name: [timed[size][name][index].median for size in sizes] for name in CONTESTANTS}
        if len(sizes) > 1:
            report.find(
                **{f"{name}, {what}: exponent of depth": slope(sizes, values) for name, values in seconds.items()}
            )
        best = min(values[-1] for name, values in seconds.items() if name != "fatrop")
        report.find(**{f"best ipopt / fatrop, {what}, depth {sizes[-1]}": best / seconds["fatrop"][-1]})
    report.emit(json_path)


if __name__ == "__main__":
    main()
