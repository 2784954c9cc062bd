"""Modules against loops that say what they mean, known answers and wrong input."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.modules.derived import pull_back
from actionopt.ops import CASADI, NUMPY, DualOps
from actionopt.symbolic import module_function


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), ((2, 1), (0, 2))])
def test_convolution_is_the_loop_over_windows(stride: Any, padding: Any, rng: np.random.Generator) -> None:
    module = ao.Conv2d((2, 5, 4), 3, (3, 2), "tanh", stride=stride, padding=padding)
    w, image = rng.standard_normal(module.weight_size), rng.standard_normal((2, 2, 5, 4))
    kernel, offset = w[:36].reshape(3, 2, 3, 2), w[36:]
    (sh, sw), (ph, pw) = ((x, x) if isinstance(x, int) else x for x in (stride, padding))
    padded = np.zeros((2, 2, 5 + 2 * ph, 4 + 2 * pw))
    padded[:, :, ph : ph + 5, pw : pw + 4] = image
    expected = np.zeros((2, *module.out_shape))
    for b, c, i, j in np.ndindex(*expected.shape):
        window = padded[b, :, sh * i : sh * i + 3, sw * j : sw * j + 2]
        expected[b, c, i, j] = np.tanh((kernel[c] * window).sum() + offset[c])
    out = module.forward(NUMPY, w, image.reshape(2, -1))
    np.testing.assert_allclose(out.reshape(expected.shape), expected, rtol=1e-13, atol=1e-14)


def test_average_pooling_is_the_mean_of_windows(rng: np.random.Generator) -> None:
    module = ao.AveragePool2d((3, 4, 6), 2)
    image = rng.standard_normal((2, 3, 4, 6))
    expected = image.reshape(2, 3, 2, 2, 3, 2).mean(axis=(3, 5))
    assert module.out_shape == (3, 2, 3)
    np.testing.assert_allclose(module.forward(NUMPY, np.zeros(0), image.reshape(2, -1)), expected.reshape(2, -1))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_loop_over_heads_and_tokens(causal: bool, rng: np.random.Generator) -> None:
    tokens, width, heads = 3, 4, 2
    module = ao.Attention(tokens, width, heads, causal=causal)
    w, z = rng.standard_normal(module.weight_size), rng.standard_normal((2, tokens, width))
    into, out_of = w[: 12 * 4].reshape(12, 4), w[60:76].reshape(4, 4)
    expected = np.zeros_like(z)
    for b in range(2):
        q, k, v = np.split(z[b] @ into.T + w[48:60], 3, axis=1)
        mixed = np.zeros((tokens, width))
        for head in range(heads):
            cut = slice(2 * head, 2 * head + 2)
            for t in range(tokens):
                seen = slice(0, t + 1 if causal else tokens)
                scores = np.exp(k[seen, cut] @ q[t, cut] / np.sqrt(2.0))
                mixed[t, cut] = scores @ v[seen, cut] / scores.sum()
        expected[b] = mixed @ out_of.T + w[76:]
    np.testing.assert_allclose(module.forward(NUMPY, w, z.reshape(2, -1)).reshape(z.shape), expected, rtol=1e-12)


def test_layer_norm_centres_and_scales(rng: np.random.Generator) -> None:
    module = ao.LayerNorm(5)
    z = 3.0 + 2.0 * rng.standard_normal((4, 5))
    w = np.concatenate([np.full(5, 2.0), np.ones(5)])
    expected = 2.0 * (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5) + 1.0
    np.testing.assert_allclose(module.forward(NUMPY, w, z), expected, rtol=1e-13)


def test_embedding_looks_up_and_adds_up(rng: np.random.Generator) -> None:
    module = ao.Embedding(5, 2, count=3)
    w, words = rng.standard_normal(10), np.array([[0, 4, 4], [1, 2, 0]])
    table = w.reshape(5, 2)
    np.testing.assert_array_equal(module.forward(NUMPY, w, words.astype(float)), table[words].reshape(2, 6))
    adjoint = rng.standard_normal((2, 6))
    expected = np.zeros((5, 2))
    np.add.at(expected, words.ravel(), adjoint.reshape(6, 2))
    dw, dz = module.vjp(NUMPY, w, words.astype(float), np.zeros((2, 6)), adjoint)
    np.testing.assert_allclose(dw, expected.ravel(), rtol=1e-14)
    np.testing.assert_array_equal(dz, np.zeros((2, 3)))
    derived = pull_back(module.forward, NUMPY, (w, words.astype(float)), (1, 2), adjoint)
    np.testing.assert_allclose(derived[0], dw, rtol=1e-14)
    column = module_function(module)(words[0].astype(float), w).full()[:, 0]
    np.testing.assert_array_equal(column, table[words[0]].ravel())
    problem = ao.Problem([module, ao.Dense(6, 1)], words, np.ones(2), ao.SquaredError(), mass=0.1)
    assert ao.check_adjoints(problem).ok
    with pytest.raises(ao.InputError, match=r"class numbers must be whole numbers 0 \.\. 4"):
        module.forward(NUMPY, w, np.array([[0.0, 5.0, 1.0]]))


@pytest.fixture
def equilibrium() -> ao.Implicit:
    return ao.Implicit(ao.Dense(5, 3, "tanh"))


def fixed_point(w: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Iterate `z = tanh(W [z, x] + b)`, which contracts at small weights."""
    z = np.zeros((len(x), 3))
    for _ in range(400):
        z = np.tanh(np.concatenate([z, x], axis=1) @ w[:15].reshape(3, 5).T + w[15:])
    return z


