"""One step of the layerwise metric against its peers: `python -m benchmarks.metric_step [--json PATH]`.

Every contestant computes `G^{-1} g` from the weights, gradient included. Those that claim the exact metric are held
against the dense solve, or against our dual solver where a dense matrix does not fit. The runs of all contestants
take turns, so that other load on the machine meets them alike; ratios are of the medians of processor time, which
counts no waiting for a busy machine (all contestants run on one thread).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import actionopt as ao
from actionopt.metric.conjugate import Factor
from actionopt.metric.cost import factor_cost, product_cost, solve_cost
from actionopt.metric.forms import FORMS
from benchmarks._metric_floor import floor
from benchmarks._metric_peers import Case, peers
from benchmarks._report import Report, Timing, measure

NETWORKS = (((64, 64, 64, 10), 128), ((64, 64, 64, 10), 32), ((784, 256, 256, 10), 128), ((20, 16, 16, 3), 256))
MASS = 0.01
STEP = 0.05
SLOW = 0.1  # seconds above which a contestant runs a few times only, and apart from the fast ones


def network(sizes: tuple[int, ...], samples: int, mass: float = MASS) -> ao.Problem:
    """Return a tanh network with softmax cross-entropy on random data."""
    rng = np.random.default_rng(0)
    hidden = [ao.Dense(before, after, "tanh") for before, after in pairwise(sizes[:-1])]
    inputs, labels = rng.standard_normal((samples, sizes[0])), rng.integers(0, sizes[-1], samples)
    return ao.Problem([*hidden, ao.Dense(*sizes[-2:])], inputs, labels, ao.SoftmaxCrossEntropy(), mass=mass)


def direction(problem: ao.Problem, w: np.ndarray, **options: Any) -> np.ndarray:
    """Return `G^{-1} g`, everything anew."""
    metric = ao.LayerMetric(problem, w, **options)
    return metric.solve(metric.gradient)


class Walk:
    """Steps along a trajectory, each with the metric after the last one."""

    def __init__(self, problem: ao.Problem, w: np.ndarray, **options: Any) -> None:
        self.problem, self.w, self.options = problem, w, options
        self.metric: Any = None

    def __call__(self) -> np.ndarray:
        self.metric = ao.LayerMetric(self.problem, self.w, after=self.metric, **self.options)
        found = self.metric.solve(self.metric.gradient)
        self.w = self.w - STEP * found
        return found


@dataclass(frozen=True)
class Clocked:
    """Wall-clock and processor seconds of the same runs; all contestants run on one thread."""

    wall: Timing
    processor: Timing


def in_turns(contestants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Clocked]:
    """Run all contestants once untimed; then the fast ones in turns, and after them the slow ones in turns.

    Slow ones, which sweep through all caches, run three times and never between two fast ones.
    """
    slow = {name for name, work in contestants.items() if measure(work).median > SLOW}
    timings: dict[str, Clocked] = {}
    for names, turns in (([n for n in contestants if n not in slow], repeats), (sorted(slow), min(repeats, 3))):
        wall: dict[str, list[float]] = {name: [] for name in names}
        processor: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(turns):
            shift = turn % max(len(names), 1)
            for name in names[shift:] + names[:shift]:  # whoever runs before leaves caches and memory as it likes
                began, processor_began = time.perf_counter(), time.process_time()
                contestants[name]()
                processor[name].append(time.process_time() - processor_began)
                wall[name].append(time.perf_counter() - began)
        timings |= {name: Clocked(Timing(wall[name]), Timing(processor[name])) for name in names}
    return {name: timings[name] for name in contestants}


def compare(report: Report, sizes: tuple[int, ...], samples: int, repeats: int, skip: list[str]) -> None:
    """Add one network's rows, and what they say about the targets."""
    problem = network(sizes, samples)
    w = problem.initial_weights(0)
    case = Case(sizes, problem.inputs, np.asarray(problem.targets), w, MASS)
    others = {name: peer for name, peer in peers(case).items() if not any(part in name for part in skip)}
    reference = others["dense NumPy"][0]() if "dense NumPy" in others else direction(problem, w, solve="dual")
    chosen = ao.LayerMetric(problem, w)
    chosen.solve(problem.gradient(w))
    contestants: dict[str, tuple[Callable[[], np.ndarray], bool]] = {
        "actionopt, exact": (lambda: direction(problem, w), True),
        "actionopt, dual": (lambda: direction(problem, w, solve="dual"), True),
        "actionopt, 1e-4": (lambda: direction(problem, w, tol=1e-4), False),
        **others,
    }
    errors = {name: _error(work(), reference) for name, (work, _) in contestants.items()}
    for name, (_, exact) in contestants.items():
        assert not exact or errors[name] < 1e-9, f"{name} is not exact: {errors[name]:.1e}"
    walk = Walk(problem, w, tol=1e-4)
    timings = in_turns(
        {
            **{name: work for name, (work, _) in contestants.items()},
            "actionopt, 1e-4, along a trajectory": walk,
            "gradient alone": lambda: problem.gradient(w),
            "floor of the exact step": floor(problem, chosen),
        },
        repeats,
    )
    # the walk's metric is set by its call, which comes first
    errors["actionopt, 1e-4, along a trajectory"] = _error(walk(), direction(problem, walk.metric.w, solve="dual"))
    exact_step = timings["actionopt, exact"].processor.median
    solvers = ", ".join(row.solver for row in chosen.report.rows)
    for name, timing in timings.items():
        report.add(
            net=case.name,
            contestant=name,
            wall=timing.wall,
            processor=timing.processor,
            ratio=timing.processor.median / exact_step,
            error=errors.get(name),
            note=solvers if name == "actionopt, exact" else None,
        )
    _findings(report, case.name, timings)


