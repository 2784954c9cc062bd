"""The flow by every method: orders, certificates, and how it stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm

import actionopt as ao
from actionopt.action.flow import SOLVE_IVP, flow_velocity
from tests.action.cases import PROBLEMS, squared
from tests.action.naive import NaiveFlow
from tests.systems import Gain

METHODS = ("implicit_midpoint", "gauss2", "radau3", "radau5", "euler", "rk4", *SOLVE_IVP)
ORDERS = {"euler": 1.0, "implicit_midpoint": 2.0, "rk4": 4.0, "gauss2": 4.0, "radau3": 3.0, "radau5": 5.0}


def least_squares(mass: Any = 0.5) -> ao.Problem:
    """Linear least squares: the Hessian is constant, and so is the metric."""
    inputs = np.random.default_rng(5).standard_normal((6, 2))
    targets = inputs @ [[1.0], [-2.0]] + 0.3
    return ao.Problem([ao.Dense(2, 1)], inputs, targets, ao.SquaredError(), mass=mass)


def exact(problem: ao.Problem, w0: np.ndarray, horizon: float) -> np.ndarray:
    """`w(T) = w* + expm(-G^{-1} H T) (w0 - w*)`."""
    design = np.column_stack([problem.inputs, np.ones(problem.samples)])
    hessian = design.T @ design / problem.samples
    best = np.linalg.lstsq(design, problem.target_array[:, 0], rcond=None)[0]
    metric = NaiveFlow(problem, "layerwise").at(w0)[1]
    return best + expm(-np.linalg.solve(metric, hessian) * horizon) @ (w0 - best)


@pytest.mark.parametrize("method", METHODS)
def test_linear_least_squares_in_closed_form(method: str) -> None:
    problem = least_squares()
    w0 = np.array([2.0, 1.0, -1.0])
    found = ao.flow(problem, w0, horizon=2.0, steps=64, method=method, tol=1e-10)
    assert found.success
    tolerance = {"euler": 2e-2, "implicit_midpoint": 2e-4}.get(method, 1e-7)
    np.testing.assert_allclose(found.weights[-1], exact(problem, w0, 2.0), atol=tolerance)
    assert (np.diff(found.energy) < 0).all()


@pytest.mark.parametrize(("method", "order"), ORDERS.items())
def test_orders(method: str, order: float) -> None:
    problem, w0 = least_squares(), np.array([2.0, 1.0, -1.0])
    reference = exact(problem, w0, 2.0)
    errors = [
        abs(ao.flow(problem, w0, horizon=2.0, steps=steps, method=method).weights[-1] - reference).max()
        for steps in (8, 16, 32)
    ]
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert slopes[-1] == pytest.approx(order, abs=0.15)


def stiff(curvatures: Any = (1e-4, 1.0, 1e3, 1e6)) -> ao.Problem:
    """`1/2 sum h_i w_i^2`, whose flow is `w_i(t) = exp(-h_i t) w_i(0)`."""
    h = np.array(curvatures)
    loss = ao.CustomLoss(lambda ops, y, target: 0.5 * ops.sum(ops.row(h) * y * y))
    return ao.Problem(ao.Parameter(len(h)), None, None, loss, output_metric=None)


@pytest.mark.parametrize("method", ["radau3", "radau5"])
def test_fast_modes_are_gone_after_a_step_of_an_l_stable_method(method: str) -> None:
    found = ao.flow(stiff(), np.ones(4), horizon=10.0, steps=100, method=method)
    np.testing.assert_allclose(found.weights[-1], [np.exp(-1e-3), np.exp(-10.0), 0.0, 0.0], atol=1e-7)
    assert found.energy is not None
    assert found.energy[-1] == pytest.approx(0.5e-4 * np.exp(-2e-3), rel=1e-4)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("metric", ["layerwise", "joint", "euclidean"])
def test_velocity_against_the_dense_metric(name: str, metric: str, rng: np.random.Generator) -> None:
    problem = PROBLEMS[name]()
    velocity, naive = flow_velocity(problem, metric), NaiveFlow(problem, metric)
    w = rng.standard_normal((3, problem.size))
    for one, together in zip(w, velocity(w), strict=True):
        g, dense = naive.at(one)
        np.testing.assert_allclose(velocity(one), -np.linalg.solve(dense, g), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(together, velocity(one), rtol=1e-12, atol=1e-14)


def test_certificate_tells_exact_flows_from_inexact_ones() -> None:
    problem = squared()
    actions = {
        method: ao.flow(problem, horizon=2.0, steps=40, method=method).action
        for method in ("implicit_midpoint", "gauss2", "rk4", "euler")
    }
    assert actions["implicit_midpoint"] < 1e-26
    assert actions["gauss2"] < 1e-26
    assert actions["implicit_midpoint"] < actions["rk4"] < actions["euler"]


def test_euler_is_the_layerwise_step() -> None:
    problem = squared()
    w0 = problem.initial_weights()
    flowed = ao.flow(problem, w0, horizon=0.2, steps=2, method="euler")
    np.testing.assert_allclose(flowed.weights[1], ao.step(problem, w0, 0.1), rtol=1e-9)


def test_rounding_is_no_failure() -> None:
    """Where the energy has fallen far, residuals of 1e-13 of the gradient at the start are rounding."""
    corners = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    modules = [ao.Dense(2, 3), Gain(), ao.Dense(3, 1)]
    problem = ao.Problem(modules, corners, [-1.0, 1.0, 1.0, -1.0], ao.SquaredError(), mass=0.1)
    start = problem.initial_weights(20)
    trajectory = ao.flow(problem, start, horizon=5.0, steps=100)
    assert trajectory.action < 1e-26
    below_rounding = ao.flow(problem, start, horizon=5.0, steps=100, tol=1e-18)
    np.testing.assert_allclose(below_rounding.weights, trajectory.weights, rtol=0, atol=1e-12)


def test_given_nodes_and_default_start() -> None:
    problem, times = squared(), [0.0, 0.1, 0.4]
    flowed = ao.flow(problem, times=times)
    np.testing.assert_array_equal(flowed.times, times)
    np.testing.assert_array_equal(flowed.weights[0], problem.initial_weights())


def test_divergence_is_a_status_and_keeps_what_was_reached() -> None:
    problem, w0 = least_squares(mass=1e-3), np.array([2.0, 1.0, -1.0])
    arguments: dict[str, Any] = {"horizon": 1e5, "steps": 400, "method": "euler", "metric": "euclidean"}
    with pytest.raises(ao.SolverError, match=r"the flow stopped at t = .*not finite.*L-stable method") as caught:
        ao.flow(problem, w0, **arguments)
    kept = ao.flow(problem, w0, **arguments, throw=False)
    assert (kept.success, kept.status) == (False, "diverged")
    assert np.isfinite(kept.weights).all()
    assert 1 <= len(kept.times) - 1 < 400
    np.testing.assert_array_equal(kept.weights, caught.value.result.weights)


@pytest.mark.parametrize("method", ["implicit_midpoint", "gauss2", "rk4"])
def test_interrupt_is_a_status_and_keeps_what_was_reached(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter(range(4))

    @contextmanager
    def impatient(*_: object) -> Iterator[Callable[[], None]]:
        def tick() -> None:
            if next(steps) == 3:
                raise KeyboardInterrupt

        yield tick

    monkeypatch.setattr("actionopt.action.flow.progress_bar", impatient)
    problem = squared()
    kept = ao.flow(problem, horizon=1.0, steps=10, method=method, throw=False)
    assert (kept.status, kept.success) == ("interrupted", False)
    assert "this is the flow so far" in kept.message
    assert 0.3 - 1e-12 <= kept.times[-1] <= 0.4 + 1e-12
    monkeypatch.undo()
    whole = ao.flow(problem, horizon=1.0, steps=10, method=method)
    np.testing.assert_allclose(kept.weights, whole.weights[: len(kept.times)], atol=1e-12)


def test_interrupt_before_the_first_step_has_nothing_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("actionopt.action.march._StageSolver.solve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ao.flow(squared(), horizon=1.0, steps=3)
    with pytest.raises(KeyboardInterrupt):
        ao.minimize_action(squared(), squared().initial_weights(), horizon=1.0, steps=3)


def test_progress_bar_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    ao.flow(squared(), horizon=0.5, steps=5, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "flow" in err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "RK54"}, "unknown method 'RK54'; did you mean 'RK45'"),
        ({"metric": "layers"}, "unknown metric 'layers'; did you mean 'layerwise'"),
        ({"horizon": None}, "horizon or times must be given"),
        ({"steps": -3}, "steps must be a whole number >= 1, got -3"),
        ({"tol": np.inf}, "tol must be a positive, finite number, got inf"),
        ({"tol": 0.0}, "tol must be a positive, finite number, got 0.0"),
        ({"tol": np.nan}, "tol must be a positive, finite number, got nan"),
        ({"w0": np.zeros(3)}, r"w0 must have length 17, got shape \(3,\)"),
        ({"w0": np.full(17, np.nan)}, "w0 must be finite"),
        ({"w0": np.zeros((2, 2, 17))}, r"w0 must be one point \(17,\), or many \(S, 17\), got shape \(2, 2, 17\)"),
    ],
)
def test_rejections(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.flow(squared(), **{"horizon": 1.0, "steps": 10, **changes})


class Exponential(ao.Module):
    in_size, out_size, weight_size = 1, 1, 1

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return ops.exp(ops.unpack(w, (1,)) * z)


@pytest.mark.parametrize("method", ["radau5", "implicit_midpoint", "gauss2", "euler", "Radau"])
@pytest.mark.parametrize("start", [400.0, 355.0])  # the energy overflows, or only its derivatives
def test_a_start_that_overflows_is_named(method: str, start: float, tmp_path: Path) -> None:
    problem = ao.Problem(Exponential(), [[1.0], [1.999]], [[0.0], [0.0]], ao.SquaredError())
    with pytest.raises(ao.SolverError, match=r"the flow did not take its first step: .*Take more steps"):
        ao.flow(problem, [start], horizon=1.0, steps=3, method=method)
    kept = ao.flow(problem, [start], horizon=1.0, steps=3, method=method, throw=False)
    assert (kept.success, kept.status, kept.distance) == (False, "diverged", None)
    np.testing.assert_array_equal(kept.weights, [[start]])
    assert (kept.action, kept.hamiltonian.shape, kept.velocities.shape) == (0.0, (0,), (0, 1))
    assert ao.Trajectory.load(kept.save(tmp_path / "kept.npz")).message == kept.message
    with pytest.raises(ao.InputError, match="the Lagrangian is not finite at the guess"):
        ao.minimize_action(problem, [start], horizon=1.0, steps=3)
