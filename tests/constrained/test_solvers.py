"""The table of training's solvers: a new algorithm is a class and a line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import actionopt as ao
from actionopt.constrained.solution import Solution
from actionopt.constrained.solvers import OWN
from actionopt.constrained.task import TrainTask
from tests.constrained.systems import data


class WarmedUp:
    """Gradient descent for a while, Newton's method from there."""

    def solve(self, task: TrainTask) -> Solution:
        w = task.start
        for _ in range(task.max_iterations // 2):
            w = w - 0.1 * task.problem.gradient(w)
        self.handed_on = w
        return OWN["newton"].solve(replace(task, start=w))


def test_a_solver_is_a_class_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = ao.Problem(
        [ao.Dense(3, 2, "tanh"), ao.Dense(2, 1)], data(8), data(8, 1), ao.SquaredError(), weight_decay=0.1
    )
    with pytest.raises(ao.InputError, match=r"unknown solver 'warmed up'.*Known: .*ipopt, newton, "):
        ao.train(problem, solver="warmed up")
    monkeypatch.setitem(OWN, "warmed up", solver := WarmedUp())
    found = ao.train(problem, solver="warmed up", max_iterations=100)
    assert found.success
    assert found.energy < problem.energy(solver.handed_on) < problem.energy(problem.initial_weights())
    assert found.stats["relative_residual"] <= 1e-6
    assert np.isfinite(found.energy)


def test_a_program_of_casadi_gets_its_formulation_from_the_table() -> None:
    problem = ao.Problem([ao.Dense(3, 1)], data(8), data(8, 1), ao.SquaredError())
    assert ao.train(problem, solver="ipopt").stats["formulation"] == "lifted"
    assert ao.train(problem, solver="ipopt", formulation="condensed").stats["formulation"] == "condensed"
