"""The worst rate over a box or a set of points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao


def double_well() -> ao.Problem:
    """`E = x^4/4 - x^2/2 + y^2`: the Hessian diag(3 x^2 - 1, 2) is smallest at x = 0."""
    loss = ao.CustomLoss(lambda ops, y, target: _well(ops, y))
    return ao.Problem(ao.Parameter(2), None, None, loss, output_metric=None, mass=[0.5, 1.0])


def _well(ops: Any, y: Any) -> Any:
    x, z = ops.columns(y)
    return 0.25 * x * x * x * x - 0.5 * x * x + z * z


def test_box_finds_the_saddle() -> None:
    found = ao.worst_rate(double_well(), box=([-1.0, -2.0], [2.0, 2.0]), samples=20)
    assert found.rate == pytest.approx(-2.0, abs=1e-3)
    assert abs(found.weights[0]) < 0.05
    np.testing.assert_allclose(found.direction, [np.sqrt(2.0), 0.0], atol=1e-12)
    assert found.rate <= found.rates.min()
    assert found.points.shape == (21, 2)
    assert "does not prove" in found.message


def test_same_seed_same_answer_and_another_seed_another() -> None:
    box = (-1.0, 1.0)
    first, second = (ao.worst_rate(double_well(), box=box, samples=5, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)
    assert not np.array_equal(ao.worst_rate(double_well(), box=box, samples=5, seed=4).points, first.points)


def test_refinement_stays_in_the_box_and_lowers_the_rate() -> None:
    box = (np.array([0.3, 1.0]), np.array([1.0, 1.0]))  # the second weight is fixed
    rough = ao.worst_rate(double_well(), box=box, samples=3, refine=0)
    fine = ao.worst_rate(double_well(), box=box, samples=3, refine=100)
    assert fine.rate < rough.rate
    assert fine.weights[0] == pytest.approx(0.3, abs=1e-2)
    assert fine.weights[0] >= 0.3
    assert fine.weights[1] == 1.0


def test_points() -> None:
    points = np.array([[1.0, 0.0], [0.1, 0.0], [-0.7, 0.3]])
    found = ao.worst_rate(double_well(), points=points)
    np.testing.assert_array_equal(found.weights, points[1])
    assert found.rate == found.rates[1] == pytest.approx((3 * 0.01 - 1) / 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "a box .* or points .*, one of the two"),
        ({"box": (0, 1), "points": [[0.0, 0.0]]}, "one of the two"),
        ({"box": (1.0, 0.0)}, "lower <= upper"),
        ({"box": (0.0, np.inf)}, "box must be finite"),
        ({"box": 3.0}, r"box must be \(lower, upper\)"),
        ({"box": (0.0, [1.0, 2.0, 3.0])}, "each a number or 2 numbers"),
        ({"points": np.zeros((2, 3))}, "points must have length 2"),
        ({"points": np.zeros((0, 2))}, "N >= 1"),
        ({"box": (0, 1), "samples": -1}, "samples must be >= 0"),
    ],
)
def test_rejections(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.worst_rate(double_well(), **options)


def test_a_point_without_a_rate_is_named() -> None:
    problem = ao.Problem(ao.Parameter(1), None, None, ao.CustomLoss(lambda ops, y, t: ops.sum(ops.relu(y))), mass=1.0,
                         output_metric=None)  # fmt: skip
    with pytest.raises(ao.InputError, match="point 1: the energy is not smooth"):
        ao.worst_rate(problem, points=[[1.0], [0.0]])
