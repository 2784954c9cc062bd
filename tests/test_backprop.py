"""Backpropagation against complex steps and against CasADi's own derivatives, at one point and along nodes."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

import actionopt as ao
from actionopt.ops import NUMPY
from actionopt.symbolic import loss_function, module_function
from tests.systems import SYSTEMS, system

STEP = 1e-30  # complex steps lose no digits, so that the step may be tiny


def rest(problem: ao.Problem, w: np.ndarray, after: int, z: np.ndarray) -> complex:
    """Evaluate the data part of the energy, E less the weight decay, from the states z after `after` modules."""
    for module, piece in zip(problem.modules[after:], problem.network.split(NUMPY, w)[after:], strict=True):
        z = module.forward(NUMPY, piece, z)
    return problem.loss.value(NUMPY, z, problem.target_array).mean()


def complex_gradient(function: object, point: np.ndarray) -> np.ndarray:
    """Differentiate a scalar function, coordinate after coordinate."""
    gradient = np.empty(point.shape)
    for place in np.ndindex(point.shape):
        moved = point.astype(complex)
        moved[place] += 1j * STEP
        gradient[place] = function(moved).imag / STEP
    return gradient


def analytic(name: str) -> bool:
    """Softplus and log-sum-exp are written with comparisons, which complex numbers do not have."""
    return not any(word in name for word in ("square", "softmax", "logistic"))


def point(problem: ao.Problem) -> np.ndarray:
    return problem.initial_weights(3) + 0.1


@pytest.mark.parametrize("name", [*filter(analytic, SYSTEMS)])
def test_against_complex_steps(name: str) -> None:
    problem = SYSTEMS[name]
    w = point(problem)
    result = ao.adjoints(problem, w)
    gradient = complex_gradient(lambda w: rest(problem, w, 0, problem.inputs), w) + problem.weight_decay * w
    np.testing.assert_allclose(result.gradient, gradient, rtol=1e-12, atol=1e-15)
    for after, (state, adjoint) in enumerate(zip(result.states, result.adjoints, strict=True), start=1):
        expected = complex_gradient(lambda z, after=after: rest(problem, w, after, z), state)
        np.testing.assert_allclose(adjoint, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", SYSTEMS)
def test_against_casadi(name: str) -> None:
    """CasADi differentiates the energy over the weights and over perturbations added to every state."""
    problem = SYSTEMS[name]
    w = point(problem)
    weights = ca.SX.sym("w", problem.size)
    shifts = [[ca.SX.sym("s", module.out_size) for module in problem.modules] for _ in range(problem.samples)]
    loss = loss_function(problem.loss, problem.modules[-1].out_size, problem.target_array.shape[1])
    functions = [module_function(module) for module in problem.modules]
    energy = problem.weight_decay / 2 * ca.dot(weights, weights)
    for row, target, shift in zip(problem.inputs, problem.target_array, shifts, strict=True):
        z = ca.DM(row)
        for function, piece, s in zip(functions, problem.slices, shift, strict=True):
            z = function(z, weights[piece]) + s
        energy += loss(z, target) / problem.samples
    flat = ca.vertcat(*(s for shift in shifts for s in shift))
    derivative = ca.Function("derivative", [weights, flat], [ca.gradient(energy, weights), ca.gradient(energy, flat)])
    gradient, by_shift = (part.full().ravel() for part in derivative(w, 0))
    result = ao.adjoints(problem, w)
    np.testing.assert_allclose(result.gradient, gradient, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(np.concatenate(result.adjoints, axis=1).ravel(), by_shift, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", SYSTEMS)
def test_nodes_at_once_are_nodes_one_by_one(name: str) -> None:
    problem = SYSTEMS[name]
    nodes = np.stack([problem.initial_weights(seed) for seed in range(6)]).reshape(2, 3, problem.size)
    together = ao.adjoints(problem, nodes)
    assert together.gradient.shape == nodes.shape
    for place in np.ndindex(2, 3):
        single = ao.adjoints(problem, nodes[place])
        np.testing.assert_allclose(together.gradient[place], single.gradient, rtol=1e-12, atol=1e-15)
        for several, one in zip(together.states + together.adjoints, single.states + single.adjoints, strict=True):
            assert several.shape == (2, 3, *one.shape)
            np.testing.assert_allclose(several[place], one, rtol=1e-12, atol=1e-15)


def test_states_are_the_outputs() -> None:
    problem = system("residual")
    w = point(problem)
    states = problem.network.forward(NUMPY, problem.network.split(NUMPY, w))
    assert [state.shape for state in states] == [(5, 3), (5, 3), (5, 3), (5, 2)]
    np.testing.assert_array_equal(states[-1], problem.outputs(w))
    assert len(ao.adjoints(problem, w).states) == len(problem.modules)


def test_duplicated_data_halves_the_adjoints_and_keeps_the_gradient() -> None:
    """The factor 1/B belongs to the adjoints: every sample's share of the mean."""
    problem = system("dense", samples=3)
    twice = ao.Problem(
        problem.modules, np.tile(problem.inputs, (2, 1)), np.tile(problem.targets, (2, 1)), problem.loss,
        weight_decay=problem.weight_decay,
    )  # fmt: skip
    w = point(problem)
    one, two = ao.adjoints(problem, w), ao.adjoints(twice, w)
    np.testing.assert_allclose(two.gradient, one.gradient, rtol=1e-13)
    for single, double in zip(one.adjoints, two.adjoints, strict=True):
        np.testing.assert_allclose(double, np.tile(single / 2, (2, 1)), rtol=1e-13)


def test_gradient_vanishes_at_the_normal_equations() -> None:
    from problems import linear_regression

    problem = linear_regression.build(outputs=2, weight_decay=0.1)
    solution = linear_regression.solution(problem)
    assert np.abs(problem.gradient(solution)).max() < 1e-15


@pytest.mark.parametrize(
    ("w", "message"),
    [
        (np.zeros(25), r"weights must have length 26, got shape \(25,\)"),
        (np.zeros((26, 1)), r"weights must have length 26, got shape \(26, 1\)"),
        (3.0, r"weights must have length 26, got shape \(\)"),
        (np.full(26, np.nan), "weights must be finite, got nan"),
        ("text", "weights must be 26 numbers, got 'text'"),
        (None, "weights must be finite, got nan|weights must be 26 numbers|weights must have length 26"),
    ],
)
def test_wrong_weights(w: object, message: str) -> None:
    problem = system("dense")
    assert problem.size == 26
    for call in (
        lambda w: ao.adjoints(problem, w),
        problem.energy,
        problem.gradient,
        problem.outputs,
        problem.unflatten,
    ):
        with pytest.raises(ao.InputError, match=message):
            call(w)
