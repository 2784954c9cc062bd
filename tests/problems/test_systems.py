"""The systems that are no networks: their physics, and everything the instrument offers, on each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import block_diag, eigvalsh

import actionopt as ao
from problems import gene_cascade, reaction_chain, robot_arm

FOLDER = Path(gene_cascade.__file__).parent
SYSTEMS: dict[str, list[dict[str, Any]]] = {
    "gene_cascade": [{}, {"genes": ["activator", "repressor"], "doses": 5}, {"noise": 0.1, "weight_decay": 0.1}],
    "reaction_chain": [{}, {"tanks": 2, "heated": False}, {"objective": "yield"}],
    "robot_arm": [{}],
}
CASES = [(name, options) for name, several in SYSTEMS.items() for options in several]
every_system = pytest.mark.parametrize(("name", "options"), CASES)


def build(name: str, options: dict[str, Any]) -> ao.Problem:
    return ao.load_problem(FOLDER / f"{name}.py", **options)


@every_system
def test_multipliers_are_adjoints(name: str, options: dict[str, Any]) -> None:
    check = ao.check_adjoints(build(name, options))
    assert check.ok
    assert check.max_error < 1e-8


@every_system
def test_flow_descends_and_its_action_is_zero(name: str, options: dict[str, Any]) -> None:
    problem = build(name, options)
    trajectory = ao.flow(problem, horizon=2.0, steps=40)
    assert trajectory.success
    assert (np.diff(trajectory.energy) < 0).all()
    assert abs(trajectory.action) < 1e-20
    assert abs(trajectory.balance_defect) < 1e-2 * abs(trajectory.energy_change)


@every_system
def test_free_end_action_returns_the_flow(name: str, options: dict[str, Any]) -> None:
    problem = build(name, options)
    flow = ao.flow(problem, horizon=0.5, steps=10, method="implicit_midpoint")
    least = ao.minimize_action(problem, flow.weights[0], horizon=0.5, steps=10)
    assert least.success
    assert abs(least.action) < 1e-16
    np.testing.assert_allclose(least.weights, flow.weights, atol=1e-7)


@pytest.mark.parametrize("name", SYSTEMS)
def test_fixed_ends_cost_more_than_the_flow(name: str) -> None:
    problem = build(name, {})
    flow = ao.flow(problem, horizon=0.5, steps=10)
    back = ao.minimize_action(problem, flow.weights[-1], flow.weights[0], horizon=0.5, steps=10)
    assert back.success
    # uphill costs at least twice the climb: kinetic + potential >= the climb for every path
    climb = flow.energy[0] - flow.energy[-1]
    assert back.action >= 2 * climb * (1 - 1e-3)


@every_system
def test_two_trajectories_keep_the_rate(name: str, options: dict[str, Any]) -> None:
    decay = ao.check_decay(build(name, options), horizon=0.2, steps=10, metric="joint")
    assert decay.ok, decay.message
    assert decay.tolerance.max() < 0.05


@every_system
def test_certificate(name: str, options: dict[str, Any]) -> None:
    problem = build(name, options)
    certificate = ao.certify(problem, ao.flow(problem, horizon=0.4, steps=4))
    assert certificate.ok
    assert (certificate.composed <= certificate.whole + 1e-12).all()


MINIMA = {
    "gene_cascade": gene_cascade.solution(),
    "reaction_chain": reaction_chain.solution(),
    "robot_arm": robot_arm.postures()[0],
}


@pytest.mark.parametrize("name", MINIMA)
def test_rate_at_a_minimum_of_energy_zero(name: str) -> None:
    """There the Hessian is J^T J / B with J the outputs' Jacobian, and G = D + its diagonal blocks."""
    problem, w = build(name, {}), MINIMA[name]
    step = 1e-5 * np.eye(problem.size)
    jacobian = (problem.outputs(w + step) - problem.outputs(w - step)).reshape(problem.size, -1).T / 2e-5
    hessian = jacobian.T @ jacobian / problem.samples
    sizes = [module.weight_size for module in problem.modules]
    own = block_diag(*[np.ones((size, size)) for size in sizes])
    expected = eigvalsh(hessian, np.diag(problem.mass) + own * hessian)[0]
    assert ao.contraction_rate(problem, w) == pytest.approx(expected, abs=1e-8)
    assert expected > -1e-12


# the gene cascade


def test_gene_cascade_by_hill_functions() -> None:
    problem = gene_cascade.build(genes=["activator", "repressor"])
    (b1, k1, h1), (b2, k2, h2) = np.exp(gene_cascade.PARAMETERS[:2])
    x = problem.inputs
    middle = b1 * x**h1 / (k1**h1 + x**h1)
    np.testing.assert_allclose(problem.targets, b2 * k2**h2 / (k2**h2 + middle**h2), rtol=1e-13)


