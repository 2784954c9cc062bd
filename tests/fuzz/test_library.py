"""Calls of the library with odd arguments: an answer, InputError or SolverError, and nothing else."""

from __future__ import annotations

import decimal
import fractions
import math
import os
import random
import warnings
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

import actionopt as ao
from problems import linear_regression, quadratic, xor

XOR, LINE, WELL = xor.build(), linear_regression.build(), quadratic.build()
W = XOR.initial_weights(0)
ENDS = (np.array([1.0, -1.0]), np.array([0.5, 0.8]))
COUNT = 3000  # calls, over all functions


class Vector(np.ndarray):
    """Someone's own array."""


def odd(rng: random.Random, size: int) -> Any:
    """Something that is no array of this size, or is one in another dress."""
    good = np.linspace(-0.5, 0.5, size)
    makers: list[Callable[[], Any]] = [
        lambda: None, lambda: rng.choice([0, -1, 3, 2**70, -(10**400)]), lambda: rng.choice([0.0, -0.5, 1e-320, 1e308]),
        lambda: rng.choice([math.nan, math.inf, -math.inf]), lambda: rng.choice([True, False]),
        lambda: rng.choice(["", "newton", "3", "é\udcff", "\x00", "auto", "layerwise", "radau5", "line", "flow"]),
        lambda: b"bytes", lambda: 1j, list, dict, lambda: set(), lambda: (), lambda: object(), lambda: len,
        lambda: lambda *a: 1.0, lambda: iter(good), lambda: (x for x in good), lambda: range(size), lambda: ao,
        lambda: date(2026, 1, 1), lambda: decimal.Decimal("0.5"), lambda: fractions.Fraction(1, 3),
        lambda: good.tolist(), lambda: good[:-1], lambda: np.tile(good, (2, 1)), lambda: good[None, None],
        lambda: good.astype(">f8"), lambda: good.astype(np.float16), lambda: good.astype(np.float32),
        lambda: np.ma.masked_array(good, good > 0.4), lambda: np.ma.masked_array(good), lambda: good.view(Vector),
        lambda: good.astype(complex), lambda: good.astype(object), lambda: np.array([None] * size),
        lambda: np.array([decimal.Decimal(1)] * size), lambda: np.array(["a"] * size), lambda: np.array(["1.5"] * size),
        lambda: np.zeros(size, dtype="datetime64[D]"), lambda: np.zeros(size, dtype=[("a", float)]),
        lambda: np.full(size, np.nan), lambda: np.full(size, 1e200), lambda: np.full(size, 5e-324),
        lambda: np.array(3.0),
        lambda: memoryview(good), lambda: pd.Series(good), lambda: pd.Series([1, None] * size, dtype="Int64")[:size],
        lambda: pd.DataFrame({"x": good}), lambda: pd.Series(["a", "b"] * size, dtype="category")[:size],
        lambda: np.broadcast_to(0.1, size), lambda: good[::-1], lambda: np.asfortranarray(np.tile(good, (3, 1))),
        lambda: XOR, lambda: WELL, lambda: ao.Dense(2, 3), lambda: ao.SquaredError(), lambda: ao.Problem,
    ]  # fmt: skip
    return rng.choice(makers)()


def samples(rng: random.Random) -> Any:
    return odd(rng, rng.choice([1, 3, 4]))


def small(rng: random.Random) -> Any:
    """A number as an option takes one, or something else."""
    return rng.choice([1, 2, 0.5, 1.0, odd(rng, 2)])


