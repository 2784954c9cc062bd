"""Numbers from outside: what NumPy would convert by dropping a part is refused, with the reason."""

from __future__ import annotations

import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.arrays import real_array

PROBLEM = ao.Problem(ao.Dense(1, 1), [1.0, 2.0], [1.0, 2.0], ao.SquaredError())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1.0, 2.0]),
        ([True, False], [1.0, 0.0]),
        (np.float32(0.5), 0.5),
        ([Decimal("0.5"), Fraction(1, 4), 2], [0.5, 0.25, 2.0]),
        (np.array([1, 2.5], dtype=object), [1.0, 2.5]),
        (np.ma.masked_array([1.0, 2.0]), [1.0, 2.0]),
        ([np.nan, np.inf], [np.nan, np.inf]),
    ],
)
def test_numbers_of_every_kind(values: Any, expected: Any) -> None:
    array = real_array("x", values)
    assert array.dtype == float
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ma.masked_array([1.0, -999.0], mask=[0, 1]), "got 1 masked entries: fill them in"),
        ([1.0 + 0j, 2.0], "got complex numbers"),
        (np.array([1j], dtype=object), "got 1j of type complex"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "got dates"),
        (np.array([1], dtype="timedelta64[s]"), "got spans of time"),
        (np.zeros(2, dtype=[("a", float)]), "got records"),
        (["1", "2"], "got strings"),
        ([b"1"], "got bytes"),
        (["1", 2.0], "got strings"),
        ([None, 1.0], r"got missing values \(None\)"),
        ([10**400], "a whole number beyond the range of float64"),
        ([[1.0], [1.0, 2.0]], "got list"),
        ([datetime.date(2020, 1, 1)], r"datetime\.date"),
        ({"a": 1}, "got {'a': 1}"),
        (object(), "got <object"),
    ],
)
def test_what_is_no_number(values: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=rf"x must be numbers, .*{message}"):
        real_array("x", values)


BAD = [
    np.ma.masked_array([1.0, -999.0], mask=[0, 1]),
    np.array([1.0 + 1j, 2.0]),
    np.array(["1", "2"]),
    np.array([10**400, 1], dtype=object),
    np.array([None, 1.0], dtype=object),
]


@pytest.mark.parametrize("bad", BAD, ids=["masked", "complex", "strings", "huge", "missing"])
@pytest.mark.parametrize(
    "call",
    [
        lambda bad: PROBLEM.energy(bad),
        lambda bad: PROBLEM.gradient(bad),
        lambda bad: ao.Problem(ao.Dense(1, 1), bad, [1.0, 2.0], ao.SquaredError()),
        lambda bad: ao.Problem(ao.Dense(1, 1), [1.0, 2.0], [1.0, 2.0], ao.SquaredError(), mass=bad),
        lambda bad: ao.LayerMetric(PROBLEM, [0.0, 0.0]).solve(bad),
        lambda bad: ao.flow(PROBLEM, bad, horizon=1.0, steps=2),
        lambda bad: ao.minimize_action(ao.Drift(2, lambda ops, w: -w), bad, [0.0, 0.0], horizon=1.0),
        lambda bad: ao.minimize_action(ao.Drift(2, lambda ops, w: -w), [0.0, 0.0], [1.0, 1.0], times=bad),
        lambda bad: ao.Drift(2, lambda ops, w: -w, metric=bad),
        lambda bad: ao.path_through([bad, [1.0, 1.0]], 4),
        lambda bad: ao.stability_bound(kappa=bad, rate=1.0, mass=1.0, samples=10),
    ],
)
def test_one_answer_everywhere(call: Any, bad: Any) -> None:
    with pytest.raises(ao.InputError):
        call(bad)


@pytest.mark.parametrize(
    "call",
    [
        lambda what: ao.adjoints(what, [0.0]),
        lambda what: ao.check_adjoints(what),
        lambda what: ao.train(what),
        lambda what: ao.proximal_step(what, [0.0], 0.1),
        lambda what: ao.LayerMetric(what, [0.0]),
        lambda what: ao.BatchedMetric(what, [[0.0]]),
        lambda what: ao.step(what, [0.0], 0.1),
        lambda what: ao.flow(what, [0.0], horizon=1.0),
        lambda what: ao.contraction_rate(what, [0.0]),
        lambda what: ao.contraction_at(what, [0.0]),
        lambda what: ao.certify(what, [[0.0]]),
        lambda what: ao.check_decay(what, [0.0], [1.0], horizon=1.0),
        lambda what: ao.estimate_lipschitz(what, [[0.0]]),
        lambda what: ao.worst_rate(what, bounds=(0.0, 1.0)),
        lambda what: ao.descend(what, [0.0]),
    ],
)
@pytest.mark.parametrize("what", ["xor", None, ao.Drift(1, lambda ops, w: -w)], ids=["str", "None", "Drift"])
def test_what_is_no_problem(call: Any, what: Any) -> None:
    with pytest.raises(ao.InputError, match=r"takes a Problem, got (str|NoneType|Drift)"):
        call(what)
