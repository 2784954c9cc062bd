"""Multipliers against adjoints: what the panels hold, and the script at small size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import actionopt as ao
from actionopt.constrained.draw_adjoints import EXACT, MOST_COLUMNS, draw_adjoints
from plots import adjoints
from problems import digits, spirals

DIGITS = Path(digits.__file__)


def test_panels_hold_every_sample_and_feature() -> None:
    problem = digits.build(samples=12)
    exact = ao.adjoints(problem, problem.initial_weights()).adjoints
    off = [adjoint + 1e-9 * np.abs(adjoint).max() for adjoint in exact]
    top, _, bottom, _ = draw_adjoints(problem.name, problem.labels, off, exact).axes
    largest = np.abs(exact[0]).max()
    np.testing.assert_allclose(top.lines[-1].get_xdata(), exact[0].ravel() / largest)
    np.testing.assert_allclose(top.lines[-1].get_ydata(), off[0].ravel() / largest)
    np.testing.assert_allclose(bottom.lines[-1].get_ydata(), 1e-9, rtol=1e-5)
    assert bottom.get_yscale() == "log"
    assert bottom.get_ylim()[0] < 1e-18 < 1e-9 < bottom.get_ylim()[1]


def test_equal_points_stand_at_zero() -> None:
    problem = digits.build(samples=12)
    exact = ao.adjoints(problem, problem.initial_weights()).adjoints
    bottom = draw_adjoints(problem.name, problem.labels, exact, exact).axes[2]
    assert set(bottom.lines[-1].get_ydata()) == {EXACT}
    labels = {tick: label.get_text() for tick, label in zip(bottom.get_yticks(), bottom.get_yticklabels(), strict=True)}
    assert labels[EXACT] == "0"


def test_deep_chains_are_thinned_out_from_end_to_end() -> None:
    problem = spirals.build(samples=4, depth=20)
    exact = ao.adjoints(problem, problem.initial_weights()).adjoints
    titles = [ax.get_title() for ax in draw_adjoints("deep", problem.labels, exact, exact).axes[:MOST_COLUMNS]]
    assert titles[0].startswith("1 Dense\n")
    assert titles[-1].startswith("21 Dense\n")


def test_adjoints_that_vanish() -> None:
    zero = [np.zeros((3, 2))]
    draw_adjoints("at rest", ["1 Dense"], zero, zero)


@pytest.mark.parametrize(("suffix", "dark"), [(".png", []), (".svg", ["--dark"]), (".pdf", [])])
def test_script(tmp_path: Path, suffix: str, dark: list[str]) -> None:
    out = tmp_path / f"adjoints{suffix}"
    args = [str(DIGITS), "--set", "samples=12", "--set", "hidden=4", "--out", str(out), *dark]
    result = CliRunner().invoke(adjoints.main, args)
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    assert "multipliers are the adjoints" in result.stderr
    assert out.stat().st_size > 3000
