"""Flows from many starts: each the flow it would be alone, whatever happens to the others."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import actionopt as ao
from actionopt.action.ensemble import follow, march
from actionopt.action.flow import METHODS
from actionopt.metric.kinds import METRICS
from tests.networks import NETWORKS
from tests.systems import system

FIXED = ("radau5", "radau3", "gauss2", "implicit_midpoint", "euler", "rk4")


def small(activation: str = "tanh", **options: float) -> ao.Problem:
    x = np.linspace(-1.0, 1.0, 7)
    layers = [ao.Dense(1, 3, activation), ao.Dense(3, 1)]
    return ao.Problem(layers, x, np.sin(3.0 * x), ao.SquaredError(), mass=0.3, **options)


def starts(problem: ao.Problem, count: int = 4) -> np.ndarray:
    return np.stack([problem.initial_weights(seed) for seed in range(count)])


def assert_as_alone(problem: ao.Problem, w: np.ndarray, runs: ao.Ensemble, **options: object) -> None:
    """Compare every run with the flow from its own start."""
    assert len(runs) == len(w)
    for start, run in zip(w, runs, strict=True):
        one = ao.flow(problem, start, throw=False, **options)
        assert (one.status, one.scheme) == (run.status, run.scheme)
        np.testing.assert_array_equal(one.times, run.times)
        scale = abs(one.points).max()
        np.testing.assert_allclose(run.points, one.points, rtol=0.0, atol=1e-12 * scale)
        np.testing.assert_allclose(run.energy, one.energy, rtol=1e-11, atol=1e-13)
        for name in ("momenta", "node_momenta", "action_density"):
            np.testing.assert_allclose(getattr(run, name), getattr(one, name), rtol=1e-9, atol=1e-11)
        if one.distance is not None:  # of rounding, where the equations are solved to it
            np.testing.assert_allclose(run.distance, one.distance, rtol=1e-2, atol=1e-10 * scale)


@pytest.mark.parametrize("method", FIXED)
@pytest.mark.parametrize("metric", METRICS)
def test_each_run_is_the_flow_from_its_start(method: str, metric: str) -> None:
    problem = small(weight_decay=0.01)
    w, options = starts(problem), {"horizon": 2.0, "steps": 8, "method": method, "metric": metric}
    runs = ao.flow(problem, w, **options)
    assert isinstance(runs, ao.Ensemble)
    assert isinstance(runs, list)
    assert_as_alone(problem, w, runs, **options)


@pytest.mark.parametrize("name", ["recurrent", "two heads", "prior", "residual", "user"])
def test_networks(name: str) -> None:
    problem = NETWORKS[name] if name in NETWORKS else system(name)
    for method in ("radau5", "rk4"):
        options = {"horizon": 0.3, "steps": 4, "method": method, "certify": False}
        assert_as_alone(problem, starts(problem, 3), ao.flow(problem, starts(problem, 3), **options), **options)


@pytest.mark.parametrize("size", [4, 40])  # certified by matrices, and by a few products
def test_certificates_are_those_of_each(size: int) -> None:
    x = np.linspace(-1.0, 1.0, 5)
    problem = ao.Problem([ao.Dense(1, size, "tanh"), ao.Dense(size, 1)], x, np.cos(x), ao.SquaredError())
    w, options = starts(problem, 3), {"horizon": 2.0, "steps": 15, "method": "euler"}
    for start, run in zip(w, ao.flow(problem, w, **options), strict=True):
        one = ao.flow(problem, start, **options)
        np.testing.assert_allclose(run.distance, one.distance, rtol=1e-9)
        np.testing.assert_allclose(run.step_certificates, one.step_certificates, rtol=1e-9)
        assert run.message == one.message


@pytest.mark.parametrize("method", ["radau5", "implicit_midpoint"])
def test_kinks_are_crossed_by_each_alone(method: str) -> None:
    problem = small("relu")
    w, options = starts(problem, 2), {"horizon": 1.0, "steps": 4, "method": method, "certify": False}
    runs = ao.flow(problem, w, **options)
    assert any(run.stats.get("in_parts") for run in runs)
    for run, start in zip(runs, w, strict=True):
        assert run.stats.get("in_parts") == ao.flow(problem, start, **options).stats.get("in_parts")
    assert_as_alone(problem, w, runs, **options)


@pytest.mark.parametrize("method", ["euler", "rk4", "radau5"])
def test_a_run_that_diverges_leaves_the_others(method: str) -> None:
    problem = ao.Problem(ao.Parameter(1), None, None, ao.CustomLoss(lambda ops, y, _: -(ops.columns(y)[0] ** 4)))
    w, options = np.array([[0.1], [3.0], [0.2]]), {"horizon": 1.0, "steps": 10, "method": method}
    runs = ao.flow(problem, w, metric="euclidean", **options)
    assert [index for index, status in enumerate(runs.statuses) if status == "diverged"] == [1]
    assert 1 in runs.failed
    assert not runs.success
    assert np.isnan(runs.weights[1, -1]).all()
    assert np.isfinite(runs.weights[[0, 2]]).all()
    assert_as_alone(problem, w, runs, metric="euclidean", **options)
    with pytest.raises(ao.SolverError, match=r"none of 1 flows reached its horizon; the first: the flow") as caught:
        ao.flow(problem, w[1:2], metric="euclidean", **options)
    assert caught.value.result.statuses == ["diverged"]
    assert ao.flow(problem, w[1:2], metric="euclidean", throw=False, **options).statuses == ["diverged"]


def test_adaptive_methods_and_manifolds_run_one_by_one() -> None:
    problem = small()
    w, options = starts(problem, 2), {"horizon": 1.0, "steps": 4, "method": "RK45", "tol": 1e-8}
    assert_as_alone(problem, w, ao.flow(problem, w, **options), **options)
    spheres = {"method": "euler", "manifolds": [ao.Ball(problem.modules[0], radius=2.0)], "horizon": 0.5, "steps": 3}
    assert_as_alone(problem, w, ao.flow(problem, w, **spheres), **spheres)


def test_large_systems_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actionopt.action.ensemble.flows.DENSE_LIMIT", 3)
    monkeypatch.setattr("actionopt.metric.batched.STACK_WORK", 1.0)
    for name in ("march_all", "follow_all"):
        monkeypatch.setattr(f"actionopt.action.ensemble.flows.{name}", None)
    problem = small()
    for method in ("radau5", "rk4"):
        options = {"horizon": 0.5, "steps": 2, "method": method}
        assert_as_alone(problem, starts(problem, 2), ao.flow(problem, starts(problem, 2), **options), **options)


def test_a_rate_and_uneven_times() -> None:
    problem = small()
    w, options = starts(problem, 3), {"times": [0.0, 0.1, 0.5, 0.6, 2.0], "rate": lambda t: 1.0 / (1.0 + t)}
    runs = ao.flow(problem, w, **options)
    assert_as_alone(problem, w, runs, **options)
    np.testing.assert_array_equal(runs[1].flow_times, ao.flow(problem, w[1], **options).flow_times)


def test_who_stands_beside_changes_nothing() -> None:
    problem = small()
    w = starts(problem, 6)
    all_of_them = ao.flow(problem, w, horizon=1.0, steps=6, method="rk4")
    np.testing.assert_array_equal(
        ao.flow(problem, w[2:4], horizon=1.0, steps=6, method="rk4").weights, all_of_them.weights[2:4]
    )


@pytest.mark.parametrize("method", ["rk4", "radau5", "DOP853"])
def test_interruption_keeps_what_there_is(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, calls = small(), 0
    place = {"rk4": follow, "radau5": march}.get(method)

    def counted(*args: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 30:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*args, **options)

    owner, name = (ao.Problem, "energy") if place is None or method == "rk4" else (march._Intervals, "residual")
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, counted)
    with pytest.raises(ao.SolverError, match=r"interrupted; \d of 3 flows") as caught:
        ao.flow(problem, starts(problem, 3), horizon=5.0, steps=50, method=method)
    runs = caught.value.result
    assert "interrupted" in runs.statuses or len(runs) < 3
    assert all(np.isfinite(run.points).all() for run in runs)


def test_what_an_ensemble_says() -> None:
    problem = small()
    runs = ao.flow(problem, starts(problem), horizon=2.0, steps=5)
    assert runs.weights.shape == (4, 6, problem.size)
    np.testing.assert_array_equal(runs.energy[2], runs[2].energy)
    assert runs.best is runs[int(np.argmin(runs.energy[:, -1]))]
    assert repr(runs) == "Ensemble(4 runs of 'problem', 5 steps to t = 2)"
    assert str(runs).splitlines()[0].split() == ["run", "energy", "distance", "status"]
    assert "<table>" in runs._repr_html_()
    ax = runs.plot()
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), np.median(runs.energy, axis=0))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time", "energy")


def test_no_starts_and_wrong_ones() -> None:
    problem = small()
    assert ao.flow(problem, np.zeros((0, problem.size)), horizon=1.0) == []
    with pytest.raises(ao.InputError, match="w0 must have length"):
        ao.flow(problem, np.zeros((2, 3)), horizon=1.0)
    with pytest.raises(ao.InputError, match=r"w0 must be one point \(10,\), or many \(S, 10\)"):
        ao.flow(problem, np.zeros((2, 2, problem.size)), horizon=1.0)


def test_fixed_methods_are_all_there_are() -> None:
    assert set(FIXED) < set(METHODS)
