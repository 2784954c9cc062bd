"""Work too large for the machine is refused in a line, before it begins; and short reprs of what is not."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt import memory
from actionopt.memory import check_memory

PROBLEM = ao.Problem([ao.Dense(2, 3, "tanh"), ao.Dense(3, 2)], np.ones((4, 2)), np.ones((4, 2)), ao.SquaredError())
W = PROBLEM.initial_weights(0)


def test_sizes_are_said_in_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "total_memory", lambda: 1e9)
    check_memory("a vector", 1e8 - 1, "nothing")
    with pytest.raises(ao.InputError, match=r"^a matrix would take 80 GB of memory, this machine has 1 GB: use less$"):
        check_memory("a matrix", 1e10, "use less")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ao.LayerMetric(PROBLEM, W).dense(),
            r"the dense metric would take .*: use metric @ v, or metric\.blocks",
        ),
        (
            lambda: ao.LayerMetric(PROBLEM, W, solve="primal").solve(W),
            "the primal matrix would take .*: use solve",
        ),
        (lambda: ao.LayerMetric(PROBLEM, W, solve="dual").solve(W), "the dual matrix would take .*: use solve='cg'"),
        (lambda: ao.contraction_rate(PROBLEM, W), "contraction rate's matrices would take .*: compute it for parts"),
        (lambda: ao.flow(PROBLEM, W, horizon=1.0, steps=10), "a grid of 10 steps would take .*: take fewer steps"),
    ],
)
def test_what_is_too_large_is_refused(call: Callable[[], Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "total_memory", lambda: 10.0)
    with pytest.raises(ao.InputError, match=message):
        call()


def test_it_is_refused_before_it_is_allocated() -> None:
    problem = ao.Problem(ao.Parameter(400_000), None, np.zeros((1, 400_000)), ao.SquaredError(), output_metric=None)
    tracemalloc.start()
    metric = ao.LayerMetric(problem, np.zeros(400_000))
    with pytest.raises(ao.InputError, match=r"the dense metric would take 1\.28 TB"):
        metric.dense()
    with pytest.raises(ao.InputError, match=r"a grid of \d+ steps would take"):
        ao.minimize_action(ao.Drift(1, lambda ops, w: -w), [0.0], [1.0], horizon=1.0, steps=10**13)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e8


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (ao.SquaredError(), "SquaredError()"),
        (ao.Logistic(), "Logistic()"),
        (ao.CustomLoss(lambda ops, y, t: ops.sum(y), "mine"), "CustomLoss('mine')"),
        (ao.WeightedLoss(ao.Logistic(), np.ones(3)), "WeightedLoss(Logistic(), weights (3, 1))"),
        (ao.adjoints(PROBLEM, W), "Adjoints(states of sizes 3 2, 4 samples, largest gradient entry "),
        (ao.contraction_at(PROBLEM, W), "Contraction(rate "),
    ],
)
def test_reprs_are_one_short_line(what: Any, expected: str) -> None:
    assert repr(what).startswith(expected)
    assert len(repr(what)) < 120
    assert "\n" not in repr(what)


def test_a_problem_in_a_notebook_is_a_table_of_its_weights() -> None:
    html = ao.Problem(ao.Dense(1, 1, name="<b>"), [1.0], [1.0], ao.SquaredError(), name="<i>")._repr_html_()
    assert "<table>" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "<i>" not in html


@pytest.mark.parametrize(
    "call",
    [
        lambda: ao.Problem(ao.Dense(1, 1), [1.0], [1.0], ao.SquaredError(), name=5),  # type: ignore[arg-type]
        lambda: ao.Lagrangian(1, lambda ops, w, v: v * v, name=5),  # type: ignore[arg-type]
        lambda: ao.Dense(1, 1, name=5),  # type: ignore[arg-type]
    ],
)
def test_names_are_words(call: Callable[[], Any]) -> None:
    with pytest.raises(ao.InputError, match="name must be a string, got 5 of type int"):
        call()


def test_losses_pickle_with_their_options() -> None:
    loss = ao.SoftmaxCrossEntropy(classes=["a", "b"])
    assert pickle.loads(pickle.dumps(loss)).classes == ["a", "b"]
