"""What do two processes save a sweep? `python -m benchmarks.sweep [--json PATH]`.

Sixty runs (three widths, two masses, ten seeds) of `train` on XOR, one after the other in one process and on pools of
one and of two, turn by turn so that other load falls on all; rows are kept on disk as they are finished. The tables are
compared to the last bit. Then how the rows of a resumed sweep are found again.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import actionopt as ao
from benchmarks._report import Report, Timing, measure

XOR = Path(__file__).parents[1] / "problems" / "xor.py"
OPTIONS = {"width": [8, 16, 24], "mass": [0.05, 0.1]}
SEEDS = 10


def end(problem: ao.Problem, seed: int) -> dict[str, Any]:
    """Follow the flow, then train from where it is: some tenths of a second."""
    flow = ao.flow(problem, problem.initial_weights(seed), horizon=10.0, steps=100, method="rk4", certify=False)
    found = ao.train(problem, flow.weights[-1], throw=False)
    return {"energy": found.energy, "flow": float(flow.energy[-1]), "status": found.status}


def swept(executor: Executor | None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return ao.sweep(XOR, OPTIONS, seeds=SEEDS, run=end, executor=executor, out=folder).to_json()


def main(turns: int = 3) -> None:
    json_path = sys.argv[sys.argv.index("--json") + 1] if "--json" in sys.argv else None
    report = Report("sweep of 60 runs", columns=("where", "seconds"))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as one, ProcessPoolExecutor(2, mp_context=context) as two:
        places = {"this process": None, "a pool of 1": one, "a pool of 2": two}
        runs: list[list[Timing]] = []
        for turn in range(turns + 1):
            timed = [measure(lambda place=place: swept(place), repeats=1) for place in places.values()]
            if turn:  # the first starts the processes
                runs.append(timed)
    for name, column in zip(places, zip(*runs, strict=True), strict=True):
        report.add(where=name, seconds=Timing([run.seconds[0] for run in column], None))
    tables = {run.value for turn in runs for run in turn}
    ratios = [pool_of_one.seconds[0] / pool_of_two.seconds[0] for _, pool_of_one, pool_of_two in runs]
    alone = [here.seconds[0] / pool_of_two.seconds[0] for here, _, pool_of_two in runs]
    report.find(
        same_tables=len(tables) == 1,
        two_over_one=statistics.median(ratios),
        least=min(ratios),
        largest=max(ratios),
        two_over_this_process=statistics.median(alone),
    )
    report.emit(json_path)


if __name__ == "__main__":
    main()
