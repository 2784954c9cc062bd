"""The shipped landscapes and control problems: their points, their refusals, and that they run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import actionopt as ao
from actionopt.loading import named_points
from actionopt.ops import NUMPY
from problems import double_well, maier_stein, mueller_brown, quadratic

FOLDER = Path(quadratic.__file__).parent
ACTIONS = {
    "mueller_brown": 212.0693474,
    "double_well": 0.5,
    "quadratic": 2.0188818570,
    "ornstein_uhlenbeck": 4.0001816100,
    "lqr": 0.3807970780,
    "maier_stein": 0.340041,
}


@pytest.mark.parametrize("name", ACTIONS)
def test_files_build_and_name_their_points(name: str) -> None:
    what = ao.load_problem(FOLDER / f"{name}.py")
    points = named_points(FOLDER / f"{name}.py")
    assert isinstance(what, (ao.Problem, ao.Lagrangian))
    assert len(points) > 1
    assert all(np.shape(point) == (what.size,) for point in points.values())


@pytest.mark.parametrize("name", ACTIONS)
def test_files_say_what_they_are(name: str) -> None:
    source = (FOLDER / f"{name}.py").read_text()
    assert "Source\n------" in source
    assert "Known answer\n------------" in source


@pytest.mark.parametrize("name", ACTIONS)
def test_running_a_file_finds_its_known_answer(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"problems.{name}"], cwd=FOLDER.parent, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = [float(row.split()[1]) for row in done.stdout.splitlines() if row.endswith("converged")][-1]
    assert found == pytest.approx(ACTIONS[name], rel=1e-3 if name == "mueller_brown" else 2e-6)


def curvature(problem: ao.Problem, point: tuple[float, ...]) -> np.ndarray:
    """Eigenvalues of the Hessian of the energy, by differences of its gradient."""
    w, h = np.array(point), 1e-5
    rows = [(problem.gradient(w + h * e) - problem.gradient(w - h * e)) / (2 * h) for e in np.eye(len(w))]
    return np.linalg.eigvalsh(np.array(rows))


@pytest.mark.parametrize("module", [mueller_brown, double_well], ids=["mueller-brown", "double well"])
def test_minima_and_saddles_are_what_their_names_say(module: object) -> None:
    problem = module.build()
    for name, point in module.POINTS.items():
        assert abs(problem.gradient(np.array(point))).max() < 1e-8, name
        negative = int((curvature(problem, point) < 0).sum())
        assert negative == (1 if "saddle" in name else 0), name


def test_maier_stein_points_are_at_rest() -> None:
    for beta in (1.0, 10.0):
        drift = maier_stein.build(beta).drift
        for name in ("left minimum", "saddle", "right minimum"):
            np.testing.assert_allclose(drift(NUMPY, np.array(maier_stein.POINTS[name])), 0.0, atol=1e-15)


def test_mass_slows_the_flow() -> None:
    light = ao.flow(mueller_brown.build(), [0.0, 0.3], horizon=2e-3, steps=10)
    heavy = ao.flow(mueller_brown.build(mass=2.0), [0.0, 0.3], horizon=4e-3, steps=10)
    np.testing.assert_allclose(light.weights, heavy.weights, rtol=1e-9)


def test_quadratic_flow_in_closed_form() -> None:
    start = quadratic.POINTS["start"]
    found = ao.flow(quadratic.build(), start, horizon=2.0, steps=40, method="gauss2")
    np.testing.assert_allclose(found.weights, quadratic.exact_flow(start, found.times), atol=1e-7)


@pytest.mark.parametrize("hessian", [[[1.0, 2.0]], [[1.0, 2.0], [0.0, 1.0]]])
def test_quadratic_refuses_what_is_not_symmetric(hessian: list) -> None:
    with pytest.raises(ao.InputError, match=re.escape("hessian must be a symmetric matrix, got shape")):
        quadratic.build(hessian)
