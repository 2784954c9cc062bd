"""Riccati elimination against a dense factorisation of the same quadratic program, and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import LinAlgError, block_diag

from actionopt.newton.riccati import Riccati, Stage

SAMPLES, STATES, WEIGHTS = 3, (2, 3, 1, 2), (4, 0, 2)


def symmetric(rng: np.random.Generator, *lead: int, size: int) -> np.ndarray:
    matrix = rng.standard_normal((*lead, size, size))
    return 0.5 * (matrix + matrix.swapaxes(-1, -2))


def program(seed: int, definite: float, samples: int = SAMPLES) -> tuple[list[Stage], np.ndarray]:
    """Return stages of different sizes, one without weights, and the Hessian at the end."""
    rng = np.random.default_rng(seed)
    stages = [
        Stage(
            rng.standard_normal((samples, e, d)),
            rng.standard_normal((samples, e, n)),
            symmetric(rng, samples, size=d) + definite * np.eye(d),
            0.3 * rng.standard_normal((samples, d, n)),
            symmetric(rng, size=n) + definite * np.eye(n),
        )
        for d, e, n in zip(STATES, STATES[1:], WEIGHTS, strict=False)
    ]
    return stages, symmetric(rng, samples, size=STATES[-1]) + definite * np.eye(STATES[-1])


def dense(stages: list[Stage], end: np.ndarray, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Hessian and Jacobian over (w_1 .. w_L, z_1 .. z_L)."""
    samples = len(end)
    weights = np.cumsum([0, *WEIGHTS])
    states = weights[-1] + np.cumsum([0, *(samples * d for d in STATES[1:])])
    hessian = np.zeros((states[-1], states[-1]))
    jacobian = np.zeros((states[-1] - weights[-1], states[-1]))
    for a, stage in enumerate(stages):
        w, z = slice(weights[a], weights[a + 1]), slice(states[a], states[a + 1])
        rows = slice(z.start - weights[-1], z.stop - weights[-1])
        hessian[w, w] += stage.ww
        jacobian[rows, w] = stage.b.reshape(z.stop - z.start, WEIGHTS[a])
        jacobian[rows, z] = -np.eye(z.stop - z.start)
        if a:
            before = slice(states[a - 1], states[a])
            jacobian[rows, before] = block_diag(*stage.a)
            hessian[before, before] += block_diag(*stage.zz)
            hessian[before, w] += stage.zw.reshape(samples * STATES[a], WEIGHTS[a])
            hessian[w, before] += stage.zw.reshape(samples * STATES[a], WEIGHTS[a]).T
    hessian[states[-2] :, states[-2] :] += block_diag(*end)
    return hessian + shift * np.eye(len(hessian)), jacobian


@pytest.mark.parametrize(("definite", "shift", "samples"), [(9.0, 0.0, 3), (6.0, 3.0, 3), (9.0, 0.0, 1), (6.0, 3.0, 1)])
def test_solution_and_multipliers_are_those_of_the_dense_system(definite: float, shift: float, samples: int) -> None:
    stages, end = program(0, definite, samples)
    rng = np.random.default_rng(1)
    states, weights = samples * sum(STATES[1:]), sum(WEIGHTS)
    c, q, r = (rng.standard_normal((size, 2)) for size in (states, states, weights))
    riccati = Riccati(stages, end, shift)
    hessian, jacobian = dense(stages, end, shift)
    system = np.block([[hessian, jacobian.T], [jacobian, np.zeros((states, states))]])
    expected = np.linalg.solve(system, -np.concatenate([r, q, c]))
    for column in (0, slice(None)):
        step = riccati.solve(c[:, column], q[:, column], r[:, column])
        ours = np.concatenate([step.weights, step.states, step.multipliers])
        np.testing.assert_allclose(ours, expected[:, column], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("seed", range(8))
def test_it_factorises_exactly_where_the_reduced_hessian_is_positive(seed: int) -> None:
    stages, end = program(seed, 1.5)
    hessian, jacobian = dense(stages, end, 0.0)
    basis = np.linalg.svd(jacobian)[2][len(jacobian) :].T
    positive = np.linalg.eigvalsh(basis.T @ hessian @ basis)[0] > 0
    if positive:
        Riccati(stages, end)
    else:
        with pytest.raises(LinAlgError, match="not positive definite"):
            Riccati(stages, end)


def test_both_signs_occur_above() -> None:
    signs = set()
    for seed in range(8):
        hessian, jacobian = dense(*program(seed, 1.5), 0.0)
        basis = np.linalg.svd(jacobian)[2][len(jacobian) :].T
        signs.add(bool(np.linalg.eigvalsh(basis.T @ hessian @ basis)[0] > 0))
    assert signs == {True, False}


def test_scalar_cost_to_go_is_the_golden_ratio() -> None:
    """A = B = Q = R = 1: P = 1 + P - P^2/(1 + P) has the solution (1 + sqrt 5)/2."""
    one = np.ones((1, 1, 1))
    stage = Stage(one, one, one, 0.0 * one, np.ones((1, 1)))
    costs = Riccati([stage] * 40, one).costs
    assert costs[0][0, 0] == pytest.approx((1 + np.sqrt(5)) / 2, abs=1e-10)


def test_what_is_not_finite_is_refused() -> None:
    stages, end = program(0, 9.0)
    with pytest.raises(LinAlgError):
        Riccati(stages, np.full_like(end, np.nan))
