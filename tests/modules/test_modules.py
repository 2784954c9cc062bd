"""One equation a module: every evaluation and every derivative of it agrees, closed form, derived and CasADi's."""

from __future__ import annotations

from typing import Any, NamedTuple

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.modules.derived import pull_back
from actionopt.ops import CASADI, NUMPY, DualOps
from actionopt.symbolic import module_function
from tests.modules.cases import CASES, CLOSED_FORM

every_module = pytest.mark.parametrize("name", CASES)
SAMPLES = 3  # as many as features: where a sum over the wrong axis would hide


class Point(NamedTuple):
    """A module with weights, inputs, an adjoint of the output and tangents of weights and inputs."""

    module: ao.Module
    w: np.ndarray
    z: np.ndarray
    adjoint: np.ndarray
    dw: np.ndarray
    dz: np.ndarray


def draw(name: str, rng: np.random.Generator, lead: tuple[int, ...] = ()) -> Point:
    module = CASES[name]
    assert (module.in_size, module.out_size) == (SAMPLES, SAMPLES)
    w, dw = (0.7 * rng.standard_normal((*lead, module.weight_size)) for _ in range(2))
    z, adjoint, dz = (rng.standard_normal((*lead, SAMPLES, 3)) for _ in range(3))
    return Point(module, w, z, adjoint, dw, dz)


def casadi_products(module: ao.Module, kind: Any) -> ca.Function:
    """Return (w, z, adjoint, dw, dz) -> forward, weight adjoint, input adjoint, tangent: rows of one sample."""
    w, dw = (kind.sym(s, 1, module.weight_size) for s in ("w", "dw"))
    z, dz = (kind.sym(s, 1, module.in_size) for s in ("z", "dz"))
    adjoint = kind.sym("adjoint", 1, module.out_size)
    out = module.forward(CASADI, w, z)
    by_w, by_z = ca.jacobian(out, w), ca.jacobian(out, z)
    tangent = ca.mtimes(by_w, dw.T) + ca.mtimes(by_z, dz.T)
    outputs = [out, ca.mtimes(adjoint, by_w), ca.mtimes(adjoint, by_z), tangent.T]
    return ca.Function("products", [w, z, adjoint, dw, dz], outputs)


