"""No unit of loss or data makes a wrong answer look right."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.constrained import solvers
from actionopt.constrained.scale import terms_at
from tests.constrained.systems import SYSTEMS, data

FACTORS = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1e2, 1e4, 1e6, 1e8, 1e10)
WAYS = [
    ("ipopt", "lifted"),
    ("ipopt", "condensed"),
    ("fatrop", "lifted"),
    ("fatrop", "condensed"),
    ("sqpmethod", "lifted"),
    ("uno", "lifted"),
    ("newton", "condensed"),
]


def network(factor: float) -> ao.Problem:
    loss = ao.CustomLoss(lambda ops, y, t: 0.5 * factor * ops.sum((y - t) * (y - t)))
    layers = [ao.Dense(3, 2, "tanh"), ao.Dense(2, 1)]
    return ao.Problem(layers, data(6), data(6, 1), loss, weight_decay=0.05 * factor, mass=factor)


@pytest.mark.parametrize(("solver", "formulation"), WAYS)
def test_training_does_not_know_the_loss_s_unit(solver: str, formulation: str) -> None:
    w0 = network(1.0).initial_weights(2)
    one = ao.train(network(1.0), w0, solver=solver, formulation=formulation)
    for factor in FACTORS:
        other = ao.train(network(factor), w0, solver=solver, formulation=formulation)
        np.testing.assert_allclose(other.weights, one.weights, atol=1e-6, err_msg=f"times {factor}")
        assert other.energy == pytest.approx(factor * one.energy, rel=1e-6)
        assert other.stats["scale"] == pytest.approx(factor * one.stats["scale"], rel=1e-9)
        for lam, base in zip(other.multipliers, one.multipliers, strict=True):
            np.testing.assert_allclose(lam / factor, base, atol=1e-6)


@pytest.mark.parametrize("linearized", [False, True])
def test_proximal_steps_do_not_know_it_either(linearized: bool) -> None:
    w0 = network(1.0).initial_weights(2)
    one = ao.proximal_step(network(1.0), w0, 0.3, linearized=linearized)
    for factor in FACTORS:
        other = ao.proximal_step(network(factor), w0, 0.3, linearized=linearized)
        np.testing.assert_allclose(other.weights, one.weights, atol=1e-6, err_msg=f"times {factor}")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("solver", "formulation"), WAYS[:4] + WAYS[-1:])
def test_fits_in_any_unit_of_the_data(solver: str, formulation: str, bias: bool) -> None:
    x = data(20)
    y = x @ [[1.0], [-2.0], [0.5]] + 0.3 + 0.1 * data(20, 1, 7)
    design = np.hstack([x, np.ones((20, 1))]) if bias else x
    fit = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    succeeded = 0
    for a, b in itertools.product((1e-8, 1.0, 1e8), repeat=2):
        problem = ao.Problem(ao.Dense(3, 1, bias=bias), a * x, b * y, ao.SquaredError())
        found = ao.train(problem, solver=solver, formulation=formulation, throw=False)
        error = abs(problem.outputs(found.weights) - b * fit).max() / (b * abs(y).max())
        assert error <= 1e-6 or not found.success, (a, b, found.message)
        succeeded += found.success
    assert succeeded >= (2 if solver == "newton" else 7)


@pytest.mark.parametrize("name", SYSTEMS)
def test_terms_are_proportional_to_the_loss_and_not_to_the_start(name: str) -> None:
    problem = SYSTEMS[name]()
    w = problem.initial_weights(1)
    terms = terms_at(problem, w)
    assert terms.weights.shape == (problem.size,)
    assert (abs(problem.gradient(w)) <= 100 * terms.largest).all()
    if name == "landscape":  # no targets: the slope is that at the start
        return
    fitted = ao.train(problem, 0.3 * w, solver="newton", throw=False, tol=1e-6, max_iterations=50)
    assert terms_at(problem, fitted.weights).slope == pytest.approx(terms.slope, rel=0.9)


def test_a_solution_given_as_start_is_a_solution() -> None:
    """Where the residual vanishes the slope at the start is rounding; the targets still give the scale."""
    x = data(20)
    problem = ao.Problem(ao.Dense(3, 1), x, x @ [[1.0], [-2.0], [0.5]] + 0.3, ao.SquaredError())
    found = ao.train(problem)
    again = ao.train(problem, found.weights)
    assert again.success
    assert again.stats["iterations"] <= 1


def landscape(value: Any, size: int) -> ao.Problem:
    return ao.Problem(ao.Parameter(size), None, None, ao.CustomLoss(value), output_metric=None)


def rosenbrock(ops: Any, y: Any, t: Any) -> Any:
    a, b = ops.columns(y)
    return ops.sum(1e6 * (100.0 * (b - a * a) ** 2 + (1.0 - a) ** 2))


def test_rosenbrock_times_a_million() -> None:
    for solver in ("ipopt", "fatrop", "sqpmethod"):
        found = ao.train(landscape(rosenbrock, 2), [-1.2, 1.0], solver=solver, throw=False)
        assert found.success, found.message
        np.testing.assert_allclose(found.weights, 1.0, atol=1e-6)
        assert found.gradient_norm <= 1e-8 * found.stats["scale"]


def norm_of(ops: Any, y: Any, t: Any) -> Any:
    return ops.sqrt(ops.sum((y - t) ** 2))


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
@pytest.mark.parametrize("formulation", ["lifted", "condensed"])
def test_median_as_a_sum_of_norms_is_never_a_false_success(solver: str, formulation: str) -> None:
    """Five points on a line; the norm has no derivative where it vanishes, at the median 2 and at the start 0."""
    points = np.array([0.0, 1.0, 2.0, 5.0, 40.0])
    problem = ao.Problem(ao.Parameter(1), None, points, ao.CustomLoss(norm_of), output_metric=None)
    for start in (2.0, 0.0, 3.0, 1.7):
        found = ao.train(problem, [start], solver=solver, formulation=formulation, throw=False, max_iterations=200)
        assert not found.success or abs(found.weights[0] - 2.0) < 1e-6, found.message


@pytest.mark.parametrize(("solver", "formulation"), [way for way in WAYS if way[0] in ("ipopt", "fatrop", "sqpmethod")])
@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_separable_classes_have_no_minimum(solver: str, formulation: str, loss: str) -> None:
    x, labels = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0, 0, 1, 1])
    problem = (
        ao.Problem(ao.Dense(1, 1), x, labels, ao.Logistic())
        if loss == "logistic"
        else ao.Problem(ao.Dense(1, 2), x, labels, ao.SoftmaxCrossEntropy())
    )
    found = ao.train(problem, np.zeros(problem.size), solver=solver, formulation=formulation, throw=False)
    assert not found.success
    if found.status == "diverging":
        assert "weight_decay" in found.message


def ackley(ops: Any, y: Any, t: Any) -> Any:
    x, z = ops.columns(y)
    waves = ops.cos(2 * np.pi * x) + ops.cos(2 * np.pi * z)
    return ops.sum(-20 * ops.exp(-0.2 * ops.sqrt(0.5 * (x * x + z * z))) - ops.exp(0.5 * waves) + 20 + np.e)


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
def test_ackley_s_kink_is_no_success_and_no_other_point_is_the_minimum(solver: str) -> None:
    problem = landscape(ackley, 2)
    for start in ([0.0, 0.0], [0.3, 0.2], [0.3, 0.3], [2.2, -1.1]):
        found = ao.train(problem, start, solver=solver, throw=False, max_iterations=300, second_order=True)
        if found.success:
            assert found.energy <= problem.energy(start)
            assert found.is_minimum or abs(found.energy) < 1e-6, found.message


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
@pytest.mark.parametrize("kind", ["exponential", "square"])
def test_energies_without_a_minimum(solver: str, kind: str) -> None:
    value = {
        "exponential": lambda ops, y, t: ops.sum(-ops.exp(y)),
        "square": lambda ops, y, t: ops.sum(-y * y),
    }[kind]
    found = ao.train(landscape(value, 1), [1.0], solver=solver, throw=False)
    assert not found.success
    if solver == "ipopt":
        assert found.status == "unbounded"
    assert found.energy <= -1.0 or found.status in ("ascended", "stopped", "diverging")


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod"])
@pytest.mark.parametrize("formulation", ["lifted", "condensed"])
def test_a_saddle_at_the_start_is_said_to_be_one(solver: str, formulation: str) -> None:
    problem = ao.Problem([ao.Dense(2, 2, "tanh", bias=False), ao.Dense(2, 1, bias=False)], data(6, 2), data(6, 1),
                         ao.SquaredError())  # fmt: skip
    found = ao.train(problem, np.zeros(problem.size), solver=solver, formulation=formulation, throw=False)
    assert found.status == "saddle"
    assert found.is_minimum is False
    assert found.lowest_eigenvalue is not None
    assert found.lowest_eigenvalue < 0
    assert "start elsewhere" in found.message


def test_second_word_against_the_dense_hessian() -> None:
    problem = SYSTEMS["softmax"]()
    found = ao.train(problem, 0.3 * problem.initial_weights(1), second_order=True)
    h = 1e-5
    columns = [problem.gradient(found.weights + h * e) - problem.gradient(found.weights - h * e)
               for e in np.eye(problem.size)]  # fmt: skip
    hessian = np.stack(columns) / (2 * h)
    assert found.lowest_eigenvalue == pytest.approx(np.linalg.eigvalsh(0.5 * (hessian + hessian.T))[0], rel=1e-4)
    assert found.is_minimum is True
    assert "a minimum" in found.message
    plain = ao.train(problem, 0.3 * problem.initial_weights(1))
    assert plain.lowest_eigenvalue is None  # not asked for; the word is there
    assert plain.is_minimum is True
    assert "a minimum" in plain.message


@pytest.mark.parametrize("formulation", ["lifted", "condensed"])
def test_a_saddle_that_a_solver_moved_to_is_no_success(formulation: str) -> None:
    """Newton's method on the stationarity conditions is content with any; from here it climbs to a saddle."""
    w0 = network(1.0).initial_weights(2)
    found = ao.train(network(1.0), w0, solver="sqpmethod", formulation=formulation, throw=False)
    assert (found.status == "saddle") == (found.is_minimum is False)
    if formulation == "lifted":
        assert (found.status, found.success, found.is_minimum) == ("saddle", False, False)
        assert ao.train(network(1.0), w0, solver="sqpmethod", formulation=formulation).status == "saddle"


