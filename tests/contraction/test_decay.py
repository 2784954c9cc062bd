"""Two trajectories: the decay of their distance is never slower than the rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm

import actionopt as ao

# (problem, options of build, seed, horizon, steps); every shipped problem that is a Problem is here
SHIPPED: list[tuple[str, dict[str, Any], float, int]] = [
    ("xor", {"width": 3}, 1.0, 40),
    ("linear_regression", {}, 3.0, 20),
    ("deep_linear", {}, 1.0, 30),
    ("teacher_student", {}, 0.5, 20),
    ("spirals", {"samples": 12}, 0.1, 4),
    ("iris", {"samples": 20}, 0.1, 4),
    ("digits", {"samples": 20, "hidden": 2}, 0.1, 4),
    ("robot_arm", {}, 0.2, 10),
    ("recurrent", {"steps": 4, "samples": 6, "width": 2}, 0.02, 10),
    ("tied_autoencoder", {}, 0.05, 20),
    ("two_heads", {"samples": 8, "width": 2}, 0.05, 10),
    ("neural_ode", {"steps": 4, "samples": 5}, 0.1, 10),
    ("network_minima", {}, 0.2, 10),
    ("pendulum", {"stages": 8}, 0.05, 10),
    ("double_well", {}, 1.0, 30),
    ("quadratic", {}, 2.0, 20),
    ("mueller_brown", {}, 0.002, 20),
    ("gene_cascade", {}, 1.0, 16),
    ("reaction_chain", {}, 0.2, 20),
    ("neural_ode", {}, 0.5, 20),
    ("recurrent", {}, 0.05, 8),
    ("tied_autoencoder", {}, 0.1, 20),
    ("two_heads", {}, 0.2, 10),
    ("network_minima", {}, 0.2, 20),
]


@pytest.mark.parametrize(("name", "options", "horizon", "steps"), SHIPPED, ids=[row[0] for row in SHIPPED])
@pytest.mark.parametrize("metric", ["layerwise", "euclidean"])
def test_never_slower_than_the_rate(
    name: str, options: dict[str, Any], horizon: float, steps: int, metric: str
) -> None:
    problem = ao.load_problem(f"problems/{name}.py", **options)
    decay = ao.check_decay(problem, horizon=horizon, steps=steps, metric=metric)
    assert decay.ok, decay.message
    assert decay.status == "holds"
    assert len(decay.times) > steps // 2
    assert decay.tolerance.max() < 0.02
    # the start separates the two along the direction that contracts least, so that the check has teeth there
    first = np.log(decay.distances[0] / decay.distances[1]) / decay.times[1]
    assert first == pytest.approx(decay.rates[:2].mean(), rel=0.1, abs=0.1 * abs(decay.rates).max())


def test_every_shipped_problem_is_listed() -> None:
    from pathlib import Path

    missing = []
    for path in sorted(Path("problems").glob("[a-z]*.py")):
        if path.stem not in [row[0] for row in SHIPPED] and type(ao.load_problem(path)) is ao.Problem:
            missing.append(path.stem)
    assert not missing


def quadratic() -> tuple[ao.Problem, np.ndarray]:
    hessian = np.array([[2.0, 0.5], [0.5, 1.0]])
    loss = ao.CustomLoss(lambda ops, y, target: 0.5 * ops.sum(y * ops.matmul(y, ops.row(hessian))))
    return ao.Problem(ao.Parameter(2), None, None, loss, output_metric=None, mass=[1.0, 3.0]), hessian


def test_linear_flow_decays_as_its_matrix_exponential() -> None:
    problem, hessian = quadratic()
    direction = np.array([1.0, -0.4])
    decay = ao.check_decay(problem, [0.3, 0.1], horizon=2.0, steps=40, direction=direction)
    moved = np.array([expm(-hessian * t / problem.mass[:, None]) @ direction for t in decay.times])
    lengths = np.sqrt((moved**2 * problem.mass).sum(axis=1))
    np.testing.assert_allclose(decay.distances / decay.distances[0], lengths / lengths[0], rtol=1e-6)
    np.testing.assert_allclose(decay.rates, ao.contraction_rate(problem, [0.0, 0.0]), rtol=1e-9)
    assert decay.measured_rate > decay.certified_rate


def test_the_slowest_direction_keeps_the_certificate_exactly() -> None:
    problem, _ = quadratic()
    decay = ao.check_decay(problem, [0.3, 0.1], horizon=2.0, steps=20)
    assert abs(decay.excess).max() < 1e-6
    assert decay.measured_rate == pytest.approx(ao.contraction_rate(problem, [0.0, 0.0]), rel=1e-6)


def test_a_rate_that_is_too_large_is_caught() -> None:
    """Were the rate 5 % larger, the check would say so."""
    problem, _ = quadratic()
    decay = ao.check_decay(problem, horizon=2.0, steps=20)
    wrong = replace(decay, certificate=decay.distances[0] * np.exp(-1.05 * decay.rates[0] * decay.times))
    assert not wrong.ok
    assert wrong.status == "violated"
    assert "exceeds the certificate at t =" in wrong.message


def test_distances_that_rounding_hides_are_left_out() -> None:
    problem, _ = quadratic()
    decay = ao.check_decay(problem, [0.3, 0.1], horizon=200.0, steps=400)
    assert 20 < len(decay.times) < 401
    assert decay.ok
    assert all(len(part) == len(decay.times) for part in (decay.distances, decay.rates, decay.certificate))


def test_plot_and_words() -> None:
    decay = ao.check_decay(quadratic()[0], horizon=0.5, steps=4)
    axes = decay.plot()
    assert axes.get_yscale() == "log"
    assert len(axes.lines) == 2
    assert repr(decay).startswith("Decay(holds: measured rate")
    assert "at least as fast" in decay.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 5}, "steps must be an even number"),
        ({"separation": 0.0}, "separation must be positive"),
        ({"direction": [0.0, 0.0]}, "direction must not be zero"),
        ({"direction": [1.0]}, "direction must have length 2"),
        ({"separation": 1e-14}, "rounding hides the distance"),
        ({"horizon": 1e3, "method": "DOP853"}, "shorter steps where they contract fast"),
        ({"metric": "round"}, "unknown metric 'round'"),
        ({"w0": [1.0]}, "w0 must have length 2"),
    ],
)
def test_rejections(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.check_decay(quadratic()[0], **{"horizon": 1.0, "steps": 4, **options})
