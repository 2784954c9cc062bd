"""The certificate of overparametrised networks: known curvature, flows that reach energy 0, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao

CORNERS = [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]


def xor(**options: float) -> ao.Problem:
    net = [ao.Dense(2, 8, "tanh"), ao.Dense(8, 1)]
    return ao.Problem(net, CORNERS, [-1.0, 1.0, 1.0, -1.0], ao.SquaredError(), mass=0.1, **options)


def test_a_linear_model_is_known_exactly() -> None:
    inputs = np.array([[1.0, 0.0], [0.0, 1.0]])
    problem = ao.Problem(ao.Dense(2, 1), inputs, [1.0, 2.0], ao.SquaredError(), mass=0.5)
    proof = ao.prove_fit(problem, np.zeros(3), radius=100.0)
    assert proof.proved
    rows = np.hstack([inputs, np.ones((2, 1))])
    exact = np.linalg.eigvalsh(rows @ rows.T / 0.5 / 2.0)[0]
    assert exact * (1.0 - 1e-9) <= proof.kappa <= exact
    with pytest.raises(ao.InputError, match="needs squared errors"):
        ao.prove_fit(ao.Problem(ao.Dense(2, 1), inputs, [0.0, 1.0], ao.Logistic()), np.zeros(3))


def test_every_start_of_a_wide_xor_network_reaches_energy_0() -> None:
    problem = xor()
    w = ao.train(problem, problem.initial_weights(0), solver="newton").weights
    proof = ao.prove_fit(problem, w, radius=0.002)
    assert proof.proved
    assert proof.kappa > 1.0
    rng = np.random.default_rng(0)
    for _ in range(3):
        x = rng.standard_normal(problem.size)
        start = w + 0.002 * x / np.linalg.norm(x) / np.sqrt(problem.mass)
        assert problem.energy(start) <= proof.energy
        path = ao.flow(problem, start, horizon=4.0, steps=40, metric="euclidean", method="Radau", tol=1e-10)
        assert (path.energy <= proof.energy * np.exp(-2.0 * proof.kappa * path.times) + 1e-12).all()
        away = np.sqrt((problem.mass * (path.weights - w) ** 2).sum(axis=1))
        assert away.max() <= proof.reach
    assert ao.prove_fit(problem, w, radius=0.5).status == "undecided"


def test_a_start_far_from_a_fit_is_undecided() -> None:
    problem = xor()
    proof = ao.prove_fit(problem, problem.initial_weights(1))
    assert proof.status == "undecided"
    assert "take weights of less energy" in proof.message


def test_rejections() -> None:
    with pytest.raises(ao.InputError, match="needs weight_decay=0"):
        ao.prove_fit(xor(weight_decay=0.1), np.zeros(33))
    with pytest.raises(ao.InputError, match="radius must be a finite number >= 0"):
        ao.prove_fit(xor(), np.zeros(33), radius=-1.0)
    with pytest.raises(ao.InputError, match="weights must have length 33"):
        ao.prove_fit(xor(), np.zeros(3))
