"""Lagrangians and drifts: values, metrics, rejections."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.ops import CASADI, NUMPY

MATRIX = np.array([[2.0, 0.5], [0.5, 1.0]])


def rotation(ops: Any, w: Any) -> Any:
    x, y = ops.columns(w)
    return ops.concatenate([y, -x * x])


@pytest.mark.parametrize("metric", [None, 3.0, [1.0, 4.0], MATRIX])
def test_drift_is_half_the_squared_residual(metric: Any, rng: np.random.Generator) -> None:
    what = ao.Drift(2, rotation, metric)
    w, v = rng.standard_normal((2, 5, 2))
    matrix = MATRIX if metric is MATRIX else np.diag(np.broadcast_to(1.0 if metric is None else metric, 2))
    residual = v - np.stack([w[:, 1], -(w[:, 0] ** 2)], axis=-1)
    expected = 0.5 * np.einsum("ki,ij,kj->k", residual, matrix, residual)
    np.testing.assert_allclose(what.value(NUMPY, w, v), expected)
    symbolic = [float(what.value(CASADI, ca.DM(a).T, ca.DM(b).T)) for a, b in zip(w, v, strict=True)]
    np.testing.assert_allclose(symbolic, expected)


def test_energy_is_reported_where_there_is_one(rng: np.random.Generator) -> None:
    w = rng.standard_normal((4, 2))
    with_energy = ao.Lagrangian(2, lambda ops, w, v: ops.sum(v * v), energy=lambda ops, w: ops.sum(w * w))
    np.testing.assert_allclose(with_energy.energy(w), (w**2).sum(axis=1))
    assert ao.Drift(2, rotation).energy(w) is None


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "two"])
def test_bad_sizes(size: Any) -> None:
    with pytest.raises(ao.InputError, match="Lagrangian: size must be a whole number >= 1"):
        ao.Lagrangian(size, lambda ops, w, v: ops.sum(v * v))


def test_formulas_must_be_functions() -> None:
    with pytest.raises(ao.InputError, match="Lagrangian: value must be a function"):
        ao.Lagrangian(2, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ao.InputError, match="Drift: drift must be a function"):
        ao.Drift(2, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (np.ones(3), r"metric must be a number, \(2,\) or \(2, 2\), got shape \(3,\)"),
        (-1.0, "positive definite"),
        ([1.0, 0.0], "positive definite"),
        ([[1.0, 2.0], [2.0, 1.0]], "positive definite"),
        ([[1.0, 0.1], [0.0, 1.0]], "symmetric"),
        ([1.0, np.nan], "finite"),
    ],
)
def test_bad_metrics(metric: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.Drift(2, rotation, metric)
