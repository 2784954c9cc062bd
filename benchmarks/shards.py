"""What do two workers save a step on samples in shards? `python -m benchmarks.shards [--json PATH]`.

Layerwise steps by conjugate gradients, 64-32-32-10 on 20 000 samples, in one process, and with the samples in one and
in two shards with a worker each; how far apart they end is printed. Seconds are wall-clock; "longest way" is processor
time, that of this process and of the busiest worker, which other load on the machine does not lengthen. Traffic is
counted from what is pickled.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np

import actionopt as ao
from actionopt.shards.worker import Task
from benchmarks._report import Report, Timing, processor_seconds_of

SAMPLES, STEPS = 20_000, 3
CUTS = {1: [(0, SAMPLES)], 2: [(0, SAMPLES // 2), (SAMPLES // 2, SAMPLES)]}


def build(first: int = 0, last: int = SAMPLES) -> ao.Problem:
    """Noisy classes of a random linear map: every shard draws all samples and keeps its own."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, 64))
    labels = (x @ rng.standard_normal((64, 10)) + rng.standard_normal((SAMPLES, 10))).argmax(axis=1)
    layers = [ao.Dense(64, 32, "tanh"), ao.Dense(32, 32, "tanh"), ao.Dense(32, 10)]
    return ao.Problem(layers, x[first:last], labels[first:last], ao.SoftmaxCrossEntropy(), mass=0.1)


def timed(step: Callable[[np.ndarray], np.ndarray], w: np.ndarray, pids: list[int]) -> tuple[np.ndarray, Timing, float]:
    """Take steps: where they end, their seconds, and the processor time of one on the longest way."""
    step(w)
    here, there, seconds = time.process_time(), processor_seconds_of(pids), []
    for _ in range(STEPS):
        began = time.perf_counter()
        w = step(w)
        seconds.append(time.perf_counter() - began)
    used = [after - before for before, after in zip(there, processor_seconds_of(pids), strict=True)]
    return w, Timing(seconds), (time.process_time() - here + max(used, default=0.0)) / STEPS


def main() -> None:
    json_path = sys.argv[sys.argv.index("--json") + 1] if "--json" in sys.argv else None
    report = Report("a step on shards", columns=("where", "seconds", "longest_way", "rounds", "kilobytes_a_worker"))
    problem, ends, ways = build(), {}, {}
    w0, options = problem.initial_weights(0), {"solve": "cg", "tol": 1e-6}
    ends[0], seconds, ways[0] = timed(lambda w: ao.step(problem, w, 0.5, **options), w0, [])
    report.add(where="this process, no shards", seconds=seconds, longest_way=ways[0])
    for count, cuts in CUTS.items():
        context = multiprocessing.get_context("spawn")
        with contextlib.ExitStack() as stack:
            pools = [stack.enter_context(ProcessPoolExecutor(1, mp_context=context)) for _ in cuts]
            shards = stack.enter_context(ao.Shards([partial(build, *cut) for cut in cuts], executor=pools))
            pids = [pid for pool in pools for pid in pool._processes]
            ends[count], seconds, ways[count] = timed(partial(shards.step, step_size=0.5, **options), w0, pids)
            metric = shards.metric(w0, **options)
            metric.solve(metric.gradient)
            rounds = metric.iterations + 3  # the gradient, where the blocks lie, the change of the outputs
            sent = len(pickle.dumps(Task("0" * 32, None, "product", (w0, False, w0)))) + len(pickle.dumps(w0))
        report.add(
            where=f"shards with workers: {count}",
            seconds=seconds,
            longest_way=ways[count],
            rounds=rounds,
            kilobytes_a_worker=rounds * sent / 1e3,
        )
    off: dict[str, Any] = {f"off_{count}": float(abs(ends[count] - ends[1]).max()) for count in (0, 2)}
    report.find(
        weights=problem.size,
        two_over_one_in_processor_time=ways[1] / ways[2],
        one_over_no_shards=ways[1] / ways[0],
        **off,
    )
    report.emit(json_path)


if __name__ == "__main__":
    main()
