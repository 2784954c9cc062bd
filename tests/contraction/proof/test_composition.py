"""Composition that proves: never above what is true of the whole, anywhere in the ball."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from tests.contraction.proof.test_ball import in_ball


def problem_and_minimum() -> tuple[ao.Problem, np.ndarray]:
    rng = np.random.default_rng(4)
    net = [ao.Dense(2, 2, "tanh"), ao.Dense(2, 1)]
    problem = ao.Problem(
        net, rng.standard_normal((6, 2)), 0.3 * rng.standard_normal(6), ao.SquaredError(), weight_decay=0.5
    )
    return problem, ao.train(problem, problem.initial_weights(0), solver="newton").weights


def test_the_proved_composed_rate_holds_everywhere_in_the_ball() -> None:
    problem, centre = problem_and_minimum()
    proved = ao.certify(problem, centre, metric="euclidean", radius=0.01)
    sampled = ao.certify(problem, in_ball(problem, centre, 0.01, 30), metric="euclidean")
    assert proved.proved
    assert not sampled.proved
    assert proved.ok
    assert proved.composed[0] <= proved.whole[0] <= sampled.whole.min()
    assert (proved.rates[0] <= sampled.rates.min(axis=0)).all()
    assert (proved.couplings[0] >= sampled.couplings.max(axis=0)).all()
    assert proved.composed[0] >= sampled.composed.min() - 0.1  # and not by nothing
    assert proved.status == "contracting"


def test_rejections() -> None:
    problem, centre = problem_and_minimum()
    with pytest.raises(ao.InputError, match="a composition is proved in the metric of the mass"):
        ao.certify(problem, centre, radius=0.01)
    with pytest.raises(ao.InputError, match="radius must be positive and finite"):
        ao.certify(problem, centre, metric="euclidean", radius=-1.0)
