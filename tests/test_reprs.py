"""What a prompt and a notebook show of systems and results: one short line, and HTML with every word escaped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from problems import linear_regression, xor

NAME = "<b>&"
XOR = xor.build()
W = XOR.initial_weights(0)
LINE = linear_regression.build()
PROBLEM = ao.Problem(list(XOR.modules), XOR.inputs, XOR.targets, XOR.loss, name=NAME)

SHOWN: dict[str, Any] = {
    "loss": lambda: ao.SquaredError(),
    "custom loss": lambda: ao.CustomLoss(lambda ops, y, t: ops.sum(y - t), name=NAME),
    "problem": lambda: PROBLEM,
    "adjoints": lambda: ao.adjoints(XOR, W),
    "contraction": lambda: ao.contraction_at(XOR, W),
    "check": lambda: ao.check_adjoints(XOR, W),
    "solution": lambda: ao.train(XOR, W, max_iterations=3, throw=False),
    "trajectory": lambda: ao.flow(PROBLEM, W, horizon=0.1, steps=2),
    "certificate": lambda: ao.certify(XOR, W[None]),
    "decay": lambda: ao.check_decay(XOR, W, horizon=0.1, steps=2),
    "descent": lambda: ao.descend(PROBLEM, W, batch=2, epochs=1),
    "proof": lambda: ao.prove_contraction(LINE, LINE.initial_weights(0), 0.1),
    "metric": lambda: ao.LayerMetric(PROBLEM, W),
}


@pytest.mark.parametrize("name", SHOWN)
def test_short_lines_and_escaped_html(name: str) -> None:
    what = SHOWN[name]()
    line, page = repr(what), what._repr_html_()
    assert len(line) < 200
    assert "\n" not in line
    assert " at 0x" not in line
    assert "array(" not in line
    assert page.startswith("<")
    assert NAME not in page


def test_no_address_in_what_has_no_html() -> None:
    metric = ao.BatchedMetric(XOR, W[None])
    assert repr(metric) == "BatchedMetric('XOR': layerwise, 17 weights, at w (1, 17))"
    for what in (ao.Dense(2, 3), ao.Input(np.ones((2, 2))), XOR.costs[0], ao.Drift(2, lambda ops, w: w)):
        assert " at 0x" not in repr(what)
        assert len(repr(what)) < 200
