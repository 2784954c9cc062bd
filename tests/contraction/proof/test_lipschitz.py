"""Lipschitz constants from above: never below sampled ones, and exact where they are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.contraction.lipschitz import gradient_norms, sample_gradients


def net() -> ao.Problem:
    rng = np.random.default_rng(0)
    modules = [ao.Dense(2, 2, "tanh"), ao.Dense(2, 2)]
    return ao.Problem(modules, rng.standard_normal((6, 2)), rng.standard_normal((6, 2)), ao.SquaredError(), mass=0.5)


@pytest.mark.parametrize("radius", [0.0, 0.05, 0.3])
def test_bounds_hold_sampled_constants(radius: float) -> None:
    problem = net()
    centre = problem.initial_weights(0)
    found = ao.bound_lipschitz(problem, centre, radius)
    rng = np.random.default_rng(1)
    slack = 1.0 + 1e-9
    for _ in range(30):
        x = rng.standard_normal(problem.size)
        w = centre + radius * x / np.linalg.norm(x) / np.sqrt(problem.mass)
        assert gradient_norms(problem, w).max() <= found.kappa * slack
        g = sample_gradients(problem, w) / np.sqrt(problem.mass)
        assert np.linalg.norm(g[:, None] - g[None], axis=-1).max() <= found.spread * slack
        assert ao.estimate_lipschitz(problem, w).smoothness <= found.smoothness * slack
        metric = ao.LayerMetric(problem, w).dense()
        assert np.linalg.cond(metric) <= found.xi * slack
    if radius == 0.0:
        assert found.kappa == pytest.approx(gradient_norms(problem, centre).max(), rel=1e-9)
        assert found.smoothness == pytest.approx(ao.estimate_lipschitz(problem, centre).smoothness, rel=1e-9)


def test_a_box_of_data_is_exact_for_a_linear_classifier() -> None:
    """`|grad| = |p - y| |(x, 1)|` on `|x_i| <= 1`, largest at a corner that is classified worst."""
    problem = ao.Problem(ao.Dense(3, 1), np.zeros((1, 3)), [0.0], ao.Logistic())
    w = np.array([0.5, -0.3, 0.2, 0.1])
    low, high = -np.ones((1, 3)), np.ones((1, 3))
    found = ao.bound_lipschitz(problem, w, 0.0, data=((low, high), ([0.0], [1.0])))
    margin = 0.5 + 0.3 + 0.2 + 0.1
    exact = 2.0 / (1.0 + np.exp(-margin))
    assert exact <= found.kappa <= exact * (1.0 + 1e-9)


def test_masses_and_output_metric() -> None:
    problem = ao.Problem(ao.Parameter(2), None, [[0.0, 0.0]], ao.SquaredError(), mass=[1.0, 4.0], output_metric=None)
    found = ao.bound_lipschitz(problem, [3.0, 4.0], 0.0)
    assert found.xi == pytest.approx(4.0)
    assert found.kappa == pytest.approx(5.0)
    assert found.smoothness == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"radius": -1.0}, "radius must be a finite number >= 0"),
        ({"radius": 0.1, "data": np.zeros(3)}, r"data must be \(inputs, targets\)"),
        ({"radius": 0.1, "data": (np.zeros((2, 3)), np.zeros((2, 2)))}, "must have 2 columns, got 3"),
    ],
)
def test_rejections(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.bound_lipschitz(net(), np.zeros(12), **arguments)