@every_module
@pytest.mark.parametrize("kind", [ca.SX, ca.MX])
def test_forward_and_products_agree_with_casadi_sample_by_sample(
    name: str, kind: Any, rng: np.random.Generator
) -> None:
    p = draw(name, rng)
    function = casadi_products(p.module, kind)
    rows = [
        [np.reshape(out.full(), -1) for out in function(p.w, p.z[[b]], p.adjoint[[b]], p.dw, p.dz[[b]])]
        for b in range(SAMPLES)
    ]
    forward, by_w, by_z, tangent = (np.array(parts) for parts in zip(*rows, strict=True))
    out = p.module.forward(NUMPY, p.w, p.z)
    weight_adjoint, input_adjoint = p.module.vjp(NUMPY, p.w, p.z, out, p.adjoint)
    np.testing.assert_allclose(np.broadcast_to(out, (SAMPLES, 3)), forward, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(weight_adjoint, by_w.sum(axis=0), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(input_adjoint, by_z, rtol=1e-12, atol=1e-13)
    value, pushed = p.module.jvp(NUMPY, p.w, p.z, p.dw, p.dz)
    np.testing.assert_allclose(value, out, rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(pushed, tangent, rtol=1e-12, atol=1e-13)


@every_module
def test_the_symbolic_function_takes_columns(name: str, rng: np.random.Generator) -> None:
    p = draw(name, rng)
    function = module_function(p.module)
    out = p.module.forward(NUMPY, p.w, p.z)
    columns = np.column_stack([function(p.z[b], p.w).full() for b in range(SAMPLES)])
    np.testing.assert_allclose(columns.T, out, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_closed_form_agrees_with_derived(name: str, rng: np.random.Generator) -> None:
    p = draw(name, rng)
    assert type(p.module).vjp is not ao.Module.vjp, "a module without a closed form belongs to the users' cases"
    closed = p.module.vjp(NUMPY, p.w, p.z, p.module.forward(NUMPY, p.w, p.z), p.adjoint)
    for ours, derived in zip(closed, pull_back(p.module.forward, NUMPY, (p.w, p.z), (1, 2), p.adjoint), strict=True):
        np.testing.assert_allclose(ours, derived, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_closed_form_runs_on_casadi(name: str, rng: np.random.Generator) -> None:
    p = draw(name, rng)
    w, z, adjoint = ca.SX.sym("w", 1, p.module.weight_size), ca.SX.sym("z", 1, 3), ca.SX.sym("adjoint", 1, 3)
    function = ca.Function("vjp", [w, z, adjoint], p.module.vjp(CASADI, w, z, p.module.forward(CASADI, w, z), adjoint))
    dw, dz = function(p.w, p.z[[0]], p.adjoint[[0]])
    ours = p.module.vjp(NUMPY, p.w, p.z[:1], p.module.forward(NUMPY, p.w, p.z[:1]), p.adjoint[:1])
    np.testing.assert_allclose(dw.full().reshape(-1), ours[0], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(dz.full(), ours[1], rtol=1e-13, atol=1e-14)


@every_module
def test_leading_axes_carry_independent_nodes(name: str, rng: np.random.Generator) -> None:
    p = draw(name, rng, lead=(2, 4))
    out = p.module.forward(NUMPY, p.w, p.z)
    dw, dz = p.module.vjp(NUMPY, p.w, p.z, out, p.adjoint)
    _, tangent = p.module.jvp(NUMPY, p.w, p.z, p.dw, p.dz)
    for node in np.ndindex(2, 4):
        w, z = p.w[node], p.z[node]
        one = p.module.forward(NUMPY, w, z)
        pulled = p.module.vjp(NUMPY, w, z, one, p.adjoint[node])
        np.testing.assert_allclose(out[node], one, rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(dw[node], pulled[0], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(dz[node], pulled[1], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(
            tangent[node], p.module.jvp(NUMPY, w, z, p.dw[node], p.dz[node])[1], rtol=1e-12, atol=1e-13
        )


@every_module
def test_nodes_may_share_inputs(name: str, rng: np.random.Generator) -> None:
    p = draw(name, rng, lead=(2,))
    shared = p.z[0]
    out = np.broadcast_to(p.module.forward(NUMPY, p.w, shared), (2, SAMPLES, 3))
    dw, _ = p.module.vjp(NUMPY, p.w, shared, out, p.adjoint)
    for node in range(2):
        one = p.module.vjp(NUMPY, p.w[node], shared, out[node], p.adjoint[node])
        np.testing.assert_allclose(dw[node], one[0], rtol=1e-12, atol=1e-13)


@every_module
def test_second_order_on_duals_agrees_with_differences_of_first_order(name: str, rng: np.random.Generator) -> None:
    p = draw(name, rng)
    duals = DualOps(NUMPY)
    w, z = duals.dual(p.w, p.dw), duals.dual(p.z, p.dz)
    pulled = p.module.vjp(duals, w, z, p.module.forward(duals, w, z), duals.dual(p.adjoint, 0.5 * p.adjoint))

    def moved(step: float) -> tuple[np.ndarray, np.ndarray]:
        w, z = p.w + step * p.dw, p.z + step * p.dz
        return p.module.vjp(NUMPY, w, z, p.module.forward(NUMPY, w, z), (1.0 + 0.5 * step) * p.adjoint)

    for dual, plus, minus, value in zip(pulled, moved(1e-5), moved(-1e-5), moved(0.0), strict=True):
        ours, slope = duals.parts(dual)
        np.testing.assert_allclose(ours, value, rtol=1e-12, atol=1e-13)
        slope = np.zeros_like(value) if slope is None else slope
        np.testing.assert_allclose(slope, (plus - minus) / 2e-5, rtol=1e-7, atol=1e-8)


@every_module
def test_third_order_derived_agrees_with_closed_form(name: str, rng: np.random.Generator) -> None:
    p = draw(name, rng)
    inner = DualOps(NUMPY)
    outer = DualOps(inner)
    w = outer.dual(inner.dual(p.w, p.dw), inner.dual(0.3 * p.dw, None))
    z = outer.dual(inner.dual(p.z, p.dz), inner.dual(-p.dz, None))
    adjoint = outer.dual(inner.dual(p.adjoint, None), None)
    closed = p.module.vjp(outer, w, z, p.module.forward(outer, w, z), adjoint)
    derived = pull_back(p.module.forward, outer, (w, z), (1, 2), adjoint)
    for ours, theirs in zip(closed, derived, strict=True):
        mixed = [inner.parts(outer.parts(x)[1])[1] for x in (ours, theirs)]
        mixed = [np.zeros_like(theirs.value.value) if x is None else x for x in mixed]
        np.testing.assert_allclose(*mixed, rtol=1e-10, atol=1e-11)


@every_module
def test_initial_weights_are_seeded_and_fit(name: str) -> None:
    module = CASES[name]
    first, again, other = (module.initial_weights(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.shape == (module.weight_size,)
    np.testing.assert_array_equal(first, again)
    assert name == "LayerNorm" or not module.weight_size or not np.array_equal(first, other)


@every_module
def test_repr_names_the_module(name: str) -> None:
    assert type(CASES[name]).__name__ in repr(CASES[name])


def test_a_new_equation_does_not_inherit_its_parents_closed_form(rng: np.random.Generator) -> None:
    class Doubled(ao.Dense):
        def forward(self, ops: Any, w: Any, z: Any) -> Any:
            return 2.0 * super().forward(ops, w, z)

    doubled, twice = Doubled(3, 3, "tanh"), ao.Chain(ao.Dense(3, 3, "tanh"), Scaled())
    w, (z, adjoint) = rng.standard_normal(doubled.weight_size), rng.standard_normal((2, SAMPLES, 3))
    out = doubled.forward(NUMPY, w, z)
    for found, expected in zip(
        doubled.vjp(NUMPY, w, z, out, adjoint), twice.vjp(NUMPY, w, z, out, adjoint), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
    targets = rng.standard_normal((SAMPLES, 3))
    first, second = (ao.Problem(module, z, targets, ao.SquaredError(), mass=0.1) for module in (doubled, twice))
    np.testing.assert_allclose(
        ao.LayerMetric(first, w).dense(), ao.LayerMetric(second, w, joint=True).dense(), rtol=1e-12, atol=1e-13
    )


class Scaled(ao.Module):
    in_size, out_size, weight_size = 3, 3, 0

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return 2.0 * z
