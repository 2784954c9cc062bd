"""`actionopt contract`: the table, the JSON object, the exit status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from problems import linear_regression, xor

Run = Callable[..., Any]


def test_table(run: Run) -> None:
    status, out, err = run("contract", "problems/xor.py", "--horizon", 0.5, "--steps", 4)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["module", "smallest", "rate"]
    problem = xor.build()
    certificate = ao.certify(problem, ao.flow(problem, horizon=0.5, steps=4))
    assert certificate.table() == "\n".join(lines[:5])
    assert "XOR: 17 weights, layerwise metric, 5 nodes" in out
    assert f"smallest {certificate.whole.min():.6g}" in out
    assert "not contracting: " in out
    assert "two neighbours, holds: " in out
    assert "% in module " in out


@pytest.mark.parametrize("metric", ["layerwise", "euclidean", "joint"])
def test_json(run: Run, metric: str) -> None:
    done = run(
        "contract", "problems/linear_regression.py", "--set", "features=2", "--steps", 4, "--metric", metric, "--json"
    )
    assert (done.status, done.err) == (0, "")
    record = done.record
    problem = linear_regression.build(features=2)
    expected = ao.contraction_rate(problem, np.zeros(3), metric=metric)
    np.testing.assert_allclose(record["rates"], expected)
    assert record["contracting"] is True
    assert (record["name"], record["size"], record["metric"]) == ("linear regression", 3, metric)
    assert record["worst"]["rate"] == pytest.approx(expected)
    assert len(record["worst"]["direction"]) == 3
    assert record["decay"]["ok"] is True
    assert record["decay"]["measured_rate"] == pytest.approx(expected, rel=1e-4)
    if metric == "joint":
        assert record["certificate"] is None
    else:
        assert record["certificate"]["whole"] == record["rates"]
        assert record["certificate"]["status"] == "contracting"
        assert record["certificate"]["uniform"] == pytest.approx(expected)


def test_start_and_seed(run: Run) -> None:
    fixed = run("contract", "problems/double_well.py", "--start", "0.1", "--steps", 2, "--json").record
    assert fixed["rates"][0] == pytest.approx(3 * 0.01 - 1)
    seeded = [run("contract", "problems/xor.py", "--steps", 2, "--seed", s, "--json").record["rates"] for s in (1, 2)]
    assert seeded[0] != seeded[1]


def test_a_violated_certificate_is_exit_status_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_fast(*args: Any, **options: Any) -> Any:
        decay = ao.check_decay(*args, **options)
        return replace(decay, certificate=decay.certificate * np.exp(-5.0 * decay.times))

    monkeypatch.setattr("actionopt.cli.contract.check_decay", too_fast)
    done = run("contract", "problems/double_well.py", "--start", "0.1", "--steps", 2)
    assert done.status == 1
    assert "two neighbours, violated: the distance exceeds" in done.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--metric", "round"), "unknown metric 'round'"),
        (("--steps", "3"), "steps must be an even number"),
        (("--horizon", "-1"), "horizon"),
        (("--start", "1,2"), "must have"),
    ],
)
def test_wrong_options_are_exit_status_two(run: Run, options: tuple[str, ...], message: str) -> None:
    done = run("contract", "problems/xor.py", *options)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_a_kink_is_exit_status_two(run: Run, problem_file: Callable[[str], Any]) -> None:
    layers = "[ao.Dense(1, 1, 'relu'), ao.Dense(1, 1)]"
    path = problem_file(f"def build():\n    return ao.Problem({layers}, [[0.0]], [[1.0]], ao.SquaredError())")
    done = run("contract", path)
    assert done.status == 2
    assert "the energy is not smooth at these weights: relu in module 1 Dense" in done.err


def test_an_action_has_no_rate(run: Run) -> None:
    done = run("contract", "problems/lqr.py")
    assert done.status == 2
    assert "this command needs a Problem" in done.err
