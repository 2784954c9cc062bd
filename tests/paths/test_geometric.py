"""The geometric action density against its formula and against derivatives by complex steps and duals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.ops import NUMPY, duals_over
from actionopt.paths.geometric import action_density, expand
from actionopt.paths.mesh import Hyperplanes, evaluate, normals, tangents
from actionopt.paths.system import System, make_flow
from tests.paths.reference import langevin, maier_stein, toggle

DUALS = duals_over(NUMPY)
TWICE = duals_over(DUALS)
MATRIX = np.array([[2.0, 0.6], [0.6, 1.0]])
DRIFTS = {
    "unit": ao.Drift(2, maier_stein(3.0)),
    "metric": ao.Drift(2, maier_stein(3.0), metric=MATRIX),
    "noise": ao.Drift(2, toggle, noise=langevin),
}


def formula(what: ao.Drift, ops: Any, z: Any, d: Any) -> Any:
    """`|d| |b| - d . M b` from the squares of the drift's own form."""
    b = what.drift(ops, z)
    parts = [what.form.square(ops, z, x) for x in (d, b, d + b, d - b)]
    dd, bb, plus, minus = (ops.sum(p) if ops.rank(p) == ops.rank(z) else p for p in parts)
    return ops.sqrt(dd * bb) - 0.25 * (plus - minus)


@pytest.mark.parametrize("name", list(DRIFTS))
def test_density_and_its_derivatives_are_those_of_the_formula(name: str, rng: np.random.Generator) -> None:
    what = DRIFTS[name]
    x, d = 1.0 + 0.3 * rng.standard_normal((7, 2)), rng.standard_normal((7, 2))
    system = System(make_flow(what, "layerwise"), x[0])
    found = expand(system, system.inward(x), system.inward(d), hessian=True)
    np.testing.assert_allclose(found.value, formula(what, NUMPY, x, d), rtol=1e-11)
    np.testing.assert_allclose(action_density(system, system.inward(x), system.inward(d)), found.value, rtol=1e-11)
    turn = np.kron(np.eye(2), system.root)
    slopes, hessian = found.slopes @ turn, turn.T @ found.hessian @ turn
    for i in range(4):
        for j in range(4):
            e, f = np.eye(4)[i], np.eye(4)[j]
            args = [
                TWICE.dual(
                    DUALS.dual(p, np.broadcast_to(e[k : k + 2], p.shape)),
                    DUALS.dual(np.broadcast_to(f[k : k + 2], p.shape), None),
                )
                for k, p in ((0, x), (2, d))
            ]
            value, along = TWICE.parts(formula(what, TWICE, *args))
            np.testing.assert_allclose(slopes[:, i], DUALS.parts(value)[1], rtol=1e-9, atol=1e-10)
            np.testing.assert_allclose(hessian[:, i, j], DUALS.parts(along)[1], rtol=1e-8, atol=1e-9)


def test_along_the_flow_the_density_is_zero_and_against_it_twice_the_product(rng: np.random.Generator) -> None:
    what = ao.Drift(2, maier_stein(1.0))
    system = System(make_flow(what, "layerwise"), np.ones(2))
    z = rng.standard_normal((5, 2))
    b = system.drift(z)
    assert abs(expand(system, z, 3.0 * b).value).max() < 1e-13
    np.testing.assert_allclose(expand(system, z, -3.0 * b).value, 6.0 * (b * b).sum(axis=1), rtol=1e-12)


def test_planes_are_normal_to_the_path(rng: np.random.Generator) -> None:
    points = np.cumsum(rng.standard_normal((11, 4)), axis=0)
    basis, direction = normals(points), tangents(points)
    assert abs(np.einsum("kim,ki->km", basis, direction)).max() < 1e-14
    np.testing.assert_allclose(
        np.einsum("kim,kin->kmn", basis, basis), np.broadcast_to(np.eye(3), (11, 3, 3)), atol=1e-14
    )


@pytest.mark.parametrize("name", list(DRIFTS))
def test_assembled_band_is_the_dense_hessian(name: str, rng: np.random.Generator) -> None:
    """Against a loop over elements, Gauss points and nodes."""
    system = System(make_flow(DRIFTS[name], "layerwise"), np.ones(2))
    points = np.linspace([0.5, 0.5], [2.0, 1.5], 9) + 0.05 * rng.standard_normal((9, 2))
    path = evaluate(system, points, hessian=True)
    s = 0.5 + np.sqrt(3) / 6 * np.array([-1, 1])
    shape = np.stack([(1 - s) * (1 - 2 * s), 4 * s * (1 - s), s * (2 * s - 1)], axis=1)
    slope = np.stack([4 * s - 3, 4 - 8 * s, 4 * s - 1], axis=1)
    action, gradient, dense = 0.0, np.zeros(18), np.zeros((18, 18))
    for element in range(4):
        three = points[2 * element : 2 * element + 3]
        for q in range(2):
            density = expand(system, (shape[q] @ three)[None], (slope[q] @ three)[None], hessian=True)
            assert density.hessian is not None
            onto = np.zeros((4, 18))
            for k in range(3):
                place = 2 * (2 * element + k)
                onto[:2, place : place + 2] = shape[q, k] * np.eye(2)
                onto[2:, place : place + 2] = slope[q, k] * np.eye(2)
            action += 0.5 * density.value[0]
            gradient += 0.5 * onto.T @ density.slopes[0]
            dense += 0.5 * onto.T @ density.hessian[0] @ onto
    assert path.action == pytest.approx(action, rel=1e-13)
    np.testing.assert_allclose(path.gradient.ravel(), gradient, atol=1e-12)
    planes = Hyperplanes.across(points, np.array([0, 4, 8]))
    frame = np.zeros((18, len(planes.free)))
    for column, point in enumerate(planes.free):
        frame[2 * point : 2 * point + 2, column] = planes.basis[column, :, 0]
    band, expected = planes.assemble(path), frame.T @ dense @ frame
    for offset in range(len(band)):
        np.testing.assert_allclose(band[offset, : len(expected) - offset], np.diag(expected, -offset), atol=1e-11)
