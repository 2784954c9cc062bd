"""Naive twins of what was optimised for speed: each fast path against the formula it stands for."""

from __future__ import annotations

import numpy as np
import pytest

from actionopt.action.scheme import make_scheme
from actionopt.action.task import ActionTask, make_task
from actionopt.action.time_laplacian import TimeInverse
from tests.action.cases import squared


def task_of(scheme: str, end: str, rng: np.random.Generator) -> ActionTask:
    """A task on uneven steps, its end free, fixed or partly fixed."""
    problem = squared()
    last = np.full(problem.size, np.nan) if end == "free" else problem.initial_weights(2)
    last[: problem.size // 2] = np.nan if end == "mixed" else last[: problem.size // 2]
    times = np.concatenate([[0.0], np.cumsum(rng.uniform(0.5, 2.0, 7))])
    return make_task(problem, problem.initial_weights(1), last, make_scheme(scheme, times))


@pytest.mark.parametrize("scheme", ["midpoint", "gauss2"])
@pytest.mark.parametrize("end", ["free", "fixed", "mixed"])
def test_time_inverse_is_weighted_least_squares(scheme: str, end: str, rng: np.random.Generator) -> None:
    task = task_of(scheme, end, rng)
    inverse = TimeInverse(task)
    velocity = rng.standard_normal((len(task.scheme.stages), task.size))
    root = np.sqrt(task.scheme.weights)
    law = root[:, None] * task.scheme.velocity.toarray()
    expected = np.zeros((len(task.scheme.points), task.size))
    for component in range(task.size):
        rows = np.flatnonzero(task.free[:, component])
        expected[rows, component] = np.linalg.lstsq(law[:, rows], root * velocity[:, component])[0]
    found = inverse.apply(velocity)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    residual = rng.standard_normal(found.shape) * task.free
    paired = (inverse.transposed(residual) * velocity).sum()
    np.testing.assert_allclose(paired, (residual * found).sum(), rtol=1e-11)
