"""Every function of a namespace means the same on NumPy, CasADi, duals and records, with exact derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import casadi as ca
import numpy as np
import pytest

from actionopt.ops import CASADI, NUMPY, DualOps, LinearOps, LinearProgram
from actionopt.ops.tape import transposed

DOMAINS = {
    "exp": (-2.0, 2.0),
    "log": (0.1, 3.0),
    "log1p": (-0.5, 3.0),
    "sqrt": (0.1, 3.0),
    "sin": (-3.0, 3.0),
    "cos": (-3.0, 3.0),
    "tan": (-1.2, 1.2),
    "tanh": (-3.0, 3.0),
    "sinh": (-2.0, 2.0),
    "cosh": (-2.0, 2.0),
    "arctan": (-3.0, 3.0),
    "abs": (-2.0, 2.0),
    "relu": (-2.0, 2.0),
    "step": (-2.0, 2.0),
    "sigmoid": (-4.0, 4.0),
    "softplus": (-4.0, 4.0),
}
NOT_ANALYTIC = {
    "abs",
    "relu",
    "step",
    "softplus",
    "logsumexp",
    "softmax",
    "parts",
    "tokens",
}  # written with comparisons

Formula = Callable[[Any, Any, Any], Any]


def elementwise(name: str) -> Formula:
    """Make a formula in which weights and states both pass through the function, inside its domain."""
    low, high = DOMAINS[name]

    def formula(ops: Any, w: Any, z: Any) -> Any:
        inside = 0.5 * (low + high) + 0.5 * (high - low) * ops.sin(z + head(ops, w, 3))
        return getattr(ops, name)(inside)

    return formula


def head(ops: Any, w: Any, size: int) -> Any:
    """Take the first weights as a row."""
    return ops.unpack(ops.split(w, [size, 8 - size])[0], (size,))


def matrix(ops: Any, w: Any, rows: int, columns: int) -> Any:
    return ops.unpack(ops.split(w, [6, 2])[0], (rows, columns))


def packed_again(ops: Any, w: Any) -> Any:
    return ops.pack(*(part * part for part in ops.unpack(w, (2, 3), (2,))))


def square(ops: Any, w: Any) -> Any:
    """Take a matrix of weights that is well away from singular, and not symmetric."""
    return ops.unpack(ops.split(w, [4, 4])[0], (2, 2)) + np.array([[5.0, 1.0], [0.0, -6.0]])


def square_of_a_sample(ops: Any, z: Any) -> Any:
    x, y, _ = ops.columns(z)
    return ops.concatenate([5.0 + ops.tanh(x), y, x * y - 1.0, 9.0 + ops.tanh(y)])


def pairs_of_features(ops: Any, z: Any) -> Any:
    """Six features, as many as two parts of three or three parts of two."""
    return ops.concatenate([z, ops.sin(z)])


def dense_on_parts(ops: Any, w: Any, z: Any) -> Any:
    parts = ops.parts_as_samples(pairs_of_features(ops, z), 2)
    scores = ops.affine(parts, *ops.unpack(w, (2, 3), (2,)))
    return ops.samples_as_parts(ops.concatenate([ops.softmax(scores), ops.logsumexp(parts)]), 2)


def scores_of_tokens(ops: Any, w: Any, z: Any) -> Any:
    """Products of every token with every other, tokens weighted: what attention does."""
    tokens = ops.samples_as_parts(
        ops.affine(ops.parts_as_samples(pairs_of_features(ops, z), 2), matrix(ops, w, 2, 3)), 2
    )
    scores = ops.matmul_samples(tokens, ops.transpose_samples(tokens, 2), 2)
    weights = ops.samples_as_parts(ops.softmax(ops.parts_as_samples(scores, 2)), 2)
    return ops.matmul_samples(weights, tokens, 2)


def products_of_columns(ops: Any, w: Any, z: Any) -> Any:
    a, b, c = ops.columns(z)
    return ops.concatenate([a * b, b * c, c])


# (ops, w (..., 8), z (..., B, 3)) -> (..., B, k)
STRUCTURAL: dict[str, Formula] = {
    "affine": lambda ops, w, z: ops.affine(z, *ops.unpack(w, (2, 3), (2,))),
    "affine without offset": lambda ops, w, z: ops.affine(z, matrix(ops, w, 2, 3)),
    "matmul": lambda ops, w, z: ops.matmul(z, matrix(ops, w, 3, 2)),
    "transpose": lambda ops, w, z: ops.matmul(z, ops.transpose(matrix(ops, w, 2, 3))),
    "pack": lambda ops, w, z: ops.affine(z, *ops.unpack(packed_again(ops, w), (2, 3), (2,))),
    "columns": products_of_columns,
    "split": lambda ops, w, z: ops.concatenate(ops.split(z, [1, 2])[::-1]),
    "split off nothing": lambda ops, w, z: ops.concatenate(ops.split(z, [0, 3])),
    "concatenate": lambda ops, w, z: ops.concatenate([z, ops.repeat_samples(head(ops, w, 2), z)]),
    "concatenate constant": lambda ops, w, z: ops.concatenate([0.0 * z + 1.0, z * z]),
    "repeat_samples": lambda ops, w, z: ops.repeat_samples(ops.sin(head(ops, w, 3)), z),
    "sum": lambda ops, w, z: ops.sum(z * z, keepdims=True),
    "logsumexp": lambda ops, w, z: ops.logsumexp(3.0 * z),
    "softmax": lambda ops, w, z: ops.softmax(3.0 * z),
    "softmax of scores": lambda ops, w, z: ops.softmax(ops.affine(z, *ops.unpack(w, (2, 3), (2,)))),
    "row": lambda ops, w, z: z * ops.row([1.0, -2.0, 0.5]) + ops.row([0.3, 0.2, 0.1]),
    "size and rank": lambda ops, w, z: z * float(ops.size(z)) + float(ops.size(w)) / 4.0,
    "arithmetic": lambda ops, w, z: 2.0 / (3.0 + z * z) - (1.0 - z) ** 3 / 4.0 + (z + 9.0) ** 0.5 - z / (z + 9.0),
    "take": lambda ops, w, z: ops.take(z * z, [2, 0, 2, 1]) * ops.take(z, np.array([1, 1, 2, 0])),
    "put": lambda ops, w, z: ops.put(z * z, [3, 0, 3], 5),
    "put apart": lambda ops, w, z: ops.put(z * z, [3, 0, 1], 5) * ops.take(z, [0, 0, 0, 1, 2]),
    "solve": lambda ops, w, z: ops.solve(square(ops, w), ops.take(ops.sin(z), [0, 1])),
    "solve for constants": lambda ops, w, z: (
        z * ops.sum(ops.solve(square(ops, w), ops.repeat_samples(ops.row([1.0, 2.0]), z)), keepdims=True)
    ),
    "solve a number": lambda ops, w, z: ops.solve(9.0 + ops.take(z, [0]), ops.take(z, [1])),
    "solve sample by sample": lambda ops, w, z: ops.solve(square_of_a_sample(ops, z), ops.take(z, [2, 1])),
    "solve a row sample by sample": lambda ops, w, z: ops.solve(
        square_of_a_sample(ops, z), ops.repeat_samples(ops.tanh(head(ops, w, 2)), z)
    ),
    "matmul_samples": lambda ops, w, z: ops.matmul_samples(
        pairs_of_features(ops, z), ops.sin(pairs_of_features(ops, z)), 3
    ),
    "matmul_samples with weights": lambda ops, w, z: ops.matmul_samples(
        ops.repeat_samples(head(ops, w, 6), z), pairs_of_features(ops, z), 2
    ),
    "transpose_samples": lambda ops, w, z: ops.transpose_samples(pairs_of_features(ops, z), 2),
    "parts": dense_on_parts,
    "tokens": scores_of_tokens,
    "weights per sample": lambda ops, w, z: z * ops.tanh(z * head(ops, w, 3)),
}
FORMULAS = {**{name: elementwise(name) for name in DOMAINS}, **STRUCTURAL}
every_formula = pytest.mark.parametrize("name", FORMULAS)


class Pair(NamedTuple):
    """Weights (8,) and three samples (3, 3), or a tangent of them."""

    w: np.ndarray
    z: np.ndarray


@pytest.fixture
def pairs(rng: np.random.Generator) -> tuple[Pair, Pair, Pair]:
    """A point and two tangents; as many samples as features, where a transposition would hide."""
    return tuple(Pair(rng.standard_normal(8), rng.standard_normal((3, 3))) for _ in range(3))


def by_casadi(name: str, kind: Any, point: Pair, first: Pair, second: Pair) -> list[np.ndarray]:
    """Value, derivative along `first`, and the derivative of that along `second`: CasADi's, sample by sample."""
    symbols = [kind.sym(symbol, 1, size) for symbol in ("x", "dx", "ex") for size in (8, 3)]
    w, z, *tangents = symbols
    value = FORMULAS[name](CASADI, w, z)
    slope = along(value, w, z, *tangents[:2])
    function = ca.Function("f", symbols, [value, slope, along(slope, w, z, *tangents[2:])])
    rows = []
    for b in range(len(point.z)):
        outs = function(*[x for pair in (point, first, second) for x in (pair.w[None], pair.z[b][None])])
        rows.append([out.full() for out in outs])
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def along(expression: Any, w: Any, z: Any, dw: Any, dz: Any) -> Any:
    """Differentiate along a tangent, with Jacobians of the few entries."""
    flat = ca.vec(expression)
    slope = ca.mtimes(ca.jacobian(flat, w), dw.T) + ca.mtimes(ca.jacobian(flat, z), dz.T)
    return ca.reshape(slope, *expression.shape)


