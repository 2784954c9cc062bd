"""Intervals hold what they say: against 80-bit values, exact fractions, and NumPy on points inside."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionopt.modules.derived import pull_back
from actionopt.ops import INTERVAL, NUMPY, Interval, KinkError, duals_over, jets_over
from actionopt.ops.jets import turns
from actionopt.ops.rounded import as_interval, meet, point

LONG = np.longdouble


def long_sigmoid(x: Any) -> Any:
    e = np.exp(-abs(x))
    return np.where(x < 0, e, LONG(1)) / (1 + e)


def long_softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    **{
        name: getattr(np, name) for name in ("exp", "log", "log1p", "sqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh")
    },
    "arctan": np.arctan,
    "sigmoid": long_sigmoid,
    "softplus": long_softplus,
}
LOWEST = {"log": 0.0, "sqrt": 0.0, "log1p": -1.0}


def violations(name: str, count: int, seed: int) -> int:
    """Count points of random intervals, from very narrow to very wide, whose 80-bit value lies outside the range."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-6.0, 4.0, count)
    centre = scale * rng.standard_normal(count)
    width = scale * 10.0 ** rng.uniform(-16.0, 1.0, count)
    lo, hi = centre - width, centre + width
    if name in LOWEST:
        lo, hi = (LOWEST[name] + abs(end) + 1e-12 for end in (lo, hi))
        lo, hi = np.minimum(lo, hi), np.maximum(lo, hi)
    inside = np.clip(lo + rng.uniform(0.0, 1.0, count) * (hi - lo), lo, hi)
    with np.errstate(all="ignore"):
        value = FUNCTIONS[name](inside.astype(LONG))
        found, exact = getattr(INTERVAL, name)(Interval(lo, hi)), getattr(INTERVAL, name)(point(inside))
        outside = [~((x.lo <= value) & (value <= x.hi)) for x in (found, exact)]
    return int(sum(array.sum() for array in outside))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_range_holds_80_bit_values(name: str) -> None:
    assert violations(name, 20_000, seed=1) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_range_holds_80_bit_values_at_four_hundred_thousand_points(name: str) -> None:
    assert violations(name, 400_000, seed=2) == 0


@pytest.mark.parametrize("name", ["exp", "log", "log1p", "sqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh"])
def test_range_at_a_point_holds_the_value_of_arbitrary_precision(name: str) -> None:
    mpmath.mp.dps = 40
    points = np.concatenate([10.0 ** np.linspace(-300, 300, 61), np.pi * np.arange(1, 40), np.linspace(0.1, 700, 40)])
    found = getattr(INTERVAL, name)(point(points))
    for x, lo, hi in zip(points, found.lo, found.hi, strict=True):
        if np.isfinite(hi):
            value = getattr(mpmath, name)(mpmath.mpf(float(x)))
            assert mpmath.mpf(float(lo)) <= value <= mpmath.mpf(float(hi)), (name, x)


def test_ranges_are_close_to_exact() -> None:
    x = Interval(np.array([0.3]), np.array([2.5]))
    for name, function in FUNCTIONS.items():
        grid = function(np.linspace(0.3, 2.5, 100_001))
        if name != "tan":
            found = getattr(INTERVAL, name)(x)
            assert found.lo[0] == pytest.approx(grid.min(), rel=1e-9), name
            assert found.hi[0] == pytest.approx(grid.max(), rel=1e-9), name
    assert np.isinf(INTERVAL.tan(x).hi[0])  # a pole inside


