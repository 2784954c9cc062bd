"""The time scale of a problem: known rates, starts at rest, steps that resolve."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from actionopt.report.scale import at_rest, resolved_flow, settled, settling_time
from problems import robot_arm


def bowl(rate: float) -> ao.Problem:
    """A quadratic well whose flow decays like exp(-rate t)."""
    return ao.Problem(ao.Parameter(2), None, [[0.0, 0.0]], ao.SquaredError(), output_metric=None, mass=1.0 / rate)


@pytest.mark.parametrize("rate", [0.01, 1.0, 300.0])
def test_settling_time_goes_with_the_rate(rate: float) -> None:
    """Dissipation falls to a thousandth at t = log(1000) / (2 rate) = 3.5 / rate; spans double and are rounded."""
    assert 3.0 / rate <= settling_time(bowl(rate), np.array([3.0, -1.0])) <= 8.0 / rate


@pytest.mark.parametrize("units", [1e-12, 1e-6, 1e6, 1e10])
def test_nothing_has_units(units: float) -> None:
    """Loss and mass times c leave the flow as it is; so the time scale, and what counts as rest."""

    def build(c: float) -> ao.Problem:
        loss = ao.CustomLoss(lambda ops, y, target: c * ops.sum(0.25 * y**4 - 0.5 * y * y + 0.3))
        return ao.Problem(ao.Parameter(1), None, None, loss, output_metric=None, mass=c)

    start = np.array([0.2])
    assert settling_time(build(units), start) == settling_time(build(1.0), start)
    assert not at_rest(build(units), start)
    assert at_rest(build(units), np.array([1.0 + 1e-9]))
    found, _ = resolved_flow(build(units), start, 8.0)
    np.testing.assert_allclose(found.weights, resolved_flow(build(1.0), start, 8.0)[0].weights, rtol=1e-9)


@pytest.mark.parametrize("size", [1e-8, 1e-3, 1e8])
def test_weights_may_be_of_any_size(size: float) -> None:
    assert settling_time(bowl(1.0), size * np.array([3.0, -1.0])) == settling_time(bowl(1.0), np.array([3.0, -1.0]))


def test_slowed_is_not_settled() -> None:
    """The robot arm goes on losing energy on a slow manifold: .035 at T = 6, 1.7e-4 at T = 600."""
    problem = robot_arm.build()
    start = problem.initial_weights(0)
    horizon = settling_time(problem, start)
    found, _ = resolved_flow(problem, start, horizon)
    assert found.energy is not None
    assert found.energy[-1] > 1e-2
    assert not settled(problem, found)
    still, _ = resolved_flow(bowl(1.0), np.array([3.0, -1.0]), 10.0)
    assert settled(bowl(1.0), still)


def test_stiff_flow_has_a_time_scale_at_once() -> None:
    """Rates from 1 to 1e6: implicit steps over spans that double, where explicit ones would need 1e7."""
    loss = ao.CustomLoss(lambda ops, y, target: 0.5 * ops.sum(ops.row(np.array([1.0, 1e3, 1e6])) * y * y))
    stiff = ao.Problem(ao.Parameter(3), None, None, loss, output_metric=None)
    assert settling_time(stiff, np.ones(3)) < 1e-4
    assert settling_time(stiff, np.array([1.0, 0.0, 0.0])) < 10.0


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
    start = np.array([3.0, -1.0])
    coarse, _ = resolved_flow(bowl(100.0), start, 4.0, steps=20)
    assert (coarse.stats["method"], coarse.status) == ("radau5", "underresolved")
    found, _ = resolved_flow(bowl(1e4), start, 4.0)
    assert found.stats["method"] == "radau5"
    assert found.success