def test_a_fixed_point_is_what_iteration_converges_to(equilibrium: ao.Implicit, rng: np.random.Generator) -> None:
    w, x = 0.3 * rng.standard_normal(18), rng.standard_normal((4, 2))
    out = equilibrium.forward(NUMPY, w, x)
    np.testing.assert_allclose(out, fixed_point(w, x), rtol=1e-11, atol=1e-12)
    columns = np.stack([module_function(equilibrium)(row, w).full()[:, 0] for row in x])
    np.testing.assert_allclose(columns, out, rtol=1e-10, atol=1e-11)
    nodes = np.stack([w, 0.5 * w])
    np.testing.assert_allclose(equilibrium.forward(NUMPY, nodes, x)[1], fixed_point(0.5 * w, x), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("size", [0.3, 0.8, 1.2])
@pytest.mark.parametrize("states", [3, 12])
def test_anderson_and_newton_find_the_same_fixed_points(size: float, states: int, rng: np.random.Generator) -> None:
    layer = ao.Dense(states + 2, states, "tanh")
    newton, anderson = ao.Implicit(layer), ao.Implicit(layer, method="anderson")
    w = size * rng.standard_normal((2, layer.weight_size)) / np.sqrt(states / 3)
    x, adjoint = rng.standard_normal((4, 2)), rng.standard_normal((2, 4, states))
    out = anderson.forward(NUMPY, w, x)
    expected = newton.forward(NUMPY, w, x)
    found = np.isfinite(out).all(axis=-1)
    assert found.mean() > 0.8
    z = np.concatenate([out, np.broadcast_to(x, (2, 4, 2))], axis=-1)
    residual = layer.forward(NUMPY, w, z) - out
    assert abs(residual[found]).max() < 1e-11
    if size < 0.5:  # one fixed point only
        np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-10)
        for ours, theirs in zip(
            anderson.vjp(NUMPY, w, x, out, adjoint), newton.vjp(NUMPY, w, x, expected, adjoint), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-9)
    one = anderson.forward(NUMPY, w[0], x[1:2])  # a sample does not hear of the others
    np.testing.assert_allclose(one[0], out[0, 1], rtol=1e-9, atol=1e-10)


