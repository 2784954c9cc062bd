"""The time scale of a problem: known rates, starts at rest, steps that resolve."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from actionopt.report.scale import resolved_flow, settling_time


def bowl(rate: float) -> ao.Problem:
    """A quadratic well whose flow decays like exp(-rate t)."""
    return ao.Problem(ao.Parameter(2), None, [[0.0, 0.0]], ao.SquaredError(), output_metric=None, mass=1.0 / rate)


@pytest.mark.parametrize("rate", [0.01, 1.0, 300.0])
def test_settling_time_goes_with_the_rate(rate: float) -> None:
    """Dissipation falls to a thousandth at t = log(1000) / (2 rate) = 3.5 / rate; spans double and are rounded."""
    assert 3.0 / rate <= settling_time(bowl(rate), np.array([3.0, -1.0])) <= 8.0 / rate


def test_start_at_rest_has_no_time_scale() -> None:
    with pytest.raises(
        ao.SolverError, match="the flow is stationary at its start and has no time scale: give a horizon"
    ):
        settling_time(bowl(1.0), np.zeros(2))


def test_steps_double_until_the_flow_is_resolved() -> None:
    found, change = resolved_flow(bowl(1.0), np.array([3.0, -1.0]), 4.0)
    assert change is not None
    assert change < 1e-3
    assert found.stats["method"] == "rk4"
    np.testing.assert_allclose(found.weights[-1], np.exp(-4.0) * np.array([3.0, -1.0]), atol=1e-4)


def test_given_steps_are_taken() -> None:
    found, change = resolved_flow(bowl(1.0), np.array([3.0, -1.0]), 4.0, steps=7)
    assert len(found.times) == 8
    assert change is None


def test_unstable_explicit_steps_give_way_to_implicit_ones() -> None:
    found, _ = resolved_flow(bowl(100.0), np.array([3.0, -1.0]), 4.0, steps=20)
    assert found.stats["method"] == "implicit_midpoint"
    assert found.success
