"""Continuation over horizons and guesses through waypoints."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from problems import double_well, maier_stein, mueller_brown, quadratic


def test_each_path_starts_the_next() -> None:
    paths = ao.continue_action(quadratic.build(), (1, -1), (0.5, 0.8), horizons=(0.5, 1.0, 1.5), steps=40)
    assert [path.times[-1] for path in paths] == [0.5, 1.0, 1.5]
    direct = ao.minimize_action(quadratic.build(), (1, -1), (0.5, 0.8), horizon=1.5, steps=40)
    np.testing.assert_allclose(paths[-1].weights, direct.weights, atol=1e-9)


def test_the_grid_is_refined_at_one_horizon() -> None:
    paths = ao.continue_action(
        maier_stein.build(),
        (-1, 0),
        (0, 0),
        horizons=(10.0, 10.0, 10.0),
        steps=(20, 80, 320),
        scheme="gauss2",
        guess=ao.path_through([(-1, 0), (-0.5, 0.3), (0, 0)], 20),
    )
    assert [len(path.times) - 1 for path in paths] == [20, 80, 320]
    assert [path.stats["iterations"] for path in paths[1:]] < [paths[0].stats["iterations"]] * 2
    assert paths[-1].action == pytest.approx(0.340041, abs=1e-5)


def test_continuation_needs_fewer_steps_than_a_straight_line() -> None:
    """A horizon over which it hardly matters when the path leaves."""
    problem, points = mueller_brown.build(), mueller_brown.POINTS
    ends, options = (points["middle minimum"], points["right minimum"]), {"steps": 40, "scheme": "gauss2"}
    direct = ao.minimize_action(problem, *ends, horizon=0.04, **options)
    paths = ao.continue_action(problem, *ends, horizons=(0.01, 0.02, 0.03, 0.04), **options)
    assert paths[-1].action == pytest.approx(direct.action, rel=1e-6)
    assert sum(path.stats["iterations"] for path in paths) < direct.stats["iterations"]


def test_only_the_last_horizon_must_converge() -> None:
    options = {"horizons": (5.0, 5.0), "steps": 50, "tol": 1e-300}
    with pytest.raises(ao.SolverError) as caught:
        ao.continue_action(double_well.build(), -1.0, 0.0, **options)
    assert caught.value.result.times[-1] == 5.0
    kept = ao.continue_action(double_well.build(), -1.0, 0.0, throw=False, **options)
    assert [path.success for path in kept] == [False, False]


def test_an_interrupt_ends_the_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from actionopt.action import continuation

    def interrupted(*args: Any, **options: Any) -> ao.Trajectory:
        path = ao.minimize_action(*args, **options)
        return replace(path, status="interrupted", success=False) if path.times[-1] == 2.0 else path

    monkeypatch.setattr(continuation, "minimize_action", interrupted)
    paths = ao.continue_action(double_well.build(), -1.0, 0.0, horizons=(1, 2, 3), steps=10, throw=False)
    assert [path.status for path in paths] == ["converged", "interrupted"]


def test_wrong_sequences() -> None:
    with pytest.raises(ao.InputError, match="one number of steps, or one for each horizon"):
        ao.continue_action(double_well.build(), -1.0, 0.0, horizons=(1, 2), steps=(10, 20, 30))
    with pytest.raises(ao.InputError, match="one number of steps, or one for each horizon"):
        ao.continue_action(double_well.build(), -1.0, 0.0, horizons=())
    with pytest.raises(ao.InputError, match="not times= or horizon="):
        ao.continue_action(double_well.build(), -1.0, 0.0, horizons=(1, 2), times=[0.0, 1.0])
    with pytest.raises(ao.InputError, match="horizon must be a positive, finite number"):
        ao.continue_action(double_well.build(), -1.0, 0.0, horizons=(1, -2), steps=5)


def test_path_through_visits_its_points() -> None:
    path = ao.path_through([(0, 0), (1, 2), (2, 0)], steps=8)
    assert path.shape == (9, 2)
    np.testing.assert_array_equal(path[[0, 4, 8]], [(0, 0), (1, 2), (2, 0)])
    np.testing.assert_allclose(np.diff(path[:5], axis=0), [(0.25, 0.5)] * 4)


def test_path_through_leaves_free_components_where_they_are() -> None:
    path = ao.path_through([(0, 0), (1, 2), (np.nan, 3), (np.nan, np.nan)], steps=3)
    np.testing.assert_array_equal(path, [(0, 0), (1, 2), (1, 3), (1, 3)])


@pytest.mark.parametrize(
    ("points", "steps", "message"),
    [
        ([(0, 0)], 4, "at least two points (k, n), got shape (1, 2)"),
        ([0, 1], 4, "at least two points (k, n), got shape (2,)"),
        ([(0, 0), (1,)], 4, "points of one size"),
        ([(0, 0), (1, 1), (2, 2)], 1, "steps must be a whole number >= 2, one a leg of the path, got 1"),
        ([(0, 0), (1, 1)], 2.5, "steps must be a whole number >= 1"),
        ([(0, np.nan), (1, 1)], 4, "must be finite"),
        ([(0, 0), (1, np.inf)], 4, "must be finite"),
    ],
)
def test_wrong_waypoints(points: Any, steps: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=re.escape(message)):
        ao.path_through(points, steps)
