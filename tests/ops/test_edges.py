"""Where formulas usually break: huge arguments, kinks, levels of duals, the sample axis."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest

from actionopt.errors import InputError
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


@pytest.mark.parametrize("samples", [2, 3])  # as many samples as unknowns included
def test_solve_takes_samples_as_rows(samples: int, rng: np.random.Generator) -> None:
    matrix, b = rng.standard_normal((3, 3)), rng.standard_normal((samples, 3))
    x = NUMPY.solve(matrix, b)
    np.testing.assert_allclose(x @ matrix.T, b, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(NUMPY.solve(matrix, b[0]), x[0], rtol=1e-13)
    matrices = rng.standard_normal((samples, 3, 3))
    each = NUMPY.solve(matrices.reshape(samples, 9), b)
    np.testing.assert_allclose(np.einsum("bij,bj->bi", matrices, each), b, rtol=1e-12, atol=1e-13)
    with pytest.raises(InputError, match=r"matrix must be \(\.\.\., 3, 3\), or one a sample, .* has length 4"):
        NUMPY.solve(np.ones((4, 4)), b)


def test_products_sample_by_sample_are_those_of_a_loop(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((5, 2, 3)), rng.standard_normal((5, 3, 4))
    joined = NUMPY.matmul_samples(a.reshape(5, 6), b.reshape(5, 12), 3)
    np.testing.assert_allclose(joined.reshape(5, 2, 4), np.stack([x @ y for x, y in zip(a, b, strict=True)]))
    np.testing.assert_array_equal(NUMPY.transpose_samples(a.reshape(5, 6), 2).reshape(5, 3, 2), a.swapaxes(1, 2))


@pytest.mark.parametrize("ops", [NUMPY, CASADI])
def test_wrong_indices_and_parts_are_named(ops: Any) -> None:
    z = np.ones((1, 4)) if ops is NUMPY else ca.SX.sym("z", 1, 4)
    with pytest.raises(InputError, match=r"indices must lie in 0 \.\. 3, got 0 \.\. 4"):
        ops.take(z, [0, 4])
    with pytest.raises(InputError, match=r"indices must lie in 0 \.\. 3, got -1 \.\. 0"):
        ops.take(z, [0, -1])
    with pytest.raises(InputError, match="indices must be a vector of whole numbers"):
        ops.take(z, [0.5])
    with pytest.raises(InputError, match=r"indices must lie in 0 \.\. 2"):
        ops.put(z, [0, 1, 2, 3], 3)
    with pytest.raises(InputError, match="4 features are no matrix of 3 rows"):
        ops.parts_as_samples(z, 3)


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