FAR = {
    "exponential": (lambda ops, y, t: ops.sum(ops.exp(y) - y), 30.0, 0.0),
    "cosh": (lambda ops, y, t: ops.sum(ops.exp(y - 3.0) + ops.exp(3.0 - y)), 40.0, 3.0),
    "Lennard-Jones": (lambda ops, y, t: ops.sum(y**-12 - y**-6), 0.3, 2.0 ** (1.0 / 6.0)),
    "double well": (lambda ops, y, t: ops.sum((y * y - 1.0) ** 2), 1e4, 1.0),
    "quartic": (lambda ops, y, t: ops.sum((y - 1.0) ** 4), 1e3, 1.0),
}


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod", "newton"])
@pytest.mark.parametrize("name", FAR)
def test_a_start_from_far_off_makes_no_end_look_right(name: str, solver: str) -> None:
    """Terms that are huge at the start are no measure of what is left of them at the end."""
    value, start, best = FAR[name]
    problem = landscape(value, 1)
    found = ao.train(problem, [start], solver=solver)
    assert found.success
    assert found.weights[0] == pytest.approx(best, abs=1e-3 if name == "quartic" else 1e-5)
    assert found.energy <= problem.energy(np.array([best])) + 1e-10


def steep(ops: Any, y: Any, t: Any) -> Any:
    a, b = ops.columns(y)
    return ops.sum(0.5 * (1e6 * (a - 1e3) ** 2 + b * b))


@pytest.mark.parametrize("solver", ["ipopt", "fatrop", "sqpmethod", "newton"])
def test_a_valley_is_gone_down_however_small_its_slope_is_beside_the_terms(solver: str) -> None:
    """On the floor at b = 1 the slope is 1e-9 of the terms; a Newton step still takes all of the energy."""
    found = ao.train(landscape(steep, 2), [1e3, 1.0], solver=solver)
    assert found.success
    np.testing.assert_allclose(found.weights, [1e3, 0.0], atol=1e-4)


def test_a_valley_that_a_solver_does_not_leave_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "REFINED", 0)
    found = ao.train(landscape(steep, 2), [1e3, 1.0], throw=False)
    assert (found.success, found.status) == (False, "valley")
    assert "lowers the energy by 100.0%" in found.message
