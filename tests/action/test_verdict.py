"""No default call between given ends of a flow is wrong by much and says nothing of it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import actionopt as ao


def maier_stein(ops: Any, w: Any) -> Any:
    u, v = ops.columns(w)
    return ops.concatenate([u - u**3 - 10.0 * u * v * v, -(1.0 + u * u) * v])


def toggle(ops: Any, w: Any) -> Any:
    u, v = ops.columns(w)
    return ops.concatenate([3.0 / (1.0 + v * v) - u, 3.0 / (1.0 + u * u) - v])


def cycle(ops: Any, w: Any) -> Any:
    u, v = ops.columns(w)
    rest = 1.0 - u * u - v * v
    return ops.concatenate([u * rest - v, v * rest + u])


def stiff(ops: Any, w: Any) -> Any:
    u, v = ops.columns(w)
    return ops.concatenate([(u - u**3 - v) / 0.01, u - 3.0 * v])


HIGH, LOW = (3.0 + np.sqrt(5.0)) / 2.0, (3.0 - np.sqrt(5.0)) / 2.0
# drift, start, end, infimum over all horizons: two codes to ten digits, and a closed form for the cycle
SYSTEMS: dict[str, tuple[Any, list[float], list[float], float]] = {
    "maier-stein": (maier_stein, [-1.0, 0.0], [1.0, 0.0], 0.34004140333),
    "toggle": (toggle, [HIGH, LOW], [LOW, HIGH], 0.17675882043),
    "cycle in": (cycle, [1.0, 0.0], [0.4, 0.0], 0.3528),
    "cycle out": (cycle, [1.0, 0.0], [1.5, 0.0], 0.78125),
    "well": (lambda ops, w: w - w**3, [-1.0], [1.0], 0.5),
}


@pytest.mark.parametrize("horizon", [5.0, 10.0, 25.0])
@pytest.mark.parametrize("name", SYSTEMS)
def test_default_calls_are_right_or_not_converged(name: str, horizon: float) -> None:
    drift, start, end, infimum = SYSTEMS[name]
    found = ao.minimize_action(ao.Drift(len(start), drift), start, end, horizon=horizon, throw=False)
    assert not found.success or found.action == pytest.approx(infimum, rel=1e-2)


def test_a_horizon_that_is_too_short_is_named_with_the_way_out() -> None:
    drift, start, end, _ = SYSTEMS["toggle"]
    short = ao.minimize_action(ao.Drift(2, drift), start, end, horizon=10.0)  # it is the minimum that was asked for
    assert re.search(r"over the horizon 20 the action is 0\.2476.*least_action_path", short.message)
    assert (short.status, short.success) == ("horizon too short", False)
    assert short.stats["longer_action"] < 0.6 * short.action
    # a guess of one's own is not doubted, but the fall is told
    own = ao.minimize_action(ao.Drift(2, drift), start, end, horizon=10.0, guess="line")
    assert "the action still falls with the horizon" in own.message


def test_horizons_that_are_part_of_the_question_are_not_doubted() -> None:
    """A free particle, and a flow from where it does not rest."""
    particle = ao.Lagrangian(1, lambda ops, w, v: 0.5 * ops.sum(v * v))
    assert ao.minimize_action(particle, [0.0], [1.0], horizon=1.0).success
    decay = ao.Drift(1, lambda ops, w: -w)
    assert ao.minimize_action(decay, [1.0], [2.0], horizon=0.5).success


def test_a_grid_that_is_too_coarse_for_the_curve_is_said() -> None:
    start = np.array([np.sqrt(2.0 / 3.0), np.sqrt(2.0 / 27.0)])
    found = ao.minimize_action(ao.Drift(2, stiff), start, -start, horizon=20.0, steps=50, throw=False)
    assert not found.success
    if found.status == "underresolved":
        assert abs(found.stats["curve_action"] / found.action - 1.0) > 0.05


def test_brachistochrone_on_a_coarse_start_is_no_success() -> None:
    """The integrand is infinite in the start: the scheme's action is 12 % below the least time."""
    slide = ao.Lagrangian(1, lambda ops, w, v: ops.sum(ops.sqrt(1.0 + v * v) / ops.sqrt(2.0 * w)))
    found = ao.minimize_action(slide, [0.0], [1.0], horizon=1.0, steps=100, throw=False)
    assert found.status == "underresolved"
    assert found.stats["curve_action"] > 1.06 * found.action


def test_no_horizon_points_to_the_path_without_one() -> None:
    with pytest.raises(ao.InputError, match="least_action_path"):
        ao.minimize_action(ao.Drift(2, maier_stein), [-1, 0], [0, 0], horizon=None)
