"""Rows of modules that act on parts, against dense Jacobians of the module alone."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from tests.metric.twins import dense_metric

MODULES = {
    "conv": lambda: [ao.Conv2d((2, 3, 3), 3, 2, "tanh", padding=1), ao.Dense(48, 4)],
    "conv twice": lambda: [ao.Conv2d((2, 3, 3), 3, 2, "tanh"), ao.Conv2d((3, 2, 2), 4, 2, bias=False)],
    "pooled": lambda: [ao.Conv2d((2, 3, 3), 2, 2, "silu"), ao.AveragePool2d((2, 2, 2), (1, 2)), ao.Dense(4, 4)],
    "attention": lambda: [ao.Attention(3, 6, 2), ao.Dense(18, 4)],
    "tokens": lambda: [ao.Each(ao.Chain(ao.Dense(6, 4, "tanh"), ao.LayerNorm(4)), 3), ao.Dense(12, 4)],
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("loss", [ao.SquaredError(), ao.SoftmaxCrossEntropy()])
def test_rows_summed_over_parts_are_those_of_dense_jacobians(
    name: str, loss: ao.Loss, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((3, 18))
    targets = rng.standard_normal((3, 4)) if isinstance(loss, ao.SquaredError) else np.array([0, 3, 1])
    problem = ao.Problem(MODULES[name](), x, targets, loss, mass=0.3)
    w = problem.initial_weights(1)
    metric = ao.LayerMetric(problem, w)
    np.testing.assert_allclose(metric.dense(), dense_metric(problem, w), rtol=1e-9, atol=1e-10)
    g = metric.gradient
    np.testing.assert_allclose(metric @ metric.solve(g), g, rtol=1e-8, atol=1e-10)


def test_nodes_of_a_trajectory_have_their_own_rows(rng: np.random.Generator) -> None:
    problem = ao.Problem(
        MODULES["conv"](), rng.standard_normal((3, 18)), rng.standard_normal((3, 4)), ao.SquaredError()
    )
    nodes = rng.standard_normal((2, problem.size))
    v = rng.standard_normal((2, problem.size))
    together = ao.BatchedMetric(problem, nodes).product(v)
    for node in range(2):
        np.testing.assert_allclose(together[node], ao.LayerMetric(problem, nodes[node]) @ v[node], rtol=1e-11)
