"""Time grids and the schemes as operators: polynomials of their degree come out exactly."""

from __future__ import annotations

import numpy as np
import pytest

from actionopt.action.scheme import SCHEMES, make_grid, make_scheme
from actionopt.errors import InputError

GRID = np.array([0.0, 0.3, 0.4, 1.1, 2.0])


@pytest.mark.parametrize(("name", "degree"), [("midpoint", 1), ("gauss2", 2), ("radau3", 2), ("radau5", 3)])
def test_stages_see_polynomials_exactly(name: str, degree: int) -> None:
    scheme = make_scheme(name, GRID)
    polynomial = np.polynomial.Polynomial(np.arange(1.0, degree + 2.0))
    values = polynomial(scheme.points)
    np.testing.assert_allclose(scheme.position @ values, polynomial(scheme.stages), rtol=1e-13)
    np.testing.assert_allclose(scheme.velocity @ values, polynomial.deriv()(scheme.stages), rtol=1e-12)


@pytest.mark.parametrize(("name", "degree"), [("midpoint", 1), ("gauss2", 3), ("radau3", 2), ("radau5", 4)])
def test_quadrature_is_exact_to_the_order(name: str, degree: int) -> None:
    scheme = make_scheme(name, GRID)
    power = np.polynomial.Polynomial(np.eye(degree + 1)[degree])
    integral = power.integ()
    np.testing.assert_allclose(scheme.weights @ power(scheme.stages), integral(GRID[-1]) - integral(GRID[0]))
    beyond = np.polynomial.Polynomial(np.eye(degree + 2)[degree + 1])
    assert abs(scheme.weights @ beyond(scheme.stages) - (beyond.integ()(2.0) - beyond.integ()(0.0))) > 1e-4


@pytest.mark.parametrize(
    ("name", "table", "weights"),
    [
        ("radau3", [[5 / 12, -1 / 12], [3 / 4, 1 / 4]], [3 / 4, 1 / 4]),
        (
            "radau5",
            [
                [(88 - 7 * 6**0.5) / 360, (296 - 169 * 6**0.5) / 1800, (-2 + 3 * 6**0.5) / 225],
                [(296 + 169 * 6**0.5) / 1800, (88 + 7 * 6**0.5) / 360, (-2 - 3 * 6**0.5) / 225],
                [(16 - 6**0.5) / 36, (16 + 6**0.5) / 36, 1 / 9],
            ],
            [(16 - 6**0.5) / 36, (16 + 6**0.5) / 36, 1 / 9],
        ),
    ],
)
def test_radau_schemes_have_the_known_tables(name: str, table: list, weights: list) -> None:
    """Butcher's tables of Radau IIA (Hairer and Wanner II, tables IV.5.5 and IV.5.6): stages are `w_0 + h A v`."""
    scheme = make_scheme(name, np.array([0.0, 2.0]))
    values, slopes = scheme.position.toarray(), scheme.velocity.toarray()
    velocities = np.random.default_rng(0).standard_normal(len(weights))
    points = np.append(0.0, np.linalg.solve(slopes[:, 1:], velocities))
    np.testing.assert_allclose(values @ points, 2.0 * np.array(table) @ velocities, atol=1e-13)
    np.testing.assert_allclose(scheme.weights, 2.0 * np.array(weights), rtol=1e-13)


@pytest.mark.parametrize("name", SCHEMES)
def test_nodes_are_among_the_points(name: str) -> None:
    scheme = make_scheme(name, GRID)
    np.testing.assert_array_equal(scheme.points[scheme.nodes], GRID)
    assert (np.diff(scheme.points) > 0).all()
    assert scheme.interpolate(GRID, np.outer(GRID, [1.0, -2.0])) == pytest.approx(np.outer(scheme.points, [1, -2]))


def test_grid_is_uniform_or_given() -> None:
    np.testing.assert_allclose(make_grid(2.0, 4), [0.0, 0.5, 1.0, 1.5, 2.0])
    np.testing.assert_array_equal(make_grid(None, None, GRID), GRID)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 10), "horizon must be a positive, finite number, got 0.0"),
        ((-1.0, 10), "horizon must be a positive"),
        ((np.inf, 10), "horizon must be a positive"),
        ((None, 10), "horizon or times must be given: a path whose horizon is free is what least_action_path finds"),
        (("long", 10), "horizon must be a positive, finite number, got 'long'"),
        ((1.0, 0), "steps must be a whole number >= 1, got 0"),
        ((1.0, 2.5), "steps must be a whole number"),
        ((1.0, True), "steps must be a whole number"),
        ((1.0, 10, [0.0]), "times must be at least two"),
        ((1.0, 10, [0.0, 1.0, 1.0]), "times must be at least two finite numbers that increase"),
        ((1.0, 10, [0.0, np.nan]), "times must be"),
        ((1.0, 10, ["soon", "late"]), r"times must be at least two finite numbers that increase, got strings"),
    ],
)
def test_bad_grids(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_grid(*arguments)


def test_unknown_scheme() -> None:
    with pytest.raises(InputError, match="unknown scheme 'gauss3'; did you mean 'gauss2'"):
        make_scheme("gauss3", GRID)
