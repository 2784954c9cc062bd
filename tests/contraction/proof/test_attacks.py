"""Energies made to be proved wrongly: kinks, poles, values that do not exist, overflow, comparisons, odd units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import actionopt as ao

Formula = Callable[[Any, Any], Any]


def landscape(formula: Formula, size: int = 1, **options: Any) -> ao.Problem:
    loss = ao.CustomLoss(lambda ops, w, target: formula(ops, w))
    return ao.Problem(ao.Parameter(size), None, None, loss, output_metric=None, **options)


# energies with second derivative 1, or more, wherever their formulas can be differentiated, and no rate over the ball
TRAPS: dict[str, tuple[Formula, float, float]] = {
    "abs": (lambda ops, w: 0.5 * w * w - ops.abs(w), 1.0, 1.5),
    "relu": (lambda ops, w: 0.5 * w * w - 2.0 * ops.relu(w), 1.0, 1.5),
    "step": (lambda ops, w: 0.5 * w * w - ops.step(w - 0.5), 1.0, 0.9),
    "kink at the end": (lambda ops, w: 0.5 * w * w - ops.abs(w), 1.0, 1.0),
    "root of a square": (lambda ops, w: 0.5 * w * w - ops.sqrt(w * w), 1.0, 1.5),
    "power of a square": (lambda ops, w: 0.5 * w * w - (w * w) ** 0.5, 1.0, 1.5),
    "exponential of a logarithm": (lambda ops, w: 0.5 * w * w - ops.exp(0.5 * ops.log(w * w)), 1.0, 1.5),
    "sign by a quotient": (lambda ops, w: 0.5 * w * w - w * w / ops.sqrt(w * w), 1.0, 1.5),
    "pole": (lambda ops, w: 0.5 * w * w + 1.0 / w, 1.0, 1.5),
    "pole of the tangent": (lambda ops, w: 0.5 * w * w + ops.tan(w), 0.5, 1.5),
    "no logarithm": (lambda ops, w: 0.5 * w * w + ops.log(-1.0 - w * w), 0.5, 0.1),
    "no logarithm, hidden": (lambda ops, w: 0.5 * w * w + ops.tanh(ops.log(-1.0 - w * w)), 0.5, 0.1),
    "no logarithm of 1 + x, hidden": (lambda ops, w: 0.5 * w * w + ops.tanh(ops.log1p(-2.0 - w * w)), 0.5, 0.1),
    "a constant that is no number": (lambda ops, w: 0.5 * w * w + ops.log(ops.row([[-1.0]])), 0.5, 0.1),
    "the same, hidden": (lambda ops, w: 0.5 * w * w + ops.sin(ops.log(ops.row([[-1.0]]))), 0.5, 0.1),
    "the same, in a square": (lambda ops, w: 0.5 * w * w + 1.0 / (1.0 + ops.log(ops.row([[-1.0]])) ** 2), 0.5, 0.1),
    "no root, hidden": (lambda ops, w: 0.5 * w * w + ops.tanh(ops.sqrt(-2.0 - w * w)), 0.5, 0.1),
    "no power, hidden": (lambda ops, w: 0.5 * w * w + ops.tanh((-2.0 - w * w) ** 1.5), 0.5, 0.1),
    "overflow": (lambda ops, w: 0.5 * w * w + ops.exp(800.0 * w), 0.5, 0.9),
    "overflow of a product": (lambda ops, w: 0.5 * w * w + 1e300 * w * (1e300 * w) * 0.0, 0.5, 0.9),
    "a constant that overflows": (lambda ops, w: 0.5 * w * w + ops.exp(ops.row([[1000.0]])), 0.5, 0.1),
    "cancelling": (lambda ops, w: 1e17 * w * w - 1e17 * w * w - 0.5 * w * w, 0.5, 0.5),
    "thirds": (lambda ops, w: (w / 3.0 * 3.0 - w) * w, 0.5, 0.5),
    "constant": (lambda ops, w: 0.0 * w, 0.5, 0.1),
    "linear": (lambda ops, w: 2.0 * w, 0.5, 0.1),
    "flat at the centre": (lambda ops, w: w**4, 0.0, 0.1),
    "less than the smallest number": (lambda ops, w: -1e-310 * w * w, 0.5, 0.5),
    "constants that are no decimals": (lambda ops, w: (0.3 - 0.2 - 0.1) * w * w, 0.5, 0.5),
}


@pytest.mark.parametrize(
    ("name", "boxes"), [*((name, 1) for name in sorted(TRAPS)), ("abs", 20), ("pole", 20), ("cancelling", 20)]
)
def test_what_is_not_so_is_not_proved(name: str, boxes: int) -> None:
    formula, centre, radius = TRAPS[name]
    problem = landscape(formula)
    try:
        found = ao.prove_contraction(problem, [centre], radius, boxes=boxes)
    except ao.InputError as error:
        assert "kink" in str(error)  # noqa: PT017 - the only reason to refuse here
        return
    assert not found.proved


@pytest.mark.parametrize("name", ["abs", "relu", "root of a square", "pole", "exponential of a logarithm"])
def test_a_search_stops_before_the_trap(name: str) -> None:
    formula, centre, _ = TRAPS[name]
    found = ao.prove_contraction(landscape(formula), [centre])
    assert found.proved
    assert found.radius < centre


@pytest.mark.parametrize(
    "formula",
    [
        lambda ops, w: 0.5 * w * w + w * w * (w == w),
        lambda ops, w: 0.5 * w * w + w * w * (w != 3.0),
        lambda ops, w: 0.5 * w * w - np.where(w > 0.0, w, -w),
        lambda ops, w: 0.5 * w * w - np.abs(w),
        lambda ops, w: 0.5 * w * w - abs(w),
        lambda ops, w: 0.5 * w * w - np.floor(w),
    ],
)
def test_formulas_that_compare_or_leave_the_namespace_are_refused(formula: Formula) -> None:
    with pytest.raises(ao.InputError, match="cannot be differentiated"):
        landscape(formula)


@pytest.mark.parametrize("unit", [1e-150, 1e-30, 1e30, 1e150])
def test_units_do_not_matter(unit: float) -> None:
    """The double well in weights of any unit: `|w - unit| < r unit` contracts for `3 (1 - r)^2 > 1`."""
    problem = landscape(lambda ops, w: 0.25 * (w / unit) ** 4 - 0.5 * (w / unit) ** 2, mass=unit**-2)
    edge = 1.0 - np.sqrt(1.0 / 3.0)
    found = ao.prove_contraction(problem, [unit])
    assert found.proved
    assert 0.75 * edge < found.radius < edge
    assert ao.prove_contraction(problem, [unit], 1.01 * edge).status == "refuted"


@pytest.mark.parametrize("radius", [5e-324, 1e-310, 1e-30])
def test_a_ball_of_no_size_still_sees_a_kink(radius: float) -> None:
    problem = landscape(lambda ops, w: 0.5 * w * w - ops.abs(w - 0.5) - ops.abs(w - 0.3))
    with pytest.raises(ao.InputError, match=r"not smooth|kink"):
        ao.prove_contraction(problem, [0.5], radius)


@pytest.mark.parametrize("radius", [1e150, 1e200, 1e308])
def test_a_ball_of_any_size_is_finite_or_undecided(radius: float) -> None:
    proof = ao.prove_contraction(landscape(lambda ops, w: 0.5 * w * w), [0.5], radius)
    assert proof.status == ("proved" if radius < 1e151 else "undecided")  # where the energy overflows
    found = ao.prove_contraction(landscape(lambda ops, w: 0.5 * w * w - 1e-3 * ops.cos(w)), [0.5], radius, rate=0.9991)
    assert not found.proved


def test_integer_data_are_the_numbers_they_are() -> None:
    problem = ao.Problem(ao.Dense(1, 1), np.array([[1], [2]]), np.array([1, 2]), ao.SquaredError(), weight_decay=0.1)
    found = ao.prove_contraction(problem, np.array([1, 0]), 1)
    exact = np.linalg.eigvalsh([[2.5, 1.5], [1.5, 1.0]])[0] + 0.1
    assert found.proved
    assert exact * (1.0 - 1e-9) <= found.rate <= exact


@pytest.mark.parametrize("metric", ["euclidean", "joint", "layerwise"])
def test_negative_rates_are_bounds_too(metric: str) -> None:
    """`E = -w^2/2`: the rate is -1, and nothing above it may be claimed."""
    problem = landscape(lambda ops, w: -0.5 * w * w, mass=0.7)
    found = ao.prove_contraction(problem, [0.3], 0.1, metric=metric, rate=-5.0)
    assert found.proved
    assert -1.0 / 0.7 * (1.0 + 1e-12) <= found.rate <= -1.0 / 0.7


class Sample(ao.Module):
    """Two weights that a formula joins with what each sample says."""

    in_size, out_size, weight_size = 1, 1, 2

    def __init__(self, formula: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        a, b = ops.unpack(w, (1,), (1,))
        return a * self.formula(ops, z) + b


@pytest.mark.parametrize(
    "formula",
    [
        lambda ops, z: ops.log(-1.0 - z * z),
        lambda ops, z: ops.tanh(ops.log(-1.0 - z * z)),
        lambda ops, z: 1.0 / (1.0 + ops.sqrt(-1.0 - z * z) ** 2),
        lambda ops, z: ops.exp(1e4 * z),
    ],
)
def test_data_on_which_there_is_no_number_leave_everything_undecided(formula: Formula) -> None:
    inputs, targets = [[1.0], [2.0], [-1.0]], [1.0, 2.0, 0.0]
    problem = ao.Problem([Sample(formula)], inputs, targets, ao.SquaredError(), weight_decay=5.0)
    w = np.array([1.0, 0.5])
    for metric in ("euclidean", "joint", "layerwise"):
        assert ao.prove_contraction(problem, w, 0.1, metric=metric).status == "undecided"
        assert not ao.prove_contraction(problem, w, metric=metric).proved
    assert not ao.prove_stability(problem, w, replacements=(inputs, targets)).proved
    assert ao.bound_lipschitz(problem, w, 0.1).kappa == np.inf
    composed = ao.certify(problem, w, metric="euclidean", radius=0.1)
    assert composed.composed[0] == composed.whole[0] == -np.inf
    assert composed.status == "undecided"
    assert not composed.proved
    free = ao.Problem([Sample(formula)], inputs, targets, ao.SquaredError())
    assert not ao.prove_fit(free, w, 0.01).proved


FUNCTIONS = (
    "exp", "log", "log1p", "sqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh", "arctan", "sigmoid", "softplus", "abs",
    "relu", "step",
)  # fmt: skip


def grown(rng: np.random.Generator, depth: int) -> Formula:
    """Return a random formula of two columns: functions of `ops`, sums, products, quotients and powers of others."""
    if depth == 0:
        index, offset, constant = int(rng.integers(2)), float(rng.normal()), bool(rng.integers(4) == 0)
        return lambda ops, c: (0.0 * c[0] if constant else c[index]) + offset
    kind, a, b = int(rng.integers(7)), grown(rng, depth - 1), grown(rng, depth - 1)
    name, power = str(rng.choice(FUNCTIONS)), float(rng.choice([2.0, 3.0, -1.0, 0.5, 1.5, 4.0]))
    return {
        3: lambda ops, c: a(ops, c) + b(ops, c),
        4: lambda ops, c: a(ops, c) * b(ops, c),
        5: lambda ops, c: a(ops, c) / b(ops, c),
        6: lambda ops, c: a(ops, c) ** power,
    }.get(kind, lambda ops, c: getattr(ops, name)(a(ops, c)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_random_formulas_are_not_proved_wrongly(seed: int) -> None:
    """Where a rate is proved, the gradient is as monotone between any two points of the ball, across kinks too."""
    rng, proved = np.random.default_rng(seed), 0
    for _ in range(12):
        formula, scale = grown(rng, int(rng.integers(1, 4))), float(10.0 ** rng.uniform(-1.0, 0.7))

        def energy(ops: Any, w: Any, formula: Formula = formula, scale: float = scale) -> Any:
            columns = ops.columns(w)
            return scale * (columns[0] ** 2 + columns[1] ** 2) + formula(ops, columns)

        problem = landscape(energy, 2)
        centre, radius = rng.normal(size=2), float(10.0 ** rng.uniform(-2.0, 0.5))
        try:
            proof = ao.prove_contraction(problem, centre, radius)
        except ao.InputError:
            continue
        if not proof.proved:
            continue
        proved += 1
        x = rng.normal(size=(30, 2))
        x *= radius * rng.uniform(0.0, 1.0, (30, 1)) ** 0.3 / np.linalg.norm(x, axis=1, keepdims=True)
        gradients = np.array([problem.gradient(centre + one) for one in x])
        apart = x[:, None] - x[None]
        pulls = ((gradients[:, None] - gradients[None]) * apart).sum(axis=-1)
        assert (pulls >= proof.rate * (apart**2).sum(axis=-1) - 1e-9 * (1.0 + abs(pulls))).all()
    assert proved > 2
