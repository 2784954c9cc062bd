"""The metric of networks: a block a group, rows summed over uses, costs stacked; against dense Jacobians."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.backprop import forward_pass
from actionopt.metric.block import metric_blocks
from actionopt.metric.parts import SummedRows
from actionopt.metric.rows import PlainRows
from actionopt.ops import NUMPY
from tests.metric.twins import dense_metric, relative, user_factor
from tests.networks import NETWORKS, recurrent, tied, two_heads

OUTPUT_METRICS: dict[str, Any] = {"fisher": "fisher", "euclidean": "euclidean", "none": None, "user": user_factor}


def with_metric(problem: ao.Problem, output_metric: Any, rng: np.random.Generator) -> ao.Problem:
    """Return the same network with another output metric and a mass of its own for every weight."""
    changed = problem.take(slice(None))
    changed.output_metric, changed.mass = output_metric, 0.1 + rng.random(problem.size)
    return changed


def convex(name: str) -> bool:
    return name != "prior"  # whose custom loss has a Hessian of both signs somewhere


@pytest.mark.parametrize("joint", [False, True], ids=["layerwise", "joint"])
@pytest.mark.parametrize("output_metric", OUTPUT_METRICS)
@pytest.mark.parametrize("name", NETWORKS)
def test_metric_is_that_of_dense_jacobians(
    name: str, output_metric: str, joint: bool, rng: np.random.Generator
) -> None:
    problem = with_metric(NETWORKS[name], OUTPUT_METRICS[output_metric], rng)
    w = problem.initial_weights(1)
    metric, expected = ao.LayerMetric(problem, w, joint=joint), dense_metric(problem, w, joint)
    assert relative(metric.dense(), expected) < 1e-12
    v = rng.standard_normal(problem.size)
    assert relative(metric @ v, expected @ v) < 1e-12
    for solve in ("primal", "dual", "cg"):
        solved = ao.LayerMetric(problem, w, joint=joint, solve=solve).solve(v)
        assert relative(solved, np.linalg.solve(expected, v)) < 1e-8
    assert metric.logdet() == pytest.approx(np.linalg.slogdet(expected)[1], rel=1e-10)


@pytest.mark.parametrize("joint", [False, True], ids=["layerwise", "joint"])
@pytest.mark.parametrize("name", NETWORKS)
def test_metric_at_every_node_of_a_trajectory(name: str, joint: bool, rng: np.random.Generator) -> None:
    problem = NETWORKS[name]
    nodes = np.stack([problem.initial_weights(seed) for seed in range(3)])
    v = rng.standard_normal(nodes.shape)
    metric = ao.BatchedMetric(problem, nodes, metric="joint" if joint else "layerwise")
    for k, w in enumerate(nodes):
        expected = dense_metric(problem, w, joint)
        assert relative(metric.product(v)[k], expected @ v[k]) < 1e-12
        assert relative(metric.solve(v)[k], np.linalg.solve(expected, v[k])) < 1e-9


def test_two_heads_are_a_finite_difference_gauss_newton() -> None:
    problem = two_heads(mass=0.2)
    w = problem.initial_weights(4)
    jacobians = {}
    for node in ("value", "label"):
        columns = []
        for unit in np.eye(problem.size):
            far, near = (
                (problem.outputs(w + h * unit, node) - problem.outputs(w - h * unit, node)) / (2 * h)
                for h in (2e-3, 1e-3)
            )
            columns.append((4 * near - far) / 3)
        jacobians[node] = np.stack(columns, axis=-1)
    p = NUMPY.softmax(problem.outputs(w, "label"))
    softmax = np.stack([np.diag(row) - np.outer(row, row) for row in p])
    value, label = jacobians["value"], jacobians["label"]
    whole = 0.7 * np.einsum("bin,bik->nk", value, value) + 1.9 * np.einsum("bin,bij,bjk->nk", label, softmax, label)
    whole = whole / problem.samples + 0.2 * np.eye(problem.size)
    metric = ao.LayerMetric(problem, w)
    assert [block.label for block in metric.blocks] == ["1 trunk", "2 value", "3 label"]
    for block in metric.blocks:
        assert relative(block.dense(), whole[block.weights, block.weights]) < 1e-7
    assert relative(ao.LayerMetric(problem, w, joint=True).dense(), whole) < 1e-7


def test_rows_of_a_cost_that_does_not_enter_are_left_out() -> None:
    problem = two_heads()
    trunk, value, label = ao.LayerMetric(problem, problem.initial_weights()).blocks
    assert (trunk.rank, value.rank, label.rank) == (6 * (2 + 2), 6 * 2, 6 * 2)
    (together,) = ao.LayerMetric(problem, problem.initial_weights(), joint=True).blocks
    assert together.rank == 6 * 4


def test_a_cost_of_weight_zero_has_no_rows() -> None:
    x = ao.Input(np.ones((3, 2)))
    h = ao.Dense(2, 2, "tanh")(x)
    seen, y = ao.Dense(2, 4, name="seen")(h), ao.Dense(2, 1)(h)
    costs = [ao.Cost(y, ao.SquaredError(), np.zeros(3)), ao.Cost(seen, ao.SquaredError(), np.zeros((3, 4)), weight=0)]
    problem = ao.Problem(costs, mass=0.25)
    w = problem.initial_weights()
    first, watched, last = ao.LayerMetric(problem, w).blocks
    assert (first.rank, watched.rank, last.rank) == (3, 0, 3)
    np.testing.assert_array_equal(watched.dense(), 0.25 * np.eye(12))


def test_sum_first_square_after() -> None:
    problem = tied()
    w = problem.initial_weights(2)
    (shared, *_) = metric_blocks(problem, forward_pass(problem, w), joint=False)
    untied_w = np.concatenate([w[:12], w])
    first, second = ao.Dense(3, 3, "tanh"), ao.Dense(3, 3, "tanh")
    x = ao.Input(problem.inputs)
    add = ao.Map(lambda ops, z: ops.split(z, [3, 3])[0] + ops.split(z, [3, 3])[1], 6, 3)
    out = ao.Dense(3, 2)(add(x, second(first(x))))
    untied = ao.Problem([ao.Cost(out, problem.loss, problem.targets)])
    one, two, _ = metric_blocks(untied, forward_pass(untied, untied_w), joint=False)
    np.testing.assert_allclose(shared.matrix(), one.matrix() + two.matrix(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("width", [2, 16], ids=["multiplied out", "outer products"])
def test_rows_keep_their_structure_where_that_is_less(width: int, rng: np.random.Generator) -> None:
    problem = recurrent(steps=6, width=width, mass=0.3)
    w = problem.initial_weights(1)
    cell = ao.LayerMetric(problem, w).blocks[0]
    assert isinstance(cell.rows[0], SummedRows if width == 16 else PlainRows)
    dense = dense_metric(problem, w)[cell.weights, cell.weights]
    assert relative(cell.dense(), dense) < 1e-12
    matrix = cell.matrix()
    np.testing.assert_allclose(cell.gram(), matrix @ matrix.T, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(cell.normal(), matrix.T @ matrix, rtol=1e-10, atol=1e-14)
    assert cell.rows[0].square() == pytest.approx((matrix * matrix).sum(), rel=1e-12)
    v, c = rng.standard_normal(cell.size), rng.standard_normal(cell.rank)
    np.testing.assert_allclose(cell.push(v).ravel(), matrix @ v, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(cell.pull(c.reshape(cell.rows[0].shape[:2])), c @ matrix, rtol=1e-10, atol=1e-13)


def test_both_grams_of_summed_rows(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = SummedRows(rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((3, 4, 6)), 0.7)
    found = {}
    for prices in ((1.0, 2.0), (2.0, 1.0)):
        monkeypatch.setattr("actionopt.metric.parts.gram_prices", lambda rows, prices=prices: prices)
        found[prices] = rows.gram()
    np.testing.assert_allclose(found[1.0, 2.0], found[2.0, 1.0], rtol=1e-12)
    np.testing.assert_allclose(found[1.0, 2.0], rows.matrix() @ rows.matrix().T, rtol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_descend(name: str) -> None:
    problem = NETWORKS[name]
    w = problem.initial_weights(1)
    energies = [problem.energy(w)]
    for metric in ("layerwise", "joint", "euclidean"):
        energies.append(problem.energy(ao.step(problem, w, 1e-3, metric=metric)))
    assert max(energies[1:]) < energies[0]
