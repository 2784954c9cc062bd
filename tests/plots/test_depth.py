"""The adjoint norm through depth: what the curves hold, and the script at small size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import actionopt as ao
from plots import depth
from problems import robot_arm, spirals

SPIRALS = Path(spirals.__file__)


def test_norms_are_those_of_single_starts() -> None:
    problem = spirals.build(samples=12, depth=4)
    norms = depth.adjoint_norms(problem, starts=3)
    assert norms.shape == (3, 5)
    for start in range(3):
        adjoints = ao.adjoints(problem, problem.initial_weights(start)).adjoints
        expected = [np.sqrt(((12 * adjoint) ** 2).sum(axis=1).mean()) for adjoint in adjoints]
        np.testing.assert_allclose(norms[start], expected, rtol=1e-12)


def test_norms_do_not_change_with_the_number_of_samples() -> None:
    tool = ((0.0, 0.0), (0.3, 0.0))
    once, twice = robot_arm.build(tool=tool), robot_arm.build(tool=tool * 2)
    np.testing.assert_allclose(depth.adjoint_norms(once, 4), depth.adjoint_norms(twice, 4), rtol=1e-12)


def test_rotations_keep_the_norm() -> None:
    norms = depth.adjoint_norms(robot_arm.build(), starts=4)
    np.testing.assert_allclose(norms, norms[:, :1] * np.ones(3), rtol=1e-12)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_script(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"depth{suffix}"
    args = [
        SPIRALS,
        "--set",
        "samples=8",
        "--set",
        "depth=5",
        "--compare",
        "residual=True",
        "--compare",
        "residual=False",
    ]
    result = CliRunner().invoke(depth.main, [*map(str, args), "--starts", "3", "--out", str(out)])
    assert (result.exit_code, result.output) == (0, f"{out}\n")
    assert out.stat().st_size > 3000


def test_curves_are_labelled() -> None:
    problem = spirals.build(samples=8)
    curves = {name: depth.adjoint_norms(problem, 2) for name in ("one", "two")}
    ax = depth.draw("spirals", curves).axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(curves["one"], axis=0))


def test_wrong_starts() -> None:
    result = CliRunner().invoke(depth.main, [str(SPIRALS), "--starts", "0", "--out", "x.png"])
    assert result.exit_code == 2
    assert "0 is not in the range" in result.stderr
