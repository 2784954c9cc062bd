"""The factor recursion row by row, and the factors it starts from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.backprop import forward_pass
from actionopt.metric.block import metric_blocks
from actionopt.metric.dense_rows import DenseRows, ScaledDenseRows
from actionopt.metric.output_factor import output_factor
from actionopt.metric.rows import PlainRows
from tests.metric.twins import (
    LOSSES,
    OUTPUT_METRICS,
    dense_output_metric,
    make_problem,
    output_jacobian,
    relative,
)
from tests.modules.cases import CASES


@pytest.mark.parametrize("samples", [1, 3, 4])
@pytest.mark.parametrize("module", CASES)
def test_rows_are_factors_times_jacobians(module: str, samples: int) -> None:
    problem = make_problem(module, samples=samples)
    w = problem.initial_weights(1)
    factor = output_factor(problem, problem.outputs(w))
    expected = np.einsum("ibo,bon->ibn", factor, output_jacobian(problem, w)) / np.sqrt(samples)
    expected = expected.reshape(-1, problem.size) / np.sqrt(problem.mass)
    (block,) = metric_blocks(problem, forward_pass(problem, w), joint=True)
    assert relative(block.matrix(), expected) < 1e-12
    v, c = np.random.default_rng(0).standard_normal((2, max(expected.shape)))
    v, c = v[: problem.size], c[: len(expected)]
    as_rows = c.reshape(factor.shape[:2])
    assert relative(block.push(v).ravel(), expected @ v) < 1e-12
    assert relative(block.pull(as_rows), c @ expected) < 1e-12
    assert relative(block.pull_push(as_rows).ravel(), expected @ (c @ expected)) < 1e-12
    assert relative(block.gram(), expected @ expected.T) < 1e-12
    assert relative(block.normal(), expected.T @ expected) < 1e-12
    for own in metric_blocks(problem, forward_pass(problem, w), joint=False):
        assert relative(own.matrix(), expected[:, own.weights]) < 1e-12


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output_metric", OUTPUT_METRICS)
def test_factors_of_the_output_metric(loss: str, output_metric: str) -> None:
    problem = make_problem(loss=loss, output_metric=OUTPUT_METRICS[output_metric], samples=4)
    w = problem.initial_weights(2)
    factor = output_factor(problem, problem.outputs(w))
    found = np.einsum("ibj,ibk->bjk", factor, factor)
    np.testing.assert_allclose(found, dense_output_metric(problem, w), rtol=1e-12, atol=1e-12)


def test_softmax_has_a_row_less_than_classes_even_where_it_is_certain() -> None:
    problem = make_problem(samples=3)
    y = np.array([[0.0, 0.0, 900.0], [900.0, 0.0, 0.0], [-1.0, 2.0, 3.0]])
    factor = output_factor(problem, y)
    assert factor.shape == (2, 3, 3)
    p = np.exp(y - y.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    expected = [np.diag(row) - np.outer(row, row) for row in p]
    np.testing.assert_allclose(np.einsum("ibj,ibk->bjk", factor, factor), expected, atol=1e-16)


def test_a_single_class_leaves_the_mass_alone() -> None:
    problem = ao.Problem(ao.Dense(2, 1), np.ones((3, 2)), [0, 0, 0], ao.SoftmaxCrossEntropy(), mass=2.0)
    metric = ao.LayerMetric(problem, problem.initial_weights(0))
    np.testing.assert_allclose(metric.dense(), 2.0 * np.eye(3), rtol=1e-15)
    assert np.array_equal(metric.solve(np.ones(3)), np.full(3, 0.5))


def test_a_curvature_of_ones_own_replaces_the_closed_form() -> None:
    class Twice(ao.SquaredError):
        def curvature(self, ops: Any, y: Any, target: Any, v: Any) -> Any:
            return 2.0 * v

    problem = ao.Problem(ao.Dense(2, 3), np.ones((4, 2)), np.zeros((4, 3)), Twice())
    factor = output_factor(problem, np.zeros((4, 3)))
    np.testing.assert_allclose(np.einsum("ibj,ibk->bjk", factor, factor), [2.0 * np.eye(3)] * 4)


def test_structure_is_kept_where_there_is_one() -> None:
    def kinds(module: str, **options: Any) -> list[type]:
        problem = make_problem(module, **options)
        (block,) = metric_blocks(problem, forward_pass(problem, problem.initial_weights(0)), joint=True)
        return [type(rows) for rows in block.rows[1:-1]]

    assert kinds("Dense tanh", mass=0.5) == [DenseRows]
    assert kinds("Dense tanh") == [ScaledDenseRows]
    assert kinds("Residual of a chain", mass=0.5) == [DenseRows, DenseRows]
    assert kinds("Parallel", mass=0.5) == [DenseRows, PlainRows]
    assert kinds("Gain") == [PlainRows]


def test_a_dense_layer_with_a_vjp_of_its_own_is_taken_at_its_word() -> None:
    class Frozen(ao.Dense):
        """A layer whose weights are not trained: its vjp gives them nothing."""

        def vjp(self, ops: Any, w: Any, z: Any, out: Any, adjoint: Any) -> Any:
            dw, dz = super().vjp(ops, w, z, out, adjoint)
            return 0.0 * dw, dz

    problem = ao.Problem([Frozen(2, 3, "tanh"), ao.Dense(3, 1)], np.ones((4, 2)), np.zeros((4, 1)), ao.SquaredError())
    first, last = ao.LayerMetric(problem, problem.initial_weights(0)).blocks
    assert np.array_equal(first.dense(), np.eye(9))
    assert abs(last.dense() - np.eye(4)).max() > 0.1
