"""Two threads and spawned processes give the bits of one after the other."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import actionopt as ao

FILE = Path(__file__).parents[1] / "problems" / "xor.py"


def numbers(seed: int) -> bytes:
    """A flow with its certificate, a path, trained weights by two solvers, and multipliers, as bytes."""
    problem = ao.load_problem(FILE)
    w = problem.initial_weights(seed)
    flow = ao.flow(problem, w, horizon=1.0, steps=6)
    path = ao.minimize_action(problem, w, w + 0.1, horizon=1.0, steps=6, throw=False)
    check = ao.check_adjoints(problem, w)
    solutions = [ao.train(problem, w, solver=solver, throw=False).weights for solver in ("ipopt", "newton", "fatrop")]
    assert flow.distance is not None
    arrays = [flow.points, flow.distance, path.points, *check.multipliers, *solutions]
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


SEEDS = range(4)


@pytest.fixture(scope="module")
def serial() -> list[bytes]:
    return [numbers(seed) for seed in SEEDS]


def test_threads(serial: list[bytes]) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(numbers, SEEDS)) == serial


@pytest.mark.slow
def test_spawned_processes(serial: list[bytes]) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(numbers, SEEDS)) == serial
