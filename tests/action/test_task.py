"""What an action solver is asked: rejections, with their messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actionopt.action.scheme import make_grid, make_scheme
from actionopt.action.task import make_task
from actionopt.errors import InputError
from tests.action.cases import massive, quadratic

SCHEME = make_scheme("gauss2", make_grid(1.0, 3))


def test_free_entries_leave_out_the_start_and_the_fixed_end() -> None:
    task = make_task(quadratic(), [1.0, -1.0], [np.nan, 0.5], SCHEME)
    assert task.free.sum() == 2 * 7 - 2 - 1
    assert not task.free[0].any()
    np.testing.assert_array_equal(task.free[-1], [True, False])
    assert not task.constrained


def test_options_of_the_lagrangian_hold_unless_given() -> None:
    what = quadratic()
    what.bounds = (-2.0, 2.0)
    assert make_task(what, [1.0, -1.0], None, SCHEME).constrained
    np.testing.assert_array_equal(make_task(what, [1.0, -1.0], None, SCHEME, bounds=(-3, 3)).upper, [3.0, 3.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"what": "xor"}, "expected a Problem or a Lagrangian, got str"),
        ({"metric": "layer"}, "unknown metric 'layer'; did you mean 'layerwise'"),
        ({"start": [1.0]}, r"start must have shape \(2,\), got \(1,\)"),
        ({"start": "here"}, "start must be 2 numbers, got 'here'"),
        ({"start": [np.inf, 1.0]}, "start must be finite, or NaN where it is free"),
        ({"end": np.zeros(3)}, r"end must have shape \(2,\), got \(3,\)"),
        ({"end": [np.inf, 0.0]}, "end must be finite, or NaN where it is free"),
        ({"bounds": (0.0, 2.0)}, r"start must lie within the bounds, but component 1 is -1, outside \[0, 2\]"),
        ({"bounds": (-1.0, 1.0), "end": [0.0, 1.5]}, "end must lie within the bounds, but component 1 is 1.5"),
        ({"bounds": (1.0, -1.0)}, "bounds must have lower <= upper"),
        ({"bounds": 3.0}, r"bounds must be \(lower, upper\)"),
        ({"bounds": ([0.0] * 3, 1.0)}, r"bounds must be \(lower, upper\), each a number or \(2,\)"),
    ],
)
def test_rejections(changes: dict[str, Any], message: str) -> None:
    arguments = {"what": quadratic(), "start": [1.0, -1.0], "end": None, "scheme": SCHEME, **changes}
    with pytest.raises(InputError, match=message):
        make_task(**arguments)


def test_problems_are_tasks_too() -> None:
    problem = massive()
    assert make_task(problem, np.zeros(problem.size), None, SCHEME).size == problem.size
