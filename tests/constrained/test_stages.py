"""Stages of a chain against differences of first derivatives, and lifted training."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import actionopt as ao
from actionopt.constrained.stages import Chain
from actionopt.newton.lifted import Bounds, LiftedNewton
from actionopt.newton.riccati import Riccati
from tests.constrained.systems import SYSTEMS, Gain, classes, data

KINDS: dict[str, Any] = {
    "equal and unequal layers": lambda: ao.Problem(
        [ao.Dense(3, 2, "tanh"), ao.Dense(2, 2, "tanh"), ao.Dense(2, 2, "tanh"), ao.Dense(2, 1)],
        data(4), data(4, 1), ao.SquaredError(), weight_decay=0.1,
    ),
    "users' modules": lambda: ao.Problem(
        [Gain(), Gain(), ao.Dense(3, 3)], data(3), classes(3), ao.SoftmaxCrossEntropy()
    ),
    "composites": SYSTEMS["composites"],
}  # fmt: skip


def split(chain: Chain, x: np.ndarray, like: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    n = chain.problem.size
    ends = np.cumsum([z.size for z in like])
    return chain.split(x[:n]), [p.reshape(z.shape) for p, z in zip(np.split(x[n:], ends[:-1]), like, strict=True)]


@pytest.mark.parametrize("name", KINDS)
def test_a_step_solves_the_newton_system(name: str) -> None:
    """The quadratic program's solution against the KKT system from differences of first derivatives."""
    chain = Chain(KINDS[name](), 2.0)
    rng = np.random.default_rng(0)
    weights = chain.split(chain.problem.initial_weights(1))
    states = [z + 0.1 * rng.standard_normal(z.shape) for z in chain.simulate(weights)]
    lam = [0.3 * rng.standard_normal(z.shape) for z in states]
    x = np.concatenate([*weights, *(z.ravel() for z in states)])

    def gradient(x: np.ndarray) -> np.ndarray:
        w, z = split(chain, x, states)
        to_weights, to_states = chain.pull(w, z, lam)
        onward = [*to_states[1:], 0.0]
        in_states = [s + o - l for s, o, l in zip(chain.slopes(z), onward, lam, strict=True)]
        own = [g + r for g, r in zip(to_weights, chain.weight_slopes(w), strict=True)]
        return np.concatenate([*own, *(g.ravel() for g in in_states)])

    def gaps(x: np.ndarray) -> np.ndarray:
        w, z = split(chain, x, states)
        return np.concatenate([(f - at).ravel() for f, at in zip(chain.outputs(w, z), z, strict=True)])

    h, shift, eye = 1e-6, 4.0, np.eye(len(x))
    hessian = np.array([(gradient(x + h * e) - gradient(x - h * e)) / (2 * h) for e in eye]) + shift * eye
    jacobian = np.array([(gaps(x + h * e) - gaps(x - h * e)) / (2 * h) for e in eye]).T
    c = [f - z for f, z in zip(chain.outputs(weights, states), states, strict=True)]
    objective = np.concatenate([*chain.weight_slopes(weights), *(q.ravel() for q in chain.slopes(states))])
    size = len(jacobian)
    system = np.block([[hessian, jacobian.T], [jacobian, np.zeros((size, size))]])
    expected = np.linalg.solve(system, -np.concatenate([objective, gaps(x)]))
    stages, end = chain.stages(weights, states, lam)
    step = Riccati(stages, end, shift).solve(c, chain.slopes(states), chain.weight_slopes(weights))
    ours = np.concatenate([*step.weights, *(z.ravel() for z in step.states), *(m.ravel() for m in step.multipliers)])
    np.testing.assert_allclose(ours, expected, atol=1e-7 * max(1.0, abs(expected).max()))


