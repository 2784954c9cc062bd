"""Flows whose rate changes in time: closed forms, and rates that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.action.clock import own_times
from problems import xor
from tests.action.test_flow import exact, least_squares

RATES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "decay": (lambda t: 1.0 / (1.0 + t), lambda t: float(np.log1p(t))),
    "cosine": (
        lambda t: 0.5 * (1.0 + np.cos(np.pi * t / 2.0)),
        lambda t: float(0.5 * t + np.sin(np.pi * t / 2.0) / np.pi),
    ),
    "drop": (lambda t: 2.0 if t < 0.77 else 0.1, lambda t: 2.0 * min(t, 0.77) + 0.1 * max(t - 0.77, 0.0)),
}


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("method", ["radau5", "rk4", "DOP853"])
def test_flow_is_the_plain_one_on_another_clock(name: str, method: str) -> None:
    rate, integral = RATES[name]
    problem, w0 = least_squares(), np.array([2.0, 1.0, -1.0])
    found = ao.flow(problem, w0, horizon=2.0, steps=40, method=method, rate=rate)
    np.testing.assert_allclose(found.times, np.linspace(0.0, 2.0, 41))
    np.testing.assert_allclose(found.flow_times, [integral(t) for t in found.times], atol=1e-9)
    right = np.stack([exact(problem, w0, integral(t)) for t in found.times])
    np.testing.assert_allclose(found.weights, right, atol=1e-6)
    assert found.distance is not None
    assert found.distance.max() < 1e-4
    assert found.balance_defect == pytest.approx(0.0, abs=1e-4)


def test_constant_rate_stretches_time(tmp_path: Path) -> None:
    problem = xor.build()
    plain = ao.flow(problem, horizon=2.0, steps=20)
    fast = ao.flow(problem, horizon=1.0, steps=20, rate=lambda t: 2.0)
    np.testing.assert_allclose(fast.weights, plain.weights, atol=1e-12)
    np.testing.assert_allclose(fast.distance, plain.distance, rtol=1e-3)
    np.testing.assert_allclose(fast.stage_times, 0.5 * plain.stage_times)
    np.testing.assert_allclose(fast.resample([0.5]), plain.resample([1.0]), atol=1e-12)
    np.testing.assert_array_equal(ao.Trajectory.load(fast.save(tmp_path / "f.npz")).flow_times, fast.flow_times)


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (2.0, "rate must be a function of the time"),
        (lambda t: -1.0, r"rate must be finite and >= 0, but rate\(.*\) is -1.0"),
        (lambda t: np.nan, "rate must be finite and >= 0"),
        (lambda t: "slow", "rate must give a number"),
        (lambda t: max(0.0, 0.5 - t), r"the rate is zero from t = 0.5 to 0.6, where nothing moves"),
    ],
)
def test_rates_that_are_refused(rate: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        own_times(rate, np.linspace(0.0, 1.0, 11))
