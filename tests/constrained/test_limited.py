"""Newton's method within bounds and constraints: known answers, ipopt's, signs of multipliers, and what ends a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import nnls

import actionopt as ao
from actionopt.newton import lifted
from tests.constrained.systems import SYSTEMS, classes, data
from tests.constrained.test_stages import plain


def train(problem: ao.Problem, w0: Any = None, **options: Any) -> ao.Solution:
    return ao.train(problem, w0, solver="newton", **options)


def network(decay: float = 0.05) -> ao.Problem:
    layers = [ao.Dense(3, 2, "tanh"), ao.Dense(2, 3)]
    return ao.Problem(layers, data(12), classes(12), ao.SoftmaxCrossEntropy(), weight_decay=decay)


def convex() -> ao.Problem:
    return ao.Problem(ao.Dense(3, 3), data(12), classes(12), ao.SoftmaxCrossEntropy(), weight_decay=0.05)


def test_nonnegative_least_squares() -> None:
    rng = np.random.default_rng(0)
    design, target = rng.standard_normal((40, 6)), rng.standard_normal(40)
    problem = ao.Problem(ao.Dense(6, 1, bias=False), design, target, ao.SquaredError())
    exact, _ = nnls(design, target)
    assert 0 < (exact > 0).sum() < 6
    for formulation in ("auto", "lifted"):
        found = train(problem, bounds=(0, None), formulation=formulation, second_order=True)
        np.testing.assert_allclose(found.weights, exact, atol=1e-7)
        nu, gradient = found.bounds_multipliers, problem.gradient(found.weights)
        assert abs(gradient + nu).max() <= 1e-8 * found.stats["scale"]
        assert (nu[exact == 0] < 0).all()
        assert abs(nu[exact > 0]).max() <= 1e-8
        assert found.is_minimum is True


@pytest.mark.parametrize("formulation", ["auto", "lifted"])
def test_bounds_are_those_of_ipopt(formulation: str) -> None:
    problem = convex()
    w0 = 0.1 * problem.initial_weights(0)
    bounds = (np.where(np.arange(problem.size) % 3, -0.2, -np.inf), 0.15)
    found, other = train(problem, w0, bounds=bounds, formulation=formulation), ao.train(problem, w0, bounds=bounds)
    assert found.stats["formulation"] == {"auto": "condensed", "lifted": "lifted"}[formulation]
    assert found.energy == pytest.approx(other.energy, rel=1e-8)
    np.testing.assert_allclose(found.weights, other.weights, atol=1e-5)
    np.testing.assert_allclose(found.bounds_multipliers, other.bounds_multipliers, atol=1e-6)
    assert (found.weights >= bounds[0]).all()
    assert (found.weights <= bounds[1]).all()
    assert 0 < (abs(found.bounds_multipliers) > 1e-6).sum() < problem.size
    assert found.stats["relative_residual"] <= 1e-6
    for ours, adjoint in zip(found.multipliers, ao.adjoints(problem, found.weights).adjoints, strict=True):
        np.testing.assert_allclose(ours, adjoint, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "relu"])
def test_every_kind_of_system_within_bounds(name: str) -> None:
    problem = SYSTEMS[name]()
    w0 = np.clip(0.3 * problem.initial_weights(1), -0.2, 0.25)
    found = train(problem, w0, bounds=(-0.2, 0.25), max_iterations=300)
    w, nu = found.weights, found.bounds_multipliers
    assert w.min() >= -0.2
    assert w.max() <= 0.25
    assert abs(problem.gradient(w) + nu).max() <= 1e-8 * found.stats["scale"]
    assert (nu[w > -0.2] >= 0).all()
    assert (nu[w < 0.25] <= 0).all()
    assert found.energy <= problem.energy(w0)


def test_a_deep_chain_within_bounds() -> None:
    problem = plain(14)
    w0 = np.clip(problem.initial_weights(1), -2.0, 2.0)
    found = train(problem, w0, bounds=(-2.0, 2.0), throw=False)
    assert abs(problem.gradient(found.weights) + found.bounds_multipliers).max() <= 1e-8 * found.stats["scale"]
    assert found.success
    assert found.energy < 0.2 * problem.energy(w0)


def test_weights_held_at_one_value_stay_there() -> None:
    problem = network()
    w0 = 0.1 * problem.initial_weights(0)
    low, high = np.full(problem.size, -0.5), np.full(problem.size, 0.5)
    low[:4] = high[:4] = w0[:4]
    for formulation in ("auto", "lifted"):
        found = train(problem, w0, bounds=(low, high), formulation=formulation)
        np.testing.assert_array_equal(found.weights[:4], w0[:4])
        assert abs((problem.gradient(found.weights) + found.bounds_multipliers)[4:]).max() <= 1e-7


def ball(ops: Any, w: Any) -> Any:
    return ops.sum(w * w)


Node = Any
CONSTRAINTS: dict[str, Callable[[Any, Node, Any], list[ao.Constraint]]] = {  # of first module, its node, last module
    "ball": lambda first, node, last: [ao.Constraint(ball, on=last, upper=0.4)],
    "a sum": lambda first, node, last: [ao.Constraint(lambda ops, w: ops.sum(w), on=first, lower=0.3, upper=0.3)],
    "sphere": lambda first, node, last: [ao.Constraint(ball, on=first, lower=0.7, upper=0.7)],
    "box of states": lambda first, node, last: [ao.Constraint(lambda ops, z: z, on=node, lower=-0.1, upper=0.15)],
    "several": lambda first, node, last: [
        ao.Constraint(ball, on=last, lower=0.2, upper=0.4),
        ao.Constraint(lambda ops, z: ops.sum(z), on=node, upper=0.2),
        ao.Constraint(lambda ops, w: ops.unpack(w, (2, 3), (2,))[1], on=first, lower=0.05, upper=0.05),
    ],
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_are_those_of_ipopt(name: str) -> None:
    first, last = ao.Dense(3, 2, "tanh"), ao.Dense(2, 3)
    if name in ("ball", "a sum"):  # convex, for the two took different minima
        first = last = ao.Dense(3, 3)
    node = first(ao.Input(data(12)))
    out = node if first is last else last(node)
    constraints = CONSTRAINTS[name](first, node, last)
    problem = ao.Problem([ao.Cost(out, ao.SoftmaxCrossEntropy(), classes(12))], weight_decay=0.05)
    w0, bounds = 0.3 * problem.initial_weights(0), (-0.6, 0.6)
    other = ao.train(problem, w0, constraints=constraints, bounds=bounds, second_order=True)
    near = np.clip(other.weights + 0.05 * np.random.default_rng(0).standard_normal(problem.size), *bounds)
    found = train(problem, near, constraints=constraints, bounds=bounds, second_order=True)
    assert found.stats["engine"] == "lifted Riccati"
    assert found.energy == pytest.approx(other.energy, rel=1e-7)
    np.testing.assert_allclose(found.weights, other.weights, atol=2e-4)
    for mine, theirs in zip(found.constraint_multipliers, other.constraint_multipliers, strict=True):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert max(abs(mu).max() for mu in found.constraint_multipliers) > 1e-3
    assert found.stats["infeasibility"] <= 1e-8
    assert found.stats["relative_residual"] <= 1e-8
    assert found.adjoint_error <= 1e-7
    assert found.lowest_eigenvalue == pytest.approx(other.lowest_eigenvalue, rel=1e-3)


def test_the_multiplier_of_a_ball_is_half_the_ridge() -> None:
    rng = np.random.default_rng(0)
    design, target = rng.standard_normal((20, 3)), rng.standard_normal(20)
    layer = ao.Dense(3, 1, bias=False)
    problem = ao.Problem(layer, design, target, ao.SquaredError())
    found = train(problem, constraints=ao.Constraint(ball, on=layer, upper=0.01))
    ridge = 2.0 * float(found.constraint_multipliers[0])
    exact = np.linalg.solve(design.T @ design / 20 + ridge * np.eye(3), design.T @ target / 20)
    np.testing.assert_allclose(found.weights, exact, atol=1e-7)
    assert exact @ exact == pytest.approx(0.01, rel=1e-6)


def test_auto_takes_newton_and_ipopt_for_what_it_refuses() -> None:
    problem = network()
    w0 = 0.1 * problem.initial_weights(0)
    hidden = ao.Constraint(lambda ops, w: w, on=problem.modules[0], upper=0.5)
    for options in ({}, {"bounds": (-0.3, 0.3)}, {"constraints": hidden}):
        assert ao.train(problem, w0, solver="auto", **options).stats["solver"] == "newton"
    asked = ao.train(problem, w0, solver="auto", options={"ipopt": {"mumps_pivot_order": 0}})
    assert asked.stats["solver"] == "ipopt"
    layer = ao.Dense(3, 3, "tanh")
    shared = ao.Problem([layer, layer], data(8), classes(8), ao.SoftmaxCrossEntropy(), weight_decay=0.1)
    limit = ao.Constraint(ball, on=layer, upper=0.2)
    assert ao.train(shared, solver="auto", constraints=limit).stats["solver"] == "ipopt"
    assert ao.train(shared, np.zeros(shared.size), solver="auto", bounds=(-0.1, 0.1)).stats["solver"] == "newton"


class Push(ao.Module):
    """`z_next = z + u`."""

    in_size = out_size = weight_size = 1

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        return z + ops.unpack(w, (1,))


@pytest.mark.parametrize("options", [{}, {"bounds": (-0.5, 0.5)}, {"end": [np.nan], "stage_constraint": True}])
def test_a_start_on_a_saddle_is_left(options: dict[str, Any]) -> None:
    """To do nothing is stationary between two goods, and no minimum."""
    given = dict(options)
    if given.pop("stage_constraint", False):
        given["stage_constraint"] = lambda ops, u, z: u - 0.4
    problem = ao.control(
        Push(), [0.0], stages=9, stage_cost=lambda ops, u, z: 0.01 * ops.sum(u * u),
        end_cost=lambda ops, z: 0.25 * ops.sum((z * z - 1.0) ** 2), **given,
    )  # fmt: skip
    start = np.zeros(9)
    assert abs(problem.gradient(start)).max() == 0.0
    found = train(problem, start, second_order=True)
    assert found.energy < 0.2 * problem.energy(start)
    assert abs(abs(found.states[-1][0, 0]) - 1.0) < 0.1
    assert found.is_minimum is True


def test_a_saddle_that_cannot_be_left_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifted, "ESCAPES", 0)
    problem = ao.control(
        Push(), [0.0], stages=9, stage_cost=lambda ops, u, z: 0.01 * ops.sum(u * u),
        end_cost=lambda ops, z: 0.25 * ops.sum((z * z - 1.0) ** 2),
    )  # fmt: skip
    found = train(problem, np.zeros(9), throw=False)
    assert (found.status, found.is_minimum) == ("saddle", False)
    assert "the curvature is negative" in found.message


def test_what_is_flat_along_a_constraint_is_not_called_a_minimum() -> None:
    """Every point of the sphere is as high as any other."""
    layer = ao.Dense(2, 1, bias=False)
    problem = ao.Problem(layer, np.eye(2), np.zeros((2, 1)), ao.SquaredError())
    sphere = ao.Constraint(ball, on=layer, lower=1.0, upper=1.0)
    found = train(problem, np.array([1.0, 0.0]), constraints=sphere, second_order=True)
    assert found.is_minimum is None  # flat along the sphere
    assert found.energy == pytest.approx(0.25)


def test_what_is_refused() -> None:
    layer = ao.Dense(3, 3, "tanh")
    shared = ao.Problem([layer, layer], data(8), classes(8), ao.SoftmaxCrossEntropy())
    limit = ao.Constraint(ball, on=layer, upper=0.2)
    with pytest.raises(
        ao.InputError, match="the state before it alone: modules share weights; solver='ipopt' takes all"
    ):
        train(shared, constraints=limit)
    node = ao.Dense(3, 2, "tanh")(ao.Input(data(20)))
    long = ao.Problem([ao.Cost(ao.Dense(2, 3)(node), ao.SoftmaxCrossEntropy(), classes(20))])
    pinned = ao.Constraint(lambda ops, z: z, on=node, lower=0.0, upper=0.0)
    with pytest.raises(ao.InputError, match="its constraints are 40 equalities, more than 32"):
        train(long, constraints=pinned)
    wide = ao.Problem(ao.Dense(20, 4), np.eye(20), np.eye(20)[:, :4], ao.SquaredError())
    with pytest.raises(ao.InputError, match="constraint 1 is a condition on 84 numbers, more than 64"):
        train(wide, constraints=ao.Constraint(ball, on=wide.modules[0], upper=1.0))
    problem = network()
    hidden = ao.Constraint(lambda ops, w: w, on=problem.modules[0], upper=0.5)
    with pytest.raises(ao.InputError, match="no condensed form of constraints and control problems"):
        train(problem, constraints=hidden, formulation="condensed")
    with pytest.raises(ao.InputError, match="the start lies outside its bounds"):
        train(problem, np.ones(problem.size), bounds=(-0.1, 0.1))


def test_an_equality_out_of_reach_is_infeasible_and_named() -> None:
    layer = ao.Dense(3, 1, bias=False)
    problem = ao.Problem(layer, data(6), data(6, 1), ao.SquaredError())
    apart = ao.Constraint(lambda ops, w: ops.sum(w * w), on=layer, lower=-1.0, upper=-1.0, name="impossible")
    found = train(problem, constraints=apart, throw=False)
    assert found.status == "infeasible"
    assert "constraint 'impossible' is violated most" in found.message


@pytest.mark.parametrize("formulation", ["auto", "lifted"])
def test_what_ends_a_run_keeps_the_last_weights(formulation: str) -> None:
    problem = network()
    w0 = 0.1 * problem.initial_weights(0)
    options: dict[str, Any] = {"bounds": (-0.3, 0.3), "formulation": formulation, "throw": False}
    assert train(problem, w0, time_limit=1e-9, **options).status == "time limit"
    limited = train(problem, w0, max_iterations=3, **options)
    assert (limited.status, limited.stats["iterations"]) == ("iteration limit", 3)
    stopped = train(problem, w0, callback=lambda moment: moment.iteration == 4, **options)
    assert stopped.status == "stopped"
    assert len(stopped.history or ()) == 5

    def interrupt(moment: Any) -> None:
        if moment.iteration == 4:
            raise KeyboardInterrupt

    kept = train(problem, w0, callback=interrupt, **options)
    assert kept.status == "interrupted"
    assert kept.energy < problem.energy(w0)
    np.testing.assert_array_equal(kept.weights, stopped.weights)
