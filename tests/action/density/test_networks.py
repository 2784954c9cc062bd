"""The action density of networks that are graphs: value, slopes and products against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from actionopt.action.density.gradient_flow import GradientFlowDensity
from tests.metric.twins import dense_metric, relative
from tests.networks import NETWORKS, recurrent, tied


def density(problem: ao.Problem, w: np.ndarray, v: np.ndarray, metric: str) -> float:
    matrix = np.diag(problem.mass) if metric == "euclidean" else dense_metric(problem, w, metric == "joint")
    gap = v + np.linalg.solve(matrix, problem.gradient(w))
    return 0.5 * gap @ matrix @ gap


def central(function: object, x: np.ndarray, direction: np.ndarray, h: float = 1e-3) -> np.ndarray:
    far, near = ((function(x + s * direction) - function(x - s * direction)) / (2 * s) for s in (2 * h, h))
    return (4 * near - far) / 3


@pytest.mark.parametrize("metric", ["layerwise", "joint", "euclidean"])
@pytest.mark.parametrize("name", NETWORKS)
def test_density_is_its_definition(name: str, metric: str, rng: np.random.Generator) -> None:
    problem = NETWORKS[name]
    if name == "prior" and metric != "euclidean":
        problem = problem.take(slice(None))
        problem.output_metric = "euclidean"
    w = np.stack([problem.initial_weights(1), problem.initial_weights(2)])
    v, dw, dv = rng.standard_normal((3, *w.shape))
    model = GradientFlowDensity(problem, metric)
    found = model.expand(w, v)
    force, momentum = found.product(dw, dv)
    for k in range(2):
        assert found.value[k] == pytest.approx(density(problem, w[k], v[k], metric), rel=1e-9)
        slope = central(lambda w, k=k: density(problem, w, v[k], metric), w[k], dw[k])
        assert found.force[k] @ dw[k] == pytest.approx(slope, rel=1e-6, abs=1e-7)
        slope = central(lambda v, k=k: density(problem, w[k], v, metric), v[k], dv[k])
        assert found.momentum[k] @ dv[k] == pytest.approx(slope, rel=1e-8, abs=1e-8)
    expected = central(
        lambda s: np.concatenate([(moved := model.expand(w + s * dw, v + s * dv)).force, moved.momentum], axis=-1),
        0.0,
        1.0,
        1e-4,
    )
    assert relative(np.concatenate([force, momentum], axis=-1), expected) < 1e-6


@pytest.mark.parametrize("problem", [recurrent(steps=4), tied()], ids=["recurrent", "tied"])
def test_flow_and_least_action(problem: ao.Problem) -> None:
    w = problem.initial_weights(1)
    marched = ao.flow(problem, w, horizon=0.2, steps=4, method="implicit_midpoint")
    assert marched.energy[-1] < marched.energy[0]
    free = ao.minimize_action(problem, w, horizon=0.2, steps=4)
    assert free.action < 1e-15
    np.testing.assert_allclose(free.weights, marched.weights, rtol=0, atol=1e-6)
    end = marched.weights[-1] + 0.01
    bridge = ao.minimize_action(problem, w, end, horizon=0.2, steps=4)
    assert bridge.success
    assert bridge.action > 0
