"""Bounds of eigenvalues hold those of the vertices, which are the extremes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from actionopt.contraction.proof.eigenvalues import greatest_eigenvalue, least_eigenvalue, spectral_radius
from actionopt.ops.rounded import Interval, point


def vertices(centre: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """All symmetric matrices with every entry at an end of its interval."""
    n = len(centre)
    upper = np.triu_indices(n)
    found = []
    for signs in product((-1.0, 1.0), repeat=len(upper[0])):
        matrix = np.zeros((n, n))
        matrix[upper] = centre[upper] + signs * radius[upper]
        found.append(np.maximum(matrix, matrix.T) if False else matrix + np.triu(matrix, 1).T)
    return np.array(found)


@pytest.mark.parametrize("seed", range(60))
def test_bounds_hold_every_vertex(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    half = rng.standard_normal((n, n))
    centre = half + half.T
    radius = abs(rng.standard_normal((n, n))) * 10.0 ** rng.uniform(-3, 0)
    radius = radius + radius.T
    box = Interval(centre - radius, centre + radius)
    values = np.linalg.eigvalsh(vertices(centre, radius))
    low, high = float(least_eigenvalue(box)), float(greatest_eigenvalue(box))
    assert low <= values.min()
    assert values.max() <= high
    assert low >= values.min() - 2.0 * n * radius.max() - 1e-9  # and not by nothing


def test_a_point_is_known_to_rounding() -> None:
    rng = np.random.default_rng(0)
    half = rng.standard_normal((30, 30))
    matrix = half @ half.T
    exact = np.linalg.eigvalsh(matrix)
    assert exact[0] - 1e-10 < float(least_eigenvalue(point(matrix))) <= exact[0] + 1e-12
    assert exact[-1] - 1e-12 * exact[-1] <= float(greatest_eigenvalue(point(matrix))) < exact[-1] + 1e-9


def test_stacks_and_what_is_not_finite() -> None:
    matrices = np.stack([np.eye(2), np.full((2, 2), np.inf), np.diag([-1.0, 3.0])])
    found = least_eigenvalue(Interval(matrices - 0.1, matrices + 0.1))
    assert found[1] == -np.inf
    assert found[0] == pytest.approx(0.8, abs=1e-12)
    assert found[2] <= -1.1


def test_spectral_radius_of_matrices_that_are_not_negative() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.uniform(0, 1, (6, 6))
    exact = abs(np.linalg.eigvals(matrix)).max()
    assert exact <= float(spectral_radius(matrix)) <= exact * 1.01
