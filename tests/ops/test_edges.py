"""Where formulas usually break: huge arguments, kinks, levels of duals, the sample axis."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest

from actionopt.modules.derived import pull_back
from actionopt.ops import CASADI, NUMPY, DualOps
from actionopt.ops.base import ELEMENTWISE

HUGE = np.array([[-1e4, -800.0, 0.0, 800.0, 1e4]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("softplus", [[0.0, 0.0, np.log(2), 800.0, 1e4]]),
        ("sigmoid", [[0.0, 0.0, 0.5, 1.0, 1.0]]),
        ("logsumexp", [[1e4]]),
        ("softmax", [[0.0, 0.0, 0.0, 0.0, 1.0]]),
    ],
)
def test_huge_arguments_neither_overflow_nor_warn(name: str, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(getattr(NUMPY, name)(HUGE), expected, rtol=1e-15, atol=1e-15)
    duals = DualOps(NUMPY)
    slope = duals.parts(getattr(duals, name)(duals.dual(HUGE, np.ones_like(HUGE))))[1]
    assert np.isfinite(slope).all()
    for kind in (ca.SX, ca.MX):
        x = kind.sym("x", 1, 5)
        value = getattr(CASADI, name)(x)
        function = ca.Function("f", [x], [value, ca.jacobian(value, x)])
        ours, jacobian = (out.full() for out in function(HUGE))
        np.testing.assert_allclose(ours, expected, rtol=1e-15, atol=1e-15)
        assert np.isfinite(jacobian).all()


@pytest.mark.parametrize("name", ["abs", "relu", "step", "sigmoid", "softplus"])
def test_value_and_slope_at_zero_are_those_of_casadi(name: str) -> None:
    x = ca.SX.sym("x", 1, 1)
    value = getattr(CASADI, name)(x)
    function = ca.Function("f", [x], [value, ca.jacobian(value, x)])
    duals = DualOps(NUMPY)
    ours = duals.parts(getattr(duals, name)(duals.dual(np.zeros((1, 1)), np.ones((1, 1)))))
    np.testing.assert_allclose(ours, [out.full() for out in function(0.0)], atol=1e-16)


def test_every_namespace_has_every_elementwise_function() -> None:
    for ops in (NUMPY, CASADI, DualOps(NUMPY), DualOps(DualOps(CASADI))):
        assert all(callable(getattr(ops, name)) for name in ELEMENTWISE)


def test_sum_over_samples_and_its_derivative(rng: np.random.Generator) -> None:
    z, dz = rng.standard_normal((2, 4, 3, 2))
    duals = DualOps(NUMPY)
    value, slope = duals.parts(duals.sum_samples(duals.dual(z, dz)))
    np.testing.assert_allclose(value, z.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(slope, dz.sum(axis=1, keepdims=True))


def test_power_by_a_dual_names_the_way_out() -> None:
    duals = DualOps(NUMPY)
    x = duals.dual(np.ones(2), np.ones(2))
    with pytest.raises(TypeError, match=r"write x\*\*y as ops\.exp\(y \* ops\.log\(x\)\)"):
        x**x


@pytest.mark.parametrize("swap", [False, True])
def test_levels_mix_in_either_order(swap: bool) -> None:
    inner = DualOps(NUMPY)
    outer = DualOps(inner)
    x, y = np.array([2.0]), np.array([3.0])
    low, high = inner.dual(x, np.ones(1)), outer.dual(y, np.ones(1))

    def parts(value: Any) -> tuple[float, float, float]:
        """d/dhigh, d/dlow, and d2/(dhigh dlow)."""
        plain, slope = outer.parts(value)
        return (
            float(inner.parts(slope)[0][0]),
            float(inner.parts(plain)[1][0]),
            float((inner.parts(slope)[1] or [0])[0]),
        )

    product = high * low if swap else low * high
    assert parts(product) == (2.0, 3.0, 1.0)
    quotient = high / low if swap else low / high
    expected = (1 / 2, -3 / 4, -1 / 4) if swap else (-2 / 9, 1 / 3, -1 / 9)
    np.testing.assert_allclose(parts(quotient), expected)
    difference = high - low if swap else low - high
    assert parts(difference) == ((1.0, -1.0, 0.0) if swap else (-1.0, 1.0, 0.0))


def test_numpy_leaves_operators_to_duals() -> None:
    duals = DualOps(NUMPY)
    x = duals.dual(np.array([1.0, 2.0]), np.ones(2))
    for out in (np.array([3.0, 4.0]) * x, np.float64(2.0) * x, np.array([3.0, 4.0]) - x):
        assert duals.parts(out)[1] is not None


@pytest.mark.parametrize("ops", [NUMPY, CASADI, DualOps(NUMPY), DualOps(DualOps(NUMPY))])
def test_unknown_functions_are_named_with_the_known_ones(ops: Any) -> None:
    message = r"unknown function of ops 'epx'; did you mean 'exp'\? Known: abs, .*columns, concatenate, .*tanh"
    with pytest.raises(AttributeError, match=message):
        ops.epx(np.zeros((1, 1)))
    assert not hasattr(ops, "stack")


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, c: x + c,
        lambda x, c: c + x,
        lambda x, c: x - c,
        lambda x, c: c - x,
        lambda x, c: x * c,
        lambda x, c: c / x,
    ],
    ids=["x + c", "c + x", "x - c", "c - x", "x * c", "c / x"],
)
@pytest.mark.parametrize("shape", [(1, 2), (3, 1), (1, 1)])
def test_a_constant_spreads_a_tangent_with_its_value(
    formula: Any, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    """Sums over samples and features count a tangent as often as its value."""
    x, dx = 2.0 + rng.random(shape), rng.standard_normal(shape)
    c = rng.standard_normal((3, 2))
    slope = (formula(x + 1e-6 * dx, c) - formula(x - 1e-6 * dx, c)).sum() / 2e-6
    duals = DualOps(NUMPY)
    for constant in (c, duals.dual(c, None)):
        out = formula(duals.dual(x, dx), constant)
        assert duals.parts(out)[1].shape == (3, 2)
        total = duals.sum_samples(duals.sum(out, keepdims=True))
        np.testing.assert_allclose(duals.parts(total)[1].item(), slope, rtol=1e-7)
    (pulled,) = pull_back(lambda ops, x: formula(x, c), NUMPY, (x,), (2,))
    np.testing.assert_allclose((pulled * dx).sum(), slope, rtol=1e-7)
    outer = DualOps(duals)
    nested = formula(outer.dual(duals.dual(x, dx), duals.dual(x, None)), c)
    assert outer.parts(nested)[1].value.shape == (3, 2)
