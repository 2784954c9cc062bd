"""The kinds of metric: what each says of itself, against the metric that it makes; one answer to what is one point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.backprop import forward_pass
from actionopt.metric.kinds import KINDS, METRICS, kind_of
from tests.metric.twins import dense_metric
from tests.networks import NETWORKS
from tests.systems import SYSTEMS

PROBLEMS = {"user": SYSTEMS["user softmax"], "two heads": NETWORKS["two heads"], "recurrent": NETWORKS["recurrent"]}


@pytest.mark.parametrize("output_metric", ["fisher", None])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_blocks_are_the_metric(name: str, metric: str, output_metric: Any) -> None:
    problem, kind = PROBLEMS[name].take(slice(None)), kind_of(metric)
    problem.output_metric = output_metric
    w = problem.initial_weights(1)
    found = np.diag(problem.mass)
    for block in kind.blocks(problem, forward_pass(problem, w)):
        assert block.weights in kind.cuts(problem)
        found[block.weights, block.weights] = block.dense()
    expected = np.diag(problem.mass) if metric == "euclidean" else dense_metric(problem, w, metric == "joint")
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    moved = dense_metric(problem, w + 0.1, metric == "joint") if metric != "euclidean" else expected
    assert kind.constant(problem) == np.allclose(moved, expected)
    apart = kind.tangents(problem)
    assert (apart is not None) == (metric == "layerwise" and output_metric == "fisher")


def test_names() -> None:
    assert METRICS == tuple(KINDS) == ("layerwise", "joint", "euclidean")
    with pytest.raises(ao.InputError, match="unknown metric 'layer'; did you mean 'layerwise'"):
        kind_of("layer")


ONE_POINT: dict[str, Callable[[ao.Problem, Any], Any]] = {
    "LayerMetric": ao.LayerMetric,
    "check_adjoints": ao.check_adjoints,
    "train": ao.train,
    "proximal_step": lambda problem, w: ao.proximal_step(problem, w, 0.1),
    "contraction_rate": ao.contraction_rate,
    "prove_contraction": lambda problem, w: ao.prove_contraction(problem, w, 0.1),
    "descend": lambda problem, w: ao.descend(problem, w, epochs=1, batch=3),
}


@pytest.mark.parametrize("name", ONE_POINT)
def test_one_point_is_asked_for_in_one_way(name: str) -> None:
    problem = SYSTEMS["dense, B = 3"]
    with pytest.raises(ao.InputError, match=rf"must be one point \({problem.size},\), got shape \(2, {problem.size}\)"):
        ONE_POINT[name](problem, np.zeros((2, problem.size)))