def _error(found: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


def _findings(report: Report, name: str, timings: dict[str, Clocked]) -> None:
    def ratio(slow: str, fast: str) -> float | None:
        if slow not in timings or fast not in timings:
            return None
        return timings[slow].processor.median / timings[fast].processor.median

    exact, walk = "actionopt, exact", "actionopt, 1e-4, along a trajectory"
    found = {
        "exact step over its floor (<= 1.5)": ratio(exact, "floor of the exact step"),
        "dense over exact (>= 30)": ratio("dense NumPy", exact),
        "torch.func + Woodbury over exact (>= 8)": ratio("torch.func + Woodbury", exact),
        "1e-4 step with reuse over kfac-jax (<= 3)": ratio(walk, "kfac-jax, jitted"),
    }
    report.find(**{f"{name}: {what}": value for what, value in found.items() if value is not None})


def compare_model(report: Report) -> None:
    """Add a row for every block and form: modelled and measured seconds."""
    for sizes, samples in NETWORKS:
        problem = network(sizes, samples)
        metrics = [ao.LayerMetric(problem, problem.initial_weights(0), joint=joint) for joint in (False, True)]
        for block in [block for metric in metrics for block in metric.blocks]:
            for name, form in ((name, form(block)) for name, form in FORMS.items()):
                if form.size > 1200:
                    continue
                y, factor = np.ones(form.size), Factor(form)
                report.add(
                    net="-".join(map(str, sizes)),
                    block=f"{block.label}, {name} {form.size}",
                    factor=min(measure(lambda form=form: Factor(form), repeats=5).seconds),
                    factor_model=factor_cost(block, name),
                    product=min(measure(lambda form=form, y=y: form.apply(y), repeats=50).seconds),
                    product_model=product_cost(block, name),
                    solve=min(measure(lambda factor=factor, y=y: factor.solve(y), repeats=50).seconds),
                    solve_model=solve_cost(form.size),
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--nets", type=int, nargs="*", default=range(len(NETWORKS)), help="which networks, from 0")
    parser.add_argument("--skip", nargs="*", default=[], help="leave out peers with these in their names")
    parser.add_argument("--model", action="store_true", help="compare the cost model with measurements instead")
    options = parser.parse_args()
    if options.model:
        columns = ("net", "block", *(k + s for k in ("factor", "product", "solve") for s in ("", "_model")))
        report = Report("cost model of the metric's solvers, seconds (fastest runs)", columns)
        compare_model(report)
    else:
        columns = ("net", "contestant", "wall", "processor", "ratio", "error", "note")
        packages = ("torch", "curvlinops-for-pytorch", "jax", "kfac-jax")
        report = Report(f"one metric step, gradient included, mass {MASS}", columns, packages)
        for index in options.nets:
            compare(report, *NETWORKS[index], options.repeats, options.skip)
    report.emit(options.json)


if __name__ == "__main__":
    main()
