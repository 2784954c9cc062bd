"""Energy against steps and against wall-clock, for steps of the Euclidean, the layerwise and the joint metric.

Every metric takes the step size of `--step-sizes` that lowers its energy most, so that none is helped by the scale,
and the Euclidean one, whose steps are cheap, takes twenty times as many. The clock runs for gradient, metric and solve,
with factorisations and guesses handed from step to step, and stands for the evaluation of the energy.

    python plots/metric_step.py problems/digits.py --set mass=0.01 --out out/metric_step.png
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import actionopt as ao
from actionopt import figures
from actionopt.cli.common import load_modular, plot_command
from actionopt.metric.kinds import METRICS

CHEAP = 20  # Euclidean steps for one of the others
STEP_SIZES = "0.003,0.01,0.03,0.1,0.3,1"


@dataclass(frozen=True)
class Descent:
    """Energies at the start and after every step `(K+1,)`, and the seconds it took to get there."""

    step_size: float
    energies: np.ndarray
    seconds: np.ndarray


@plot_command
@click.option("--steps", default=40, show_default=True, type=click.IntRange(1), help="Steps of the metrics.")
@click.option(
    "--step-sizes",
    default="0.003,0.01,0.03,0.1,0.3,1",
    show_default=True,
    metavar="A,B,...",
    help="Step sizes to choose among.",
)
@click.option("--tol", default=1e-4, show_default=True, help="Relative error of the solves with the metric.")
@click.option("--seed", default=0, show_default=True, help="Of the starting weights.")
def main(path: Path, settings: dict[str, Any], dark: bool, steps: int, step_sizes: str, tol: float, seed: int) -> Any:
    """Draw the energy against steps and seconds for three metrics."""
    problem = load_modular(path, settings)
    sizes = _numbers(step_sizes)
    counts = {metric: steps * (CHEAP if metric == "euclidean" else 1) for metric in METRICS}
    runs = {metric: best_descent(problem, metric, sizes, k, tol=tol, seed=seed) for metric, k in counts.items()}
    return draw(problem.name, runs, steps, dark=dark)


def best_descent(
    problem: ao.Problem, metric: str, step_sizes: list[float], steps: int, *, tol: float = 1e-4, seed: int = 0
) -> Descent:
    """Return the descent of the step size with the lowest last energy; one that diverged ranks behind all others."""
    runs = [descend(problem, metric, size, steps, tol=tol, seed=seed) for size in step_sizes]
    return min(runs, key=lambda run: run.energies[-1] if len(run.energies) == steps + 1 else np.inf)


def descend(
    problem: ao.Problem, metric: str, step_size: float, steps: int, *, tol: float = 1e-4, seed: int = 0
) -> Descent:
    """Take steps of one size; a run that overflows ends early."""
    w, held, spent = problem.initial_weights(seed), None, 0.0
    energies, seconds = [problem.energy(w)], [0.0]
    for _ in range(steps):
        began = time.perf_counter()
        try:
            w, held = advance(problem, w, step_size, metric, held, tol)
        except (ao.InputError, ao.SolverError):
            break
        spent += time.perf_counter() - began
        with np.errstate(all="ignore"):
            energy = problem.energy(w)
        if not np.isfinite(energy):
            break
        energies.append(energy)
        seconds.append(spent)
    return Descent(step_size, np.array(energies), np.array(seconds))


def advance(
    problem: ao.Problem, w: np.ndarray, step_size: float, metric: str, held: ao.LayerMetric | None, tol: float
) -> tuple[np.ndarray, ao.LayerMetric | None]:
    """Take one step; returns the weights and the metric to hand to the next one."""
    if metric == "euclidean":
        return ao.step(problem, w, step_size, metric=metric), None
    here = ao.LayerMetric(problem, w, joint=metric == "joint", tol=tol, after=held)
    return w - step_size * here.solve(problem.gradient(w)), here


def draw(name: str, runs: dict[str, Descent], steps: int, *, dark: bool = False) -> Any:
    """Return the figure for one descent a metric; of the longer ones only the first steps are drawn by step."""
    fig, (by_step, by_second) = figures.figure(1, 2, dark=dark, sharey=True)
    for (metric, run), color, marker in zip(runs.items(), figures.COLORS, figures.MARKERS, strict=False):
        style = {"color": color, "marker": marker, "markersize": 3}
        shown = run.energies[: steps + 1]
        ended = len(run.energies) - 1 < (steps * CHEAP if metric == "euclidean" else steps)
        label = f"{metric}, step {run.step_size:g}" + (" (diverged)" if ended else "")
        by_step.plot(shown, label=label, markevery=max(1, len(shown) // 10), **style)
        by_second.plot(run.seconds, run.energies, markevery=max(1, len(run.energies) // 10), **style)
    by_step.set(xlabel="step", ylabel="energy", yscale="log")
    by_second.set(xlabel="seconds")
    by_step.legend(loc="best")
    fig.suptitle(f"{name}: energy by the metric of the step", fontsize=10.5)
    return fig


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(np.isfinite(number) and number > 0 for number in numbers):
        raise ao.InputError(f"--step-sizes takes positive numbers with commas between, such as 0.1,0.3; got {text!r}")
    return numbers


if __name__ == "__main__":
    main()
