"""The Eyring-Kramers rate: against exact passage times on a line, in two dimensions, and where it does not hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid, trapezoid

import actionopt as ao
from tests.paths.reference import SYSTEMS, bent, well


def passage_time(eps: float) -> float:
    """Mean time from -1 to 1 in the double well: `2/eps int exp(2 V/eps) int exp(-2 V/eps)`."""
    x = np.linspace(-3.0, 1.0, 200_001)
    exponent = 2 * (x**4 / 4 - x**2 / 2) / eps
    below = cumulative_trapezoid(np.exp(-exponent - 0.5 / eps), x, initial=0.0)
    inside = x >= -1.0
    return float(2 / eps * np.exp(0.5 / eps) * trapezoid(np.exp(exponent[inside]) * below[inside], x[inside]))


def test_rate_tends_to_the_inverse_passage_time() -> None:
    what = ao.Drift(1, well)
    path = ao.least_action_path(what, [-1.0], [1.0])
    errors = [abs(ao.eyring_kramers_rate(what, path, eps) * passage_time(eps) - 1) for eps in (0.04, 0.02, 0.01)]
    assert errors[2] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.3)  # the law's own error is of the order of eps
    assert errors[1] / errors[2] == pytest.approx(2.0, abs=0.2)


def test_prefactor_in_two_dimensions_by_hand() -> None:
    """V = (u^2 - 1)^2/4 + 2 (v - 1 + u^2)^2: Hessians at the minimum and the saddle by hand."""
    known = SYSTEMS["bent well"]
    rate = ao.eyring_kramers_rate(known.what(), ao.least_action_path(known.what(), known.start, known.end), 0.1)
    bottom, saddle = np.array([[18.0, -8.0], [-8.0, 4.0]]), np.array([[-1.0, 0.0], [0.0, 4.0]])
    prefactor = np.sqrt(np.linalg.det(bottom) / abs(np.linalg.det(saddle))) / (2 * np.pi)
    assert rate == pytest.approx(prefactor * np.exp(-5.0), rel=1e-6)


@pytest.mark.parametrize(
    ("what", "eps", "message"),
    [
        (ao.Drift(2, bent(1.0)), 0.1, "holds for gradient flows"),
        (ao.Drift(2, bent(0.0), noise=lambda ops, w: 1.0 + 0.0 * ops.columns(w)[0]), 0.1, "depends on the state"),
        (ao.Drift(2, bent(0.0)), 0.0, "eps must be"),
    ],
)
def test_where_it_does_not_hold(what: Any, eps: float, message: str) -> None:
    path = ao.least_action_path(what, [-1.0, 0.0], [1.0, 0.0], elements=(10, 20))
    with pytest.raises(ao.InputError, match=message):
        ao.eyring_kramers_rate(what, path, eps)


def test_paths_without_a_saddle_have_no_rate() -> None:
    what = ao.Drift(1, lambda ops, x: -x)
    path = ao.least_action_path(what, [0.0], [1.0], elements=(5, 10))
    with pytest.raises(ao.InputError, match="from an attractor to a saddle"):
        ao.eyring_kramers_rate(what, path, 0.1)
