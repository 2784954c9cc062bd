"""The shipped networks that are graphs: their options, their known answers, their refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from problems import neural_ode, recurrent, tied_autoencoder, two_heads

FOLDER = Path(recurrent.__file__).parent
NETWORKS: dict[str, list[dict[str, Any]]] = {
    "recurrent": [{}, {"steps": 3, "samples": 5, "width": 2, "weight_decay": 0.1}],
    "tied_autoencoder": [{}, {"variances": (1.0, 2.0), "width": 1, "samples": 5, "weight_decay": 0.1}],
    "two_heads": [{}, {"width": 2, "samples": 6, "weights": (2.0, 0.0)}],
    "neural_ode": [{}, {"width": 5, "steps": 4, "samples": 3, "order": 4}],
}


@pytest.mark.parametrize(("name", "options"), [(name, one) for name, several in NETWORKS.items() for one in several])
def test_builds_the_same_each_time(name: str, options: dict[str, Any]) -> None:
    first, second = (ao.load_problem(FOLDER / f"{name}.py", **options) for _ in range(2))
    w = first.initial_weights()
    assert np.isfinite(first.energy(w))
    np.testing.assert_array_equal(first.gradient(w), second.gradient(w))
    np.testing.assert_allclose(first.gradient(w) @ w, slope(first, w), rtol=1e-8, atol=1e-10)


def slope(problem: ao.Problem, w: np.ndarray, h: float = 1e-4) -> float:
    """Differentiate the energy along the weights themselves, by differences."""
    far, near = ((problem.energy(w * (1 + s)) - problem.energy(w * (1 - s))) / (2 * s) for s in (2 * h, h))
    return (4 * near - far) / 3


@pytest.mark.parametrize("name", NETWORKS)
def test_files_say_what_they_are(name: str) -> None:
    source = (FOLDER / f"{name}.py").read_text()
    for part in ('if __name__ == "__main__":', "Known answer\n---", "Source\n---", "| node | features |"):
        assert part in source


def test_recurrent_is_backpropagation_through_time() -> None:
    problem = recurrent.build()
    w = problem.initial_weights(1)
    found, (gradient, costates) = ao.adjoints(problem, w), recurrent.through_time(problem, w)
    np.testing.assert_allclose(found.gradient, gradient, rtol=0, atol=1e-13 * abs(gradient).max())
    for t, costate in enumerate(costates, start=1):
        expected = found.adjoint(f"step {t}")
        np.testing.assert_allclose(costate, expected, rtol=0, atol=1e-13 * abs(costates).max())
    assert problem.energy(recurrent.solution(problem)) < 1e-28
    assert problem.size == recurrent.build(steps=3).size == 97


def test_tied_autoencoder_is_principal_component_analysis() -> None:
    problem = tied_autoencoder.build()
    np.testing.assert_allclose(problem.inputs.T @ problem.inputs / 40, np.diag([3.0, 2.0, 1.0, 0.5, 0.25]), atol=1e-13)
    w = tied_autoencoder.solution(problem)
    assert problem.energy(w) == pytest.approx(tied_autoencoder.least_energy(problem), rel=1e-12)
    assert tied_autoencoder.least_energy(problem) == pytest.approx(0.875, rel=1e-12)
    found = problem.initial_weights(1)
    for _ in range(60):
        found = ao.step(problem, found, 0.7)
    assert problem.energy(found) == pytest.approx(0.875, rel=1e-9)
    matrix = found.reshape(2, 5)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-5)
    np.testing.assert_allclose(matrix[:, 2:], 0.0, atol=1e-4)


@pytest.mark.parametrize("weight_decay", [0.0, 0.4, 5.0])
def test_stationary_points_of_the_tied_autoencoder(weight_decay: float) -> None:
    problem = tied_autoencoder.build(weight_decay=weight_decay)
    for axes in ([0, 1], [0, 2], [3, 4]):
        np.testing.assert_allclose(problem.gradient(tied_autoencoder.saddle(problem, axes)), 0.0, atol=1e-13)
    if not weight_decay:
        assert problem.energy(tied_autoencoder.saddle(problem, [0, 2])) == pytest.approx(0.5 * (2 + 0.5 + 0.25))


def test_two_heads_reach_the_entropy() -> None:
    problem = two_heads.build()
    w = two_heads.solution(problem)
    assert problem.energy(w) == pytest.approx(two_heads.least_energy(problem), rel=1e-12)
    found = ao.adjoints(problem, w)
    assert max(abs(adjoint).max() for adjoint in found.adjoints) < 1e-16
    rng = np.random.default_rng(0)
    assert all(problem.energy(w + 0.1 * rng.standard_normal(w.shape)) > problem.energy(w) for _ in range(20))


def test_euler_steps_follow_the_flow_and_its_adjoint() -> None:
    problem = neural_ode.build(steps=8)
    w = neural_ode.solution(problem)
    assert problem.energy(w) < 1e-28
    pushed = problem.take(np.arange(problem.samples))
    pushed.network.targets[0][:] += 0.3  # a copy, so that there is something to pull back
    found = ao.adjoints(pushed, w)
    expected = neural_ode.costates(found.adjoints[-1], 8)
    np.testing.assert_allclose(found.adjoints, expected, rtol=1e-12)


def test_runge_kutta_is_of_order_four() -> None:
    field = neural_ode.generator().ravel()
    errors = [np.sqrt(neural_ode.build(steps=n, order=4).energy(field)) for n in (4, 8, 16)]
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(slopes, 4.0, atol=0.2)


def test_wrong_options() -> None:
    with pytest.raises(ao.InputError, match="width must lie between 1 and the number of variances, 5"):
        tied_autoencoder.build(width=6)
    with pytest.raises(ao.InputError, match="order must be 1 or 4"):
        neural_ode.build(order=2)
