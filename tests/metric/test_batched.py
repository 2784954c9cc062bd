"""All nodes at once are each node alone; solutions are those of the dense metric."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from actionopt.metric import batched
from actionopt.metric.batched import BatchedMetric
from actionopt.metric.kinds import METRICS
from tests.metric.twins import OUTPUT_METRICS, dense_metric, make_problem, relative
from tests.modules.cases import CASES


def nodes(problem: ao.Problem, count: int = 4) -> np.ndarray:
    return np.stack([problem.initial_weights(seed) for seed in range(count)])


def dense(problem: ao.Problem, w: np.ndarray, metric: str) -> np.ndarray:
    return np.diag(problem.mass) if metric == "euclidean" else dense_metric(problem, w, joint=metric == "joint")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("module", CASES)
def test_every_module_against_the_dense_metric(module: str, metric: str, rng: np.random.Generator) -> None:
    problem = make_problem(module)
    w = nodes(problem)
    c = rng.standard_normal((2, *w.shape))
    batched = BatchedMetric(problem, w, metric)
    for k, node in enumerate(w):
        expected = dense(problem, node, metric)
        assert relative(batched.product(c)[:, k], c[:, k] @ expected) < 1e-12
        assert relative(batched.solve(c)[:, k], np.linalg.solve(expected, c[:, k].T).T) < 1e-12


@pytest.mark.parametrize("samples", [1, 2, 3, 9, 40])
@pytest.mark.parametrize("output_metric", OUTPUT_METRICS)
@pytest.mark.parametrize("metric", METRICS)
def test_every_batch_size_and_output_metric(
    samples: int, output_metric: str, metric: str, rng: np.random.Generator
) -> None:
    problem = make_problem(output_metric=OUTPUT_METRICS[output_metric], samples=samples)
    w = nodes(problem)
    c = rng.standard_normal(w.shape)
    solution = BatchedMetric(problem, w, metric).solve(c)
    for k, node in enumerate(w):
        assert relative(solution[k], np.linalg.solve(dense(problem, node, metric), c[k])) < 1e-12


@pytest.mark.parametrize("metric", ["layerwise", "joint"])
def test_one_node_and_a_grid_of_nodes(metric: str, rng: np.random.Generator) -> None:
    problem = make_problem()
    w = nodes(problem, 6)
    c = rng.standard_normal(w.shape)
    stacked = BatchedMetric(problem, w, metric).solve(c)
    assert relative(BatchedMetric(problem, w[0], metric).solve(c[0]), stacked[0]) < 1e-13
    grid = BatchedMetric(problem, w.reshape(2, 3, -1), metric)
    assert relative(grid.solve(c.reshape(2, 3, -1)), stacked.reshape(2, 3, -1)) < 1e-13


@pytest.mark.parametrize("metric", ["layerwise", "joint"])
def test_small_mass_is_refined(metric: str, rng: np.random.Generator) -> None:
    problem = make_problem(samples=40, mass=1e-7)
    w = nodes(problem)
    c = rng.standard_normal(w.shape)
    batched = BatchedMetric(problem, w, metric)
    for k, node in enumerate(w):
        expected = np.linalg.solve(dense(problem, node, metric), c[k])
        assert relative(batched.solve(c)[k], expected) < 1e-8


def test_a_node_that_overflows_is_marked_and_spoils_no_other() -> None:
    problem = ao.Problem([ao.Dense(2, 2, "exp"), ao.Dense(2, 2)], np.ones((3, 2)), np.zeros((3, 2)), ao.SquaredError())
    w = nodes(problem, 3)
    alone = BatchedMetric(problem, w[[0, 2]]).solve(w[[0, 2]])
    w[1] *= 1e4
    solution = BatchedMetric(problem, w).solve(w)
    assert np.isnan(solution[1]).any()
    assert relative(solution[[0, 2]], alone) < 1e-13


def test_unknown_metric() -> None:
    problem = make_problem()
    with pytest.raises(ao.InputError, match="unknown metric 'layerwis'; did you mean 'layerwise'"):
        BatchedMetric(problem, nodes(problem), "layerwis")


@pytest.mark.parametrize("metric", ["layerwise", "joint"])
def test_large_blocks_node_by_node(metric: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem("Chain", samples=9)
    w = nodes(problem)
    c = rng.standard_normal((2, *w.shape))
    stacked = BatchedMetric(problem, w, metric)
    monkeypatch.setattr(batched, "STACK_WORK", 0)
    singly = BatchedMetric(problem, w, metric)
    assert relative(singly.product(c), stacked.product(c)) < 1e-13
    assert relative(singly.solve(c), stacked.solve(c)) < 1e-10


def test_an_overflowing_node_is_marked_node_by_node_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched, "STACK_WORK", 0)
    problem = ao.Problem([ao.Dense(2, 2, "exp"), ao.Dense(2, 2)], np.ones((3, 2)), np.zeros((3, 2)), ao.SquaredError())
    w = nodes(problem, 3)
    w[1] *= 1e4
    solution = BatchedMetric(problem, w).solve(w)
    assert np.isnan(solution[1]).any()
    assert np.isfinite(solution[[0, 2]]).all()
