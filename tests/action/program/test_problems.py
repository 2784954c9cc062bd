"""Every shipped problem of up to 150 weights: Newton, ipopt and fatrop find the same trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.action.discrete import DiscreteAction
from actionopt.action.guess import first_guess
from actionopt.action.newton.solve import NewtonSolver, make_density
from actionopt.action.program.solve import CasadiSolver
from actionopt.action.scheme import make_grid, make_scheme
from actionopt.action.task import ActionTask, Limits, make_task

ROOT = Path(__file__).parents[3]
FILES = sorted(path.stem for path in (ROOT / "problems").glob("[!_]*.py"))
LARGEST = 150
SLOW = {"iris": pytest.mark.slow}  # 139 weights, 150 samples
SHORTER = {"pendulum": {"stages": 12}, "recurrent": {"steps": 5}}  # the same formulas, fewer times
HORIZONS = {"mueller_brown": 0.002}  # slopes of several hundred: over 0.2 there are many minima


def load(name: str) -> Any:
    return ao.load_problem(ROOT / "problems" / f"{name}.py", **SHORTER.get(name, {}))


def short_path(what: Any, horizon: float = 0.2, steps: int = 5) -> ActionTask:
    """A short way from a generic point, on which all solvers have one minimum to find."""
    rng = np.random.default_rng(5)
    start = what.initial_weights(1) if isinstance(what, ao.Problem) else rng.standard_normal(what.size)
    end = start + 0.1 * rng.standard_normal(what.size)
    return make_task(what, start, end, make_scheme("midpoint", make_grid(horizon, steps)))


def check_agreement(task: ActionTask, solver: str) -> None:
    guess = first_guess(task, "line")
    action = DiscreteAction(make_density(task), task)
    found = CasadiSolver(solver).solve(action, guess, Limits())
    expected = NewtonSolver().solve(action, guess, Limits(1e-9, 200), lambda *a, **k: None)
    assert found.success, found.message
    assert expected.success, expected.message
    np.testing.assert_allclose(found.points, expected.points, rtol=0, atol=1e-7)
    assert found.stats["gradient_norm"] < 1e-6


@pytest.mark.parametrize("solver", ["ipopt", "fatrop"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in FILES])
def test_solvers_agree(name: str, solver: str) -> None:
    what = load(name)
    if what.size > LARGEST:
        pytest.skip(f"{what.size} weights")
    check_agreement(short_path(what, horizon=HORIZONS.get(name, 0.2)), solver)


@pytest.mark.parametrize("solver", ["ipopt", "fatrop"])
def test_solvers_agree_on_139_weights(solver: str) -> None:
    rng = np.random.default_rng(0)
    layers = [ao.Dense(4, 8, "tanh"), ao.Dense(8, 8, "tanh"), ao.Dense(8, 3)]
    inputs, labels = rng.standard_normal((8, 4)), rng.integers(0, 3, 8)
    problem = ao.Problem(layers, inputs, labels, ao.SoftmaxCrossEntropy(), mass=0.1)
    assert problem.size == 139
    check_agreement(short_path(problem, horizon=1.0, steps=8), solver)
