"""How a metric step grows with weights and with rows: `python -m benchmarks.metric_scaling [--json PATH]`.

Time for `G^{-1} g`, gradient included, against the number of weights n at fixed r = m B rows, and against r at fixed n,
for the dual solver and for the one chosen; and the exponents of both, fitted on log axes to the fastest runs.
"""

from __future__ import annotations

import argparse
import tracemalloc
from collections.abc import Iterator

import actionopt as ao
from benchmarks._report import Report, measure, slope
from benchmarks.metric_step import direction, network

SOLVERS = ("dual", "auto")
WIDTHS = (32, 64, 128, 256, 512, 1024)  # of both hidden layers: n grows like the square
SAMPLES = (8, 16, 32, 64, 128, 256)
CLASSES = 10


def seconds(problem: ao.Problem, solve: str, repeats: int = 7) -> float:
    """Return the fastest of several runs."""
    w = problem.initial_weights(0)
    return min(measure(lambda: direction(problem, w, solve=solve), repeats=repeats, warmup=1).seconds)


def rows_of(problem: ao.Problem) -> int:
    """Return the number of rows r of the problem's metric."""
    return ao.LayerMetric(problem, problem.initial_weights(0)).blocks[-1].rank


def against_weights() -> Iterator[ao.Problem]:
    """Give networks of growing width on the same number of samples."""
    return (network((64, width, width, CLASSES), 64) for width in WIDTHS)


def against_rows() -> Iterator[ao.Problem]:
    """Give one network on growing numbers of samples."""
    return (network((64, 128, 128, CLASSES), samples) for samples in SAMPLES)


def memory(problem: ao.Problem) -> float:
    """Return the peak of all memory allocated during a step, in MB above what there was before."""
    w = problem.initial_weights(0)
    tracemalloc.start()
    direction(problem, w)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    report = Report("growth of a metric step", ("grows", "weights", "rows", *(f"{s}, ms" for s in SOLVERS), "peak MB"))
    for what, problems, limit in (("n", against_weights(), 1.1), ("r", against_rows(), 3.0)):
        points: dict[str, list[tuple[float, float]]] = {solve: [] for solve in SOLVERS}
        for problem in problems:
            rows = rows_of(problem)
            times = {solve: seconds(problem, solve, options.repeats) for solve in SOLVERS}
            for solve, time in times.items():
                points[solve].append((problem.size if what == "n" else rows, time))
            milliseconds = {f"{solve}, ms": 1e3 * time for solve, time in times.items()}
            report.add(grows=what, weights=problem.size, rows=rows, **milliseconds, **{"peak MB": memory(problem)})
        report.find(
            **{
                f"exponent in {what}, {solve} (<= {limit})": slope(*zip(*points[solve], strict=True))
                for solve in SOLVERS
            }
        )
    largest = network((784, 256, 256, 10), 128)
    explicit = 8e-6 * rows_of(largest) * largest.size
    report.find(**{"peak MB at 784-256-256-10, B = 128 (< 300)": memory(largest), "MB that K would take": explicit})
    report.emit(options.json)


if __name__ == "__main__":
    main()