def plain(depth: int, decay: float = 1e-3) -> ao.Problem:
    """Return a chain of tanh layers without skips, hard to train in depth."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 3))
    layers = [ao.Dense(3, 3, "tanh") for _ in range(depth)]
    return ao.Problem(layers, x, np.tanh(x @ rng.standard_normal((3, 3))), ao.SquaredError(), weight_decay=decay)


def test_a_deep_plain_chain_is_lifted_by_itself() -> None:
    problem = plain(14)
    w0 = problem.initial_weights(0)
    solution = ao.train(problem, w0, solver="newton", second_order=True)
    assert solution.stats["engine"] == "lifted Riccati"
    assert solution.stats["formulation"] == "lifted"
    assert solution.gradient_norm <= 1e-8 * solution.stats["scale"]
    assert solution.energy < 0.2 * problem.energy(w0)
    for multiplier, adjoint in zip(solution.multipliers, ao.adjoints(problem, solution.weights).adjoints, strict=True):
        np.testing.assert_array_equal(multiplier, adjoint)


def test_lifted_and_condensed_end_in_one_minimum() -> None:
    problem = ao.Problem(
        [ao.Dense(3, 3, bias=False), ao.Activation(3, "softplus"), ao.Dense(3, 3)], data(8), classes(8),
        ao.SoftmaxCrossEntropy(), weight_decay=0.3,
    )  # fmt: skip
    w0 = 0.3 * problem.initial_weights(1)
    lifted, condensed = (
        ao.train(problem, w0, solver="newton", formulation=formulation) for formulation in ("lifted", "condensed")
    )
    assert lifted.energy == pytest.approx(condensed.energy, abs=1e-10)
    assert lifted.history is not None
    assert lifted.history.energy[0] == pytest.approx(problem.energy(w0))


@pytest.mark.parametrize("c", [1e-12, 1e10])
def test_the_unit_of_the_energy_changes_nothing(c: float) -> None:
    def problem(c: float) -> ao.Problem:
        loss = ao.CustomLoss(lambda ops, y, t: 0.5 * c * ops.sum((y - t) * (y - t)))
        base = plain(4, decay=0.01)
        return ao.Problem(base.modules, base.inputs, base.targets, loss, weight_decay=0.01 * c, mass=c)

    w0 = 0.5 * problem(1.0).initial_weights(0)
    one, other = (ao.train(problem(x), w0, solver="newton", formulation="lifted") for x in (1.0, c))
    np.testing.assert_allclose(other.weights, one.weights, atol=1e-6)
    assert other.energy == pytest.approx(c * one.energy, rel=1e-8)


def test_bounds_are_kept_and_their_multipliers_have_a_sign() -> None:
    """Against SciPy's L-BFGS-B on the same energy; nu = minus the gradient, <= 0 at a lower bound."""
    problem = ao.Problem(ao.Dense(3, 3), data(12), classes(12), ao.SoftmaxCrossEntropy(), weight_decay=0.05)
    w0 = 0.1 * problem.initial_weights(0)
    chain = Chain(problem, 1.0)
    low, high = np.full(problem.size, -0.2), np.full(problem.size, np.inf)
    high[::2] = 0.15
    bounds = Bounds(chain.split(low), chain.split(high))
    result = LiftedNewton(chain, 1e-9, bounds=bounds).minimize(chain.split(w0))
    assert result.status == "converged"
    w = result.point.x
    expected = minimize(
        problem.energy, w0, jac=problem.gradient, method="L-BFGS-B", bounds=list(zip(low, high, strict=True)),
        options={"gtol": 1e-10, "ftol": 0.0, "maxiter": 2000},
    )  # fmt: skip
    np.testing.assert_allclose(w, expected.x, atol=1e-5)
    assert (w > low).all()
    assert (w < high).all()
    active = (w - low < 1e-6) | (high - w < 1e-6)
    assert active.any()
    assert not active.all()
    gradient, nu = problem.gradient(w), np.concatenate(result.bounds.pull())
    np.testing.assert_allclose(gradient, -nu, atol=1e-7)
    assert (nu[w - low < 1e-6] < 0).all()
    assert (nu[high - w < 1e-6] > 0).all()


def test_limits_and_interrupt_keep_an_iterate() -> None:
    chain = Chain(plain(6), 1.0)
    weights = chain.split(chain.problem.initial_weights(0))
    limited = LiftedNewton(chain, 1e-10, max_iterations=3).minimize(weights)
    assert (limited.status, limited.iterations) == ("iteration limit", 3)

    def watch(iteration: int, point: Any) -> str | None:
        if iteration == 3:
            raise KeyboardInterrupt
        return None

    interrupted = LiftedNewton(chain, 1e-10, watch=watch).minimize(weights)
    assert interrupted.status == "interrupted"
    for mine, theirs in zip(interrupted.point.weights, limited.point.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_only_chains_are_lifted() -> None:
    shared = ao.Dense(3, 3, "tanh")
    problem = ao.Problem([shared, shared], data(4), data(4), ao.SquaredError())
    with pytest.raises(ao.InputError, match="solver 'newton' lifts chains only, every module on weights of its own"):
        ao.train(problem, solver="newton", formulation="lifted")


def test_costs_between_modules_are_lifted_too() -> None:
    x = ao.Input(data(5))
    nodes = list(itertools.accumulate([ao.Dense(3, 3, "tanh") for _ in range(3)], lambda z, layer: layer(z), initial=x))
    costs = [ao.Cost(node, ao.SquaredError(), data(5, 3, k), weight=0.5) for k, node in enumerate(nodes[1:])]
    problem = ao.Problem(costs, weight_decay=0.02)
    solution = ao.train(problem, solver="newton", formulation="lifted", second_order=True)
    assert solution.is_minimum is True
    assert abs(problem.gradient(solution.weights)).max() <= 1e-8 * solution.stats["scale"]
