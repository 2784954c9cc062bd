"""CasADi functions of modules and losses, and the graphs they must not hand to CasADi."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.ops import CASADI, NUMPY
from actionopt.symbolic import SCALAR_LIMIT, adds_scalar_to_vector, loss_function, module_function, over_samples


class Centred(ao.Module):
    """An affine map less its mean: a vector minus a scalar expression."""

    def __init__(self, in_size: int, out_size: int) -> None:
        super().__init__(in_size, out_size, in_size * out_size)

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        y = ops.affine(z, ops.unpack(w, (self.out_size, self.in_size)))
        return y - ops.sum(y, keepdims=True) / float(self.out_size)


def dense_jacobian(module: ao.Module, w: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Compute d out / d w at one sample, a reverse sweep an output."""
    rows = []
    for adjoint in np.eye(module.out_size):
        rows.append(module.vjp(NUMPY, w, z[None], module.forward(NUMPY, w, z[None]), adjoint[None])[0])
    return np.array(rows)


@pytest.mark.parametrize(
    "module",
    [ao.Dense(40, 12, "tanh"), Centred(3, 2), Centred(40, 12), ao.Residual(Centred(24, 24))],
    ids=["large dense", "small centred", "large centred", "residual of centred"],
)
def test_jacobian_of_a_module_in_reverse_mode(module: ao.Module, rng: np.random.Generator) -> None:
    w, z = rng.standard_normal(module.weight_size), rng.standard_normal(module.in_size)
    function = module_function(module)
    np.testing.assert_allclose(
        function.jacobian()(z, w, 0)[1].full(), dense_jacobian(module, w, z), rtol=1e-12, atol=1e-13
    )


def test_vector_plus_scalar_expression_is_seen() -> None:
    def function(kind: Any, formula: Any) -> ca.Function:
        x = kind.sym("x", 1, 5)
        return ca.Function("f", [x], [formula(x)])

    assert adds_scalar_to_vector(function(ca.MX, lambda x: x - CASADI.sum(x)))
    assert adds_scalar_to_vector(function(ca.MX, lambda x: CASADI.sum(x) + x))
    assert not adds_scalar_to_vector(function(ca.MX, lambda x: (1.0 - x) * CASADI.sum(x) + x))
    assert not adds_scalar_to_vector(function(ca.MX, CASADI.softmax))


def test_large_modules_without_it_stay_matrix_valued() -> None:
    assert SCALAR_LIMIT < 64 * 32
    assert module_function(ao.Dense(64, 32, "tanh")).is_a("MXFunction")
    assert module_function(ao.Dense(4, 4, "tanh")).is_a("SXFunction")


def test_formula_that_only_numpy_evaluates_is_named() -> None:
    class Sliced(ao.Module):
        in_size, out_size, weight_size = 2, 1, 0

        def forward(self, ops: Any, w: Any, z: Any) -> Any:
            return z[..., :1]

    with pytest.raises(ao.InputError, match=r"Sliced: forward fails on CasADi symbols, .*write it with the functions"):
        module_function(Sliced())


def test_formula_of_the_wrong_shape_on_symbols_is_named() -> None:
    class Product(ao.Module):
        in_size, out_size, weight_size = 2, 2, 0

        def forward(self, ops: Any, w: Any, z: Any) -> Any:
            return ops.sum(z, keepdims=True)

    with pytest.raises(ao.InputError, match=r"Product: forward returned shape \(1, 1\) on CasADi symbols .*\(1, 2\)"):
        module_function(Product())


@pytest.mark.parametrize("loss", [ao.SquaredError(), ao.SoftmaxCrossEntropy(), ao.Logistic()], ids=lambda x: x.name)
def test_loss_function_is_the_numpy_loss(loss: ao.Loss, rng: np.random.Generator) -> None:
    y = rng.standard_normal((4, 3))
    target = np.eye(3)[[0, 2, 1, 1]]
    function = over_samples(loss_function(loss, 3, 3), 4, [])
    np.testing.assert_allclose(
        function(y.T, target.T).full().reshape(-1), loss.value(NUMPY, y, target), rtol=1e-13, atol=1e-14
    )


def test_map_shares_weights_and_maps_inputs(rng: np.random.Generator) -> None:
    module = ao.Dense(3, 2, "tanh")
    w, z = rng.standard_normal(module.weight_size), rng.standard_normal((5, 3))
    out = over_samples(module_function(module), 5, [1])(z.T, w).full().T
    np.testing.assert_allclose(out, module.forward(NUMPY, w, z), rtol=1e-14)
