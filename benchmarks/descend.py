"""Mini-batches against first-order peers: `python -m benchmarks.descend [--task NAME]... [--json PATH]`.

Iterations and processor seconds until the energy of all samples (or the error on clean ones) is below a target, each
contestant at its best of six settings on the first seed, then over three seeds. Evaluations of the target are not
counted. Contestants: layerwise steps (ours), SGD, AdamW and SciPy's L-BFGS in NumPy; Muon, SOAP and K-FAC where
PyTorch, pytorch_optimizer and curvlinops are installed. All use the same gradients, batches and starts.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

import actionopt as ao
from benchmarks._descend_peers import Step, known, ours
from benchmarks._report import Report

SEEDS = (0, 1, 2)
Settings = dict[str, tuple[ao.Problem, Callable[[], Step]]]


@dataclass(frozen=True)
class Task:
    """A problem, how its batches come, and when it is done."""

    name: str
    make: Callable[[float], ao.Problem]
    batch: int
    target: float
    limit: int
    masses: tuple[float, ...]
    measure: Callable[[ao.Problem, np.ndarray], float] = lambda problem, w: float(problem.energy(w))


class Run(NamedTuple):
    """Iterations until the target, infinite where it was not reached, and processor seconds."""

    iterations: float
    seconds: float


def layers(*sizes: int) -> list[ao.Module]:
    return [ao.Dense(a, b, "tanh") for a, b in pairwise(sizes[:-1])] + [ao.Dense(sizes[-2], sizes[-1])]


def regression(mass: float) -> ao.Problem:
    """A smooth function of two numbers, without noise."""
    x = np.random.default_rng(10).uniform(-1.0, 1.0, (2048, 2))
    y = np.sin(4.0 * x[:, :1]) * np.cos(3.0 * x[:, 1:]) + 0.5 * np.sin(5.0 * x[:, :1] * x[:, 1:])
    return ao.Problem(layers(2, 64, 64, 64, 1), x, y, ao.SquaredError(), mass=mass, name="regression")


def _friedman(x: np.ndarray) -> np.ndarray:
    """Friedman's function of five of eight numbers, centred and scaled to variance one (Friedman 1991)."""
    u = 0.5 * (x + 1.0)
    y = 10.0 * np.sin(np.pi * u[:, 0] * u[:, 1]) + 20.0 * (u[:, 2] - 0.5) ** 2 + 10.0 * u[:, 3] + 5.0 * u[:, 4]
    return ((y - 14.4) / 4.9)[:, None]


CLEAN = np.random.default_rng(12).uniform(-1.0, 1.0, (2000, 8))


def noisy(mass: float) -> ao.Problem:
    """Friedman's function with noise of a third of its deviation."""
    rng = np.random.default_rng(11)
    x = rng.uniform(-1.0, 1.0, (4096, 8))
    y = _friedman(x) + 0.33 * rng.standard_normal((4096, 1))
    return ao.Problem(layers(8, 64, 64, 1), x, y, ao.SquaredError(), mass=mass, name="noisy")


def clean_error(problem: ao.Problem, w: np.ndarray) -> float:
    """Half the mean square error on samples without noise."""
    clean = problem.take(slice(0, 1))
    z = CLEAN
    for module, piece in zip(clean.modules, clean.unflatten(w), strict=True):
        z = module.forward(ao.ops.NUMPY, piece, z)
    return 0.5 * float(((z - _friedman(CLEAN)) ** 2).mean())


