"""The Kronecker-factored metric: exact where it must be, and what it says it is everywhere."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from actionopt.backprop import forward_pass
from actionopt.metric.kronecker import EXACT, KroneckerMetric
from actionopt.metric.output_factor import loss_factor
from tests.systems import SYSTEMS, Gain


def data(samples: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((samples, width))


def test_one_sample_with_one_row_is_exact() -> None:
    problem = ao.Problem([ao.Dense(3, 4, "tanh"), ao.Dense(4, 1)], data(1, 3), data(1, 1), ao.SquaredError(), mass=0.3)
    w = problem.initial_weights(1)
    np.testing.assert_allclose(
        KroneckerMetric(problem, w) @ np.eye(problem.size), ao.LayerMetric(problem, w).dense(), atol=1e-14
    )


@pytest.mark.parametrize("bias", [True, False])
def test_linear_least_squares_is_exact(bias: bool) -> None:
    """Rows that do not depend on the sample factor: with the damping it is the Hessian."""
    problem = ao.Problem(
        ao.Dense(3, 2, bias=bias), data(7, 3), data(7, 2, 1), ao.SquaredError(), weight_decay=0.1, mass=0.1
    )
    w = problem.initial_weights(0)
    step = KroneckerMetric(problem, w).solve(problem.gradient(w))
    np.testing.assert_allclose(problem.gradient(w - step), 0.0, atol=1e-14)


def test_the_factors_are_those_of_the_definition() -> None:
    problem = ao.Problem(
        [ao.Dense(3, 4, "tanh"), ao.Dense(4, 3)], data(6, 3), np.arange(6) % 3, ao.SoftmaxCrossEntropy(), mass=0.2
    )
    w = problem.initial_weights(2)
    dense = KroneckerMetric(problem, w) @ np.eye(problem.size)
    states = ao.adjoints(problem, w).states
    p = np.exp(states[1])
    p /= p.sum(axis=1, keepdims=True)
    second = problem.unflatten(w)[1][:12].reshape(3, 4)
    slope = 1.0 - states[0] ** 2
    factors = {0: np.zeros((4, 4)), 1: np.zeros((3, 3))}
    for b in range(6):
        metric = np.diag(p[b]) - np.outer(p[b], p[b])
        factors[1] += metric / 6
        pulled = second * slope[b]
        factors[0] += pulled.T @ metric @ pulled / 6
    for module, inputs in ((0, problem.inputs), (1, states[0])):
        extended = np.hstack([inputs, np.ones((6, 1))])
        out, width = len(factors[module]), inputs.shape[1]
        naive = np.kron(factors[module], extended.T @ extended / 6) + 0.2 * np.eye(out * (width + 1))
        order = np.arange(out * (width + 1)).reshape(out, width + 1)
        place = np.concatenate([order[:, :-1].ravel(), order[:, -1]])  # [W row by row, b]
        cut = problem.slices[module]
        np.testing.assert_allclose(dense[cut, cut], naive[np.ix_(place, place)], atol=1e-14)


@pytest.mark.parametrize("name", SYSTEMS)
def test_solve_inverts_product(name: str) -> None:
    problem = SYSTEMS[name]
    if problem.output_metric is None or name in ("dense custom", "user custom", "landscape"):
        problem = ao.Problem(
            problem.modules, problem.inputs if problem.inputs.size else None, problem.targets, problem.loss,
            output_metric="euclidean",
        )  # fmt: skip
    w = problem.initial_weights(0)
    metric = KroneckerMetric(problem, w, damping=0.1)
    v = np.random.default_rng(0).standard_normal(problem.size)
    np.testing.assert_allclose(metric.solve(metric @ v), v, rtol=1e-9, atol=1e-10)
    assert v @ (metric @ v) >= 0.1 * (v @ v) * (1 - 1e-12)


def test_modules_without_structure_have_exact_blocks_while_small() -> None:
    def problem(gains: int) -> ao.Problem:
        return ao.Problem([*(Gain() for _ in range(gains)), ao.Dense(3, 2)], data(5, 3), data(5, 2), ao.SquaredError())

    small = problem(1)
    w = small.initial_weights(0)
    dense, exact = KroneckerMetric(small, w) @ np.eye(small.size), ao.LayerMetric(small, w).dense()
    np.testing.assert_allclose(dense[:6, :6], exact[:6, :6], atol=1e-13)

    class Wide(ao.Module):
        in_size, out_size, weight_size = 3, 3, EXACT + 3

        def forward(self, ops, w, z):  # type: ignore[no-untyped-def]
            a, _ = ops.unpack(w, (3,), (EXACT,))
            return a * z

    large = ao.Problem([Wide(), ao.Dense(3, 2)], data(5, 3), data(5, 2), ao.SquaredError(), mass=0.7)
    metric = KroneckerMetric(large, large.initial_weights(0))
    np.testing.assert_array_equal((metric @ np.eye(large.size))[: EXACT + 3, : EXACT + 3], 0.7 * np.eye(EXACT + 3))


def test_relative_damping_is_a_part_of_the_mean_eigenvalue() -> None:
    problem = ao.Problem(ao.Dense(3, 2), data(7, 3), data(7, 2), ao.SquaredError(), mass=1.0)
    w = problem.initial_weights(0)
    bare = KroneckerMetric(problem, w, damping=1e-300) @ np.eye(8)
    damped = KroneckerMetric(problem, w, damping=0.0, relative=0.5) @ np.eye(8)
    np.testing.assert_allclose(damped - bare, 0.5 * np.trace(bare) / 8 * np.eye(8), atol=1e-13)


def test_the_loss_s_own_curvature_leaves_negative_eigenvalues_out() -> None:
    concave = ao.CustomLoss(lambda ops, y, t: ops.sum(ops.cos(y)))
    problem = ao.Problem(ao.Dense(2, 2), data(4, 2), None, concave)
    w = problem.initial_weights(0)
    passed = forward_pass(problem, w)
    factor = loss_factor(problem, passed.states[-1])
    y = passed.states[-1]
    expected = np.einsum("bi,ij->bij", np.maximum(-np.cos(y), 0.0), np.eye(2))
    np.testing.assert_allclose(np.einsum("mbi,mbj->bij", factor, factor), expected, atol=1e-14)
    assert KroneckerMetric(problem, w, passed=passed, factors=[factor]).solve(np.ones(6)).shape == (6,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"damping": 0.0}, "damping must be positive, got 0.0"),
        ({"damping": -1.0, "relative": 0.1}, "damping must be positive, got -1.0"),
        ({"w": np.zeros((2, 8))}, r"weights must be one point \(8,\), got shape \(2, 8\)"),
    ],
)
def test_bad_input(options: dict, message: str) -> None:
    problem = ao.Problem(ao.Dense(3, 2), data(7, 3), data(7, 2), ao.SquaredError())
    w = options.pop("w", problem.initial_weights(0))
    with pytest.raises(ao.InputError, match=message):
        KroneckerMetric(problem, w, **options)
