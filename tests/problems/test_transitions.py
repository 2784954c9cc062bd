"""The shipped systems with transition paths: their points, their known answers, their refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import actionopt as ao
from actionopt.loading import named_points
from actionopt.ops import NUMPY
from problems import allen_cahn, fitzhugh_nagumo, limit_cycle, network_minima, toggle_switch

FOLDER = Path(toggle_switch.__file__).parent
NAMES = ("toggle_switch", "fitzhugh_nagumo", "limit_cycle", "allen_cahn", "network_minima")


@pytest.mark.parametrize("name", NAMES)
def test_files_build_and_say_what_they_are(name: str) -> None:
    what = ao.load_problem(FOLDER / f"{name}.py")
    points = named_points(FOLDER / f"{name}.py")
    assert len(points) > 1
    assert all(np.shape(point) == (what.size,) for point in points.values())
    source = (FOLDER / f"{name}.py").read_text()
    assert "Source\n------" in source
    assert "Known answer\n------------" in source


@pytest.mark.parametrize("noise", ["constant", "langevin"])
def test_toggle_switch(noise: str) -> None:
    found = ao.least_action_path(toggle_switch.build(noise), *toggle_switch.POINTS.values())
    assert found.action == pytest.approx(toggle_switch.ACTIONS[noise], rel=1e-7)


def test_toggle_switch_knows_its_noise() -> None:
    with pytest.raises(ao.InputError, match='noise must be "constant" or "langevin"'):
        toggle_switch.build("pink")


def test_fitzhugh_nagumo() -> None:
    points = fitzhugh_nagumo.POINTS
    found = ao.least_action_path(fitzhugh_nagumo.build(), points["excited"], points["resting"])
    assert found.action == pytest.approx(fitzhugh_nagumo.ACTION, rel=1e-6)
    np.testing.assert_allclose(found.critical_points[1].point, points["saddle"], atol=1e-9)


@pytest.mark.parametrize("end", list(limit_cycle.ACTIONS))
def test_limit_cycle(end: str) -> None:
    points = limit_cycle.POINTS
    found = ao.least_action_path(limit_cycle.build(), points["on the cycle"], points[end])
    assert found.action == pytest.approx(limit_cycle.ACTIONS[end], rel=1e-6)


def test_drift_of_the_chain_is_minus_the_gradient_of_its_energy(rng: np.random.Generator) -> None:
    chain = allen_cahn.build(6, 2.0)
    u = rng.standard_normal((3, 6))
    h = 1e-5 * np.eye(6)
    slopes = np.stack([(chain.energy(u + e) - chain.energy(u - e)) / 2e-5 for e in h], axis=-1)
    np.testing.assert_allclose(chain.drift(NUMPY, u), -slopes, atol=1e-6)


def test_small_chain_goes_through_one_wall() -> None:
    """Seven points: the saddle is the wall in the middle, the action twice its energy."""
    chain = allen_cahn.build(7, 6.0)
    found = ao.least_action_path(chain, -np.ones(7), np.ones(7), elements=(20, 40, 80))
    saddle = found.critical_points[1]
    assert (saddle.kind, saddle.unstable) == ("saddle", 1)
    assert found.action == pytest.approx(2 * float(chain.energy(saddle.point)), rel=1e-5)


@pytest.mark.slow
def test_chain_of_fifty_leaves_the_straight_line() -> None:
    found = ao.least_action_path(allen_cahn.build(), *allen_cahn.POINTS.values())
    assert found.action == pytest.approx(allen_cahn.ACTION, rel=1e-6)
    assert max(c.action for c in found.candidates) > 20.0


def test_neighbouring_minima_of_a_network() -> None:
    points = network_minima.POINTS
    found = ao.least_action_path(network_minima.build(), points["left"], points["right"])
    assert found.action == pytest.approx(network_minima.ACTIONS["right"], rel=1e-6)


@pytest.mark.slow
def test_swapped_units_of_a_network() -> None:
    points = network_minima.POINTS
    found = ao.least_action_path(network_minima.build(), points["left"], points["swapped"], starts=8)
    assert found.action <= 0.4466
    assert len(found.candidates) > 2
