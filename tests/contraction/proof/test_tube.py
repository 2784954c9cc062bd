"""Tubes around computed flows: closed forms, flows that start inside, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import actionopt as ao
from actionopt.contraction.proof.curve import Curve
from benchmarks.proofs import genes, narrow_xor, start_of_energy


def well() -> ao.Problem:
    loss = ao.CustomLoss(lambda ops, x, target: 0.25 * x**4 - 0.5 * x**2, name="double well")
    return ao.Problem(ao.Parameter(1), None, None, loss, output_metric=None)


def solution(start: float, t: np.ndarray) -> np.ndarray:
    """The flow `x' = x - x^3` in closed form."""
    return 1.0 / np.sqrt(1.0 + (1.0 / start**2 - 1.0) * np.exp(-2.0 * t))


def test_double_well_through_the_stretch_where_flows_part() -> None:
    problem = well()
    trajectory = ao.flow(problem, [0.1], horizon=8.0, steps=80, metric="euclidean", method="rk4")
    proof = ao.prove_basin(problem, trajectory, 0.01)
    assert proof.proved
    assert proof.rates.min() < 0.0 < proof.rates.max()
    exact = [abs(solution(x, trajectory.times) - solution(0.1, trajectory.times)) for x in (0.09, 0.11)]
    widest = np.max(exact, axis=0)
    error = abs(solution(0.1, trajectory.times) - trajectory.weights[:, 0])
    assert (proof.radii >= widest - error - 1e-12).all()
    assert (proof.radii <= 1.2 * widest + error).all()
    assert proof.equilibrium_within is not None
    assert abs(trajectory.weights[-1, 0] - 1.0) <= proof.equilibrium_within


def test_defects_bound_those_of_the_curve() -> None:
    problem = well()
    trajectory = ao.flow(problem, [0.1], horizon=4.0, steps=20, metric="euclidean", method="rk4")
    curve = Curve(problem, trajectory.times, trajectory.weights, 4)
    found = curve.defects().reshape(20, 4)
    h = np.diff(trajectory.times)
    a, b, c, d = curve.coefficients
    worst = np.zeros_like(found)
    for part in range(4):
        for s in np.linspace(part / 4, (part + 1) / 4, 50):
            t = (s * h)[:, None]
            p, slope = ((d * t + c) * t + b) * t + a, (3 * d * t + 2 * c) * t + b
            worst[:, part] = np.maximum(worst[:, part], abs(slope + problem.gradient(p))[:, 0])
    assert (worst <= found).all()
    assert (found <= 6.0 * worst.max(axis=1, keepdims=True)).all()


def test_the_defect_falls_with_the_third_power_of_the_step() -> None:
    problem = well()
    sizes = []
    for steps in (20, 40, 80):
        t = np.linspace(0.0, 4.0, steps + 1)
        sizes.append(Curve(problem, t, solution(0.1, t)[:, None], 4).defects().max())
    slopes = np.log2(np.array(sizes[:-1]) / np.array(sizes[1:]))
    assert (slopes > 2.7).all()


def test_flows_that_start_in_the_tube_stay_in_it() -> None:
    rng = np.random.default_rng(2)
    problem = ao.Problem(
        [ao.Dense(1, 1, "tanh"), ao.Dense(1, 1)], rng.standard_normal((4, 1)), 0.5 * rng.standard_normal(4),
        ao.SquaredError(), weight_decay=0.5, mass=[1.0, 2.0, 0.5, 1.0],
    )  # fmt: skip
    start = problem.initial_weights(3)
    options = {"horizon": 25.0, "steps": 100, "metric": "euclidean", "method": "DOP853", "tol": 1e-10}
    trajectory = ao.flow(problem, start, **options)
    proof = ao.prove_basin(problem, trajectory, 0.02)
    assert proof.proved
    for _ in range(6):
        x = rng.standard_normal(4)
        other = ao.flow(problem, start + 0.02 * x / np.linalg.norm(x) / np.sqrt(problem.mass), **options)
        distance = np.sqrt((problem.mass * (other.weights - trajectory.weights) ** 2).sum(axis=1))
        assert (distance <= proof.radii + 1e-8).all()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "energy"), [("gene 3", 0.065), ("xor", 0.12)])
def test_tubes_through_stretches_where_flows_part(name: str, energy: float) -> None:
    """From a start far away: flows that start in the tube stay in it, and it ends in a basin."""
    problem, centre = genes(3, 0.1) if name == "gene 3" else narrow_xor()
    options = {"horizon": 6.4, "steps": 48} if name == "gene 3" else {"horizon": 8.0, "steps": 80}
    start = start_of_energy(problem, centre, energy)
    assert problem.energy(start) == pytest.approx(energy, rel=1e-6)
    flow = {**options, "metric": "euclidean", "method": "Radau"}
    trajectory = ao.flow(problem, start, **flow)
    proof = ao.prove_basin(problem, trajectory, 1e-3)
    assert proof.proved
    assert proof.rates.min() < -0.3
    assert proof.radii[-1] < proof.basin_radius
    assert proof.equilibrium_within is not None
    last = np.sqrt((problem.mass * (trajectory.weights[-1] - centre) ** 2).sum())
    assert last <= proof.equilibrium_within + 1e-6
    x = np.random.default_rng(0).standard_normal(problem.size)
    other = ao.flow(problem, start + 0.99e-3 * x / np.linalg.norm(x) / np.sqrt(problem.mass), **flow)
    away = np.sqrt((problem.mass * (other.weights - trajectory.weights) ** 2).sum(axis=1))
    assert (away <= proof.radii + 1e-5).all()


def test_a_short_trajectory_is_undecided() -> None:
    trajectory = ao.flow(well(), [0.1], horizon=0.5, steps=10, metric="euclidean", method="rk4")
    proof = ao.prove_basin(well(), trajectory, 0.01)
    assert proof.status == "undecided"
    assert "no basin that wide was proved around it" in proof.message


def test_a_coarse_trajectory_is_undecided() -> None:
    rough = ao.flow(well(), [0.1], horizon=8.0, steps=2, metric="euclidean", method="Radau")
    proof = ao.prove_basin(well(), rough, 0.01)
    assert proof.status == "undecided"
    assert "more steps" in proof.message


def test_rejections() -> None:
    problem = well()
    trajectory = ao.flow(problem, [0.1], horizon=1.0, steps=4, metric="euclidean", method="rk4")
    with pytest.raises(ao.InputError, match="prove_basin takes a Trajectory"):
        ao.prove_basin(problem, trajectory.weights, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ao.InputError, match="radius must be a finite number >= 0"):
        ao.prove_basin(problem, trajectory, -0.1)
    with pytest.raises(ao.InputError, match="pieces must be a whole number >= 1"):
        ao.prove_basin(problem, trajectory, 0.1, pieces=0)


def test_a_tube_draws_itself() -> None:
    trajectory = ao.flow(well(), [0.1], horizon=8.0, steps=40, metric="euclidean", method="rk4")
    ax = ao.prove_basin(well(), trajectory, 0.01).plot()
    assert ax.get_xlabel() == "time"
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "radius of the tube" in labels
    assert "flows may part" in labels