finite = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(finite, finite, finite, finite, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_arithmetic_holds_exact_fractions(a: float, b: float, c: float, d: float, s: float, t: float) -> None:
    x, y = Interval(*np.array(sorted([a, b]))[:, None]), Interval(*np.array(sorted([c, d]))[:, None])
    u = min(max(x.lo[0] + s * (x.hi[0] - x.lo[0]), x.lo[0]), x.hi[0]) if np.isfinite(x.hi[0] - x.lo[0]) else a
    v = min(max(y.lo[0] + t * (y.hi[0] - y.lo[0]), y.lo[0]), y.hi[0]) if np.isfinite(y.hi[0] - y.lo[0]) else c
    u, v = Fraction(float(u)), Fraction(float(v))
    for found, exact in [
        (x + y, u + v),
        (x - y, u - v),
        (x * y, u * v),
        (x * float(v), u * v),
        (float(u) - y, u - v),
        (x * x, u * u),
        (x**3, u**3),
        (x / y, u / v if v else Fraction(0)),
        (1.0 / y, 1 / v if v else Fraction(0)),
    ]:
        assert not np.isnan(found.lo[0])
        assert np.isinf(found.lo[0]) or Fraction(float(found.lo[0])) <= exact
        assert np.isinf(found.hi[0]) or exact <= Fraction(float(found.hi[0]))


@pytest.mark.parametrize("kind", ["point", "left", "both"])
def test_matrix_products_and_sums_hold_exact_fractions(kind: str, rng: np.random.Generator) -> None:
    a = rng.standard_normal((4, 7)) * 10.0 ** rng.integers(-8, 8, (4, 7))
    b = rng.standard_normal((7, 3)) * 10.0 ** rng.integers(-8, 8, (7, 3))
    ra = 0.0 * a if kind == "point" else abs(a) * 1e-3
    rb = abs(b) * 1e-3 if kind == "both" else 0.0 * b
    x = point(a) if kind == "point" else Interval(a - ra, a + ra)
    y = Interval(b - rb, b + rb) if kind == "both" else point(b)
    found, sums = INTERVAL.matmul(x, y), INTERVAL.sum(x)
    for _ in range(20):
        u = np.clip(a + ra * rng.uniform(-1, 1, a.shape), x.lo, x.hi)
        v = np.clip(b + rb * rng.uniform(-1, 1, b.shape), y.lo, y.hi)
        for i in range(4):
            row = [Fraction(float(value)) for value in u[i]]
            assert Fraction(float(sums.lo[i])) <= sum(row) <= Fraction(float(sums.hi[i]))
            for j in range(3):
                exact = sum(p * Fraction(float(q)) for p, q in zip(row, v[:, j], strict=True))
                assert Fraction(float(found.lo[i, j])) <= exact <= Fraction(float(found.hi[i, j]))


def test_a_product_with_zero_is_zero_and_underflow_is_not() -> None:
    x = Interval(np.array([-1.0, 0.0]), np.array([2.0, 0.0]))
    assert (x * np.zeros(2)).lo.tolist() == (x * np.zeros(2)).hi.tolist() == [0.0, 0.0]
    tiny = point([1e-200]) * point([1e-200])
    assert tiny.lo[0] < 0.0 < tiny.hi[0]
    product = INTERVAL.matmul(point([[1e-200, 0.0]]), point([[1e-200, 1.0], [3.0, 1.0]]))
    assert product.hi[0, 0] > 0.0
    assert INTERVAL.matmul(point([[0.0, 0.0]]), x[None].map(lambda a: a.T)).hi.tolist() == [[0.0]]


def test_what_is_not_known_is_everything() -> None:
    unbounded = Interval(np.array([-np.inf]), np.array([np.inf]))
    for found in (
        unbounded * point([0.0]),
        unbounded - unbounded,
        INTERVAL.log(point([-1.0])),
        INTERVAL.sqrt(Interval(np.array([-1.0]), np.array([1.0]))),
        Interval(np.array([-1.0]), np.array([1.0])) ** -1.0,
        INTERVAL.exp(point([1e4])) * 0.0,
    ):
        assert (found.lo[0], found.hi[0]) == (-np.inf, np.inf)
    for name in ("sin", "cos", "tanh", "sigmoid", "arctan", "exp", "cosh", "softplus", "softmax", "logsumexp", "relu"):
        found = getattr(INTERVAL, name)(unbounded)  # there may be no number at all: nothing is known of any function
        assert (found.lo[0], found.hi[0]) == (-np.inf, np.inf), name
    for found in (unbounded * unbounded, unbounded**4, jets_over(INTERVAL).jet("tanh", 1)(unbounded).value):
        assert (found.lo[0], found.hi[0]) == (-np.inf, np.inf)
    half = Interval(np.array([0.0]), np.array([np.inf]))
    assert INTERVAL.sin(half).lo[0] == -1.0
    assert INTERVAL.tanh(half).hi[0] == 1.0


@pytest.mark.parametrize("name", ["relu", "abs", "step"])
def test_a_kink_that_moves_is_refused(name: str) -> None:
    function = getattr(INTERVAL, name)
    with pytest.raises(KinkError, match=f"ops.{name} is evaluated across its kink at 0"):
        function(Interval(np.array([-1.0]), np.array([2.0])))
    with pytest.raises(KinkError, match="Take a smaller region, or a smooth function"):
        function(Interval(np.array([0.0]), np.array([2.0])))
    assert function(point([0.0])).hi[0] == 0.0  # zero throughout: no kink
    for low, high in ((1.0, 2.0), (-2.0, -1.0)):
        found = function(Interval(np.array([low]), np.array([high])))
        ends = sorted(getattr(NUMPY, name)(np.array([low, high])))
        assert (found.lo[0], found.hi[0]) == (ends[0], ends[1])


def formulas() -> dict[str, Callable[[Any, Any, Any], Any]]:
    """Formulas of weights (8,) and inputs (B, 3) that use every function of a namespace between them."""

    def head(ops: Any, w: Any) -> Any:
        return ops.unpack(ops.split(w, [3, 5])[0], (3,))

    return {
        "smooth": lambda ops, w, z: ops.exp(ops.sin(z + head(ops, w))) * ops.tanh(z) / (2.0 + ops.cos(z)),
        "logs": lambda ops, w, z: ops.log(1.5 + ops.tanh(z * head(ops, w))) + ops.log1p(ops.sigmoid(z)) ** 2,
        "roots": lambda ops, w, z: ops.sqrt(1.0 + z * z) * ops.arctan(z + head(ops, w)) - ops.cosh(0.3 * z),
        "plus": lambda ops, w, z: ops.softplus(z - head(ops, w)) * ops.sinh(0.2 * z) + ops.tan(0.3 * ops.tanh(z)),
        "softmax": lambda ops, w, z: ops.softmax(z * head(ops, w)) + ops.logsumexp(z),
        "affine": lambda ops, w, z: ops.affine(z, ops.unpack(ops.split(w, [6, 2])[0], (2, 3))),
        "pieces": lambda ops, w, z: ops.concatenate([ops.columns(z)[1] * 2.0, ops.repeat_samples(head(ops, w), z)]),
        "moved": lambda ops, w, z: ops.sum(z, keepdims=True) * ops.sum_samples(z) - ops.row([1.0, 2.0, 3.0]),
        "kinks": lambda ops, w, z: ops.relu(5.0 + z) + ops.abs(z - 9.0) * ops.step(4.0 + head(ops, w)),
        "cube": lambda ops, w, z: (z + head(ops, w)) ** 3 / (3.0 + z) ** 1.5,
    }


def ends(x: Any) -> Interval:
    """Return the coefficient of the highest order of a nested dual."""
    while hasattr(x, "tangent"):
        if x.tangent is None:
            return point(0.0)
        x = x.tangent
    return as_interval(x)


@pytest.mark.parametrize("over", [duals_over, jets_over])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("name", sorted(formulas()))
def test_duals_over_intervals_hold_those_over_numpy(name: str, depth: int, over: Any, rng: np.random.Generator) -> None:
    formula = formulas()[name]
    w, z = rng.standard_normal(8), rng.standard_normal((4, 3))
    reach = 0.02
    wide, plain, box = INTERVAL, NUMPY, Interval(w - reach, w + reach)
    inside = w + reach * rng.uniform(-1, 1, 8)
    state: Any = point(z)
    numbers: Any = z
    for _ in range(depth):
        along, down = rng.standard_normal(8), rng.standard_normal((4, 3))
        wide, plain = over(wide), duals_over(plain)
        box, state = wide.dual(box, along), wide.dual(state, down)
        inside, numbers = plain.dual(inside, along), plain.dual(numbers, down)
    found, value = ends(formula(wide, box, state)), np.asarray(ends(formula(plain, inside, numbers)).lo)
    slack = 1e-12 * (1.0 + abs(value))  # of NumPy's own rounding
    assert (found.lo <= value + slack).all()
    assert (value - slack <= found.hi).all()
    assert np.isfinite(found.lo).all()


@pytest.mark.parametrize("name", sorted(set(formulas()) - {"moved"}))
def test_pull_back_on_duals_over_intervals(name: str, rng: np.random.Generator) -> None:
    w, z, along = rng.standard_normal(8), rng.standard_normal((4, 3)), rng.standard_normal(8)
    wide, plain = duals_over(duals_over(INTERVAL)), duals_over(duals_over(NUMPY))

    def second(ops: Any, at: Any, inputs: Any) -> Any:
        inner = ops.inner
        return pull_back(formulas()[name], ops, (ops.dual(inner.dual(at, along), along), inputs), (1, 2))[0]

    found = ends(second(wide, Interval(w - 1e-3, w + 1e-3), point(z)))
    value = np.asarray(ends(second(plain, w, z)).lo)
    slack = 1e-12 * (1.0 + abs(value))
    assert (found.lo <= value + slack).all()
    assert (value - slack <= found.hi).all()


def test_jets_know_that_a_logarithm_undoes_an_exponential() -> None:
    """Where the chain rule multiplies by exp(x) and divides by it again, the range of the product is wide."""
    box, along = Interval(np.array([-1.0]), np.array([1.0])), np.ones(1)
    widths = []
    for over in (duals_over, jets_over):
        ops = over(over(INTERVAL))
        x = ops.dual(ops.inner.dual(box, along), along)
        found = ends(ops.log(ops.exp(x * x)))
        assert found.lo[0] <= 2.0 <= found.hi[0]
        widths.append(found.hi[0] - found.lo[0])
    assert widths[1] < 1e-12 < 1.0 < widths[0]


@pytest.mark.parametrize(("name", "order"), [("tanh", 2), ("tanh", 3), ("sigmoid", 3), ("softplus", 4), ("sin", 3)])
def test_ranges_of_derivatives(name: str, order: int) -> None:
    box = Interval(np.array([0.2, -0.3, 1.0]), np.array([0.3, 0.4, 1.1]))
    found = jets_over(INTERVAL).jet(name, order)(box)
    for i in range(3):
        x = np.linspace(box.lo[i], box.hi[i], 2001)
        ops, at = NUMPY, x
        for _ in range(order):
            ops = duals_over(ops)
            at = ops.dual(at, np.ones_like(x))
        values = np.asarray(ends(getattr(ops, name)(at)).lo)
        assert found.value.lo[i] <= values.min() + 1e-12
        assert values.max() - 1e-12 <= found.value.hi[i]
        assert found.value.hi[i] - found.value.lo[i] <= np.ptp(values) * (1.0 + 1e-5) + 1e-9


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_derivatives_turn_where_it_is_known(name: str, order: int) -> None:
    """Over everything the range of a derivative is that between its largest and least value, to four digits."""
    everywhere = Interval(np.array([-50.0]), np.array([50.0]))
    found = jets_over(INTERVAL).jet(name, order)(everywhere).value
    values = jets_over(INTERVAL).jet(name, order)(point(np.linspace(-16.0, 16.0, 8001))).value.lo
    assert found.lo[0] <= values.min()
    assert values.max() <= found.hi[0]
    assert found.hi[0] - found.lo[0] <= np.ptp(values) * (1.0 + 1e-4) + 1e-9
    with pytest.raises(ValueError, match="does not turn at simple places"):
        turns((0.0, 1.0, 0.0, 1.0))  # 1 + 3 x^2 has no real root


@pytest.mark.parametrize("over", [duals_over, jets_over])
def test_quotients_by_numbers_are_rounded_outward(over: Any) -> None:
    """A dual divides by a number by its reciprocal, which is no float64."""
    x = over(INTERVAL).dual(point([1.0]), point([1.0])) / 3.0
    for part in (x.value, x.tangent):
        assert Fraction(float(part.lo[0])) <= Fraction(1, 3) <= Fraction(float(part.hi[0]))


@pytest.mark.parametrize("base", [1e-300, 1e-20, 3.0, 1e200])
@pytest.mark.parametrize("power", [0.1, -0.7, 1.5, 3.3])
def test_powers_whose_derivatives_have_rounded_powers(base: float, power: float) -> None:
    mpmath.mp.dps = 60
    ops, x = INTERVAL, point([base])
    exact = mpmath.power(mpmath.mpf(base), mpmath.mpf(power))
    for order in range(4):
        found = ends(x**power) if order else x**power
        assert not np.isfinite([found.lo[0], found.hi[0]]).all() or found.lo[0] <= exact <= found.hi[0], order
        exact *= (mpmath.mpf(power) - order) / mpmath.mpf(base)
        ops = duals_over(ops)
        x = ops.dual(x, np.ones(1))


@pytest.mark.parametrize("name", ["log", "log1p", "sqrt"])
@pytest.mark.parametrize("over", [duals_over, jets_over])
def test_where_there_is_no_value_there_is_no_derivative(name: str, over: Any) -> None:
    ops = over(over(INTERVAL))
    x = ops.dual(ops.inner.dual(point([-3.0]), np.ones(1)), np.ones(1))
    found = ends(ops.tanh(getattr(ops, name)(x)))
    assert (found.lo[0], found.hi[0]) == (-np.inf, np.inf)


@pytest.mark.parametrize("number", [point([1.0]), duals_over(NUMPY).dual(np.ones(1), np.ones(1))])
def test_numbers_of_a_namespace_are_not_compared(number: Any) -> None:
    for question in (lambda: number == 1.0, lambda: number != 1.0, lambda: bool(number), lambda: number == number):
        with pytest.raises(TypeError, match="cannot ask whether numbers are equal"):
            question()


def test_meet_keeps_what_both_say() -> None:
    a, b = Interval(np.array([0.0]), np.array([2.0])), Interval(np.array([1.0]), np.array([3.0]))
    assert (meet(a, b).lo[0], meet(a, b).hi[0]) == (1.0, 2.0)


@pytest.mark.parametrize("name", ["take", "put", "solve", "solve_each", "matmul_samples", "parts", "one_hot"])
def test_functions_that_arrange_and_solve(name: str, rng: np.random.Generator) -> None:
    matrix = np.eye(3) * 3.0 + 0.5 * rng.standard_normal((3, 3))
    formula = {
        "take": lambda ops, z: ops.take(z, [2, 0, 0]),
        "put": lambda ops, z: ops.put(z, [1, 1, 3], 5),
        "solve": lambda ops, z: ops.solve(ops.row(matrix), z),
        "solve_each": lambda ops, z: ops.solve(
            ops.concatenate([z + 4.0, ops.take(z, [0, 1, 2]), ops.take(z, [0, 2, 1]) + ops.row([0.0, 0.0, 9.0])]), z
        ),
        "matmul_samples": lambda ops, z: ops.matmul_samples(z, ops.transpose_samples(z, 3), 1),
        "parts": lambda ops, z: ops.samples_as_parts(ops.tanh(ops.parts_as_samples(z, 3)), 3),
        "one_hot": lambda ops, z: z * ops.one_hot(ops.row([[1.0]]), 3),
    }[name]
    z, reach = rng.standard_normal((4, 3)), 0.01
    for ops, plain in ((INTERVAL, NUMPY), (duals_over(INTERVAL), duals_over(NUMPY))):
        along = rng.standard_normal((4, 3))
        box: Any = Interval(z - reach, z + reach)
        inside: Any = z + reach * rng.uniform(-1, 1, z.shape)
        if ops is not INTERVAL:
            box, inside = ops.dual(box, along), plain.dual(inside, along)
        found, value = ends(formula(ops, box)), np.asarray(ends(formula(plain, inside)).lo)
        assert (found.lo <= value + 1e-12).all()
        assert (value - 1e-12 <= found.hi).all()
        assert np.isfinite(found.lo).all()


def test_a_system_that_may_be_singular_is_not_solved() -> None:
    found = INTERVAL.solve(Interval(np.eye(2) - 1.5, np.eye(2) + 1.5), point(np.ones((1, 2))))
    assert np.isinf(found.lo).all()
    assert np.isinf(found.hi).all()
    with pytest.raises(ValueError, match="class numbers that move"):
        INTERVAL.one_hot(Interval(np.zeros((1, 1)), np.ones((1, 1))), 2)
