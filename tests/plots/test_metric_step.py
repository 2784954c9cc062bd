"""Energy by the metric of the step: what the curves hold, and the script at small size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import actionopt as ao
from plots import metric_step
from problems import xor

XOR = Path(xor.__file__)


@pytest.mark.parametrize("metric", ["euclidean", "layerwise", "joint"])
def test_descent_takes_exact_steps(metric: str) -> None:
    problem = xor.build()
    run = metric_step.descend(problem, metric, 0.1, 3, tol=1e-10, seed=1)
    w = problem.initial_weights(1)
    for energy in run.energies:
        assert energy == pytest.approx(problem.energy(w), rel=1e-9)
        w = ao.step(problem, w, 0.1, metric=metric)
    assert run.seconds.shape == run.energies.shape
    assert (np.diff(run.seconds) > 0).all()


def test_the_best_step_size_is_taken_and_a_diverging_one_is_not() -> None:
    problem = ao.Problem(ao.Parameter(1), None, [[0.0]], ao.SquaredError(), mass=1.0)
    run = metric_step.best_descent(problem, "euclidean", [0.1, 1.0, 1e200], 5)
    assert run.step_size == 1.0
    assert len(run.energies) == 6


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_script(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"figure{suffix}"
    arguments = [str(XOR), "--steps", "3", "--step-sizes", "0.1,1", "--out", str(out)]
    result = CliRunner().invoke(metric_step.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert out.stat().st_size > 2000


@pytest.mark.parametrize("sizes", ["", "0.1,fast", "-1", "0.1,nan"])
def test_wrong_step_sizes_are_named(tmp_path: Path, sizes: str) -> None:
    arguments = [str(XOR), "--step-sizes", sizes, "--out", str(tmp_path / "figure.png")]
    result = CliRunner().invoke(metric_step.main, arguments)
    assert result.exit_code == 2
    assert "--step-sizes takes positive numbers with commas between" in result.output
