"""Contraction, Lipschitz constants and stability on networks that are graphs."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from actionopt.contraction.displacement import displacement
from actionopt.contraction.lipschitz import sample_gradients
from tests.metric.twins import dense_metric, relative
from tests.networks import NETWORKS, recurrent, two_heads

METRICS = ("layerwise", "joint", "euclidean")


def metric_of(problem: ao.Problem, w: np.ndarray, metric: str) -> np.ndarray:
    return np.diag(problem.mass) if metric == "euclidean" else dense_metric(problem, w, metric == "joint")


def central(function: object, w: np.ndarray, direction: np.ndarray, h: float = 1e-3) -> np.ndarray:
    far, near = ((function(w + s * direction) - function(w - s * direction)) / (2 * s) for s in (2 * h, h))
    return (4 * near - far) / 3


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", NETWORKS)
def test_metric_its_rate_and_the_jacobian_of_the_flow(name: str, metric: str) -> None:
    problem = NETWORKS[name]
    if name == "prior" and metric != "euclidean":
        problem = problem.take(slice(None))
        problem.output_metric = "euclidean"
    w = problem.initial_weights(1)
    found = displacement(problem, w, metric)
    assert relative(found.metric, metric_of(problem, w, metric)) < 1e-12
    velocity = -np.linalg.solve(found.metric, problem.gradient(w))
    assert relative(found.velocity, velocity) < 1e-10
    assert relative(found.metric_rate, central(lambda w: metric_of(problem, w, metric), w, velocity)) < 1e-7
    direction = np.random.default_rng(0).standard_normal(problem.size)

    def momentum(w: np.ndarray) -> np.ndarray:
        return metric_of(problem, w, metric) @ velocity + problem.gradient(w)

    assert relative(found.momentum_jacobian @ direction, central(momentum, w, direction)) < 1e-7


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_samples_are_those_of_each_alone(name: str) -> None:
    problem = NETWORKS[name]
    w = problem.initial_weights(1)
    alone = [problem.take([b]).gradient(w) - problem.weight_decay * w for b in range(problem.samples)]
    np.testing.assert_allclose(sample_gradients(problem, w), alone, rtol=1e-12, atol=1e-15)


def test_certificate_has_a_row_a_group() -> None:
    problem = recurrent(steps=4, weight_decay=2.0)
    found = ao.certify(problem, problem.initial_weights(1))
    assert found.labels == ("1 cell", "5 read")
    assert found.whole.min() >= found.composed.min() - 1e-9
    rate = ao.contraction_rate(problem, problem.initial_weights(1))
    assert found.whole[0] == pytest.approx(rate, rel=1e-9)


def test_stability_replaces_samples_of_every_input() -> None:
    problem = two_heads(samples=8, weight_decay=0.5)
    found = ao.measure_stability(problem, horizon=0.5, steps=4, sizes=4, replacements=2, metric="euclidean")
    assert (found.distances > 0).all()


def test_kinks_are_named_by_node() -> None:
    x = ao.Input(np.ones((2, 1)), name="x")
    h = ao.Dense(1, 1, "relu", name="kinked")(ao.Dense(1, 1)(x))
    problem = ao.Problem([ao.Cost(h, ao.SquaredError(), [0.0, 1.0])])
    with pytest.raises(ao.InputError, match="relu in module 2 kinked is at its kink"):
        ao.contraction_rate(problem, np.zeros(4))
