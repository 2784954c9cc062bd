"""Lipschitz estimates against gradients taken sample by sample and Hessians by differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.contraction.lipschitz import sample_gradients


class Gain(ao.Module):
    in_size, out_size, weight_size = 3, 3, 3

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return ops.unpack(w, (3,)) * ops.tanh(z)


def network(samples: int = 4) -> ao.Problem:
    rng = np.random.default_rng(0)
    layers = [ao.Dense(3, 3, "tanh"), Gain(), ao.Residual(ao.Dense(3, 3, "sin")), ao.Dense(3, 3)]
    inputs = rng.standard_normal((samples, 3))
    return ao.Problem(layers, inputs, rng.integers(0, 3, samples), ao.SoftmaxCrossEntropy(), weight_decay=0.3)


@pytest.mark.parametrize("samples", [1, 3, 4])
def test_sample_gradients_are_gradients_of_one_sample_each(samples: int) -> None:
    problem = network(samples)
    w = problem.initial_weights(1)
    found = sample_gradients(problem, w)
    for b in range(samples):
        one = ao.Problem(problem.modules, problem.inputs[b : b + 1], problem.targets[b : b + 1], problem.loss)
        np.testing.assert_allclose(found[b], one.gradient(w), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.mean(axis=0) + 0.3 * w, problem.gradient(w), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dense", [True, False])
def test_estimates_are_maxima(dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actionopt.contraction.lipschitz.DENSE_LIMIT", 100 if dense else 0)
    problem = network()
    points = np.stack([problem.initial_weights(seed) for seed in range(3)])
    found = ao.estimate_lipschitz(problem, points)
    norms = [np.linalg.norm(sample_gradients(problem, w), axis=1).max() for w in points]
    assert found.kappa == pytest.approx(max(norms))
    step = 1e-5 * np.eye(problem.size)
    curvatures = [
        abs(np.linalg.eigvalsh((problem.gradient(w + step) - problem.gradient(w - step)) / 2e-5)).max() for w in points
    ]
    assert found.smoothness == pytest.approx(max(curvatures), rel=1e-5)
    assert "maxima over 3 points and 4 samples" in found.method
    assert "lower estimates" in found.method


def test_along_a_trajectory() -> None:
    problem = ao.load_problem("problems/linear_regression.py")
    trajectory = ao.flow(problem, horizon=1.0, steps=4)
    found = ao.estimate_lipschitz(problem, trajectory)
    assert found == ao.estimate_lipschitz(problem, trajectory.weights)
    assert found.smoothness == pytest.approx(ao.estimate_lipschitz(problem, trajectory.weights[0]).smoothness)


def test_weights_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(ao.InputError, match="points must have length"):
        ao.estimate_lipschitz(network(), np.zeros(3))


@pytest.mark.parametrize("dense", [True, False])
def test_points_where_the_energy_overflows_are_named(dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever they stand: the largest of numbers and a NaN depends on their order."""
    monkeypatch.setattr("actionopt.contraction.lipschitz.DENSE_LIMIT", 100 if dense else 0)
    problem = ao.Problem(ao.Dense(1, 3, "exp"), [[1.0], [2.0]], np.zeros((2, 3)), ao.SquaredError())
    calm, wild = np.zeros(problem.size), np.full(problem.size, 400.0)
    for index, points in enumerate(([wild, calm], [calm, wild])):
        with pytest.raises(ao.InputError, match=f"point {index}: the energy overflows there"):
            ao.estimate_lipschitz(problem, np.stack(points))
