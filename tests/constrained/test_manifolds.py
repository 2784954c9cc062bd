"""Weights on manifolds: closest points, tangent steps, known optima, and the same sets as constraints of programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.metric.tangent import tangent


def fit(module: ao.Module, x: np.ndarray, y: np.ndarray, **options: Any) -> ao.Problem:
    return ao.Problem(module, x, y, ao.SquaredError(), **{"mass": 1e-3, **options})


@pytest.fixture
def procrustes(rng: np.random.Generator) -> tuple[ao.Problem, np.ndarray]:
    """`min |X W^T - Y|` over orthogonal W, and its solution `U V^T` of `Y^T X = U S V^T` (Schoenemann 1966)."""
    x, turn = rng.standard_normal((30, 4)), np.linalg.qr(rng.standard_normal((4, 4)))[0]
    y = x @ turn.T + 0.2 * rng.standard_normal((30, 4))
    left, _, right = np.linalg.svd(y.T @ x)
    return fit(ao.Dense(4, 4, bias=False), x, y), left @ right


def test_steps_on_orthogonal_matrices_lead_to_procrustes(procrustes: tuple[ao.Problem, np.ndarray]) -> None:
    problem, expected = procrustes
    manifold = ao.Stiefel(problem.modules[0])
    # the polar factor of the least squares solution lies in its basin
    w = manifold.retract(np.linalg.lstsq(problem.inputs, problem.targets, rcond=None)[0].T.ravel())
    energies = [problem.energy(w)]
    for _ in range(200):
        w = ao.step(problem, w, 0.3, manifolds=[manifold])
        matrix = w.reshape(4, 4)
        assert abs(matrix.T @ matrix - np.eye(4)).max() < 1e-12
        energies.append(problem.energy(w))
    assert (np.diff(energies) <= 1e-14).all()
    np.testing.assert_allclose(matrix, expected, atol=1e-8)


def test_mini_batches_keep_the_manifold(procrustes: tuple[ao.Problem, np.ndarray]) -> None:
    problem, _ = procrustes
    found = ao.descend(problem, batch=10, epochs=60, manifolds=[ao.Stiefel(problem.modules[0])], tol=1e-6)
    matrix = found.last.reshape(4, 4)
    assert abs(matrix.T @ matrix - np.eye(4)).max() < 1e-12
    # orthogonal matrices fall into two parts, and a path stays in the one it starts in
    start = np.linalg.det(ao.Stiefel(problem.modules[0]).retract(problem.initial_weights(0)).reshape(4, 4))
    assert np.linalg.det(matrix) == pytest.approx(np.sign(start))
    assert problem.energy(found.last) < problem.energy(problem.initial_weights(0))


def test_the_program_finds_the_same_matrix(procrustes: tuple[ao.Problem, np.ndarray]) -> None:
    problem, expected = procrustes
    manifold = ao.Stiefel(problem.modules[0])
    start = manifold.retract(expected.ravel() + 0.1)
    found = ao.train(problem, start, solver="ipopt", constraints=[manifold])
    np.testing.assert_allclose(found.weights.reshape(4, 4), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 2), (2, 5), (3, 3)])
def test_normals_are_the_slopes_of_the_constraint(shape: tuple[int, int], rng: np.random.Generator) -> None:
    module = ao.Dense(shape[1], shape[0])
    manifold = ao.Stiefel(module)
    w = manifold.retract(rng.standard_normal(module.weight_size))
    move = rng.standard_normal(module.weight_size)
    rows = manifold.equalities(w)
    assert not len(manifold.inward(w))
    values = [np.asarray(manifold.value(ao.ops.NUMPY, w + h * move)) for h in (1e-6, -1e-6)]
    np.testing.assert_allclose(rows @ move, (values[0] - values[1]) / 2e-6, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(manifold.value(ao.ops.NUMPY, w), manifold.lower, atol=1e-14)
    np.testing.assert_array_equal(manifold.retract(w)[-shape[0] :], w[-shape[0] :])


def test_tangent_steps_are_the_steepest_in_the_metric(rng: np.random.Generator) -> None:
    problem = fit(ao.Dense(3, 3, "tanh", bias=False), rng.standard_normal((9, 3)), rng.standard_normal((9, 3)))
    manifold = ao.Stiefel(problem.modules[0])
    w = manifold.retract(rng.standard_normal(9))
    metric = ao.LayerMetric(problem, w)
    g, dense, rows = metric.gradient, metric.dense(), manifold.equalities(w)
    x = tangent(metric.solve, w, metric.solve(g), [(slice(0, 9), manifold)])
    system = np.block([[dense, rows.T], [rows, np.zeros((6, 6))]])
    np.testing.assert_allclose(x, np.linalg.solve(system, np.append(g, np.zeros(6)))[:9], rtol=1e-8, atol=1e-10)


def test_positive_weights_solve_nonnegative_least_squares(rng: np.random.Generator) -> None:
    from scipy.optimize import nnls

    x, y = rng.standard_normal((40, 5)), rng.standard_normal((40, 1))
    expected = nnls(x, y[:, 0])[0]
    problem = fit(ao.Dense(5, 1, bias=False), x, y)
    w = np.full(5, 0.5)
    for _ in range(60):
        w = ao.step(problem, w, 0.7, manifolds=[ao.Positive(problem.modules[0])])
        assert (w >= 0.0).all()
    np.testing.assert_allclose(w, expected, atol=1e-8)
    assert (expected == 0.0).any()


def test_a_ball_stops_the_weights_where_ridge_regression_does(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((40, 5)), rng.standard_normal((40, 1))
    ridge = np.linalg.solve(x.T @ x / 40 + 0.3 * np.eye(5), x.T @ y[:, 0] / 40)
    problem, radius = fit(ao.Dense(5, 1, bias=False), x, y), float(np.linalg.norm(ridge))
    w = np.zeros(5)
    for _ in range(200):
        w = ao.step(problem, w, 0.5, manifolds=[ao.Ball(problem.modules[0], radius)])
        assert np.linalg.norm(w) <= radius * (1.0 + 1e-14)
    np.testing.assert_allclose(w, ridge, atol=1e-7)


def test_a_simplex_holds_shares(rng: np.random.Generator) -> None:
    shares = np.array([0.5, 0.3, 0.2, 0.0, 0.0])
    x = rng.standard_normal((40, 5))
    problem = fit(ao.Dense(5, 1, bias=False), x, (x @ shares)[:, None])
    w = np.full(5, 0.2)
    for _ in range(60):
        w = ao.step(problem, w, 0.7, manifolds=[ao.Simplex(problem.modules[0])])
        assert w.sum() == pytest.approx(1.0, abs=1e-12)
        assert (w >= 0.0).all()
    np.testing.assert_allclose(w, shares, atol=1e-7)


@pytest.mark.parametrize("make", [ao.Positive, ao.Simplex, ao.Ball])
def test_retractions_are_the_closest_points(make: Any, rng: np.random.Generator) -> None:
    manifold = make(ao.Dense(6, 1, bias=False))
    for w in rng.standard_normal((20, 6)):
        near = manifold.retract(w)
        np.testing.assert_allclose(manifold.retract(near), near, atol=1e-15)
        others = [manifold.retract(near + 0.1 * rng.standard_normal(6)) for _ in range(20)]
        assert all(np.linalg.norm(w - near) <= np.linalg.norm(w - other) + 1e-12 for other in others)


def test_wrong_manifolds_are_named(rng: np.random.Generator) -> None:
    problem = fit(ao.Dense(2, 2), rng.standard_normal((4, 2)), rng.standard_normal((4, 2)))
    w, layer = problem.initial_weights(), problem.modules[0]
    other = ao.Positive(ao.Dense(2, 2))
    for make, message in (
        (lambda: ao.Stiefel(ao.Parameter(4)), r"give the shape \(rows, columns\)"),
        (lambda: ao.Stiefel(ao.Parameter(4), (3, 2)), "has 4 weights, fewer than a matrix"),
        (lambda: ao.Ball(layer, 0.0), "radius must be a positive number"),
        (
            lambda: ao.step(problem, w, 0.1, manifolds=[other]),
            "its module is none of this problem's",
        ),
        (
            lambda: ao.step(problem, w, 0.1, manifolds=[ao.Ball(layer), ao.Positive(layer)]),
            "on another manifold already",
        ),
        (lambda: ao.step(problem, w, 0.1, manifolds=["ball"]), "manifolds must be ao.Stiefel"),
    ):
        with pytest.raises(ao.InputError, match=message):
            make()


def test_a_flow_on_orthogonal_matrices_ends_at_procrustes(procrustes: tuple[ao.Problem, np.ndarray]) -> None:
    problem, expected = procrustes
    manifold = ao.Stiefel(problem.modules[0])
    start = manifold.retract(expected.ravel() + 0.15)
    found = ao.flow(problem, start, horizon=30.0, steps=60, method="rk4", manifolds=[manifold])
    matrices = found.weights.reshape(-1, 4, 4)
    assert abs(matrices.swapaxes(1, 2) @ matrices - np.eye(4)).max() < 1e-12
    assert (np.diff(found.energy) <= 1e-13).all()
    np.testing.assert_allclose(matrices[-1], expected, atol=1e-7)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("rk4", 4)])
def test_a_flow_on_a_manifold_keeps_the_order_of_its_method(
    method: str, order: int, procrustes: tuple[ao.Problem, np.ndarray]
) -> None:
    problem, expected = procrustes
    manifold = ao.Stiefel(problem.modules[0])
    start = manifold.retract(expected.ravel() + 0.3)

    def end(steps: int) -> np.ndarray:
        return ao.flow(problem, start, horizon=1.0, steps=steps, method=method, manifolds=[manifold]).weights[-1]

    exact = (
        end(256)
        if method == "rk4"
        else ao.flow(problem, start, horizon=1.0, steps=100, method="rk4", manifolds=[manifold]).weights[-1]
    )
    errors = [np.linalg.norm(end(steps) - exact) for steps in (8, 16, 32)]
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (abs(slopes - order) < 0.35).all()


def test_flows_on_manifolds_take_explicit_methods(procrustes: tuple[ao.Problem, np.ndarray]) -> None:
    problem, expected = procrustes
    with pytest.raises(ao.InputError, match="on manifolds flow takes method='euler' or 'rk4', got 'radau5'"):
        ao.flow(problem, expected.ravel(), horizon=1.0, manifolds=[ao.Stiefel(problem.modules[0])])