def on_duals(name: str, point: Pair, first: Pair, second: Pair) -> list[np.ndarray]:
    """Compute what `by_casadi` computes, on nested duals."""
    inner = DualOps(NUMPY)
    outer = DualOps(inner)
    w, z = (outer.dual(inner.dual(x, ex), inner.dual(dx, None)) for x, dx, ex in zip(point, first, second, strict=True))
    out = FORMULAS[name](outer, w, z)
    value, slope = outer.parts(out)
    value, curve = inner.parts(value)[0], inner.parts(slope)
    return [value, *(np.zeros_like(value) if part is None else np.broadcast_to(part, value.shape) for part in curve)]


@every_formula
@pytest.mark.parametrize("kind", [ca.SX, ca.MX])
def test_value_and_both_derivatives_agree_with_casadi(name: str, kind: Any, pairs: tuple[Pair, Pair, Pair]) -> None:
    for ours, theirs in zip(on_duals(name, *pairs), by_casadi(name, kind, *pairs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)


@every_formula
def test_numpy_gives_the_value_of_duals(name: str, pairs: tuple[Pair, Pair, Pair]) -> None:
    value = FORMULAS[name](NUMPY, *pairs[0])
    np.testing.assert_allclose(value, on_duals(name, *pairs)[0], rtol=1e-15, atol=1e-15)


@every_formula
def test_dual_tangent_agrees_with_complex_step_or_central_differences(
    name: str, pairs: tuple[Pair, Pair, Pair]
) -> None:
    point, first, _ = pairs
    slope = on_duals(name, *pairs)[1]

    def moved(step: complex) -> np.ndarray:
        return FORMULAS[name](NUMPY, point.w + step * first.w, point.z + step * first.z)

    if name in NOT_ANALYTIC:
        reference = (moved(1e-6) - moved(-1e-6)) / 2e-6
        np.testing.assert_allclose(slope, reference, rtol=1e-7, atol=1e-8)
    else:
        np.testing.assert_allclose(slope, moved(1e-30j).imag / 1e-30 + np.zeros_like(slope), rtol=1e-12, atol=1e-13)


def recorded(name: str, w: np.ndarray, z: np.ndarray) -> tuple[LinearOps, list[Any], Any]:
    """Record the tangent of a formula: the namespace, its variables and the tangent."""
    linear = LinearOps(NUMPY)
    duals = DualOps(linear)
    variables = [linear.variable((8,)), linear.variable((3, 3))]
    out = FORMULAS[name](duals, duals.dual(w, variables[0]), duals.dual(z, variables[1]))
    return linear, variables, duals.parts(out)[1]


@every_formula
def test_a_recorded_tangent_runs_as_the_dual_tangent(name: str, pairs: tuple[Pair, Pair, Pair]) -> None:
    point, first, _ = pairs
    _, variables, tangent = recorded(name, *point)
    expected = on_duals(name, *pairs)[1]
    slope = LinearProgram(variables, [tangent])(*first)[0] if tangent is not None else np.zeros_like(expected)
    np.testing.assert_allclose(np.broadcast_to(slope, expected.shape), expected, rtol=1e-13, atol=1e-14)


@every_formula
def test_a_recorded_tangent_transposes(name: str, pairs: tuple[Pair, Pair, Pair]) -> None:
    point, first, _ = pairs
    _, variables, tangent = recorded(name, *point)
    slope = on_duals(name, *pairs)[1]
    adjoint = np.cos(np.arange(slope.size)).reshape(slope.shape)
    pulled = [] if tangent is None else transposed(tangent, adjoint, variables)
    paired = sum((a * move).sum() for a, move in zip(pulled, first, strict=False) if a is not None)
    np.testing.assert_allclose(paired, (adjoint * slope).sum(), rtol=1e-11)


@every_formula
def test_leading_axes_carry_independent_nodes(name: str, pairs: tuple[Pair, Pair, Pair]) -> None:
    together = FORMULAS[name](NUMPY, np.stack([p.w for p in pairs]), np.stack([p.z for p in pairs]))
    one_by_one = np.stack([FORMULAS[name](NUMPY, *pair) for pair in pairs])
    np.testing.assert_allclose(np.broadcast_to(together, one_by_one.shape), one_by_one, rtol=1e-14, atol=1e-15)


@every_formula
def test_tangents_may_carry_a_leading_axis_of_directions(name: str, pairs: tuple[Pair, Pair, Pair]) -> None:
    point, *tangents = pairs
    duals = DualOps(NUMPY)

    def slope(dw: np.ndarray, dz: np.ndarray) -> np.ndarray:
        out = FORMULAS[name](duals, duals.dual(point.w, dw), duals.dual(point.z, dz))
        value, tangent = duals.parts(out)
        return np.zeros_like(value) if tangent is None else tangent

    stacked = slope(np.stack([t.w for t in tangents]), np.stack([t.z for t in tangents]))
    for index, tangent in enumerate(tangents):
        expected = slope(*tangent)
        np.testing.assert_allclose(
            np.broadcast_to(stacked, (2, *expected.shape))[index], expected, rtol=1e-13, atol=1e-14
        )
