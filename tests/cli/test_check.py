"""`actionopt check`: the table, the record, the exit status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import actionopt as ao
from problems import xor

XOR = Path(xor.__file__)
Run = Callable[..., "tuple[int, str, str]"]


def test_table(run: Run) -> None:
    status, out, err = run("check", XOR)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("XOR: 17 weights, 4 samples, ipopt (build ")
    assert lines[2].split()[:2] == ["module", "size"]
    assert [line.split()[:3] for line in lines[3:5]] == [["1", "Dense", "4"], ["2", "Dense", "1"]]
    assert lines[-1].startswith("holds: multipliers are the adjoints: relative error")


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
def test_record(run: Callable, solver: str) -> None:
    outcome = run("check", XOR, "--set", "width=3", "--solver", solver, "--seed", "4", "--json")
    assert (outcome.status, outcome.err) == (0, "")
    record = outcome.record
    assert (record["ok"], record["solver"], record["status"]) == (True, solver, "converged")
    assert record["relative_error"] <= 1e-10
    assert record["gradient_error"] <= 1e-10
    assert [row["name"] for row in record["modules"]] == ["1 Dense", "2 Dense"]
    assert "multipliers" not in record
    assert record["stats"]["layers"]["solve_time"] >= 0


def test_record_with_arrays(run: Callable) -> None:
    record = run("check", XOR, "--seed", "2", "--json", "--arrays").record
    problem = xor.build()
    expected = ao.adjoints(problem, problem.initial_weights(2))
    for multipliers, adjoints in zip(record["multipliers"], expected.adjoints, strict=True):
        np.testing.assert_allclose(multipliers, adjoints, rtol=1e-10)
    np.testing.assert_allclose(record["gradient_multipliers"], expected.gradient, rtol=1e-10, atol=1e-15)


def test_a_check_that_fails(run: Callable) -> None:
    """No solver agrees to 1e-30."""
    outcome = run("check", XOR, "--tol", "1e-30")
    assert outcome.status == 1
    assert outcome.out.splitlines()[-1].startswith("FAILS: ")
    outcome = run("check", XOR, "--tol", "1e-30", "--json")
    assert outcome.status == 1
    assert outcome.record["ok"] is False


BROKEN = {
    "sizes that do not chain": (
        "[ao.Dense(2, 3), ao.Dense(4, 1)], [[1, 2]], [1], ao.SquaredError()",
        "sizes do not chain: module 1 Dense(2, 3, None) gives 3 outputs, module 2 Dense(4, 1, None) takes 4",
    ),
    "data of the wrong width": ("ao.Dense(2, 1), [[1, 2, 3]], [1], ao.SquaredError()", "inputs must have 2 columns"),
    "NaN": ("ao.Dense(1, 1), [np.nan], [1], ao.SquaredError()", "inputs must be finite, got nan at sample 0, column 0"),
    "infinity": ("ao.Dense(1, 1), [1], [np.inf], ao.SquaredError()", "targets must be finite, got inf"),
    "labels out of range": ("ao.Dense(1, 3), [1], [3], ao.SoftmaxCrossEntropy()", "labels must be whole numbers"),
    "labels no integers": ("ao.Dense(1, 3), [1], [0.5], ao.SoftmaxCrossEntropy()", "labels must be whole numbers"),
    "targets of another number": ("ao.Dense(1, 1), [1, 2], [1], ao.SquaredError()", "targets must match the 2 samples"),
    "mass": ("ao.Dense(1, 1), [1], [1], ao.SquaredError(), mass=-1", "mass must be positive and finite, got -1"),
    "activation": ("ao.Dense(1, 1, 'tahn'), [1], [1], ao.SquaredError()", "unknown activation 'tahn'; did you mean"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_problems_name_the_users_line(run: Run, problem_file: Callable[[str], Path], name: str) -> None:
    arguments, message = BROKEN[name]
    path = problem_file(f"def build():\n    return ao.Problem({arguments})\n")
    status, out, err = run("check", path)
    assert (status, out) == (2, "")
    assert err.startswith(f"actionopt: {path}, line 5, `return ao.Problem(")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--solver", "ipop"], "unknown"),
        (["--tol", "-1"], "tol"),
        (["--max-iterations", "0"], "max_iterations"),
        (["--seed", "x"], "Invalid value for '--seed'"),
        (["--set", "width=0.5"], "out_size must be a whole number >= 0, got 0.5"),
        (["--set", "mass=0"], "mass must be positive and finite, got 0"),
    ],
)
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_wrong_options(run: Run, options: list[str], message: str, as_json: list[str]) -> None:
    status, out, err = run("check", XOR, *options, *as_json)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_weights_that_overflow(run: Run, problem_file: Callable[[str], Path]) -> None:
    path = problem_file(
        "class Large(ao.Dense):\n"
        "    def initial_weights(self, rng):\n"
        "        return np.full(self.weight_size, 1e200)\n\n"
        "def build():\n"
        "    return ao.Problem([Large(1, 1), ao.Activation(1, 'exp')], [1.0], [1.0], ao.SquaredError())\n"
    )
    status, out, err = run("check", path)
    assert (status, out) == (2, "")
    assert "not finite" in err
