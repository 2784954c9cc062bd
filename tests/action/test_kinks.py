"""Flows across kinks of relu and abs: they reach their horizon, near a fine explicit flow, and say what they did."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.action.kinks import sides
from tests.action.cases import squared


def network(seed: int) -> ao.Problem:
    """A random relu network on a random function."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((8, 2))
    targets = np.sin(2.0 * inputs[:, :1]) + inputs[:, 1:]
    width = int(rng.integers(3, 6))
    return ao.Problem([ao.Dense(2, width, "relu"), ao.Dense(width, 1)], inputs, targets, ao.SquaredError(), mass=0.1)


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in range(1, 12))])
def test_relu_networks_reach_their_horizon(seed: int) -> None:
    problem = network(seed)
    start = problem.initial_weights(seed)
    found = ao.flow(problem, start, horizon=2.0, steps=40, throw=False)
    fine = ao.flow(problem, start, horizon=2.0, steps=800, method="rk4", certify=False)
    assert found.times[-1] == 2.0
    assert found.status in ("converged", "underresolved")
    assert found.energy is not None
    assert fine.energy is not None
    np.testing.assert_allclose(found.energy, fine.energy[::20], atol=1e-3 * fine.energy[0])


def corner(rate: float = 1.0) -> ao.Problem:
    """`|w_1| + w_2^2 / 2`: w_1 goes to zero at rate one and stays there."""
    loss = ao.CustomLoss(
        lambda ops, y, target: ops.sum(ops.abs(ops.columns(y)[0])) + 0.5 * ops.sum(ops.columns(y)[1] ** 2)
    )
    return ao.Problem(ao.Parameter(2), None, None, loss, output_metric=None, mass=1.0 / rate)


@pytest.mark.parametrize("method", ["radau5", "implicit_midpoint"])
def test_sliding_along_a_kink(method: str) -> None:
    """The flow is known: `(max(w_1 - t, 0), w_2 exp(-t))`."""
    found = ao.flow(corner(), [0.52, 1.0], horizon=2.0, steps=40, method=method, throw=False)
    right = np.stack([np.maximum(0.52 - found.times, 0.0), np.exp(-found.times)], axis=-1)
    np.testing.assert_allclose(found.weights, right, atol=5e-3)
    assert found.stats["in_parts"] >= 1
    assert found.distance is not None
    assert (found.distance >= 0.9 * abs(found.weights - right).max(axis=1) - 1e-4).all()
    assert "of its steps taken in parts, as where relu or abs has a kink" in found.message


def test_smooth_flows_are_taken_whole() -> None:
    found = ao.flow(squared(), horizon=1.0, steps=10)
    assert "in_parts" not in found.stats
    assert "in parts" not in found.message


@pytest.mark.parametrize(
    ("formula", "count"),
    [
        (lambda ops, y, t: ops.sum(ops.relu(y - 1.0)), 2),
        (lambda ops, y, t: ops.sum(ops.abs(y) + ops.step(y)), 4),
        (lambda ops, y, t: ops.sum(y * y), 0),
    ],
)
def test_sides_of_every_kink(formula: Any, count: int) -> None:
    problem = ao.Problem(ao.Parameter(2), None, None, ao.CustomLoss(formula), output_metric=None)
    assert sides(problem, np.array([2.0, -1.0])).shape == (count,)
    assert (sides(problem, np.array([2.0, -1.0])) == np.tile([True, False], count // 2)).all()