def test_derivatives_of_a_fixed_point_are_those_of_the_implicit_function_theorem(
    equilibrium: ao.Implicit, rng: np.random.Generator
) -> None:
    w, x = 0.3 * rng.standard_normal(18), rng.standard_normal((4, 2))
    adjoint, dw, dx = rng.standard_normal((4, 3)), rng.standard_normal(18), rng.standard_normal((4, 2))
    out = equilibrium.forward(NUMPY, w, x)
    tangent = equilibrium.jvp(NUMPY, w, x, dw, dx)[1]
    moved = [fixed_point(w + h * dw, x + h * dx) for h in (1e-5, -1e-5)]
    np.testing.assert_allclose(tangent, (moved[0] - moved[1]) / 2e-5, rtol=1e-8, atol=1e-9)
    closed = equilibrium.vjp(NUMPY, w, x, out, adjoint)
    derived = pull_back(equilibrium.forward, NUMPY, (w, x), (1, 2), adjoint)
    for ours, theirs in zip(closed, derived, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose((closed[0] @ dw) + (closed[1] * dx).sum(), (adjoint * tangent).sum(), rtol=1e-11)


def test_second_derivatives_of_a_fixed_point_agree_with_casadi(
    equilibrium: ao.Implicit, rng: np.random.Generator
) -> None:
    w, x, dw = 0.3 * rng.standard_normal(18), rng.standard_normal(2), rng.standard_normal(18)
    inner = DualOps(NUMPY)
    outer = DualOps(inner)
    out = equilibrium.forward(outer, outer.dual(inner.dual(w, dw), inner.dual(dw, None)), outer.dual(x[None], None))
    ours = inner.parts(outer.parts(out)[1])[1][0]
    step, at = ca.MX.sym("t"), ca.MX(w.reshape(1, -1))
    path = equilibrium.forward(CASADI, at + step * dw.reshape(1, -1), ca.MX(x.reshape(1, -1)))
    curve = ca.jacobian(ca.jacobian(path.T, step), step)
    np.testing.assert_allclose(ca.Function("f", [step], [curve])(0.0).full()[:, 0], ours, rtol=1e-9, atol=1e-10)


def test_a_fixed_point_trains_as_a_module(equilibrium: ao.Implicit, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((4, 2)), rng.standard_normal((4, 1))
    problem = ao.Problem([equilibrium, ao.Dense(3, 1)], x, y, ao.SquaredError(), mass=0.1)
    w = 0.5 * problem.initial_weights(1)
    assert ao.check_adjoints(problem, w).ok
    assert problem.energy(ao.step(problem, w, 0.05)) < problem.energy(w)


def test_a_sample_without_a_fixed_point_is_not_a_number() -> None:
    shifted = ao.Implicit(Shift())
    out = shifted.forward(NUMPY, np.zeros(0), np.array([[1.0], [-1.0]]))
    assert np.isnan(out[0, 0])
    np.testing.assert_allclose(out[1] ** 2, 1.0, rtol=1e-12)
    out = ao.Implicit(Shift(), method="anderson").forward(NUMPY, np.zeros(0), np.array([[1.0], [1.0]]))
    assert np.isnan(out).all()
    with pytest.raises(ao.InputError, match="needs MX symbols, got SX"):
        shifted.forward(CASADI, ca.SX.sym("w", 1, 0), ca.SX.sym("x", 1, 1))


class Shift(ao.Module):
    """`z + z^2 + x`: a fixed point where x <= 0, and none beyond."""

    in_size, out_size, weight_size = 2, 1, 0

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        state, x = ops.columns(z)
        return state + state * state + x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ao.Conv2d((1, 2, 2), 1, 3), "a kernel 3 x 3 does not fit into an image 2 x 2"),
        (lambda: ao.Conv2d((2, 2), 1, 1), r"shape must be \(channels, height, width\), got \(2, 2\)"),
        (lambda: ao.Conv2d((1, 2, 2), 0, 1), "channels must be a whole number >= 1, got 0"),
        (lambda: ao.Conv2d((1, 4, 4), 1, 1, padding=-1), "padding must be a whole number >= 0, got -1"),
        (lambda: ao.AveragePool2d((1, 4, 4), (1, 2, 3)), "kernel must be a whole number or a pair"),
        (lambda: ao.Attention(3, 4, 3), "3 heads do not divide the width 4"),
        (lambda: ao.LayerNorm(0), "at least one feature"),
        (lambda: ao.LayerNorm(2, epsilon=0.0), "epsilon must be a positive number"),
        (lambda: ao.Embedding(0, 2), "vocabulary must be a whole number >= 1"),
        (lambda: ao.Each(ao.Dense(1, 1), 0), "count must be a whole number >= 1"),
        (lambda: ao.Each(ao.Parameter(2), 3), "takes an input"),
        (lambda: ao.Implicit(ao.Dense(2, 3)), r"takes \[z, x\] and gives z"),
        (lambda: ao.Implicit(ao.Dense(3, 2), tol=0.0), "tol must be a number between 0 and 1"),
        (lambda: ao.Implicit(ao.Dense(3, 2), method="andersen"), "unknown method 'andersen'; did you mean 'anderson'"),
    ],
)
def test_wrong_sizes_are_named(make: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        make()