def digits(mass: float) -> ao.Problem:
    """The 8 x 8 digits of scikit-learn, four fifths of them."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    train = np.random.default_rng(13).permutation(len(x))[:1437]
    return ao.Problem(layers(64, 64, 64, 10), x[train] / 16.0, y[train], ao.SoftmaxCrossEntropy(), mass=mass)


TASKS = {
    task.name: task
    for task in (
        Task("regression", regression, 256, 1e-3, 3000, (1e-4, 1e-3, 1e-2)),
        Task("noisy", noisy, 256, 0.03, 1500, (1e-2, 1e-1, 3e-1), clean_error),
        Task("digits64", digits, 64, 0.1, 600, (1e-1, 3e-1, 1.0)),
        Task("digits256", digits, 256, 0.1, 600, (1e-1, 3e-1, 1.0)),
    )
}


def run(task: Task, problem: ao.Problem, step: Step, seed: int, limit: int | None = None) -> Run:
    """Step on shuffled batches until the target is reached."""
    rng, w = np.random.default_rng([seed, 1]), problem.initial_weights(seed)
    order, place, seconds = rng.permutation(problem.samples), 0, 0.0
    for iteration in range(1, (limit or task.limit) + 1):
        if place + task.batch > problem.samples:
            order, place = rng.permutation(problem.samples), 0
        began = time.process_time()
        with np.errstate(all="ignore"):
            w = step(problem.take(order[place : place + task.batch]), w)
        seconds += time.process_time() - began
        place += task.batch
        if not np.isfinite(w).all():
            break
        if iteration < 60 or iteration % 5 == 0:
            value = task.measure(problem, w)
            if value <= task.target:
                return Run(iteration, seconds)
            if not np.isfinite(value):
                break
    return Run(np.inf, seconds)


def lbfgs(task: Task, problem: ao.Problem, seed: int) -> Run:
    """SciPy's L-BFGS on all samples: evaluations until the target."""
    count, seconds, reached = 0, 0.0, np.inf

    def evaluate(w: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal count, seconds, reached
        began = time.process_time()
        with np.errstate(all="ignore"):
            energy, gradient = problem.energy(w), problem.gradient(w)
        seconds += time.process_time() - began
        count += 1
        if task.measure(problem, w) <= task.target:
            reached = count
            raise StopIteration
        return energy, gradient

    with contextlib.suppress(StopIteration):
        minimize(
            evaluate,
            problem.initial_weights(seed),
            jac=True,
            method="L-BFGS-B",
            options={"maxfun": 4000, "maxiter": 4000},
        )
    return Run(reached, seconds)


def ending(task: Task, problem: ao.Problem, step: Step, seed: int, epochs: int) -> Run:
    """Step for some epochs, cooled down over the last 40 %: what is measured at the end, and processor seconds."""
    rng, w, seconds = np.random.default_rng([seed, 2]), problem.initial_weights(seed), 0.0
    steps = epochs * (problem.samples // task.batch)
    order: list[np.ndarray] = []
    for number in range(steps):
        if not order:
            order = np.array_split(rng.permutation(problem.samples), problem.samples // task.batch)
        began = time.process_time()
        with np.errstate(all="ignore"):
            w = w + min(1.0, (steps - number) / (0.4 * steps)) * (step(problem.take(order.pop()), w) - w)
        seconds += time.process_time() - began
        if not np.isfinite(w).all():
            return Run(np.inf, seconds)
    return Run(task.measure(problem, w), seconds)


def endings(task: Task, report: Report, epochs: int) -> None:
    """Hold against each other what the contestants end at after some epochs, each at its best of six settings."""
    problems = {mass: task.make(mass) for mass in task.masses}
    for name, makers in settings_of(task, problems).items():
        first = {key: ending(task, problem, make(), 0, epochs).iterations for key, (problem, make) in makers.items()}
        setting = min(first, key=lambda key: first[key])
        problem, make = makers[setting]
        runs = [ending(task, problem, make(), seed, epochs) for seed in SEEDS]
        values, seconds = ([one[k] for one in runs] for k in (0, 1))
        report.add(
            task=f"{task.name}, {epochs} epochs", contestant=name, setting=setting, ends_at=float(np.median(values)),
            spread=f"{min(values):.4g} .. {max(values):.4g}", seconds=float(np.median(seconds)),
        )  # fmt: skip


def best_setting(task: Task, makers: Settings) -> str:
    """Return the setting of fewest iterations on the first seed."""
    found, least = "", np.inf
    for name, (problem, make) in makers.items():
        limit = None if not np.isfinite(least) else int(least)
        iterations = run(task, problem, make(), SEEDS[0], limit).iterations
        if iterations < least or not found:
            found, least = name, min(least, iterations)
    return found


def settings_of(task: Task, problems: dict[float, ao.Problem]) -> dict[str, Settings]:
    """Return every contestant's six settings."""
    settings: dict[str, Settings] = {
        "ours": {
            f"mass {mass:g}, momentum {mu:g}": (problems[mass], lambda mu=mu: ours(mu))
            for mass in task.masses
            for mu in (0.5, 0.0)
        }
    }
    plain = problems[task.masses[0]]
    for name, (make, rates) in known().items():
        settings[name] = {f"rate {rate:g}": (plain, lambda make=make, rate=rate: make(rate)) for rate in rates}
    return settings


def contest(task: Task, report: Report, peers: list[str]) -> None:
    """Run every contestant on a task."""
    problems = {mass: task.make(mass) for mass in task.masses}
    settings = settings_of(task, problems)
    plain = problems[task.masses[0]]
    medians: dict[str, tuple[float, float]] = {}
    for name, makers in settings.items():
        if peers and name not in peers:
            continue
        setting = best_setting(task, makers)
        problem, make = makers[setting]
        add(report, task, medians, name, setting, [run(task, problem, make(), seed) for seed in SEEDS])
    if not peers or "L-BFGS" in peers:
        add(report, task, medians, "L-BFGS", "all samples", [lbfgs(task, plain, seed) for seed in SEEDS])
    for name, (iterations, seconds) in medians.items():
        if name != "ours" and "ours" in medians:
            report.find(
                **{
                    f"{task.name}: {name}/ours, iterations": iterations / medians["ours"][0],
                    f"{task.name}: {name}/ours, seconds": seconds / medians["ours"][1],
                }
            )


def add(report: Report, task: Task, medians: Any, name: str, setting: str, runs: list[Run]) -> None:
    iterations, seconds = ([one[k] for one in runs] for k in (0, 1))
    medians[name] = float(np.median(iterations)), float(np.median(seconds))
    report.add(
        task=task.name, contestant=name, setting=setting, iterations=medians[name][0],
        spread=f"{min(iterations):g} .. {max(iterations):g}", seconds=medians[name][1],
    )  # fmt: skip


def robustness(task: Task, report: Report) -> None:
    """Every mass with every momentum, over the best of them."""
    found = {}
    for mass in (0.1, 0.3, 1.0):
        problem = task.make(mass)
        for mu in (0.0, 0.5, 0.9):
            runs = [run(task, problem, ours(mu), seed).iterations for seed in SEEDS]
            found[mass, mu] = float(np.median(runs))
            report.add(task=task.name, contestant="ours", setting=f"mass {mass:g}, momentum {mu:g}",
                       iterations=found[mass, mu], spread=f"{min(runs):g} .. {max(runs):g}")  # fmt: skip
    report.find(**{f"{task.name}: worst/best of mass x momentum": max(found.values()) / min(found.values())})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", choices=list(TASKS), help="only this one; may be repeated")
    parser.add_argument("--contestant", action="append", help="only this one; may be repeated")
    parser.add_argument("--epochs", type=int, help="what contestants end at after so many, in place of a target")
    parser.add_argument("--robustness", action="store_true", help="masses and momenta in place of the contest")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    columns = ("task", "contestant", "setting", "iterations", "ends_at", "spread", "seconds")
    report = Report("mini-batches to a target", columns, ("torch", "pytorch_optimizer", "curvlinops"))
    for name in options.task or TASKS:
        if options.robustness:
            robustness(TASKS[name], report)
        elif options.epochs:
            endings(TASKS[name], report, options.epochs)
        else:
            contest(TASKS[name], report, options.contestant or [])
    report.emit(options.json)


if __name__ == "__main__":
    main()
