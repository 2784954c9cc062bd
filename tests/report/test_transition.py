"""The transition stage of a run: which attractors it takes, what it says, what it draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import actionopt as ao
from actionopt.cli import main
from actionopt.report.stages import Context, Options
from problems import double_well, maier_stein, toggle_switch

SADDLE = (1.2134116627622296, 1.2134116627622296)


def context(module: object, **options: object) -> Context:
    return Context(module.build(), Options(**options), Path(), dict(module.POINTS))


def names(found: Context) -> list[str] | None:
    return None if found.attractors is None else [name for name, _ in found.attractors]


def test_attractors_are_told_from_other_points() -> None:
    assert names(context(maier_stein)) == ["left minimum", "right minimum"]
    assert names(context(double_well)) == ["left minimum", "right minimum"]
    left = context(toggle_switch, start=np.array(toggle_switch.POINTS["v high"]))
    assert names(left) == ["v high", "u high"]
    away = context(toggle_switch, start=np.array([1.0, 1.0]))
    assert names(away) == ["u high", "v high"]


def test_one_attractor_is_no_transition() -> None:
    one = Context(toggle_switch.build(), Options(), Path(), {"a": toggle_switch.POINTS["u high"], "s": SADDLE})
    assert one.attractors is None
    with pytest.raises(ao.InputError, match="give --start"):
        _ = one.start


def test_run_shows_the_path(tmp_path: Path) -> None:
    file = Path(toggle_switch.__file__)
    done = CliRunner().invoke(main, ["run", str(file), "--set", "noise=constant", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    found = ao.GeometricPath.load(tmp_path / "out" / "transition.npz")
    assert found.action == pytest.approx(toggle_switch.ACTIONS["constant"], rel=1e-6)
    page = (tmp_path / "out" / "report.html").read_text()
    for text in ("Transition path between two attractors", "From u high to v high", "0.1767588", "transition-profile"):
        assert text in page