@pytest.mark.parametrize("genes", [1, 3, 5, ["repressor", "activator", "repressor"]])
def test_gene_cascade_known_answer_and_gain(genes: Any) -> None:
    problem = gene_cascade.build(genes=genes)
    count = genes if isinstance(genes, int) else len(genes)
    w = gene_cascade.solution(count)
    assert problem.size == 3 * count
    assert problem.energy(w) == 0.0
    assert abs(problem.gradient(w)).max() == 0.0
    # the chain's gain is the product of its genes': by the adjoint of the input, one dose at a time
    gains = gene_cascade.gain(problem, w)
    for dose, gain in zip(problem.inputs, gains, strict=True):
        one = ao.Problem(problem.modules, [dose], [[0.0]], ao.CustomLoss(gene_level))
        adjoint = ao.adjoints(one, w).adjoints[0]
        first = problem.modules[0]
        _, pulled = first.vjp(ao.ops.NUMPY, w[:3], one.inputs, first.forward(ao.ops.NUMPY, w[:3], one.inputs), adjoint)
        level = one.outputs(w)
        assert (pulled * dose / level).item() == pytest.approx(gain, rel=1e-12)
    assert (np.sign(gains) == (-1.0) ** (0 if isinstance(genes, int) else genes.count("repressor"))).all()


def gene_level(ops: Any, y: Any, target: Any) -> Any:
    return ops.sum(y)


def test_gene_cascade_steepens_with_its_length() -> None:
    """Ultrasensitivity: at the dose of steepest response three equal steep genes are steeper than one."""
    steep = np.tile([0.0, -np.log(2.0), np.log(2.0)], 3)  # half-saturated at half of the level before
    gains = [gene_cascade.gain(gene_cascade.build(genes=count), steep[: 3 * count]).max() for count in (1, 3)]
    assert gains[1] > 1.5 * gains[0]


def test_gene_of_another_kind_is_refused() -> None:
    with pytest.raises(ao.InputError, match="must be activator or repressor, got 'enhancer'"):
        build("gene_cascade", {"genes": ["enhancer"]})


# the reaction chain


@pytest.mark.parametrize(("k1", "k2"), [(1.0, 0.3), (2.0, 2.0), (0.5, 4.0)])
def test_best_single_tank(k1: float, k2: float) -> None:
    problem = reaction_chain.build(tanks=1, objective="yield", heated=False, k1=k1, k2=k2)
    tau, best = reaction_chain.best_single_tank(k1, k2)
    end = ao.flow(problem, horizon=150.0, steps=150)
    assert float(np.exp(end.weights[-1, 0])) == pytest.approx(tau, rel=1e-6)
    assert end.energy[-1] == pytest.approx(-best, rel=1e-10)


def test_equal_tanks_in_series() -> None:
    problem = reaction_chain.build(tanks=4, heated=False, feeds=2)
    tau = 0.7
    outputs = problem.outputs(np.full(4, np.log(tau)))
    np.testing.assert_allclose(outputs[:, 0], problem.inputs[:, 0] / (1 + tau) ** 4, rtol=1e-14)


def test_balances_of_a_tank() -> None:
    problem = reaction_chain.build(tanks=1, k1=1.3, k2=0.4)
    log_tau, theta = w = np.array([0.2, 0.07])
    (a, b), (a_out, b_out) = problem.inputs.T, problem.outputs(w).T
    tau, r1, r2 = np.exp(log_tau), 1.3 * np.exp(6 * theta) * a_out, 0.4 * np.exp(9 * theta) * b_out
    np.testing.assert_allclose(a - a_out, tau * r1, rtol=1e-13)
    np.testing.assert_allclose(b - b_out, tau * (r2 - r1), rtol=1e-12)


def test_reaction_chain_known_answer() -> None:
    for options in ({}, {"tanks": 5}, {"heated": False}):
        problem = reaction_chain.build(**options)
        assert problem.energy(reaction_chain.solution(options.get("tanks", 3), options.get("heated", True))) == 0.0


def test_more_tanks_yield_more() -> None:
    """Many small tanks come near to a tube, which yields more than one tank (Fogler, chapter 8)."""
    k1, k2 = 1.0, 0.3
    chains = [reaction_chain.build(tanks=n, objective="yield", heated=False) for n in (1, 2, 4)]
    yields = [-ao.flow(chain, horizon=40.0, steps=40).energy[-1] for chain in chains]
    tube = (k1 / k2) ** (k2 / (k2 - k1))
    assert yields[0] < yields[1] < yields[2] < tube


def test_unknown_objective_is_refused() -> None:
    with pytest.raises(ao.InputError, match="must be target or yield, got 'profit'"):
        build("reaction_chain", {"objective": "profit"})


# the arm


@pytest.mark.parametrize("posture", robot_arm.postures(), ids=["elbow up", "elbow down"])
def test_arm_contracts_to_its_pose(posture: np.ndarray) -> None:
    """Near the pose the distance to it shrinks at the contraction rate, in the joint metric the fastest."""
    problem = robot_arm.build()
    assert ao.contraction_rate(problem, posture, metric="joint") > ao.contraction_rate(problem, posture) > 0.0
    decay = ao.check_decay(problem, posture, horizon=2.0, steps=4, metric="joint", method="DOP853")
    assert decay.ok
    assert decay.measured_rate == pytest.approx(ao.contraction_rate(problem, posture, metric="joint"), rel=1e-4)
