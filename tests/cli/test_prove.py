"""`actionopt prove`: the table, the JSON object, the exit status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from problems import double_well

Run = Callable[..., Any]


def test_table_of_a_proved_ball(run: Run) -> None:
    status, out, err = run("prove", "problems/double_well.py", "--centre", "right minimum", "--radius", 0.2)
    assert (status, err) == (0, "")
    proof = ao.prove_contraction(double_well.build(), [1.0], 0.2)
    assert out.startswith("double-well: 1 weights, euclidean metric, rate 2 at the centre")
    assert f"proved: {proof.message}" in out
    assert "constants there: LipschitzBounds(kappa " in out


def test_json_with_a_tube(run: Run) -> None:
    done = run(
        "prove", "problems/double_well.py", "--start", "0.1", "--tube", 0.01, "--horizon", 8, "--steps", 80, "--json"
    )
    assert (done.status, done.err) == (0, "")
    record = done.record
    assert record["proved"] is True
    assert 0.3 < record["radius"] < 1.0 - np.sqrt(1.0 / 3.0)
    assert record["tube"]["proved"] is True
    assert len(record["tube"]["radii"]) == 81
    assert record["lipschitz"]["smoothness"] >= 2.0
    assert record["rate_at_centre"] == pytest.approx(2.0)


def test_refuted_and_undecided_are_no_success(run: Run, problem_file: Callable[[str], Path]) -> None:
    refuted = run("prove", "problems/double_well.py", "--centre", "saddle", "--radius", 0.1, "--json")
    assert refuted.status == 1
    assert refuted.record["status"] == "refuted"
    assert abs(refuted.record["counterexample"][0]) <= 0.1
    path = problem_file(
        "def build():\n"
        "    loss = ao.CustomLoss(lambda ops, w, target: ops.exp(ops.exp(w)))\n"
        "    return ao.Problem(ao.Parameter(1), None, None, loss, output_metric=None)\n"
    )
    undecided = run("prove", path, "--centre", "1", "--radius", 30, "--json")
    assert undecided.status == 1
    assert undecided.record["status"] == "undecided"


def test_a_kink_is_a_line_on_stderr(run: Run, problem_file: Callable[[str], Path]) -> None:
    path = problem_file(
        "def build():\n"
        "    loss = ao.CustomLoss(lambda ops, w, target: 0.5 * w * w - ops.abs(w))\n"
        "    return ao.Problem(ao.Parameter(1), None, None, loss, output_metric=None)\n"
    )
    status, out, err = run("prove", path, "--centre", "1", "--radius", 2)
    assert (status, out) == (2, "")
    assert "ops.abs is evaluated across its kink at 0" in err
