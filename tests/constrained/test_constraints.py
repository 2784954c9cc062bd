"""Bounds and constraints: known answers by every solver and formulation, multipliers with their signs, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import nnls

import actionopt as ao
from tests.constrained.systems import data

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 3))
Y = X @ [1.0, -2.0, 0.5]
WAYS = [(solver, formulation) for solver in ("ipopt", "fatrop") for formulation in ("lifted", "condensed")]
INTERIOR = [*WAYS, ("sqpmethod", "lifted")]


def linear() -> tuple[ao.Problem, ao.Dense]:
    layer = ao.Dense(3, 1, bias=False)
    return ao.Problem(layer, X, Y, ao.SquaredError()), layer


def hidden() -> tuple[ao.Problem, Any, ao.Dense]:
    """Return a network on nodes, its hidden node and its first layer."""
    layer = ao.Dense(3, 4, "tanh")
    h = layer(ao.Input(data(8), name="x"))
    cost = ao.Cost(ao.Dense(4, 2)(h), ao.SquaredError(), data(8, 2, 6))
    return ao.Problem([cost], weight_decay=0.01), h, layer


@pytest.mark.parametrize(("solver", "formulation"), INTERIOR)
def test_non_negative_least_squares(solver: str, formulation: str) -> None:
    problem, _ = linear()
    found = ao.train(problem, np.ones(3), bounds=(0.0, np.inf), solver=solver, formulation=formulation)
    np.testing.assert_allclose(found.weights, nnls(X, Y)[0], atol=1e-8)
    # nu = minus the gradient of the rest: not positive at a lower bound, zero inside
    np.testing.assert_allclose(found.bounds_multipliers, -problem.gradient(found.weights), atol=1e-8)
    assert found.bounds_multipliers[1] < -1.0
    assert found.adjoint_error <= 1e-8
    assert ao.train(problem, np.ones(3), bounds=(0.0, np.inf), second_order=True).is_minimum is True


def test_bounds_of_a_module_and_of_single_weights() -> None:
    problem, layer = linear()
    box = (np.array([-1.0, -1.5, 0.6]), np.array([0.8, 5.0, 5.0]))
    found = ao.train(problem, [0.5, 0.0, 1.0], bounds=box)
    same = ao.train(problem, [0.5, 0.0, 1.0], bounds={layer: box})
    np.testing.assert_array_equal(found.weights, same.weights)
    assert (found.weights >= box[0]).all()
    assert (found.weights <= box[1]).all()
    assert found.bounds_multipliers[0] > 0 > found.bounds_multipliers[1]
    assert ao.train(problem, bounds=(0.3, None)).weights.min() >= 0.3  # a start that was drawn is moved inside


@pytest.mark.parametrize(("solver", "formulation"), INTERIOR)
def test_multiplier_of_a_norm_ball_is_half_the_ridge_coefficient(solver: str, formulation: str) -> None:
    problem, layer = linear()
    ball = ao.Constraint(lambda ops, w: ops.sum(w * w), on=layer, upper=1.0, name="ball")
    found = ao.train(problem, 0.1 * np.ones(3), constraints=[ball], solver=solver, formulation=formulation)
    (mu,) = found.constraint_multipliers
    ridge = np.linalg.solve(X.T @ X / 30 + 2.0 * float(mu) * np.eye(3), X.T @ Y / 30)
    assert float(mu) > 0.1
    np.testing.assert_allclose(found.weights, ridge, atol=1e-8)
    assert found.weights @ found.weights == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize(("solver", "formulation"), [("ipopt", "lifted"), ("ipopt", "condensed")])
def test_orthogonal_weights_solve_procrustes_problem(solver: str, formulation: str) -> None:
    rng = np.random.default_rng(3)
    a = rng.standard_normal((40, 3))
    b = a @ np.linalg.qr(rng.standard_normal((3, 3)))[0].T + 0.1 * rng.standard_normal((40, 3))
    u, _, v = np.linalg.svd(b.T @ a)
    layer = ao.Dense(3, 3, bias=False)

    def gram(ops: Any, w: Any) -> Any:
        matrix = ops.unpack(w, (3, 3))
        return ops.matmul(matrix, ops.transpose(matrix))

    orthogonal = ao.Constraint(gram, on=layer, lower=np.eye(3), upper=np.eye(3))
    start = np.diag([1.0, 1.0, np.linalg.det(u @ v)]).ravel()
    problem = ao.Problem(layer, a, b, ao.SquaredError())
    found = ao.train(problem, start, constraints=orthogonal, solver=solver, formulation=formulation, second_order=True)
    np.testing.assert_allclose(found.weights.reshape(3, 3), u @ v, atol=1e-7)
    assert found.constraint_multipliers[0].shape == (3, 3)
    assert found.is_minimum is True


@pytest.mark.parametrize(("solver", "formulation"), WAYS)
def test_box_on_hidden_states(solver: str, formulation: str) -> None:
    problem, h, _ = hidden()
    box = ao.Constraint(lambda ops, z: z, on=h, lower=-0.5, upper=0.5)
    w0 = 0.3 * problem.initial_weights(1)
    found = ao.train(problem, w0, constraints=[box], solver=solver, formulation=formulation)
    assert found.adjoint_error <= 1e-8
    assert abs(found.states[0]).max() <= 0.5 + 1e-8
    (mu,) = found.constraint_multipliers
    assert mu.shape == (8, 4)
    assert (np.sign(mu[abs(mu) > 1e-6]) == np.sign(found.states[0][abs(mu) > 1e-6])).all()
    assert found.energy == pytest.approx(0.62376446, abs=1e-7)
    np.testing.assert_allclose(found.multipliers[0], ao.train(problem, w0, constraints=[box]).multipliers[0], atol=1e-6)


def test_adjoints_without_the_constraints_sources_are_not_the_multipliers() -> None:
    problem, h, _ = hidden()
    box = ao.Constraint(lambda ops, z: z, on=h, lower=-0.5, upper=0.5)
    found = ao.train(problem, 0.3 * problem.initial_weights(1), constraints=[box])
    plain = ao.adjoints(problem, found.weights)
    assert abs(found.multipliers[0] - plain.adjoints[0]).max() > 1e-3


def test_names_and_shapes_of_nodes_in_a_list_of_modules() -> None:
    problem = ao.Problem([ao.Dense(3, 2, "tanh"), ao.Dense(2, 1)], data(5), data(5, 1), ao.SquaredError())
    flat = ao.Constraint(lambda ops, z: ops.sum(z * z), on="1 Dense", upper=0.2, name="flat")
    found = ao.train(problem, 0.1 * problem.initial_weights(), constraints=flat, throw=False)
    assert found.constraint_multipliers[0].shape == (5, 1)
    assert (found.states[0] ** 2).sum(axis=1).max() <= 0.2 + 1e-7


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
def test_infeasible_constraints_are_named(solver: str) -> None:
    problem, h, _ = hidden()
    above = ao.Constraint(lambda ops, z: z, on=h, lower=2.0, name="above")
    fine = ao.Constraint(lambda ops, z: z, on=h, lower=-2.0, name="fine")
    with pytest.raises(ao.SolverError, match="constraint 'above' is violated most") as caught:
        ao.train(problem, 0.3 * problem.initial_weights(1), constraints=[fine, above], solver=solver)
    assert caught.value.result.status == "infeasible"


@pytest.mark.parametrize("linearized", [False, True])
def test_proximal_steps_keep_bounds_and_constraints(linearized: bool) -> None:
    problem, layer = linear()
    ball = ao.Constraint(lambda ops, w: ops.sum(w * w), on=layer, upper=1.0)
    found = ao.proximal_step(problem, [0.5, 0.1, 0.1], 5.0, bounds=(0.0, 0.9), constraints=ball, linearized=linearized)
    assert (found.weights >= -1e-9).all()
    assert (found.weights <= 0.9 + 1e-9).all()
    if not linearized:
        assert found.weights @ found.weights <= 1.0 + 1e-8
    free = ao.proximal_step(problem, [0.5, 0.1, 0.1], 5.0, linearized=linearized)
    assert free.weights.min() < -0.1


def test_linearised_bounds_project_in_the_metric() -> None:
    problem, _ = linear()
    found = ao.proximal_step(problem, [0.5, 0.1, 0.1], 0.3, bounds=(0.0, 0.6), linearized=True, metric="euclidean")
    free = np.array([0.5, 0.1, 0.1]) - 0.3 * problem.gradient(np.array([0.5, 0.1, 0.1]))
    np.testing.assert_allclose(found.weights, np.clip(free, 0.0, 0.6), atol=1e-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p, h, l: {"bounds": (1.0, 0.0)}, "bounds cross at weight 0: 1 lies above 0"),
        (lambda p, h, l: {"bounds": (0.0, np.ones(3))}, r"bounds must be numbers or arrays \(26,\), got shape \(3,\)"),
        (lambda p, h, l: {"bounds": 3.0}, r"bounds must be \(low, high\), numbers or arrays \(26,\)"),
        (lambda p, h, l: {"bounds": {ao.Dense(3, 4): (0, 1)}}, "no module of this problem; it has 1 Dense, 2 Dense"),
        (lambda p, h, l: {"bounds": (5.0, 6.0), "w0": np.zeros(26)}, r"outside its bounds: weight 0 is 0.*np\.clip"),
        (
            lambda p, h, l: {"constraints": ao.Constraint(lambda ops, z: [z, z], on=h, upper=1.0, name="pair")},
            "pair on node '1 Dense': value returned a list, expected an array; ops.concatenate joins columns",
        ),
        (
            lambda p, h, l: {"constraints": ao.Constraint(lambda ops, z: ops.sum_samples(z), on=h, upper=1.0)},
            r"constraint 1 on node .*: value returned shape \(1, 4\) for states \(8, 4\), expected a row a sample",
        ),
        (
            lambda p, h, l: {"constraints": ao.Constraint(lambda ops, z: z, on=h, upper=np.ones(3))},
            r"upper has shape \(3,\), the values have \(8, 4\)",
        ),
        (
            lambda p, h, l: {"constraints": ao.Constraint(lambda ops, w: w, on=ao.Dense(1, 1), upper=1.0)},
            "is no module of this problem",
        ),
        (
            lambda p, h, l: {"constraints": ao.Constraint(lambda ops, z: z, on="x", upper=1.0)},
            "node 'x' holds data, which no constraint can change",
        ),
        (
            lambda p, h, l: {"constraints": ao.Constraint(lambda ops, z: z, on="hh", upper=1.0)},
            "unknown node 'hh'",
        ),
        (
            lambda p, h, l: {"constraints": ao.Constraint(lambda ops, z: z, on=h, lower=1.0, upper=0.0, name="c")},
            "c on node .*: the limits cross",
        ),
        (lambda p, h, l: {"constraints": [lambda ops, w: w]}, "constraints must be ao.Constraint objects"),
        (
            lambda p, h, l: {"constraints": ao.Constraint(lambda ops, z: z.nope, on=h, upper=1.0, name="c")},
            "c on node .*: value fails on states .*AttributeError",
        ),
    ],
)
def test_bad_input(make: Any, message: str) -> None:
    problem, h, layer = hidden()
    with pytest.raises(ao.InputError, match=message):
        ao.train(problem, **make(problem, h, layer))


def test_constraints_take_functions_and_nodes() -> None:
    with pytest.raises(ao.InputError, match="Constraint takes a function"):
        ao.Constraint(3.0, on="h")  # type: ignore[arg-type]
    with pytest.raises(ao.InputError, match="on must be a node, its name, or a module"):
        ao.Constraint(lambda ops, z: z, on=3)
    with pytest.raises(ao.InputError, match="lower must be numbers"):
        ao.Constraint(lambda ops, z: z, on="h", lower="low")


@pytest.mark.parametrize("solver", ["ipopt"])
def test_checks_of_adjoints_with_constraints_as_sources(solver: str) -> None:
    problem, h, _ = hidden()
    box = ao.Constraint(lambda ops, z: z, on=h, lower=-0.5, upper=0.5)
    w = 0.3 * problem.initial_weights(1)
    check = ao.check_adjoints(problem, w, constraints=box, bounds=(-1.0, 1.0), solver=solver)
    assert check.ok, check.message
    assert check.relative_error <= 1e-8
    trained = ao.train(problem, w, constraints=box, bounds=(-1.0, 1.0), solver=solver)
    np.testing.assert_allclose(check.multipliers[0], trained.multipliers[0], atol=1e-6)
    np.testing.assert_allclose(check.gradient_multipliers, check.gradient, atol=1e-8)
    assert list(check.stats) == ["layers"]
