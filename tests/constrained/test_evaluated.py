"""Energies that NumPy evaluates for CasADi's solvers, against graphs of the same energy."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.constrained import evaluated, training
from actionopt.constrained.evaluated import EvaluatedEnergy
from actionopt.constrained.graph import SymbolicNetwork
from actionopt.constrained.task import make_task, resolve_formulation
from tests.constrained.systems import classes, data


def network(samples: int = 40, decay: float = 0.02) -> ao.Problem:
    layers = [ao.Dense(3, 4, "tanh"), ao.Dense(4, 3)]
    return ao.Problem(layers, data(samples), classes(samples), ao.SoftmaxCrossEntropy(), weight_decay=decay)


@pytest.mark.parametrize("block", [1, 10_000_000])
def test_value_gradient_and_hessian_are_those_of_the_graph(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluated, "BLOCK", block)  # directions of a Hessian one by one, or at once
    problem = network()
    graph, w = SymbolicNetwork(problem), ca.MX.sym("w", problem.size)
    energy = graph.mean_loss(graph.forward(graph.pieces(w))) + 0.5 * problem.weight_decay * ca.sumsqr(w)
    hessian, gradient = ca.hessian(energy, w)
    by_graph = ca.Function("by_graph", [w], [energy, gradient, hessian])
    own = EvaluatedEnergy(problem)
    by_numpy = ca.Function("by_numpy", [w], [own.at(w), own.gradient(w), own.hessian(w)])
    pulled = ca.Function("pulled", [w], [ca.gradient(ca.sin(own.at(w)), w)])
    for seed in range(3):
        x = problem.initial_weights(seed)
        for found, expected in zip(by_numpy(x), by_graph(x), strict=True):
            np.testing.assert_allclose(found.full(), expected.full(), atol=1e-13)
        chained = np.cos(problem.energy(x)) * problem.gradient(x)
        np.testing.assert_allclose(pulled(x).full()[:, 0], chained, atol=1e-14)


def ball(ops: Any, w: Any) -> Any:
    return ops.sum(w * w)


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
@pytest.mark.parametrize("limits", ["none", "bounds", "ball"])
def test_solutions_are_those_of_the_graph(solver: str, limits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = ao.Problem(ao.Dense(3, 3), data(40), classes(40), ao.SoftmaxCrossEntropy(), weight_decay=0.02)
    options: dict[str, Any] = {
        "none": {}, "bounds": {"bounds": (-0.2, 0.3)},
        "ball": {"constraints": ao.Constraint(ball, on=problem.modules[0], upper=0.3)},
    }[limits]  # fmt: skip
    found = []
    for least in (0, 10**9):
        monkeypatch.setattr(training, "EVALUATED", least)
        found.append(ao.train(problem, solver=solver, formulation="condensed", second_order=True, **options))
    one, other = found
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-6)
    np.testing.assert_allclose(one.bounds_multipliers, other.bounds_multipliers, atol=1e-6)
    for mine, theirs in zip(one.constraint_multipliers, other.constraint_multipliers, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    assert one.is_minimum is True


def test_a_proximal_step_is_evaluated_too(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = network()
    w = problem.initial_weights(0)
    found = []
    for least in (0, 10**9):
        monkeypatch.setattr(training, "EVALUATED", least)
        found.append(ao.proximal_step(problem, w, 0.5, formulation="condensed").weights)
    np.testing.assert_allclose(found[0], found[1], atol=1e-7)
    assert abs(found[0] - w).max() > 1e-2


def test_auto_condenses_few_weights_of_many_samples() -> None:
    def chosen(problem: ao.Problem, **options: Any) -> str:
        solver = options.pop("solver", "ipopt")
        return resolve_formulation(make_task(problem, None, solver=solver, **options))

    assert chosen(network(40)) == "lifted"
    assert chosen(network(400)) == "condensed"
    assert chosen(network(400), solver="fatrop") == "lifted"
    assert chosen(network(400), formulation="lifted") == "lifted"
    node = ao.Dense(3, 3)(ao.Input(data(400)))
    seen = ao.Problem([ao.Cost(ao.Activation(3, "tanh")(node), ao.SquaredError(), data(400))])
    assert chosen(seen) == "condensed"
    assert chosen(seen, constraints=ao.Constraint(lambda ops, z: z, on=node, upper=1.0)) == "lifted"
    deep = ao.Problem([ao.Dense(3, 3, "tanh") for _ in range(12)], data(400), data(400), ao.SquaredError())
    assert chosen(deep) == "lifted"


@pytest.mark.slow
def test_ipopt_trains_241_weights_on_1500_samples() -> None:
    """Whose graph it did not get through in four minutes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1500, 7))
    targets = np.tanh(x @ rng.standard_normal((7, 9)))
    layers = [ao.Dense(7, 14, "tanh"), ao.Dense(14, 9, bias=False), ao.Activation(9, "softplus")]
    problem = ao.Problem(layers, x, targets, ao.SquaredError(), weight_decay=1e-2)
    found = ao.train(problem, 0.3 * problem.initial_weights(0), solver="ipopt", tol=1e-6)
    assert found.stats["formulation"] == "condensed"
    assert abs(problem.gradient(found.weights)).max() <= 1e-6 * found.stats["scale"]
