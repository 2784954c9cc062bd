"""Many starts: distinct minima, the best kept, what failed recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.starts import from_starts


def wells(ops: Any, y: Any, target: Any) -> Any:
    """Tilted double well in the first coordinate, a bowl in the second: minima near -1.06 and 0.93."""
    a, b = ops.columns(y)
    return (a**2 - 1.0) ** 2 + 0.5 * a + (b - 2.0) ** 2


@pytest.fixture
def landscape() -> ao.Problem:
    return ao.Problem(ao.Parameter(2), None, None, ao.CustomLoss(wells))


STARTS = np.array([[-0.8, 0.0], [0.9, 1.0], [-1.5, 3.0], [1.1, 2.0]])


@pytest.mark.parametrize("solver", ["newton", "ipopt"])
def test_distinct_minima_of_training(landscape: ao.Problem, solver: str) -> None:
    found = ao.train(landscape, solver=solver, starts=STARTS)
    roots = sorted(np.roots([4.0, 0.0, -4.0, 0.5]).real)
    assert found.weights == pytest.approx([roots[0], 2.0], abs=1e-6)
    assert [minimum.weights[0] for minimum in found.starts.minima] == pytest.approx([roots[0], roots[2]], abs=1e-6)
    assert found.starts.counts == [2, 2]
    np.testing.assert_array_equal(found.starts.which, [0, 1, 0, 1])
    assert found.starts.messages == {}
    assert found.energy == found.starts.minima[0].energy == found.starts.values.min()


def test_seeds_are_starts(landscape: ao.Problem) -> None:
    found = ao.train(landscape, solver="newton", starts=3)
    ends = [ao.train(landscape, landscape.initial_weights(seed), solver="newton").energy for seed in range(3)]
    np.testing.assert_array_equal(found.starts.values, ends)


def test_starts_that_fail_are_recorded(landscape: ao.Problem) -> None:
    points = np.vstack([STARTS[:1], [[1e200, 0.0]]])
    found = ao.train(landscape, solver="newton", starts=points)
    assert found.success
    assert list(found.starts.messages) == [1]
    np.testing.assert_array_equal(found.starts.which, [0, -1])
    assert f"start 1 failed: {found.starts.messages[1]}" in str(found.starts)
    with pytest.raises(ao.SolverError, match="none of 2 starts ended in a minimum; the lowest: ") as caught:
        ao.train(landscape, solver="newton", starts=STARTS[:2], max_iterations=1)
    assert len(caught.value.result.starts.messages) == 2
    unfinished = ao.train(landscape, solver="newton", starts=STARTS[:2], max_iterations=1, throw=False)
    assert unfinished.energy == unfinished.starts.values.min()


def test_two_ways_around_a_hill() -> None:
    """A hill between two points in the plane, not quite on the line: a path on either side."""

    def value(ops: Any, w: Any, v: Any) -> Any:
        (x, y), (vx, vy) = ops.columns(w), ops.columns(v)
        return 0.5 * (vx * vx + vy * vy) + 4.0 * ops.exp(-4.0 * (x * x + (y - 0.05) ** 2))

    system = ao.Lagrangian(2, value)
    options = {"horizon": 2.0, "steps": 40, "throw": False}
    found = ao.minimize_action(system, [-1.0, 0.0], [1.0, 0.0], starts=8, **options)
    middles = [path.weights[20, 1] for path in found.starts.minima]
    assert len(middles) == 2
    assert middles[0] < 0.0 < middles[1]  # below, away from the hill, it is cheaper
    assert found.action == min(path.action for path in found.starts.minima)
    assert sum(found.starts.counts) + len(found.starts.messages) == 8
    line = np.linspace([-1.0, 0.0], [1.0, 0.0], 41)
    up, down = (line + np.sin(np.linspace(0.0, np.pi, 41))[:, None] * [0.0, s] for s in (0.8, -0.8))
    given = ao.minimize_action(system, [-1.0, 0.0], [1.0, 0.0], starts=[up, down], **options)
    np.testing.assert_array_equal(given.starts.which, [1, 0])


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        (0, "starts must be at least 1, got 0"),
        (np.zeros((0, 2)), "at least one start"),
        ([1.0, 2.0], "how many, or points"),
    ],
)
def test_wrong_starts(landscape: ao.Problem, starts: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.train(landscape, starts=starts)


def test_not_both(landscape: ao.Problem) -> None:
    with pytest.raises(ao.InputError, match="w0, or many starts, not both"):
        ao.train(landscape, STARTS[0], starts=2)
    with pytest.raises(ao.InputError, match="a guess, or many starts, not both"):
        ao.minimize_action(ao.Drift(1, lambda ops, x: -x), [0.0], [1.0], horizon=1.0, guess="line", starts=2)
    with pytest.raises(ao.InputError, match="sequence of guesses, got str"):
        ao.minimize_action(ao.Drift(1, lambda ops, x: -x), [0.0], [1.0], horizon=1.0, starts="line")


def test_tolerances_and_interruption() -> None:
    def solve(x: float) -> float:
        if x > 100.0:
            raise KeyboardInterrupt
        return x

    same = {"place": lambda x: np.array([1.0, x]), "usable": lambda x: x > 0.0, "message": lambda x: "below"}
    best, found = from_starts(solve, [1.0, 1.0 + 5e-7, 1.1, -3.0, 1e3, 2.0], value=lambda x: x, **same)
    assert best == 1.0
    np.testing.assert_array_equal(found.which, [0, 0, 1, -1, -1, -1])
    assert found.messages == {3: "below", 4: "interrupted", 5: "interrupted"}
    assert "<table>" in found._repr_html_()
    with pytest.raises(ao.SolverError, match="none of 1 starts gave a result; the first: interrupted"):
        from_starts(solve, [1e3], value=lambda x: x, **same)
