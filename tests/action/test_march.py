"""Marching: the implicit flow equations solved interval by interval."""

from __future__ import annotations

import numpy as np
import pytest

from actionopt.action import march as marching
from actionopt.action.density.local_model import LocalModel
from actionopt.action.discrete import DiscreteAction
from actionopt.action.march import march
from actionopt.action.newton.solve import make_density
from actionopt.action.scheme import make_grid, make_scheme
from actionopt.action.task import make_task
from actionopt.metric.kinds import METRICS
from problems import robot_arm
from tests.action.cases import PROBLEMS, softmax, squared
from tests.action.naive import NaiveFlow

GRID = np.array([0.0, 0.1, 0.2, 0.4, 0.5])


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("metric", METRICS)
def test_midpoint_rule_holds_on_every_interval(name: str, metric: str) -> None:
    problem = PROBLEMS[name]()
    start = problem.initial_weights(1)
    done = march(LocalModel(problem, metric), make_scheme("midpoint", GRID), start, tol=1e-13)
    assert done.failure is None
    naive = NaiveFlow(problem, metric)
    for k, h in enumerate(np.diff(GRID)):
        g, dense = naive.at(0.5 * (done.points[k] + done.points[k + 1]))
        np.testing.assert_allclose(
            done.points[k + 1] - done.points[k], -h * np.linalg.solve(dense, g), rtol=1e-9, atol=1e-13
        )


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("scheme", ["midpoint", "gauss2", "radau3", "radau5"])
def test_marched_flow_has_no_action(name: str, scheme: str) -> None:
    problem = PROBLEMS[name]()
    start = problem.initial_weights(1)
    task = make_task(problem, start, None, make_scheme(scheme, GRID))
    done = march(LocalModel(problem, "layerwise"), task.scheme, start, tol=1e-13)
    point = DiscreteAction(make_density(task), task).at(done.points)
    assert 0 <= point.value <= 1e-26 * max(problem.energy(start), 1.0)


@pytest.mark.parametrize("scheme", ["midpoint", "gauss2", "radau3", "radau5"])
def test_krylov_steps_equal_dense_ones(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = softmax()
    start, model = problem.initial_weights(1), LocalModel(problem, "layerwise")
    dense = march(model, make_scheme(scheme, GRID), start, tol=1e-12)
    monkeypatch.setattr(marching, "DENSE_LIMIT", 0)
    krylov = march(model, make_scheme(scheme, GRID), start, tol=1e-12)
    np.testing.assert_allclose(krylov.points, dense.points, rtol=1e-10, atol=1e-12)


def test_progress_and_counts() -> None:
    problem, ticks = squared(), []
    done = march(
        LocalModel(problem, "layerwise"),
        make_scheme("midpoint", make_grid(1.0, 7)),
        problem.initial_weights(),
        tol=1e-12,
        tick=lambda: ticks.append(1),
    )
    assert len(ticks) == 7
    assert 1 <= done.stats["jacobians"] < done.stats["iterations"]


def test_flow_from_the_bottom_of_a_well_rests_there() -> None:
    """Residuals there are rounding, as large as the gradient itself."""
    problem = robot_arm.build()
    start = problem.check_weights(robot_arm.postures()[0]) + 1e-7
    done = march(LocalModel(problem, "joint"), make_scheme("midpoint", make_grid(2.0, 4)), start, tol=1e-11)
    assert done.failure is None
    assert abs(done.points - start).max() < 1e-5


def test_step_that_is_not_solved_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = squared()
    model, scheme = LocalModel(problem, "layerwise"), make_scheme("midpoint", make_grid(1.0, 3))
    start = problem.initial_weights()
    whole = march(model, make_scheme("midpoint", make_grid(1.0, 300)), start, tol=1e-12)
    monkeypatch.setattr(marching, "MAX_ITERATIONS", 1)
    done = march(model, scheme, start, tol=0.0)
    assert done.failure is None
    assert done.stats["in_parts"] == done.stats["explicit"] == 3
    assert sorted(done.errors) == [0, 1, 2]
    np.testing.assert_allclose(done.points, whole.points[::100], atol=1e-5)


def test_step_that_no_part_solves_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marching, "MAX_ITERATIONS", 1)
    monkeypatch.setattr(marching._Parts, "_cross", lambda self, w, h, count: (w * np.nan, w, False))
    problem = squared()
    done = march(
        LocalModel(problem, "layerwise"), make_scheme("midpoint", make_grid(1.0, 3)), problem.initial_weights(), tol=0.0
    )
    assert done.failure is not None
    assert done.failure.startswith("a step was not solved, whole or in parts (residual")
    assert len(done.points) == 1
