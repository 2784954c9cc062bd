"""plots/contraction.py and plots/stability.py at small size: what the panels hold, and that they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import actionopt as ao
from plots import contraction, stability
from problems import spirals, xor


def test_contraction_panels_hold_rates_and_distances() -> None:
    problem = xor.build()
    trajectory = ao.flow(problem, horizon=0.4, steps=4)
    certificate, decay = ao.certify(problem, trajectory), ao.check_decay(problem, horizon=0.4, steps=4)
    left, right = contraction.draw("XOR", certificate, decay).axes
    lines = {line.get_label(): line.get_ydata() for line in left.lines}
    np.testing.assert_array_equal(lines["whole"], certificate.whole)
    np.testing.assert_array_equal(lines["composed"], certificate.composed)
    np.testing.assert_array_equal(lines["2 Dense"], certificate.rates[:, 1])
    np.testing.assert_array_equal(right.lines[0].get_ydata(), decay.distances)
    np.testing.assert_array_equal(right.lines[1].get_ydata(), decay.certificate)
    assert right.get_yscale() == "log"


def test_many_modules_become_a_band() -> None:
    problem = spirals.build(samples=6, depth=6, width=2)
    w = problem.initial_weights()
    certificate = ao.certify(problem, [w, w])
    decay = ao.check_decay(xor.build(), horizon=0.1, steps=2)
    left = contraction.draw("spirals", certificate, decay).axes[0]
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "modules, least to largest",
        "whole",
        "composed",
    ]


def test_stability_panels_hold_changes_and_orders() -> None:
    sizes = np.array([10, 40])
    changes = np.array([[4.0, 2.0], [1.0, 0.5]])
    bounds = np.array([9.0, 2.25])
    measured = ao.Stability(sizes, changes, 2 * changes, np.ones(2), np.ones(2), bounds, 1.0, "euclidean")
    left, right = stability.draw("toy", measured).axes
    lines = {line.get_label(): line.get_ydata() for line in left.lines}
    np.testing.assert_allclose(lines["mean"], [6.0, 1.5])
    np.testing.assert_allclose(lines["order $1/n$"], [6.0, 1.5])
    np.testing.assert_allclose(lines[r"order $1/\sqrt{n}$ (the paper's)"], [6.0, 3.0])
    np.testing.assert_array_equal(lines["bound (ours)"], bounds)
    assert "bound (ours)" not in [line.get_label() for line in right.lines]
    assert "slope -1.00" in left.get_title()
    assert (left.get_xscale(), left.get_yscale()) == ("log", "log")


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_contraction_script(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"contraction{suffix}"
    args = ["problems/gene_cascade.py", "--set", "doses=4", "--horizon", "0.2", "--steps", "2", "--out", str(out)]
    result = CliRunner().invoke(contraction.main, [*args, "--dark"] if suffix == ".svg" else args)
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    assert out.stat().st_size > 3000


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_stability_script(tmp_path: Path, jobs: str) -> None:
    out = tmp_path / "stability.png"
    args = [
        "problems/linear_regression.py",
        "--sizes",
        "5,10",
        "--horizon",
        "0.5",
        "--steps",
        "2",
        "--metric",
        "euclidean",
    ]
    result = CliRunner().invoke(stability.main, [*args, "--jobs", jobs, "--out", str(out)])
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    assert "mean |dw|" in result.stderr
    assert out.stat().st_size > 3000


def test_wrong_options(tmp_path: Path) -> None:
    out = str(tmp_path / "figure.png")
    for script, args, message in (
        (stability.main, ["problems/linear_regression.py", "--sizes", "five"], "--sizes takes whole numbers"),
        (contraction.main, ["problems/xor.py", "--metric", "joint"], "modules have no lengths of their own"),
        (contraction.main, ["problems/lqr.py"], "needs a Problem"),
    ):
        result = CliRunner().invoke(script, [*args, "--out", out])
        assert result.exit_code == 2
        assert message in result.stderr
