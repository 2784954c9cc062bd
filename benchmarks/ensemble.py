"""What does it save to run seeds together? `python -m benchmarks.ensemble [--json PATH]`.

Twenty seeds by a hundred steps, one by one and in one call, in processor time within one process: `ao.step`, and
`ao.flow` by each method of fixed steps, without and with its certificate. On XOR, and, with fewer methods, on a 4-8-3
network with 30 and with 150 samples of four features, where the arithmetic of a step is no longer small beside calling
it. The runs are compared.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import actionopt as ao
from benchmarks._report import Report
from problems import xor

SEEDS, STEPS = 20, 100
METHODS = ("euler", "rk4", "implicit_midpoint", "gauss2", "radau5")


def flowers(samples: int) -> ao.Problem:
    """Three noisy classes of four features, the size of iris."""
    rng = np.random.default_rng(0)
    labels = np.arange(samples) % 3
    x = rng.standard_normal((samples, 4)) + 1.5 * np.eye(3, 4)[labels]
    layers = [ao.Dense(4, 8, "tanh"), ao.Dense(8, 3)]
    return ao.Problem(layers, x, labels, ao.SoftmaxCrossEntropy(), mass=0.1)


def used(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return processor seconds, and what came."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def stepped(problem: ao.Problem, w: np.ndarray) -> np.ndarray:
    for _ in range(STEPS):
        w = ao.step(problem, w, 0.1)
    return w


def flowed(problem: ao.Problem, w: np.ndarray, method: str, certify: bool) -> np.ndarray:
    found = ao.flow(problem, w, horizon=5.0, steps=STEPS, method=method, certify=certify, throw=False)
    runs = found if isinstance(found, ao.Ensemble) else [found]
    _ = [run.status for run in runs]  # asks for the certificate
    points = np.stack([run.weights[-1] for run in runs])
    return points if isinstance(found, ao.Ensemble) else points[0]


def works(methods: tuple[str, ...]) -> Iterator[tuple[str, Callable[[ao.Problem, np.ndarray], np.ndarray]]]:
    yield "step", stepped
    for certify in (False, True):
        for method in methods:
            name = f"flow, {method}" + (", certified" if certify else "")
            yield name, lambda problem, w, m=method, c=certify: flowed(problem, w, m, c)  # type: ignore[misc]


def main() -> None:
    json_path = sys.argv[sys.argv.index("--json") + 1] if "--json" in sys.argv else None
    report = Report("20 seeds together", columns=("problem", "work", "one_by_one", "together", "ratio", "off"))
    problems = {"xor": xor.build(), "4-8-3, B = 30": flowers(30), "4-8-3, B = 150": flowers(150)}
    for name, problem in problems.items():
        w = np.stack([problem.initial_weights(seed) for seed in range(SEEDS)])
        for what, work in works(METHODS if name == "xor" else METHODS[1::3]):
            work(problem, w[:2])  # nothing is done for the first time
            alone, ends = used(lambda work=work, problem=problem, w=w: np.stack([work(problem, one) for one in w]))
            together, found = used(lambda work=work, problem=problem, w=w: work(problem, w))
            off = float(abs(found - ends).max() / abs(ends).max())
            report.add(problem=name, work=what, one_by_one=alone, together=together, ratio=alone / together, off=off)
    of_xor = [row["ratio"] for row in report.rows if row["problem"] == "xor" and "certified" not in row["work"]]
    report.find(least_of_xor=min(of_xor), most_of_xor=max(of_xor), largest_off=max(row["off"] for row in report.rows))
    report.emit(json_path)


if __name__ == "__main__":
    main()
