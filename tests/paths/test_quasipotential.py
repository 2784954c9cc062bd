"""Quasipotentials at many points: closed forms, a limit cycle, several workers, rejections."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov

import actionopt as ao
from actionopt.ops import NUMPY
from tests.paths.reference import NONNORMAL, bent, cycle, linear, toggle


@pytest.mark.parametrize("number", [8, pytest.param(72, marks=pytest.mark.slow)])
def test_gaussian_on_a_circle(number: int) -> None:
    """Of a non-normal Ornstein-Uhlenbeck process it is `1/2 y . Sigma^{-1} y`."""
    angles = np.linspace(0.0, 2 * np.pi, number, endpoint=False)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    found = ao.quasipotential(ao.Drift(2, linear(NONNORMAL)), [0.0, 0.0], points)
    inverse = np.linalg.inv(solve_continuous_lyapunov(NONNORMAL, -np.eye(2)))
    exact = 0.5 * np.einsum("ki,ij,kj->k", points, inverse, points)
    np.testing.assert_allclose(found.values, exact, rtol=1e-6)
    assert (found.errors >= abs(found.values - exact)).all()
    assert not found.messages


def test_double_well_turned_by_its_own_gradient() -> None:
    """`b = -grad V + J grad V`: 2 V in the basin of the attractor."""
    points = np.array([[-1.5, 0.5], [-1.0, 1.0], [-0.5, 0.5], [-0.2, 1.0], [-1.2, -0.4], [-0.7, 0.9], [-0.525, 1.2]])
    u, v = points.T
    exact = 2 * (0.25 * (u * u - 1) ** 2 + 2 * (v - 1 + u * u) ** 2)
    what = ao.Drift(2, bent(1.0))
    found = ao.quasipotential(what, [-1.0, 0.0], points)
    np.testing.assert_allclose(found.values, exact, rtol=1e-4)
    with ThreadPoolExecutor(2) as workers:
        again = ao.quasipotential(what, [-1.0, 0.0], points[:2], executor=workers)
    np.testing.assert_allclose(again.values, exact[:2], rtol=1e-4)


def test_points_beyond_the_saddle_cost_more_than_the_whole() -> None:
    """`b = -grad V + J grad V`: 2 V is the least over both attractors; from the left one the path crosses the saddle.

    The values are those of extremals of phase space that leave the saddle's unstable manifold, shot at the points.
    """
    points = np.array([[-1.5, 1.2], [-1.175, 1.2]])
    found = ao.quasipotential(ao.Drift(2, bent(1.0)), [-1.0, 0.0], points)
    u, v = points.T
    whole = 2 * (0.25 * (u * u - 1) ** 2 + 2 * (v - 1 + u * u) ** 2)
    shot = np.array([24.81261999, 10.06690851])
    np.testing.assert_allclose(found.values, shot, rtol=2e-6)
    assert (found.errors >= abs(found.values - shot)).all()
    assert (found.values > whole * (1 + 5e-5)).all()
    kinds = [[p.kind for p in path.critical_points] for path in found.paths if path is not None]
    assert kinds == [["attractor", "saddle"]] * 2


def test_strongly_turned_well_makes_hairpins() -> None:
    """`b = -grad V + 3 J grad V`: paths go out along the fast direction first; some points lie across the saddle.

    Those that the flow `-grad V - 3 J grad V` takes to the other attractor cost more than 2 V: the path has to cross
    the saddle. That of (-0.2, 1.2) was found by shooting along the unstable manifold of the saddle in phase space.
    """
    near = np.array([[-1.28333333, -0.13333333], [-0.85, 0.13333333], [-0.63333333, -0.13333333]])
    points, what = np.concatenate([near, [[-0.2, 1.2]]]), ao.Drift(2, bent(3.0))
    found = ao.quasipotential(what, [-1.0, 0.0], points)
    u, v = near.T
    exact = np.append(2 * (0.25 * (u * u - 1) ** 2 + 2 * (v - 1 + u * u) ** 2), 0.726376)
    np.testing.assert_allclose(found.values, exact, rtol=1e-5)
    assert (found.errors[:-1] >= abs(found.values - exact)[:-1]).all()
    assert found.values[-1] > 1.05 * 2 * (0.25 * (0.04 - 1) ** 2 + 2 * (1.2 - 1 + 0.04) ** 2)
    s = (np.arange(400)[:, None] + 0.5) / 400
    for (p, value), (q, other) in itertools.permutations(zip(points, found.values, strict=True), 2):
        b = what.drift(NUMPY, p + s * (q - p))
        line = np.linalg.norm(q - p) * np.linalg.norm(b, axis=1).mean() - (b @ (q - p)).mean()
        assert other <= value + line + 1e-4  # no point costs more than another and the way from there


def test_around_a_limit_cycle() -> None:
    radii, angles = np.array([0.5, 0.7, 1.3]), np.array([0.4, 2.0, 4.4])
    points = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    found = ao.quasipotential(ao.Drift(2, cycle), [1.0, 0.0], points, elements=(50, 100))
    potential = radii**4 / 4 - radii**2 / 2
    np.testing.assert_allclose(found.values, 2 * (potential + 0.25), rtol=1e-5)
    assert found.orbit is not None
    np.testing.assert_allclose((found.orbit**2).sum(axis=1), 1.0, atol=1e-5)
    axes = found.plot()
    assert "limit cycle" in axes.get_title()
    assert axes.get_xlim()[0] < -0.99  # the cycle is drawn whole
    plt.close("all")


def test_the_attractor_itself_and_points_that_fail() -> None:
    def broken(ops: Any, w: Any) -> Any:
        return -w + 0.0 * ops.log(1.0 - w)

    found = ao.quasipotential(ao.Drift(1, broken), [0.0], [[0.0], [0.5], [2.0]], elements=(10, 20))
    assert found.values[0] == 0.0
    assert found.values[1] == pytest.approx(0.25)
    assert np.isnan(found.values[2])
    assert list(found.messages) == [2]


@pytest.mark.parametrize(
    ("attractor", "points", "message"),
    [
        ([1.2134, 1.2134], [[1.0, 0.0]], "is no attractor"),
        ([2.618033988749895, 0.3819660112501051], [[1.0, 0.0, 0.0]], r"points must have shape \(m, 2\)"),
        ([2.618033988749895, 0.3819660112501051], [[np.nan, 0.0]], "points must be finite"),
        ([2.618033988749895], [[1.0, 0.0]], r"attractor must have shape \(m, 2\)"),
    ],
)
def test_rejections(attractor: Any, points: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.quasipotential(ao.Drift(2, toggle), attractor, points)


def test_levels_need_the_plane_and_three_points() -> None:
    found = ao.quasipotential(ao.Drift(1, lambda ops, x: -x), [0.0], [[0.5]], elements=(5, 10))
    with pytest.raises(ao.InputError, match="drawn in the plane"):
        found.plot()
    found = ao.quasipotential(ao.Drift(2, lambda ops, x: -x), [0.0, 0.0], [[0.5, 0.1]], elements=(5, 10))
    with pytest.raises(ao.InputError, match="three points at least"):
        found.plot()
