"""The stability bound holds on flows where everything in it is known, and says what it is given wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import actionopt as ao


def test_values() -> None:
    assert ao.stability_bound(kappa=3.0, rate=0.5, mass=0.1, samples=100) == pytest.approx(2 * 9 / (100 * 0.5 * 0.1))
    weights = ao.stability_bound(kappa=3.0, rate=0.5, mass=0.1, samples=100, quantity="weights")
    assert weights == pytest.approx(2 * 3 / (100 * 0.5 * 0.1))
    short = ao.stability_bound(kappa=3.0, rate=0.5, mass=0.1, samples=100, horizon=1e-3, quantity="weights")
    assert short == pytest.approx(2 * 3 * 1e-3 / (100 * 0.1), rel=1e-3)
    assert isinstance(short, float)


def test_paper_order() -> None:
    order = ao.paper_stability_order(kappa=2.0, lipschitz=3.0, xi=4.0, mass=0.5, samples=[25, 100])
    np.testing.assert_allclose(order, [12 / (2 * 5), 12 / (2 * 10)])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_bound_is_attained(sign: float) -> None:
    """`loss = a w^2/2 - k x w` on one weight: two flows whose constant gradients differ by 2 kappa / n exactly."""
    n, a, k, mass, horizon = 10, 0.7, 2.0, 0.3, 1.5
    # w' = -(a w - k mean(x)) / mass, so the difference is (k dx / n) (1 - exp(-a t/mass)) / a with dx = 2
    difference = k * 2.0 / n * (1.0 - np.exp(-a * horizon / mass)) / a
    bound = ao.stability_bound(kappa=k, rate=a / mass, mass=mass, samples=n, horizon=horizon, quantity="weights")
    assert abs(sign * difference) == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": -0.5}, "rate must be positive and finite: the bound needs a flow that contracts, got -0.5"),
        ({"rate": 0.0}, "rate must be positive"),
        ({"kappa": -1.0}, "kappa must be positive"),
        ({"mass": np.nan}, "mass must be positive and finite, got nan"),
        ({"samples": 0}, "samples must be positive"),
        ({"samples": "many"}, "samples must be a number, got 'many'"),
        ({"horizon": -1.0}, "horizon must be positive"),
        ({"quantity": "los"}, "did you mean 'loss'"),
    ],
)
def test_rejections(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.stability_bound(**{"kappa": 1.0, "rate": 1.0, "mass": 1.0, "samples": 10, **change})


def test_paper_order_rejects() -> None:
    with pytest.raises(ao.InputError, match="xi must be positive"):
        ao.paper_stability_order(kappa=1.0, lipschitz=1.0, xi=0.0, mass=1.0, samples=10)
