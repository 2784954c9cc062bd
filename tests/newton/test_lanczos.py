"""The lowest eigenvalue by Lanczos, against a dense eigensolver."""

from __future__ import annotations

import numpy as np
import pytest

from actionopt.newton.lanczos import lowest_eigenvalue


def matrix(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return a symmetric matrix of these eigenvalues."""
    vectors, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return vectors @ np.diag(values) @ vectors.T


@pytest.mark.parametrize("size", [1, 5, 32, 33, 150])
@pytest.mark.parametrize("lowest", [-2.0, 1e-3])
def test_lowest_pair_of_a_dense_matrix(size: int, lowest: float) -> None:
    values = np.append(np.linspace(1.0, 10.0, size - 1), lowest)
    a = matrix(values)
    found = lowest_eigenvalue(lambda v: v @ a, size)
    assert found.value == pytest.approx(lowest, abs=1e-5)
    assert found.sign == np.sign(lowest)
    np.testing.assert_allclose(np.linalg.norm(a @ found.vector - found.value * found.vector), found.error, atol=1e-9)
    assert found.products <= size


def test_a_short_look_brackets_an_eigenvalue() -> None:
    values = np.concatenate([[-0.5], np.linspace(1.0, 100.0, 199)])
    a = matrix(values)
    found = lowest_eigenvalue(lambda v: v @ a, 200, max_products=20)
    assert found.products == 20
    assert found.value >= -0.5 - 1e-12
    assert abs(values - found.value).min() <= found.error + 1e-12


def test_flat_directions_have_no_sign() -> None:
    a = matrix(np.concatenate([[0.0], np.linspace(1.0, 2.0, 59)]))
    assert lowest_eigenvalue(lambda v: v @ a, 60).sign == 0


@pytest.mark.parametrize("c", [1e-12, 1e10])
def test_units_change_nothing(c: float) -> None:
    a = matrix(np.linspace(-1.0, 3.0, 50))
    found, scaled = (lowest_eigenvalue(lambda v, f=f: f * (v @ a), 50) for f in (1.0, c))  # type: ignore[misc]
    assert scaled.products == found.products
    assert scaled.value == pytest.approx(c * found.value, rel=1e-9)
    assert scaled.sign == found.sign == -1
