"""Derivatives of the matrices that decide a rate: against differences, and over a ball."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from actionopt.contraction.proof.derivatives import unit_scale
from actionopt.contraction.proof.metrics import Pencil
from actionopt.contraction.proof.prover import Prover
from actionopt.contraction.proof.refute import find_counterexample
from actionopt.ops.rounded import middle
from tests.contraction.proof.test_ball import in_ball


def shared(output_metric: str = "fisher") -> ao.Problem:
    """Two costs of different weight, two outputs, weights that are shared, masses of their own."""
    rng = np.random.default_rng(0)
    x = ao.Input(rng.standard_normal((3, 1)))
    cell = ao.Dense(1, 1, "tanh")
    once = cell(x)
    costs = [
        ao.Cost(ao.Dense(1, 2)(cell(once)), ao.SquaredError(), rng.standard_normal((3, 2))),
        ao.Cost(once, ao.SquaredError(), rng.standard_normal(3), weight=0.3),
    ]
    mass = [0.5, 0.7, 1.0, 2.0, 0.3, 0.4]
    return ao.Problem(costs, weight_decay=0.2, mass=mass, output_metric=output_metric)


def at(problem: ao.Problem, w: np.ndarray, metric: str) -> Pencil:
    return Prover(problem, w, metric, 1, np.inf).pencil_at_centre


@pytest.mark.parametrize("metric", ["joint", "layerwise"])
@pytest.mark.parametrize("output_metric", ["fisher", "euclidean"])
def test_derivatives_are_those_of_the_matrices(metric: str, output_metric: str) -> None:
    problem = shared(output_metric)
    w, step = problem.initial_weights(1), 1e-5
    expansion = Prover(problem, w, metric, 1, np.inf).expansion(0.0)
    assert expansion is not None
    assert expansion.turned is not None
    for k in range(problem.size):
        away = np.zeros(problem.size)
        away[k] = step * unit_scale(problem)[k]
        above, below = at(problem, w + away, metric), at(problem, w - away, metric)
        for found, up, down in (
            (expansion.third, above.form, below.form),
            (expansion.turned, above.metric, below.metric),
        ):
            difference = (middle(up)[0] - middle(down)[0]) / (2.0 * step)
            np.testing.assert_allclose(middle(found)[0][k], difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("metric", ["joint", "layerwise"])
def test_the_matrices_in_a_ball_are_those_at_its_centre_and_their_derivative(metric: str) -> None:
    problem = shared()
    centre, radius = problem.initial_weights(1), 0.02
    expansion = Prover(problem, centre, metric, 1, np.inf).expansion(radius)
    assert expansion is not None
    assert expansion.metric is not None
    assert expansion.turned is not None
    for w in in_ball(problem, centre, radius, 40):
        x = (w - centre) / unit_scale(problem)
        here = at(problem, w, metric)
        for first, slope, value in (
            (expansion.hessian, expansion.third, here.form),
            (expansion.metric, expansion.turned, here.metric),
        ):
            ends = [x[:, None, None] * slope.lo, x[:, None, None] * slope.hi]
            low = first.lo + np.minimum(*ends).sum(axis=0)
            high = first.hi + np.maximum(*ends).sum(axis=0)
            assert (low <= value.hi + 1e-12).all()
            assert (value.lo - 1e-12 <= high).all()


@pytest.mark.parametrize("metric", ["joint", "layerwise"])
def test_radii_are_not_far_from_what_is_refuted(metric: str) -> None:
    rng = np.random.default_rng(3)
    problem = ao.Problem(
        [ao.Dense(2, 2, "tanh"), ao.Dense(2, 1)], rng.standard_normal((6, 2)), rng.standard_normal(6),
        ao.SquaredError(), weight_decay=0.3, mass=0.5,
    )  # fmt: skip
    centre = ao.train(problem, problem.initial_weights(0), throw=False).weights
    proof = ao.prove_contraction(problem, centre, metric=metric)
    assert proof.proved
    assert proof.form == "mean value form"
    assert proof.basin
    assert find_counterexample(problem, centre, 12.0 * proof.radius, 0.0, metric) is not None
    rates = [ao.contraction_rate(problem, w, metric=metric) for w in in_ball(problem, centre, proof.radius, 100)]
    assert min(rates) >= proof.rate
