"""Drifts whose noise or metric depends on the state: values in every namespace, actions, rejections."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.ops import CASADI, NUMPY, duals_over


def rotation(ops: Any, w: Any) -> Any:
    x, y = ops.columns(w)
    return ops.concatenate([y, -x * x])


def rows(ops: Any, w: Any) -> Any:
    x, y = ops.columns(w)
    return [ops.concatenate([2.0 + x * x, 0.3 * y]), ops.concatenate([0.3 * y, 1.0 + y * y])]


def entries(ops: Any, w: Any) -> Any:
    x, y = ops.columns(w)
    return [[2.0, 0.1 * x], [0.1 * x, 1.0 + y * y]]


def dense(formula: Any, w: np.ndarray) -> np.ndarray:
    """Evaluate the four forms at one point, by hand."""
    x, y = w
    return {
        "rows": np.array([[2 + x * x, 0.3 * y], [0.3 * y, 1 + y * y]]),
        "entries": np.array([[2.0, 0.1 * x], [0.1 * x, 1 + y * y]]),
        "diagonal": np.diag([1 + x * x, 2 + np.sin(y)]),
        "columns": np.diag([1 + x * x, 2 + np.sin(y)]),
        "number": (2 + np.sin(x)) * np.eye(2),
        "plain": 3.0 * np.eye(2),
    }[formula]


def parts(ops: Any, w: Any) -> tuple[Any, Any]:
    x, y = ops.columns(w)
    return 1.0 + x * x, 2.0 + ops.sin(y)


FORMULAS = {
    "rows": rows,
    "entries": entries,
    "diagonal": lambda ops, w: ops.concatenate(parts(ops, w)),
    "columns": lambda ops, w: list(parts(ops, w)),
    "number": lambda ops, w: 2.0 + ops.sin(ops.columns(w)[0]),
    "plain": lambda ops, w: 3.0,
}


@pytest.mark.parametrize("kind", ["noise", "metric"])
@pytest.mark.parametrize("name", list(FORMULAS))
def test_value_is_the_square_in_the_metric(name: str, kind: str, rng: np.random.Generator) -> None:
    what = ao.Drift(2, rotation, **{kind: FORMULAS[name]})
    w, v = rng.standard_normal((2, 5, 2))
    matrices = np.stack([dense(name, point) for point in w])
    metric = np.linalg.inv(matrices) if kind == "noise" else matrices
    r = v - np.stack([w[:, 1], -(w[:, 0] ** 2)], axis=-1)
    expected = 0.5 * np.einsum("ki,kij,kj->k", r, metric, r)
    np.testing.assert_allclose(what.value(NUMPY, w, v), expected, rtol=1e-13)
    symbolic = [float(what.value(CASADI, ca.DM(a).T, ca.DM(b).T)) for a, b in zip(w, v, strict=True)]
    np.testing.assert_allclose(symbolic, expected, rtol=1e-13)
    duals = duals_over(NUMPY)
    along = duals.parts(what.value(duals, duals.dual(w, None), duals.dual(v, r)))[1]
    np.testing.assert_allclose(along, 2 * expected, rtol=1e-12)
    np.testing.assert_allclose(what.form.metric_at(w), metric, rtol=1e-12)
    assert what.metric is None


def test_constant_noise_is_the_inverse_metric(rng: np.random.Generator) -> None:
    noise, w, v = np.array([[2.0, 0.5], [0.5, 1.0]]), *rng.standard_normal((2, 4, 2))
    for given in (noise, np.array([2.0, 3.0]), 4.0):
        matrix = given if np.ndim(given) == 2 else np.diag(np.broadcast_to(given, 2))
        inverse = ao.Drift(2, rotation, np.linalg.inv(matrix))
        np.testing.assert_allclose(
            ao.Drift(2, rotation, noise=given).value(NUMPY, w, v), inverse.value(NUMPY, w, v), rtol=1e-13
        )


@pytest.mark.parametrize("solver", ["newton", "ipopt"])
def test_least_action_does_not_depend_on_the_coordinate(solver: str) -> None:
    """`x = sinh(y)` turns the noise 1 + x^2 into 1: the action of a path is the same number."""

    def in_y(ops: Any, y: Any) -> Any:
        x = ops.sinh(y)
        return (x - x**3) / ops.cosh(y)

    options: dict[str, Any] = {"horizon": 8.0, "steps": 120, "scheme": "gauss2", "solver": solver}
    varying = ao.Drift(1, lambda ops, x: x - x**3, noise=lambda ops, x: 1.0 + x * x)
    found = ao.minimize_action(varying, [-1.0], [0.2], **options)
    other = ao.minimize_action(ao.Drift(1, in_y), np.arcsinh([-1.0]), np.arcsinh([0.2]), **options)
    assert found.action == pytest.approx(other.action, rel=1e-6)
    assert abs(np.sinh(other.weights) - found.weights).max() < 1e-4


def test_long_horizons_approach_the_barrier_in_multiplicative_noise() -> None:
    """From the minimum to the maximum of the double well: `int -2 b / a = 2 log 2 - 1`."""
    what = ao.Drift(1, lambda ops, x: x - x**3, noise=lambda ops, x: 1.0 + x * x)
    found = ao.minimize_action(what, [-1.0], [0.0], horizon=16.0, steps=300, scheme="gauss2")
    assert found.action == pytest.approx(2 * np.log(2) - 1, rel=1e-5)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (np.ones(3), r"noise must be a number, \(2,\) or \(2, 2\), got shape \(3,\)"),
        ("much", "noise must be a number"),
        ([[1.0, 2.0], [2.0, 1.0]], "least eigenvalue is -1"),
        ([[1.0, 0.1], [0.0, 1.0]], "symmetric"),
        ([1.0, np.nan], "finite"),
        ([[0.0, 0.0], [0.0, 1.0]], r"singular: nothing drives the direction \[1\. 0\.\].*second-order one"),
        ([0.0, 1.0], "singular: nothing drives"),
        (lambda ops, w: [w], "must return 2 rows, got 1"),
        (lambda ops, w: [[1.0], [1.0, 2.0]], "rows of 2 entries, got 1, 2"),
        (lambda ops, w: np.eye(2), "must return a number, a diagonal"),
        (lambda ops, w: None, "must return a number, a diagonal"),
    ],
)
def test_bad_noise(noise: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.Drift(2, rotation, noise=noise)


def test_metric_or_noise() -> None:
    with pytest.raises(ao.InputError, match="metric= or noise=, not both"):
        ao.Drift(2, rotation, metric=1.0, noise=1.0)


def test_noise_that_turns_negative_names_the_point() -> None:
    what = ao.Drift(1, lambda ops, x: -x, noise=lambda ops, x: 0.5 - x)
    with pytest.raises(ao.InputError, match=r"not finite at the guess .*w = \[0\.55"):
        ao.minimize_action(what, [0.0], [1.0], horizon=1.0, steps=10)
    with pytest.raises(ao.InputError, match=r"positive definite and finite at w = \[0\.75\]"):
        what.form.metric_at(np.array([[0.25], [0.75]]))
