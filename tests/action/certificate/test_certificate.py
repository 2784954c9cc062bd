"""The certificate of a flow: known distances, naive twins, honesty, and what it says of flows that are not resolved."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import expm

import actionopt as ao
from actionopt.action import flow as flows
from actionopt.action import minimize
from actionopt.action.certificate import certificate as certificates
from actionopt.action.certificate.certificate import certify_flow
from actionopt.action.certificate.hermite import HermiteCurve
from actionopt.action.certificate.linearised import LinearisedFlow, exponential
from actionopt.action.density.gradient_flow import GradientFlowDensity
from actionopt.contraction.displacement import displacement
from actionopt.metric.batched import METRICS, BatchedMetric
from problems import deep_linear, robot_arm, xor
from tests.action.cases import PROBLEMS, squared
from tests.action.test_flow import exact, least_squares, stiff


def test_hermite_pieces_give_polynomials_of_degree_five_back() -> None:
    times, local = np.array([0.0, 0.3, 1.0]), np.array([0.0, 0.2, 0.9, 1.0])
    laws = [np.polynomial.Polynomial(c) for c in np.random.default_rng(0).standard_normal((2, 6))]
    values = [np.stack([law.deriv(k)(times) if k else law(times) for law in laws], axis=-1) for k in range(3)]
    position, velocity = HermiteCurve(times, *values).at(local)
    at = times[:-1, None] + np.diff(times)[:, None] * local
    np.testing.assert_allclose(position, np.stack([law(at) for law in laws], axis=-1), atol=1e-13)
    np.testing.assert_allclose(velocity, np.stack([law.deriv()(at) for law in laws], axis=-1), atol=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("metric", METRICS)
def test_linearised_flow_against_the_pencil_of_contraction(name: str, metric: str) -> None:
    """`G phi' = -dc/dw` at each node, and Krylov products as the matrices'."""
    problem = PROBLEMS[name]()
    nodes = np.stack([problem.initial_weights(seed) for seed in (1, 2)])
    density = GradientFlowDensity(problem, metric)
    metrics, jacobians = LinearisedFlow(density.model, nodes).matrices()
    flow = LinearisedFlow(density.model, nodes)
    for k, w in enumerate(nodes):
        local = displacement(problem, w, metric)
        np.testing.assert_allclose(metrics[k], local.metric, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(local.metric @ jacobians[k], -local.momentum_jacobian, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(flow.velocities[k], local.velocity, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(flow.accelerations[k], jacobians[k] @ local.velocity, rtol=1e-8, atol=1e-10)


def test_exponential_against_scipy() -> None:
    matrices = np.random.default_rng(0).standard_normal((3, 4, 4)) * [[[0.1]], [[0.4]], [[-0.3]]]
    for matrix, approximate in zip(matrices, exponential(matrices), strict=True):
        np.testing.assert_allclose(approximate, expm(matrix), atol=3e-4)
    assert abs(exponential(np.diag([-1e6, -1e9])[None])).max() < 1e-5


@pytest.mark.parametrize("method", ["euler", "rk4", "implicit_midpoint", "gauss2", "radau3", "radau5"])
@pytest.mark.parametrize("steps", [8, 32])
def test_distance_where_the_flow_is_known(method: str, steps: int) -> None:
    """Linear least squares: the flow is a matrix exponential; errors obey the linearised flow exactly."""
    problem, w0 = least_squares(), np.array([2.0, 1.0, -1.0])
    found = ao.flow(problem, w0, horizon=2.0, steps=steps, method=method)
    true = np.stack([exact(problem, w0, t) for t in found.times])
    metric = BatchedMetric(problem, found.weights)
    distance = np.sqrt(((found.weights - true) * metric.product(found.weights - true)).sum(axis=1))
    assert found.distance is not None
    assert found.distance[0] == 0.0
    ratio = found.distance[1:] / distance[1:]
    assert ratio.min() >= 1.9
    assert ratio.max() <= 3.0


def test_certificate_is_of_order_ten_for_exact_nodes_and_never_negative() -> None:
    """The defect of quintic pieces is O(h^5), and the action is quadratic in it; exact nodes by the closed form."""
    problem, w0 = least_squares(), np.array([2.0, 1.0, -1.0])
    density = GradientFlowDensity(problem)

    def certificate(steps: int) -> float:
        times = np.linspace(0.0, 2.0, steps + 1)
        found = certify_flow(density, times, np.stack([exact(problem, w0, t) for t in times]))
        assert found.step_actions.min() >= 0.0
        return float(found.step_actions.sum())

    assert np.log2(certificate(4) / certificate(8)) == pytest.approx(10.0, abs=0.5)


def test_certificate_is_the_action_of_the_curve() -> None:
    """Against the naive sum: 40 points a step of 1/2 |w' + G^{-1} g|^2_G, with G dense and finite differences."""
    problem = squared()
    found = ao.flow(problem, problem.initial_weights(1), horizon=1.0, steps=4, method="euler")
    density = GradientFlowDensity(problem)
    flow = LinearisedFlow(density.model, found.weights)
    curve = HermiteCurve(found.times, found.weights, flow.velocities, flow.accelerations)
    local = (np.arange(40) + 0.5) / 40
    position, velocity = (x.reshape(-1, problem.size) for x in curve.at(local))
    total = 0.0
    for w, v in zip(position, velocity, strict=True):
        metric = ao.LayerMetric(problem, w)
        defect = v + np.linalg.solve(metric.dense(), problem.gradient(w))
        total += 0.5 * defect @ metric.dense() @ defect * 0.25 / 40
    assert found.certificate == pytest.approx(total, rel=2e-2)


def test_many_weights_are_carried_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Krylov products over some steps, for the matrices at every node."""
    problem = squared()
    found = ao.flow(problem, problem.initial_weights(1), horizon=2.0, steps=60, method="implicit_midpoint")
    monkeypatch.setattr(certificates, "DENSE_SIZE", 0)
    again = certify_flow(GradientFlowDensity(problem), found.times, found.weights)
    assert found.distance is not None
    np.testing.assert_allclose(again.distance[1:], found.distance[1:], rtol=0.15)


SYSTEMS = {"xor": (xor.build, 3.0), "robot arm": (robot_arm.build, 1.0), "deep linear": (deep_linear.build, 2.0)}


@pytest.mark.parametrize("name", SYSTEMS)
def test_estimate_is_honest_and_close(name: str) -> None:
    """Never below the true distance, and within a factor: `benchmarks/certificate.py` has the whole table."""
    build, horizon = SYSTEMS[name]
    problem = build()
    start = problem.initial_weights(0)
    reference = ao.flow(problem, start, horizon=horizon, steps=20, method="DOP853", tol=1e-12, certify=False).weights
    for method, factor in (("euler", 15.0), ("implicit_midpoint", 15.0), ("rk4", 100.0), ("gauss2", 100.0)):
        for steps in (5, 20):
            found = ao.flow(problem, start, horizon=horizon, steps=steps, method=method)
            off = found.weights - reference[:: 20 // steps]
            true = np.sqrt((off * BatchedMetric(problem, found.weights).product(off)).sum(axis=1))
            assert found.distance is not None
            assert (found.distance >= true).all(), (method, steps)
            assert found.distance.max() <= factor * true.max(), (method, steps)


@pytest.mark.parametrize("method", ["DOP853", "Radau"])
def test_adaptive_methods_are_certified_on_their_own_steps(method: str) -> None:
    problem = xor.build()
    found = ao.flow(problem, horizon=1.5, steps=3, method=method)
    assert found.distance is not None
    assert found.step_certificates is not None
    assert (found.distance.shape, found.step_certificates.shape) == ((4,), (3,))
    assert found.distance.max() < 1e-8


def test_discrete_action_is_blind_where_the_certificate_sees() -> None:
    """Ten midpoint steps of xor: the equations hold to rounding, and the flow is elsewhere."""
    problem = xor.build()
    found = ao.flow(problem, horizon=5.0, steps=10, method="implicit_midpoint")
    assert found.action < 1e-25
    assert found.certificate is not None
    assert found.certificate > 1e-4
    assert (found.status, found.success) == ("underresolved", False)
    assert "but is within" in found.message
    assert 'Take more steps or the default method, "radau5"' in found.message


@pytest.mark.parametrize("method", ["implicit_midpoint", "gauss2"])
def test_ringing_is_underresolved(method: str) -> None:
    """A-stable methods let modes ring that are much faster than a step; solved equations do not show it."""
    found = ao.flow(stiff(), np.ones(4), horizon=10.0, steps=100, method=method)
    assert found.energy is not None
    assert found.energy[-1] > 1e5
    assert abs(found.action) < 1e-15
    assert (found.status, found.success) == ("underresolved", False)


@pytest.mark.parametrize("method", ["Radau", "BDF"])
def test_stiff_flow_by_its_own_steps_is_right_and_certified(method: str) -> None:
    found = ao.flow(stiff(), np.ones(4), horizon=10.0, steps=20, method=method, tol=1e-9)
    assert found.status == "converged"
    assert found.energy is not None
    assert found.energy[-1] == pytest.approx(0.5e-4 * np.exp(-2e-3), rel=1e-4)
    assert found.distance is not None
    assert found.distance[-1] < 1e-4


def test_default_on_unscaled_features_is_right() -> None:
    """Linear regression whose features span three decades, against the matrix exponential."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((50, 3)) * [1.0, 100.0, 1000.0]
    targets = inputs @ [[1.0], [0.02], [0.003]] + 0.1 * rng.standard_normal((50, 1))
    problem = ao.Problem([ao.Dense(3, 1)], inputs, targets, ao.SquaredError(), output_metric=None)
    design = np.column_stack([inputs, np.ones(50)])
    hessian = design.T @ design / 50
    best = np.linalg.lstsq(design, targets[:, 0], rcond=None)[0]
    right = problem.energy(best + expm(-hessian * 5.0) @ (np.ones(4) - best))
    found = ao.flow(problem, np.ones(4), horizon=5.0)
    assert found.energy is not None
    assert found.energy[-1] == pytest.approx(right, rel=1e-2)


def test_certificate_is_saved_and_can_be_left_out(tmp_path: Path) -> None:
    problem = xor.build()
    found = ao.flow(problem, horizon=1.0, steps=5)
    loaded = ao.Trajectory.load(found.save(tmp_path / "flow.npz"))
    np.testing.assert_array_equal(loaded.distance, found.distance)
    assert loaded.certificate == found.certificate
    assert found.summary["distance_end"] == found.distance[-1]
    assert "of the true flow (certificate" in repr(loaded)
    plain = ao.flow(problem, horizon=1.0, steps=5, certify=False)
    assert (plain.distance, plain.certificate, plain.status) == (None, None, "converged")
    np.testing.assert_array_equal(plain.weights, found.weights)


def test_distance_is_unknown_where_nothing_is_finite() -> None:
    problem = squared()
    weights = np.stack([problem.initial_weights(0), np.full(problem.size, 1e200)])
    found = certify_flow(GradientFlowDensity(problem), np.array([0.0, 1.0]), weights)
    assert found.distance[-1] == np.inf
    assert not found.resolved


def test_free_minimisers_are_certified_as_the_flows_they_are() -> None:
    problem = squared()
    start = problem.initial_weights(2)
    least = ao.minimize_action(problem, start, horizon=1.0, steps=10)
    flowed = ao.flow(problem, start, horizon=1.0, steps=10, method="implicit_midpoint")
    np.testing.assert_allclose(least.distance, flowed.distance, rtol=1e-5)
    assert "as a flow it is within" in least.message
    assert ao.minimize_action(problem, start, problem.initial_weights(3), horizon=1.0, steps=10).distance is None


def test_a_free_minimiser_far_from_the_flow_is_underresolved() -> None:
    """Ten midpoint steps of xor: the least discrete action is zero to rounding, and the status tells."""
    found = ao.minimize_action(xor.build(), xor.build().initial_weights(0), horizon=5.0, steps=10)
    assert found.action < 1e-25
    assert (found.status, found.success) == ("underresolved", False)
    assert "Take more steps" in found.message


@pytest.fixture
def certified(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the certificates that are computed."""
    counted: list[int] = []

    def counting(*arguments: object, **options: object) -> certificates.FlowCertificate:
        counted.append(1)
        return certify_flow(*arguments, **options)  # type: ignore[arg-type]

    for module in (flows, minimize):
        monkeypatch.setattr(module, "certify_flow", counting)
    return counted


ASKED = ("status", "success", "message", "distance", "certificate", "step_certificates", "summary", "__repr__")


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("what", ["flow", "minimize_action"])
def test_nothing_that_needs_the_certificate_is_said_without_it(asked: str, what: str, certified: list[int]) -> None:
    problem = squared()
    found = getattr(ao, what)(problem, problem.initial_weights(1), horizon=1.0, steps=4)
    assert np.isfinite(found.weights).all()
    assert np.isfinite([found.action, found.balance_defect]).all()
    assert not certified
    value = getattr(found, asked)
    assert value() if callable(value) else value is not None
    assert found.distance.shape == (5,)
    assert "of the true flow" in found.message
    assert len(certified) == 1


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), dataclasses.replace]
)
def test_copies_carry_the_certificate(copied: Callable[[ao.Trajectory], ao.Trajectory], certified: list[int]) -> None:
    found = ao.flow(squared(), horizon=1.0, steps=4)
    other = copied(found)
    assert other.status == found.status
    np.testing.assert_array_equal(other.distance, found.distance)
    assert len(certified) == 1
    with pytest.raises(AttributeError, match="no attribute 'statuss'"):
        _ = found.statuss


def test_a_flow_that_stopped_says_so_at_once(certified: list[int]) -> None:
    found = ao.flow(stiff(), np.ones(4), horizon=10.0, steps=100, method="rk4", throw=False)
    assert (found.status, found.success) == ("diverged", False)
    assert not certified
    assert found.distance is not None
    assert len(certified) == 1