Call = Callable[[random.Random], Any]
CALLS: dict[str, Call] = {
    "Problem": lambda r: ao.Problem(
        r.choice([ao.Dense(1, 1), odd(r, 2), [ao.Dense(2, 2, "tanh"), ao.Dense(2, 1)]]),
        r.choice([np.ones((3, 2)), samples(r)]), r.choice([np.ones(3), samples(r)]), r.choice([ao.SquaredError(),
        ao.SoftmaxCrossEntropy(), ao.Logistic(), odd(r, 1)]), mass=r.choice([1.0, odd(r, 3)]),
        output_metric=r.choice([None, "euclidean", odd(r, 1)]), weight_decay=r.choice([0.0, odd(r, 1)]),
        name=r.choice([None, "n", odd(r, 1)]), sample_weight=r.choice([None, odd(r, 3)]),
    ),
    "Dense": lambda r: ao.Dense(
        odd(r, 1), small(r), r.choice([None, "tanh", odd(r, 1)]), mass=r.choice([None, odd(r, 3)])
    ),
    "Conv2d": lambda r: ao.Conv2d(r.choice([(1, 4, 4), odd(r, 3)]), small(r), small(r), padding=small(r)),
    "modules": lambda r: r.choice([ao.Chain, ao.Parallel, ao.Residual, ao.Parameter])(odd(r, 1)),
    "energy": lambda r: XOR.energy(odd(r, 17)),
    "gradient": lambda r: XOR.gradient(odd(r, 17)),
    "outputs": lambda r: XOR.outputs(r.choice([W, odd(r, 17)])),
    "take": lambda r: XOR.take(odd(r, 3)),
    "adjoints": lambda r: ao.adjoints(r.choice([XOR, odd(r, 1)]), odd(r, 17)),
    "LayerMetric": lambda r: ao.LayerMetric(r.choice([XOR, odd(r, 1)]), odd(r, 17)).solve(odd(r, 17)),
    "BatchedMetric": lambda r: ao.BatchedMetric(r.choice([XOR, odd(r, 1)]), r.choice([W[None], odd(r, 17)])),
    "step": lambda r: ao.step(XOR, odd(r, 17), small(r), momentum=r.choice([None, odd(r, 1)])),
    "flow": lambda r: ao.flow(
        r.choice([XOR, odd(r, 1)]), r.choice([W, odd(r, 17)]), horizon=small(r), steps=r.choice([2, odd(r, 1)]),
        method=r.choice(["radau5", "euler", odd(r, 1)]), tol=r.choice([1e-9, odd(r, 1)]), throw=False,
    ),
    "times": lambda r: ao.flow(LINE, times=odd(r, 3), throw=False),
    "minimize_action": lambda r: ao.minimize_action(
        r.choice([WELL, odd(r, 1)]), r.choice([ENDS[0], odd(r, 2)]), r.choice([ENDS[1], odd(r, 2)]), horizon=small(r),
        steps=r.choice([3, odd(r, 1)]), scheme=r.choice(["midpoint", odd(r, 1)]), guess=r.choice([None, odd(r, 2)]),
        solver=r.choice(["auto", "newton", odd(r, 1)]), options=r.choice([None, odd(r, 1)]), max_iterations=5,
        bounds=r.choice([None, odd(r, 2)]), throw=False,
    ),
    "trajectory": lambda r: FLOW.resample(odd(r, 3)),
    "train": lambda r: ao.train(
        r.choice([LINE, odd(r, 1)]), r.choice([None, odd(r, LINE.size)]), solver=r.choice(["newton", odd(r, 1)]),
        tol=r.choice([1e-6, odd(r, 1)]), max_iterations=r.choice([2, odd(r, 1)]), options=r.choice([None, odd(r, 1)]),
        bounds=r.choice([None, odd(r, LINE.size)]), time_limit=r.choice([1.0, odd(r, 1)]), throw=False,
    ),
    "proximal_step": lambda r: ao.proximal_step(LINE, odd(r, LINE.size), small(r), linearized=True, throw=False),
    "descend": lambda r: ao.descend(
        LINE, r.choice([None, odd(r, LINE.size)]), batch=r.choice([4, odd(r, 1)]), epochs=1,
        step=r.choice([0.1, odd(r, 1)]), momentum=r.choice([0.5, odd(r, 1)]), seed=r.choice([0, odd(r, 1)]),
    ),
    "contraction_rate": lambda r: ao.contraction_rate(
        r.choice([XOR, odd(r, 1)]), odd(r, 17), metric=r.choice(["joint", odd(r, 1)])
    ),
    "parallel_rate": lambda r: ao.parallel_rate(odd(r, 1), small(r)),
    "series_rate": lambda r: ao.series_rate(odd(r, 1), small(r), small(r)),
    "feedback_rate": lambda r: ao.feedback_rate(odd(r, 1), small(r), small(r), small(r)),
    "stability_bound": lambda r: ao.stability_bound(kappa=odd(r, 1), rate=small(r), mass=small(r), samples=small(r)),
    "Drift": lambda r: ao.Drift(small(r), r.choice([lambda ops, w: -w, odd(r, 1)]), metric=odd(r, 2), noise=None),
    "Lagrangian": lambda r: ao.Lagrangian(small(r), odd(r, 1), bounds=r.choice([None, odd(r, 2)])),
    "load": lambda r: r.choice([ao.Trajectory.load, ao.GeometricPath.load, ao.Descent.load, ao.load_problem])(
        r.choice(["", ".", "/dev/null", "/dev/zero", "/proc/self/mem", "no\udcff", "x" * 5000, "a\x00b", "~"])
    ),
}  # fmt: skip
FLOW = ao.flow(LINE, horizon=0.5, steps=2)


@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str) -> None:
    seed = random.SystemRandom().randrange(10**6) if os.environ.get("ACTIONOPT_RANDOM") else 20261125
    answered = refused = silent = 0
    for k in range(-(-COUNT // len(CALLS))):
        rng = random.Random(f"{name} {seed} {k}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                CALLS[name](rng)
                answered += 1
            except (ao.InputError, ao.SolverError) as error:
                refused += len(str(error)) > 10
                silent += len(str(error)) <= 10
            except Exception as error:
                raise AssertionError(f"{name}, seed {seed}, call {k}: {error!r}") from error
    assert refused > 0
    assert silent == 0
    assert answered + refused >= COUNT // len(CALLS)
