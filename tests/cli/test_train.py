"""`actionopt train`: the table, the record, saved weights, solvers that stop early."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from problems import linear_regression, xor

XOR, REGRESSION = Path(xor.__file__), Path(linear_regression.__file__)
Run = Callable[..., "tuple[int, str, str]"]


@pytest.mark.parametrize("solver", ["ipopt", "fatrop"])
@pytest.mark.parametrize("formulation", ["lifted", "condensed"])
def test_reaches_the_normal_equations(run: Callable, solver: str, formulation: str) -> None:
    options = ["--set", "outputs=2", "--set", "weight_decay=0.01"]
    outcome = run("train", REGRESSION, *options, "--solver", solver, "--formulation", formulation, "--json")
    assert (outcome.status, outcome.err) == (0, "")
    record = outcome.record
    expected = linear_regression.solution(linear_regression.build(outputs=2, weight_decay=0.01))
    np.testing.assert_allclose(record["weights"], expected, atol=1e-7)
    assert record["success"] is True
    assert record["status"] == "converged"
    assert record["gradient_norm"] < 1e-7
    assert (record["stats"]["solver"], record["stats"]["formulation"]) == (solver, formulation)
    assert "multipliers" not in record


def test_multipliers_on_request(run: Callable) -> None:
    record = run("train", XOR, "--json", "--arrays").record
    assert [np.shape(multipliers) for multipliers in record["multipliers"]] == [(4, 4), (4, 1)]


def test_table(run: Run) -> None:
    status, out, err = run("train", XOR)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("XOR: 17 weights, 4 samples, energy 0.5184 at the start")
    assert lines[2].split()[:4] == ["solver", "status", "iterations", "energy"]
    assert lines[3].split()[:2] == ["ipopt", "converged"]


def test_saved_weights(run: Callable, tmp_path: Path) -> None:
    out = tmp_path / "new" / "weights.npy"
    record = run("train", XOR, "--out", out, "--json").record
    weights = np.load(out, allow_pickle=False)
    np.testing.assert_array_equal(weights, record["weights"])
    assert xor.build().energy(weights) == record["energy"] < 1e-12


def test_a_solver_that_stops_early(run: Callable, tmp_path: Path) -> None:
    out = tmp_path / "weights.npy"
    outcome = run("train", XOR, "--max-iterations", "2", "--out", out)
    assert outcome.status == 1
    assert "iteration limit" in outcome.out
    assert "more iterations" in outcome.out
    assert np.isfinite(np.load(out)).all()
    outcome = run("train", XOR, "--max-iterations", "2", "--json")
    assert (outcome.status, outcome.record["success"], outcome.record["status"]) == (1, False, "iteration limit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--solver", "fatropp"], "did you mean 'fatrop'"),
        (["--formulation", "lifetd"], "unknown formulation 'lifetd'; did you mean 'lifted'"),
        (["--tol", "0"], "tol"),
        (["--max-iterations", "-3"], "max_iterations"),
        (["--out", "weights.txt"], "--out takes a name that ends in .npy, got weights.txt"),
        (["--set", "width=-1"], "out_size must be a whole number >= 0, got -1"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_options(run: Run, options: list[str], message: str) -> None:
    status, out, err = run("train", XOR, *options)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_lagrangians_have_nothing_to_train(run: Run) -> None:
    status, out, err = run("train", XOR.parent / "lqr.py")
    assert (status, out) == (2, "")
    assert "needs a Problem" in err


@pytest.mark.parametrize("named", [True, False])
def test_what_ctrl_c_left_is_kept(run: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: bool) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Any:
        return dataclasses.replace(solve(*arguments, **options), success=False, status="interrupted")

    from actionopt.cli import train as module

    solve = module.train
    monkeypatch.setattr(module, "train", interrupted)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "mine.npy" if named else Path("xor-interrupted.npy")
    outcome = run("train", XOR, "--json", *(["--out", out] if named else []))
    assert outcome.status == 130
    assert outcome.err == f"actionopt: interrupted; the last weights are in {out}\n"
    np.testing.assert_array_equal(np.load(out), outcome.record["weights"])
