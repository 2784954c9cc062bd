"""K is never multiplied out for dense layers: all memory together stays far below it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

import actionopt as ao


def network(sizes: tuple[int, ...], samples: int, mass: object = 0.01) -> ao.Problem:
    rng = np.random.default_rng(0)
    hidden = [ao.Dense(a, b, "tanh") for a, b in pairwise(sizes[:-1])]
    inputs, labels = rng.standard_normal((samples, sizes[0])), rng.integers(0, sizes[-1], samples)
    return ao.Problem([*hidden, ao.Dense(*sizes[-2:])], inputs, labels, ao.SoftmaxCrossEntropy(), mass=mass)


def peak(work: Callable[[], object]) -> int:
    """Return the largest number of bytes allocated at once, of which no single array can be larger."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def solve_once(problem: ao.Problem, joint: bool, solve: str) -> None:
    w = problem.initial_weights(0)
    ao.LayerMetric(problem, w, joint=joint, solve=solve).solve(problem.gradient(w))


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("solve", ["dual", "cg", "auto"])
@pytest.mark.parametrize("mass", ["one number", "a number a weight"])
def test_no_array_comes_near_k(solve: str, joint: bool, mass: str) -> None:
    problem = network((200, 100, 10), 32)
    if mass == "a number a weight":
        problem = network((200, 100, 10), 32, 0.01 + 0.01 * np.random.default_rng(1).random(problem.size))
    rows = 32 * 9
    assert peak(lambda: solve_once(problem, joint, solve)) < 8 * rows * 200 * 100 / 4


@pytest.mark.parametrize("joint", [False, True])
def test_a_network_for_digits_takes_less_than_300_megabytes(joint: bool) -> None:
    problem = network((784, 256, 256, 10), 128)
    for solve in ("auto", "dual"):
        assert peak(lambda solve=solve: solve_once(problem, joint, solve)) < 100e6  # K alone is 2.5 GB
