"""What do two processes save a sweep? `python -m benchmarks.sweep [--json PATH]`.

Sixty runs (three widths, two masses, ten seeds) of `train` on XOR, one after the other in one process and on pools of
one and of two, turn by turn so that other load falls on all; rows are kept on disk as they are finished. The tables are
compared to the last bit. "longest way" is processor time: that of this process, which nothing overlaps in the worst
case, and of the busiest worker. It is about what wall-clock time is on a machine with nothing else to do.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import actionopt as ao
from benchmarks._report import Report, Timing, measure, processor_seconds_of

XOR = Path(__file__).parents[1] / "problems" / "xor.py"
OPTIONS = {"width": [8, 16, 24], "mass": [0.05, 0.1]}
SEEDS = 10


def end(problem: ao.Problem, seed: int) -> dict[str, Any]:
    """Follow the flow, then train from where it is: some tenths of a second."""
    flow = ao.flow(problem, problem.initial_weights(seed), horizon=10.0, steps=100, method="rk4", certify=False)
    found = ao.train(problem, flow.weights[-1], throw=False)
    return {"energy": found.energy, "flow": float(flow.energy[-1]), "status": found.status}


def swept(executor: Executor | None) -> tuple[str, float]:
    """Return the table, and the processor time on the longest way: this process and the busiest worker."""
    pids = [] if executor is None else list(executor._processes)  # type: ignore[attr-defined]
    here, there = time.process_time(), processor_seconds_of(pids)
    with tempfile.TemporaryDirectory() as folder:
        text = ao.sweep(XOR, OPTIONS, seeds=SEEDS, run=end, executor=executor, out=folder).to_json()
    used = [after - before for before, after in zip(there, processor_seconds_of(pids), strict=True)]
    return text, time.process_time() - here + max(used, default=0.0)


def main(turns: int = 3) -> None:
    json_path = sys.argv[sys.argv.index("--json") + 1] if "--json" in sys.argv else None
    report = Report("sweep of 60 runs", columns=("where", "seconds", "longest_way"))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as one, ProcessPoolExecutor(2, mp_context=context) as two:
        for pool in (one, two):  # started, with everything imported
            ao.sweep(XOR, {"width": [2, 3]}, seeds=4, run=end, executor=pool)
        places = {"this process": None, "a pool of 1": one, "a pool of 2": two}
        runs = [[measure(partial(swept, place), repeats=1) for place in places.values()] for _ in range(turns)]
    longest = []
    for name, column in zip(places, zip(*runs, strict=True), strict=True):
        longest.append(statistics.median(run.value[1] for run in column))
        report.add(where=name, seconds=Timing([run.seconds[0] for run in column], None), longest_way=longest[-1])
    ratios = [pool_of_one.seconds[0] / pool_of_two.seconds[0] for _, pool_of_one, pool_of_two in runs]
    report.find(
        same_tables=len({run.value[0] for turn in runs for run in turn}) == 1,
        two_over_one=statistics.median(ratios),
        least=min(ratios),
        largest=max(ratios),
        two_over_one_in_processor_time=longest[1] / longest[2],
        two_over_this_process_in_processor_time=longest[0] / longest[2],
    )
    report.emit(json_path)


if __name__ == "__main__":
    main()
