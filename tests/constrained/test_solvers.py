"""The table of training's solvers: a new algorithm is a class and a line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.constrained.solution import Solution
from actionopt.constrained.solvers import OWN
from actionopt.constrained.task import TrainTask
from actionopt.constrained.training import check_stages, fatrop_seconds
from actionopt.nlp import Stages
from actionopt.nlp.deadline import STOPPABLE
from actionopt.nlp.plugins import installed_solvers
from problems.pendulum import build, pumping
from problems.spirals import build as spirals
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


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod", "newton"])
@pytest.mark.parametrize("formulation", ["lifted", "condensed"])
def test_every_solver_is_watched(solver: str, formulation: str) -> None:
    problem = ao.Problem(
        [ao.Dense(3, 2, "tanh"), ao.Dense(2, 1)], data(8), data(8, 1), ao.SquaredError(), weight_decay=0.1
    )
    options = {"solver": solver, "formulation": formulation, "throw": False}
    w0 = 0.3 * problem.initial_weights(0)
    moments: list[Any] = []
    found = ao.train(problem, w0, callback=moments.append, **options)
    history = found.history
    assert found.success or solver == "sqpmethod"  # which climbs to a saddle
    assert history is not None
    assert len(moments) == len(history) > 3
    assert [moment.iteration for moment in moments] == list(range(len(moments)))
    for moment in (moments[0], moments[-1]):
        assert moment.energy == pytest.approx(problem.energy(moment.weights), rel=1e-12)
        assert moment.gradient_norm == pytest.approx(abs(problem.gradient(moment.weights)).max(), abs=1e-15)
    np.testing.assert_array_equal(moments[0].weights, w0)
    np.testing.assert_allclose(moments[-1].weights, found.weights, atol=1e-7)
    assert history.seconds == sorted(history.seconds)

    stopped = ao.train(problem, w0, callback=lambda moment: moment.iteration == 2, **options)
    assert stopped.status == "stopped"
    assert "the callback ended the run" in stopped.message
    assert len(stopped.history or ()) == 3
    np.testing.assert_array_equal(stopped.weights, moments[2].weights)

    def raises(error: BaseException) -> Any:
        def callback(moment: Any) -> None:
            if moment.iteration == 2:
                raise error

        return callback

    kept = ao.train(problem, w0, callback=raises(KeyboardInterrupt()), **options)
    assert kept.status == "interrupted"
    np.testing.assert_array_equal(kept.weights, moments[2].weights)
    with pytest.raises(ZeroDivisionError, match="my own"):
        ao.train(problem, w0, callback=raises(ZeroDivisionError("my own")), **options)


def test_what_shows_no_iterations_takes_no_callback() -> None:
    problem = ao.Problem(ao.Dense(3, 1), data(8), data(8, 1), ao.SquaredError())
    other = next(name for name in installed_solvers() if name not in STOPPABLE)
    with pytest.raises(ao.InputError, match=f"solver '{other}' shows no iterations, leave callback out or take newton"):
        ao.train(problem, solver=other, callback=lambda moment: None)
    assert ao.train(problem, solver="ipopt", progress=True).success


def test_a_watched_control_problem_has_the_energy_at_its_controls() -> None:
    problem, w0 = build(stages=12, limit=8.0), pumping(12)
    for solver in ("ipopt", "newton"):
        moments: list[Any] = []
        ao.train(problem, w0, solver=solver, callback=moments.append, max_iterations=4, throw=False)
        assert len(moments) == 5
        if solver == "ipopt":
            for moment in moments[:2]:
                assert moment.energy == pytest.approx(problem.energy(moment.weights), rel=1e-12)
                assert moment.gradient_norm == pytest.approx(abs(problem.gradient(moment.weights)).max(), rel=1e-9)


def test_fatrop_s_work_is_estimated_and_long_work_wants_a_time_limit() -> None:
    small, deep = (Stages((0, *[80] * depth), (20,) * (depth + 1), (0,) * (depth + 1)) for depth in (40, 80))
    setups, iterations = zip(*map(fatrop_seconds, (small, deep)), strict=True)
    assert 3.5 < setups[1] / setups[0] < 4.0  # as the square of the depth
    assert iterations[1] / iterations[0] == pytest.approx(2.0, rel=0.05)
    check_stages(deep)
    wide = Stages((0, 2000, 2000), (400, 400, 0), (0, 0, 0))
    with pytest.raises(ao.InputError, match=r"about .* s to set up and .* s an iteration; solver='newton' and 'ipopt'"):
        check_stages(wide)
    check_stages(wide, time_limit=100.0)
    with pytest.raises(ao.InputError, match="with a time_limit= it runs all the same"):
        ao.train(spirals(), solver="fatrop")
