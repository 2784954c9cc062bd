"""Speed of contraction rates, and of measured stability on several processes.

    python -m benchmarks.contraction [--json PATH]

1. The rate at 139 weights (4-8-8-3 tanh, softmax, 8 samples, layerwise metric) beside one evaluation of (c, dc/dw),
   `c = G v + g`, by the package's CasADi graph of a stage and by duals over NumPy; their Jacobians are compared first.
   Ratios are of processor time, which other load on the machine changes little.
2. `measure_stability` on one and on two processes, one BLAS thread each, wall-clock; the results must be equal to the
   last bit. It needs two free cores.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import casadi as ca
import numpy as np

import actionopt as ao
from actionopt.action.density.local_model import LocalModel
from actionopt.action.program.flow_stage import FlowStage
from actionopt.contraction.displacement import DUALS, displacement
from benchmarks._report import Report, Timing, duration, measure

SEED = 0


def network() -> ao.Problem:
    rng = np.random.default_rng(SEED)
    layers = [ao.Dense(4, 8, "tanh"), ao.Dense(8, 8, "tanh"), ao.Dense(8, 3)]
    inputs, labels = rng.standard_normal((8, 4)), rng.integers(0, 3, 8)
    return ao.Problem(layers, inputs, labels, ao.SoftmaxCrossEntropy(), mass=0.1)


def casadi_momentum(problem: ao.Problem) -> ca.Function:
    """Return `(w, v) -> (c, dc/dw)` as one scalar graph, the metric applied by pushing and pulling."""
    stage = FlowStage(problem, "layerwise", lifted=False)
    momentum = stage.equalities[0]
    return ca.Function("c", [stage.w, stage.extra], [momentum, ca.jacobian(momentum, stage.w)])


def rates(report: Report, repeats: int) -> None:
    problem = network()
    w = problem.initial_weights(SEED)
    local = displacement(problem, w)
    model, unit = LocalModel(problem, "layerwise"), np.eye(problem.size)
    symbolic = casadi_momentum(problem)

    def duals() -> np.ndarray:
        return model.momentum(DUALS, DUALS.dual(w, unit), local.velocity).tangent.T

    error = max(
        abs(np.array(symbolic(w, local.velocity)[1]) - local.momentum_jacobian).max(),
        abs(duals() - local.momentum_jacobian).max(),
    )
    contestants = {
        "(c, dc/dw), CasADi": lambda: symbolic(w, local.velocity),
        "(c, dc/dw), duals over NumPy": duals,
        "contraction_rate": lambda: ao.contraction_rate(problem, w),
        "contraction_rate, joint": lambda: ao.contraction_rate(problem, w, metric="joint"),
        "contraction_rate, euclidean": lambda: ao.contraction_rate(problem, w, metric="euclidean"),
    }
    cpu = {}
    for name, work in contestants.items():
        cpu[name] = processor_seconds(work, repeats)
        report.add(case=name, weights=problem.size, seconds=measure(work, repeats=repeats), cpu=duration(cpu[name]))
    symbolic_time, duals_time, rate_time = list(cpu.values())[:3]
    report.find(
        jacobian_error=error, rate_over_casadi=rate_time / symbolic_time, rate_over_duals=rate_time / duals_time
    )


def processor_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median processor time of `repeats` runs, after two that do not count."""
    seconds = []
    for _ in range(repeats + 2):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds[2:])


def stability(report: Report, repeats: int) -> None:
    source = partial(ao.load_problem, "problems/digits.py", samples=400, hidden=8)
    options = {"horizon": 2.0, "steps": 10, "sizes": [100, 200], "replacements": 3, "shuffles": 2, "method": "rk4"}
    with ProcessPoolExecutor(1) as one, ProcessPoolExecutor(2) as two:
        runs = [
            [measure(partial(ao.measure_stability, source, executor=e, **options), repeats=1) for e in (one, two)]
            for _ in range(repeats + 1)
        ][1:]  # turn by turn, so that other load falls on both; the first turn starts the processes
    for jobs, column in zip((1, 2), zip(*runs, strict=True), strict=True):
        timing = Timing([run.seconds[0] for run in column], column[0].value)
        report.add(case=f"measure_stability, processes: {jobs}", weights=source().size, seconds=timing)
    first, second = (run.value for run in runs[0])
    same = np.array_equal(first.distances, second.distances)
    same = same and np.array_equal(first.loss_changes, second.loss_changes)
    ratios = [alone.seconds[0] / both.seconds[0] for alone, both in runs]
    report.find(same_numbers=same, speedup_on_two=statistics.median(ratios), least=min(ratios), largest=max(ratios))


def main() -> None:
    json_path = sys.argv[sys.argv.index("--json") + 1] if "--json" in sys.argv else None
    report = Report("contraction", columns=("case", "weights", "seconds", "cpu"))
    rates(report, repeats=25)
    stability(report, repeats=5)
    report.emit(json_path)


if __name__ == "__main__":
    main()
