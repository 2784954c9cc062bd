"""The second variation: known eigenvalues, its dense twin, saddles that are left, actions without a minimum."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigh

import actionopt as ao
from actionopt.action.discrete import DiscreteAction
from actionopt.action.newton.solve import make_density
from actionopt.action.scheme import make_grid, make_scheme
from actionopt.action.second_variation import _assembled, _matrix_free, lowest_mode
from actionopt.action.task import make_task
from tests.action.cases import squared


def oscillator() -> ao.Lagrangian:
    return ao.Lagrangian(1, lambda ops, w, v: 0.5 * ops.sum(v * v - w * w), name="oscillator")


def sine(horizon: float, steps: int = 100) -> tuple[DiscreteAction, np.ndarray]:
    """The oscillator's extremal from 0 to 1."""
    task = make_task(oscillator(), [0.0], [1.0], make_scheme("gauss2", make_grid(horizon, steps)))
    return DiscreteAction(make_density(task), task), np.sin(task.scheme.points)[:, None] / np.sin(horizon)


@pytest.mark.parametrize("horizon", [0.5, 2.0, 3.1, 3.2, 6.0, 30.0])
def test_lowest_eigenvalue_of_the_oscillator(horizon: float) -> None:
    """`1 - (T / pi)^2`: a minimum up to half a period, a saddle beyond."""
    action, points = sine(horizon)
    for mode in (_assembled(action.at(points)), _matrix_free(action.at(points.copy()))):
        assert mode is not None
        assert mode.value == pytest.approx(1.0 - (horizon / np.pi) ** 2, rel=1e-5, abs=1e-6)
        assert mode.is_minimum == (horizon < np.pi)


@pytest.mark.parametrize("end", ["fixed", "free", "partly"])
@pytest.mark.parametrize("kind", ["lagrangian", "end cost", "problem"])
def test_lowest_mode_against_a_dense_pencil(kind: str, end: str, rng: np.random.Generator) -> None:
    what = {
        "lagrangian": ao.Drift(2, lambda ops, w: w - w * w * w, metric=[[2.0, 0.3], [0.3, 1.0]]),
        "end cost": ao.Lagrangian(
            2,
            lambda ops, w, v: ops.sum((1.0 + w * w) * v * v - w * w),
            end_cost=lambda ops, w: -ops.sum(w * w * w * w),
        ),
        "problem": squared(),
    }[kind]
    n = what.size
    last = {"fixed": np.full(n, 0.7), "free": None, "partly": np.where(np.arange(n) % 2, np.nan, 0.7)}[end]
    task = make_task(what, np.full(n, -0.2), last, make_scheme("midpoint", np.array([0.0, 0.4, 0.7, 1.5])))
    action = DiscreteAction(make_density(task), task)
    point = action.at(0.5 * rng.standard_normal(action.free.shape))
    free = np.flatnonzero(action.free)
    units = np.eye(action.free.size)[free].reshape(-1, *action.free.shape)
    hessian = np.stack([point.product(unit) for unit in units]).reshape(len(free), -1)[:, free]

    def inertia(unit: np.ndarray) -> np.ndarray:
        velocity = action.scheme.velocity @ unit
        return action.gather(np.zeros_like(velocity), point.expansion.product(np.zeros_like(velocity), velocity)[1])

    kinetic = np.stack([inertia(unit) for unit in units]).reshape(len(free), -1)[:, free]
    values, vectors = eigh(hessian, kinetic)
    mode = lowest_mode(point)
    assert mode is not None
    if kind == "problem" and end != "free":
        # the preconditioner of the matrix-free way is the kinetic part only up to how the metric varies in time
        assert np.sign(mode.value) == np.sign(values[0])
        return
    assert mode.value == pytest.approx(values[0], rel=1e-5)
    along = mode.direction.ravel()[free]
    assert abs(along @ kinetic @ vectors[:, 0]) == pytest.approx(np.sqrt(along @ kinetic @ along), rel=1e-3)


@pytest.mark.parametrize("solver", ["newton", "ipopt", "fatrop"])
@pytest.mark.parametrize("ends", [(0.0, 1.0), (0.0, 0.0)])
def test_oscillator_beyond_half_its_period_has_no_minimum(ends: tuple[float, float], solver: str) -> None:
    found = ao.minimize_action(oscillator(), [ends[0]], [ends[1]], horizon=4.0, steps=40, solver=solver, throw=False)
    assert not found.success
    assert found.status == "unbounded"
    below = ao.minimize_action(oscillator(), [ends[0]], [ends[1]], horizon=3.0, steps=40, solver=solver)
    assert below.is_minimum is True
    assert below.lowest_eigenvalue == pytest.approx(1.0 - (3.0 / np.pi) ** 2, abs=5e-3)


def test_symmetric_saddle_is_left_without_a_guess_and_named_with_one() -> None:
    """A double-well potential upside down: resting on the ridge is stationary, rolling off it is cheaper."""
    ridge = ao.Lagrangian(1, lambda ops, w, v: ops.sum(0.5 * v * v - w * w + 0.1 * w * w * w * w), name="ridge")
    left = ao.minimize_action(ridge, [0.0], [0.0], horizon=6.0, steps=40)
    assert left.action < -1.0
    assert left.is_minimum is True
    assert left.stats["escapes"] >= 1
    with pytest.raises(ao.SolverError, match=r"a saddle of the action, not a minimum \(lowest eigenvalue") as caught:
        ao.minimize_action(ridge, [0.0], [0.0], horizon=6.0, steps=40, guess="line")
    assert caught.value.result.status == "saddle"
    assert caught.value.result.is_minimum is False


def test_problems_are_looked_at_on_request() -> None:
    problem = squared()
    ends = problem.initial_weights(2), problem.initial_weights(3)
    plain = ao.minimize_action(problem, *ends, horizon=1.0, steps=10)
    assert (plain.lowest_eigenvalue, plain.is_minimum) == (None, None)
    looked = ao.minimize_action(problem, *ends, horizon=1.0, steps=10, second_order=True)
    assert looked.is_minimum is True
    assert "a local minimum (lowest eigenvalue of the second variation" in looked.message
