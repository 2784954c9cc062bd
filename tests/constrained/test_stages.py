"""Stages of a chain against differences of first derivatives, and lifted training."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import actionopt as ao
from actionopt.constrained.constraint import place_constraints
from actionopt.constrained.scale import cost_slopes, terms_at
from actionopt.constrained.stage_terms import stage_slopes, stage_terms
from actionopt.constrained.stages import Chain
from actionopt.newton.lifted import LiftedNewton
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


def control(**options: Any) -> ao.Problem:
    """Return a control problem with every kind of cost and condition that a stage can have."""
    return ao.control(
        ao.Residual(ao.Dense(2, 2, "tanh")), [0.4, -0.3], stages=3,
        stage_cost=lambda ops, u, z: ops.sum(ops.cos(z)) + 0.5 * ops.sum(u * u) + ops.sum(u) * ops.sum(z),
        end_cost=lambda ops, z: ops.sum(z * z * z),
        stage_constraint=lambda ops, u, z: ops.concatenate([ops.sum(u * u, keepdims=True) - 3.0, z - 4.0]),
        end=[0.1, np.nan], **options,
    )  # fmt: skip


@pytest.mark.parametrize("name", [*KINDS, "control"])
def test_a_step_solves_the_newton_system(name: str) -> None:
    """The quadratic program's solution against the KKT system from differences of first derivatives."""
    problem = control() if name == "control" else KINDS[name]()
    constraints = place_constraints(problem, getattr(problem, "constraints", ()))
    chain = Chain(problem, 2.0, constraints)
    rng, n = np.random.default_rng(0), problem.size
    w = problem.initial_weights(1) + 0.1 * rng.standard_normal(n)
    z = chain.simulate(w)
    z = z + 0.1 * rng.standard_normal(len(z))
    lam, mu = 0.3 * rng.standard_normal(len(z)), 0.2 * rng.standard_normal(len(chain.low))
    sigma = rng.uniform(0.5, 2.0, len(mu))
    x = np.concatenate([w, z])

    def gradient(x: np.ndarray) -> np.ndarray:
        at = chain.at(x[:n], x[n:])
        pulled, conditions = at.pull(lam), at.pull_conditions(mu)
        return np.concatenate([s + p + c for s, p, c in zip(at.slopes, pulled, conditions, strict=True)])

    def differences(of: Any, h: float = 1e-6) -> np.ndarray:
        return np.array([(of(x + h * e) - of(x - h * e)) / (2 * h) for e in np.eye(len(x))]).T

    def gaps(x: np.ndarray) -> np.ndarray:
        return chain.at(x[:n], x[n:]).gaps

    slopes = differences(lambda x: chain.at(x[:n], x[n:]).conditions) if len(mu) else np.zeros((0, len(x)))
    shift, diagonal = 6.0, rng.uniform(0.0, 1.0, n)
    hessian = differences(gradient) + shift * np.eye(len(x)) + slopes.T @ (sigma[:, None] * slopes)
    hessian[:n, :n] += np.diag(diagonal)
    jacobian, size = differences(gaps), len(z)
    at = chain.at(w, z)
    (r, q), c = at.slopes, at.gaps
    system = np.block([[hessian, jacobian.T], [jacobian, np.zeros((size, size))]])
    expected = np.linalg.solve(system, -np.concatenate([r, q, c]))
    stages, end = at.stages(lam, mu, sigma, diagonal)
    step = Riccati(stages, end, shift).solve(c, q, r)
    ours = np.concatenate([step.weights, step.states, step.multipliers])
    np.testing.assert_allclose(ours, expected, atol=1e-7 * max(1.0, abs(expected).max()))
    # slopes of the energy, and conditions pushed forward and taken apart
    energies = differences(lambda x: np.array([chain.at(x[:n], x[n:]).energy]))[0]
    np.testing.assert_allclose(np.concatenate([r, q]), energies, atol=1e-8)
    along = rng.standard_normal(len(x))
    np.testing.assert_allclose(at.push_conditions(along[:n], along[n:]), slopes @ along, atol=1e-7)
    if len(mu):
        rows = np.concatenate(at.rows(np.arange(len(mu))))
        np.testing.assert_allclose(rows, slopes.T, atol=1e-7)


def test_simulated_states_and_adjoints_are_the_network_s() -> None:
    for problem in (*(build() for build in KINDS.values()), control()):
        chain, w = Chain(problem), problem.initial_weights(3) + 0.1
        point, at = ao.adjoints(problem, w), chain.at(w, chain.simulate(w))
        assert at.energy == pytest.approx(problem.energy(w), rel=1e-13)
        listed = [k for k, module in enumerate(problem.modules) if not module.is_reading]
        for found, arrays in ((at.z, point.states), (at.adjoints(np.zeros(0)), point.adjoints)):
            for ours, k in zip(chain.by_stage(found), listed, strict=True):
                np.testing.assert_allclose(ours, arrays[k], atol=1e-14)
        gradient = at.slopes[0] + at.pull(at.adjoints(np.zeros(0)))[0]
        np.testing.assert_allclose(gradient, problem.gradient(w), atol=1e-13)


def test_sizes_of_terms_by_stages_are_those_of_the_network() -> None:
    """But for the random signs of their sources: within a factor, and the sizes of the slopes exactly."""
    problem = control()
    chain, w = Chain(problem), problem.initial_weights(3) + 0.3
    point = chain.at(w, chain.simulate(w))
    slopes = stage_slopes(point)
    np.testing.assert_allclose(np.concatenate(slopes), cost_slopes(problem, w), rtol=1e-12)
    ours, theirs = stage_terms(point, slopes), terms_at(problem, w)
    assert ours.slope == pytest.approx(theirs.slope)
    ratio = ours.weights / theirs.weights
    assert 0.05 < ratio.min() <= ratio.max() < 20.0


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
    low, high = np.full(problem.size, -0.2), np.full(problem.size, np.inf)
    high[::2] = 0.15
    result = LiftedNewton(Chain(problem), 1e-9, low=low, high=high).minimize(w0)
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
    gradient, nu = problem.gradient(w), result.point.force
    np.testing.assert_allclose(gradient, -nu, atol=1e-7)
    assert (nu[w - low < 1e-6] < 0).all()
    assert (nu[high - w < 1e-6] > 0).all()


def test_limits_and_interrupt_keep_an_iterate() -> None:
    chain = Chain(plain(6))
    weights = chain.problem.initial_weights(0)
    limited = LiftedNewton(chain, 1e-10, max_iterations=3).minimize(weights)
    assert (limited.status, limited.iterations) == ("iteration limit", 3)

    def watch(iteration: int, point: Any) -> str | None:
        if iteration == 3:
            raise KeyboardInterrupt
        return None

    interrupted = LiftedNewton(chain, 1e-10, watch=watch).minimize(weights)
    assert interrupted.status == "interrupted"
    np.testing.assert_array_equal(interrupted.point.w, limited.point.w)


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
