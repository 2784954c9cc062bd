"""The gradient as one more row gives the same step as the gradient multiplied out, and says what the step does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.metric import step_metric
from actionopt.metric.step_metric import StepMetric
from tests.metric.test_parts import MODULES
from tests.metric.twins import CASES, LOSSES, make_problem


def agrees(problem: ao.Problem, rng: np.random.Generator, **options: Any) -> None:
    w, v = problem.initial_weights(2), 0.1 * rng.standard_normal(problem.size)
    light = StepMetric(problem, w, **options)
    plain = ao.LayerMetric(problem, w, joint=options.get("joint", False))
    np.testing.assert_allclose(plain.gradient, problem.gradient(w), rtol=1e-12)
    for more in (None, v):
        c = problem.gradient(w) + (0.0 if more is None else problem.mass * more)
        expected = plain.solve(c)
        found = light.solve_gradient(more)
        np.testing.assert_allclose(found.x, expected, rtol=1e-7, atol=1e-9 * abs(expected).max())
        assert found.slope == pytest.approx(problem.gradient(w) @ expected, rel=1e-7)
        assert found.change == pytest.approx(plain.change(expected), rel=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_every_module(name: str, rng: np.random.Generator) -> None:
    agrees(make_problem(name, mass=0.3), rng)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("solve", ["cg", "dual", "primal"])
@pytest.mark.parametrize("joint", [False, True])
def test_every_loss_and_solver(loss: str, solve: str, joint: bool, rng: np.random.Generator) -> None:
    agrees(make_problem(loss=loss, samples=4, weight_decay=0.2), rng, solve=solve, joint=joint)


@pytest.mark.parametrize("name", MODULES)
def test_rows_of_parts(name: str, rng: np.random.Generator) -> None:
    x, labels = rng.standard_normal((3, 18)), np.array([0, 3, 1])
    agrees(ao.Problem(MODULES[name](), x, labels, ao.SoftmaxCrossEntropy(), mass=0.3), rng, solve="cg")


@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-4])
def test_a_loose_tolerance_is_kept(tol: float, rng: np.random.Generator) -> None:
    modules = [ao.Dense(20, 30, "tanh"), ao.Dense(30, 30, "tanh"), ao.Dense(30, 6)]
    x, labels = rng.standard_normal((40, 20)), rng.integers(0, 6, 40)
    problem = ao.Problem(modules, x, labels, ao.SoftmaxCrossEntropy(), mass=0.02)
    w = problem.initial_weights(0)
    exact = ao.LayerMetric(problem, w, solve="dual")
    found = StepMetric(problem, w, tol=tol, solve="cg")
    x = exact.solve(exact.gradient)
    error, root = found.solve_gradient().x - x, np.sqrt(problem.mass)
    assert np.linalg.norm(root * error) <= tol * np.linalg.norm(root * x)


def test_without_a_row_of_the_slope(rng: np.random.Generator) -> None:
    """Several costs, no output metric, and a loss without curvature."""
    x = ao.Input(rng.standard_normal((4, 3)))
    h = ao.Dense(3, 3, "tanh")(x)
    several = ao.Problem(
        [ao.Cost(h, ao.SquaredError(), np.ones((4, 3))), ao.Cost(h, ao.SoftmaxCrossEntropy(), [0, 1, 2, 0])]
    )
    agrees(several, rng)
    v, joint = rng.standard_normal(several.size), ao.LayerMetric(several, several.initial_weights(2), joint=True)
    assert ao.LayerMetric(several, joint.w).curvature(v) == pytest.approx(joint.inner(v, v), rel=1e-12)
    agrees(make_problem(output_metric=None, mass=0.3), rng)
    linear = ao.CustomLoss(lambda ops, y, target: ops.sum(y))
    agrees(ao.Problem(ao.Dense(3, 2, "tanh"), rng.standard_normal((4, 3)), None, linear), rng)


def test_an_overflow_is_named(rng: np.random.Generator) -> None:
    problem = ao.Problem(ao.Dense(1, 1, "exp"), np.array([0.5, 2.0]), np.ones(2), ao.SquaredError())
    with pytest.raises(ao.InputError, match="its output is not finite at these weights"):
        ao.step(problem, np.array([500.0, 1.0]), "model")


@pytest.mark.parametrize(("mass", "single"), [(0.3, True), (1e-3, True), (1e-6, False)])
def test_single_precision_where_it_will_do(
    mass: float, single: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tolerance is kept at every mass; where single precision cannot, the step is computed in double."""
    modules = [ao.Dense(20, 30, "tanh"), ao.Dense(30, 6)]
    x, labels = rng.standard_normal((40, 20)), rng.integers(0, 6, 40)
    problem = ao.Problem(modules, x, labels, ao.SoftmaxCrossEntropy(), mass=mass)
    w, v = problem.initial_weights(0), 0.01 * rng.standard_normal(problem.size)
    exact = ao.LayerMetric(problem, w)
    expected = exact.solve(exact.gradient + mass * v)
    kinds: list[type] = []
    blocks = StepMetric._blocks
    monkeypatch.setattr(StepMetric, "_blocks", lambda self, dtype: (kinds.append(dtype), blocks(self, dtype))[1])
    found = StepMetric(problem, w, tol=1e-2).solve_gradient(v)
    assert np.linalg.norm(found.x - expected) <= 1e-2 * np.linalg.norm(expected)
    assert found.change == pytest.approx(exact.change(expected), rel=0.05)
    assert kinds == ([np.float32] if single else [np.float32, np.float64])
    assert step_metric.SINGLE < 1e-2


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20])
def test_tiny_and_huge_units_are_computed_in_double(scale: float, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))

    def found(c: float) -> np.ndarray:
        cost = ao.Cost(ao.Dense(3, 2, "tanh")(ao.Input(x)), ao.SquaredError(), y, weight=c)
        problem = ao.Problem([cost], mass=0.1 * c)
        return StepMetric(problem, problem.initial_weights(0), tol=1e-2, solve="cg").solve_gradient().x

    np.testing.assert_allclose(found(scale), found(1.0), rtol=2e-2, atol=1e-2 * abs(found(1.0)).max())


def test_a_gradient_near_zero_is_computed_in_double(rng: np.random.Generator) -> None:
    """Its square would vanish in single precision."""
    x, w = rng.standard_normal((40, 20)), rng.standard_normal(120)
    layer = ao.Dense(20, 6, bias=False)
    y = layer.forward(ao.ops.NUMPY, w, x) + 1e-25 * rng.standard_normal((40, 6))
    problem = ao.Problem(layer, x, y + 1e-25, ao.SquaredError(), mass=0.1)
    near = w * (1.0 + 1e-15)
    exact = ao.LayerMetric(problem, near)
    expected = exact.solve(exact.gradient)
    np.testing.assert_allclose(
        StepMetric(problem, near, tol=1e-2).solve_gradient().x, expected, atol=1e-2 * np.linalg.norm(expected)
    )
