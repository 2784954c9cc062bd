"""Losses: values from their definitions, closed derivatives against derived ones, and what targets they take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit, log_softmax

import actionopt as ao
from actionopt.ops import NUMPY, DualOps
from tests.systems import quartic

SAMPLES, OUTPUTS = 4, 3


def targets(loss: ao.Loss, rng: np.random.Generator) -> np.ndarray:
    given = {
        "softmax cross-entropy": rng.integers(0, OUTPUTS, SAMPLES),
        "logistic": rng.uniform(0, 1, (SAMPLES, OUTPUTS)),
    }.get(loss.name, rng.standard_normal((SAMPLES, OUTPUTS)))
    return loss.prepare(given, SAMPLES, OUTPUTS)


LOSSES = {
    loss.name: loss for loss in (ao.SquaredError(), ao.SoftmaxCrossEntropy(), ao.Logistic(), ao.CustomLoss(quartic))
}


def test_values_are_their_definitions(rng: np.random.Generator) -> None:
    y = 3 * rng.standard_normal((SAMPLES, OUTPUTS))
    t = rng.standard_normal(y.shape)
    np.testing.assert_allclose(ao.SquaredError().value(NUMPY, y, t), 0.5 * ((y - t) ** 2).sum(1))
    labels = np.array([0, 2, 1, 2])
    loss = ao.SoftmaxCrossEntropy()
    one_hot = loss.prepare(labels, SAMPLES, OUTPUTS)
    np.testing.assert_allclose(loss.value(NUMPY, y, one_hot), -log_softmax(y, axis=1)[np.arange(SAMPLES), labels])
    loss = ao.Logistic()
    p = rng.uniform(0, 1, y.shape)
    expected = -(p * np.log(expit(y)) + (1 - p) * np.log(expit(-y))).sum(1)
    np.testing.assert_allclose(loss.value(NUMPY, y, loss.prepare(p, SAMPLES, OUTPUTS)), expected)


@pytest.mark.parametrize("name", ["softmax cross-entropy", "logistic"])
def test_large_outputs_do_not_overflow(name: str) -> None:
    y = np.array([[1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 0.0]])
    loss = LOSSES[name]
    t = np.eye(OUTPUTS)[[0, 0]]
    np.testing.assert_allclose(
        loss.value(NUMPY, y, t), [0, 2000] if name.startswith("soft") else [np.log(2), 2000 + np.log(2)]
    )
    assert np.isfinite(loss.gradient(NUMPY, y, t)).all()
    assert np.isfinite(loss.curvature(NUMPY, y, t, np.ones_like(y))).all()


@pytest.mark.parametrize("name", LOSSES)
def test_closed_gradient_is_the_derived_one(name: str, rng: np.random.Generator) -> None:
    loss, y = LOSSES[name], rng.standard_normal((2, SAMPLES, OUTPUTS))
    t = targets(loss, rng)
    derived = ao.Loss.gradient(loss, NUMPY, y, t)
    assert derived.shape == y.shape
    np.testing.assert_allclose(loss.gradient(NUMPY, y, t), derived, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_the_slope_of_the_value(name: str, rng: np.random.Generator) -> None:
    """Directional derivatives by duals through the value alone."""
    loss, y, v = LOSSES[name], *rng.standard_normal((2, SAMPLES, OUTPUTS))
    t = targets(loss, rng)
    duals = DualOps(NUMPY)
    slope = duals.parts(loss.value(duals, duals.dual(y, v), t))[1]
    np.testing.assert_allclose((loss.gradient(NUMPY, y, t) * v).sum(1), slope, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_closed_curvature_is_the_derived_one(name: str, rng: np.random.Generator) -> None:
    loss, y, v = LOSSES[name], *rng.standard_normal((2, SAMPLES, OUTPUTS))
    t = targets(loss, rng)
    np.testing.assert_allclose(
        loss.curvature(NUMPY, y, t, v), ao.Loss.curvature(loss, NUMPY, y, t, v), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("name", LOSSES)
def test_curvature_is_symmetric(name: str, rng: np.random.Generator) -> None:
    loss, y = LOSSES[name], rng.standard_normal((SAMPLES, OUTPUTS))
    t = targets(loss, rng)
    matrix = np.stack([loss.curvature(NUMPY, y, t, np.tile(e, (SAMPLES, 1))) for e in np.eye(OUTPUTS)], axis=2)
    np.testing.assert_allclose(matrix, matrix.transpose(0, 2, 1), atol=1e-15)
    if name != "custom loss":
        assert np.linalg.eigvalsh(matrix).min() > -1e-15


def test_a_new_value_does_not_inherit_its_parents_closed_forms(rng: np.random.Generator) -> None:
    class Fourfold(ao.SquaredError):
        def value(self, ops: Any, y: Any, target: Any) -> Any:
            return 4.0 * super().value(ops, y, target)

    class Weighted(ao.SquaredError):
        def curvature(self, ops: Any, y: Any, target: Any, v: Any) -> Any:
            return 2.0 * v

    y, t, v = rng.standard_normal((3, SAMPLES, OUTPUTS))
    np.testing.assert_allclose(Fourfold().gradient(NUMPY, y, t), 4.0 * (y - t), rtol=1e-14)
    np.testing.assert_allclose(Fourfold().curvature(NUMPY, y, t, v), 4.0 * v, rtol=1e-14)
    assert Weighted.gradient is ao.SquaredError.gradient


def test_squared_error_has_unit_curvature(rng: np.random.Generator) -> None:
    y, v = rng.standard_normal((2, SAMPLES, OUTPUTS))
    np.testing.assert_array_equal(ao.SquaredError().curvature(NUMPY, y, y, v), v)


def test_custom_loss_of_one_column() -> None:
    loss = ao.CustomLoss(lambda ops, y, target: y * y, name="square")
    assert loss.value(NUMPY, np.ones((5, 1)), np.zeros((5, 0))).shape == (5,)
    assert loss.name == "square"


@pytest.mark.parametrize("given", [[0, 2, 1, 2], np.array([[0], [2], [1], [2]]), np.array([0.0, 2.0, 1.0, 2.0])])
def test_labels_in_several_dresses(given: Any) -> None:
    one_hot = ao.SoftmaxCrossEntropy().prepare(given, 4, 3)
    np.testing.assert_array_equal(one_hot, np.eye(3)[[0, 2, 1, 2]])


EXPECTED = r"labels must be whole numbers 0 \.\. 2, one an output of the last module; got "


@pytest.mark.parametrize(
    ("loss", "given", "message"),
    [
        (ao.SoftmaxCrossEntropy(), [0, 3, 1, 2], EXPECTED + "3 at sample 1$"),
        (ao.SoftmaxCrossEntropy(), [0, 1, -1, 2], EXPECTED + "-1 at sample 2$"),
        (ao.SoftmaxCrossEntropy(), [0, 0.5, 1, 2], EXPECTED + r"0\.5 at sample 1$"),
        (ao.SoftmaxCrossEntropy(), [0, 1, np.nan, 2], EXPECTED + "nan at sample 2$"),
        (ao.SoftmaxCrossEntropy(), ["a", "b", "a", "b"], "labels are 2 different words for 3 outputs"),
        (ao.SoftmaxCrossEntropy(), np.eye(4), r"labels must be a vector \(B,\) of class numbers or prob.* got sh"),
        (ao.SoftmaxCrossEntropy(), None, r"labels must be a vector \(B,\) of class numbers or probabil.* got None"),
        (ao.SoftmaxCrossEntropy(), [0, 1, 2], "targets must match the 4 samples of the inputs, got 3"),
        (ao.SquaredError(), np.zeros((5, 3)), "targets must match the 4 samples of the inputs, got 5"),
        (ao.SquaredError(), np.zeros((4, 2)), r"targets must have 3 columns, the outputs of the last module, got sh"),
        (ao.SquaredError(), None, r"targets must have 3 columns, the outputs of the last module, got None"),
        (ao.SquaredError(), np.full((4, 3), np.inf), "targets must be finite, got inf at sample 0, column 0"),
        (ao.SquaredError(), np.zeros((4, 3), complex), "targets must be an array of numbers .* complex numbers"),
        (ao.SquaredError(), [["a"] * 3] * 4, "targets must be an array of numbers"),
        (ao.SquaredError(), np.zeros((4, 3, 1)), r"targets must have shape \(B, d\), samples first, got shape \(4, 3"),
        (ao.Logistic(), np.full((4, 3), 1.5), r"logistic targets must lie in \[0, 1\], got 1\.5 \.\. 1\.5"),
        (ao.Logistic(), np.full((4, 3), -1.0), r"logistic targets must lie in \[0, 1\], got -1 \.\. -1"),
        (ao.CustomLoss(quartic), np.zeros((3, 3)), "targets must match the 4 samples"),
    ],
)  # fmt: skip
def test_wrong_targets(loss: ao.Loss, given: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        loss.prepare(given, 4, 3)


def test_custom_loss_needs_a_function() -> None:
    with pytest.raises(ao.InputError, match="CustomLoss takes a function value"):
        ao.CustomLoss(3.0)


def test_loss_without_value() -> None:
    with pytest.raises(NotImplementedError, match="Loss must define value"):
        ao.Loss().value(NUMPY, np.zeros((1, 1)), np.zeros((1, 1)))
