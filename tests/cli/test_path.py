"""`actionopt path`: the table, JSON, the saved path, exit statuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from problems import toggle_switch

TOGGLE = Path(toggle_switch.__file__)
ENDS = ("--start", "u high", "--end", "v high")


def test_table_lists_critical_points_and_candidates(run: Callable[..., Any]) -> None:
    done = run("path", TOGGLE, *ENDS)
    assert (done.status, done.err) == (0, "")
    for text in ("0.0911530", "saddle", "found from", "quasipotential of the end"):
        assert text in done.out


def test_json_and_the_saved_path_agree(run: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "path.npz"
    done = run("path", TOGGLE, *ENDS, "--set", "noise=constant", "--elements", "20,40", "--json", "--out", out)
    record, saved = done.record, ao.GeometricPath.load(out)
    assert record["action"] == saved.action == pytest.approx(toggle_switch.ACTIONS["constant"], rel=1e-6)
    assert record["is_minimum"] is True
    assert [point["kind"] for point in record["critical_points"]] == ["attractor", "saddle", "attractor"]
    np.testing.assert_array_equal(record["points"], saved.points)


def test_a_path_that_is_not_stationary_has_status_one(run: Callable[..., Any]) -> None:
    done = run("path", TOGGLE, *ENDS, "--tol", "1e-20", "--elements", "10,20")
    assert done.status == 1
    assert "not stationary" in done.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--start", "u hi", "--end", "v high"), "did you mean 'u high'"),
        (("--start", "u high", "--end", "1,nan"), "end must be finite"),
        ((*ENDS, "--elements", "many"), "--elements takes whole numbers"),
        ((*ENDS, "--out", "path.txt"), "ends in .npz"),
    ],
)
def test_wrong_options_are_a_line(run: Callable[..., Any], options: tuple[str, ...], message: str) -> None:
    done = run("path", TOGGLE, *options)
    assert done.status == 2
    assert message in done.err
    assert done.err.count("\n") == 1
