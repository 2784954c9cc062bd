"""Every problem whose least action, path or flow is known, to the digits that the grid allows and at its order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.linalg import expm

import actionopt as ao
from problems import deep_linear, double_well, linear_regression, lqr, maier_stein, mueller_brown, quadratic
from problems import ornstein_uhlenbeck as ou

ORDERS = {"midpoint": (2, 0.1), "gauss2": (4, 0.2)}
Solve = Callable[[int, str], ao.Trajectory]
SCHEMES = pytest.mark.parametrize("scheme", ORDERS)


def slope(steps: Sequence[int], errors: Sequence[float]) -> float:
    """The observed order: minus the slope of log error against log steps."""
    return float(-np.polyfit(np.log(steps), np.log(np.abs(errors)), 1)[0])


def assert_order(scheme: str, steps: Sequence[int], errors: Sequence[float]) -> None:
    order, margin = ORDERS[scheme]
    assert slope(steps, errors) == pytest.approx(order, abs=margin), errors


def action_converges(scheme: str, solve: Solve, answer: float, steps: Sequence[int], digits: float) -> None:
    """The action tends to the answer at the order of the scheme, and its extrapolation is right to `digits`."""
    actions = [solve(count, scheme).action for count in steps]
    assert_order(scheme, steps, np.array(actions) - answer)
    factor = 2.0 ** ORDERS[scheme][0]
    assert steps[-1] == 2 * steps[-2]
    assert (factor * actions[-1] - actions[-2]) / (factor - 1) == pytest.approx(answer, abs=digits)


def hamiltonian_converges(scheme: str, solve: Solve, steps: Sequence[int]) -> None:
    """The Hamiltonian is constant to the order of the scheme."""
    assert_order(scheme, steps, [float(np.ptp(solve(count, scheme).hamiltonian)) for count in steps])


@SCHEMES
def test_quadratic_between_fixed_ends(scheme: str) -> None:
    problem, ends = quadratic.build(), (quadratic.POINTS["start"], quadratic.POINTS["end"])

    def solve(steps: int, scheme: str) -> ao.Trajectory:
        return ao.minimize_action(problem, *ends, horizon=quadratic.HORIZON, steps=steps, scheme=scheme)

    assert quadratic.exact_action(*ends, quadratic.HORIZON) == pytest.approx(quadratic.ACTION, abs=5e-11)
    action_converges(scheme, solve, quadratic.ACTION, (16, 32, 64), 2e-7 if scheme == "midpoint" else 1e-9)
    # the Hamiltonian of a quadratic is kept exactly
    assert np.ptp(solve(16, scheme).hamiltonian) < 1e-12


def test_quadratic_of_another_size() -> None:
    hessian = np.diag([3.0, 1.0, 0.2]) + 0.1
    start, end = np.array([1.0, -1.0, 0.3]), np.array([0.2, 0.5, -0.4])
    found = ao.minimize_action(quadratic.build(hessian), start, end, horizon=2.0, steps=200, scheme="gauss2")
    assert found.action == pytest.approx(quadratic.exact_action(start, end, 2.0, hessian), rel=1e-8)


@SCHEMES
def test_ornstein_uhlenbeck(scheme: str) -> None:
    system = ou.build()

    def solve(steps: int, scheme: str) -> ao.Trajectory:
        return ao.minimize_action(system, -1.0, 2.0, horizon=ou.HORIZON, steps=steps, scheme=scheme)

    assert ou.exact_action(-1.0, 2.0, ou.HORIZON) == pytest.approx(ou.ACTION, abs=5e-11)
    action_converges(
        scheme, solve, ou.exact_action(-1.0, 2.0, ou.HORIZON), (80, 160, 320), 2e-6 if scheme == "midpoint" else 1e-9
    )


@SCHEMES
def test_linear_quadratic_regulator(scheme: str) -> None:
    def solve(steps: int, scheme: str) -> ao.Trajectory:
        return ao.minimize_action(lqr.build(), 1.0, horizon=lqr.HORIZON, steps=steps, scheme=scheme, tol=1e-12)

    steps = (5, 10, 20)
    found = [solve(count, scheme) for count in steps]
    assert lqr.exact_cost() == pytest.approx(0.3807970780, abs=5e-11)
    action_converges(scheme, solve, lqr.exact_cost(), steps, 1e-6 if scheme == "midpoint" else 1e-9)
    # dl/dv = u; the costate of the regulator has the other sign, so p(0) = 0.7615941560 reads -0.7615941560 here
    assert_order(scheme, steps, [path.node_momenta[0, 0] + 0.7615941559557649 for path in found])
    assert_order(scheme, steps, [path.weights[-1, 0] - 0.6480542736638855 for path in found])
    assert_order(scheme, steps, [float(abs(path.weights[:, 0] - lqr.exact_path(path.times)).max()) for path in found])
    assert abs(found[-1].node_momenta[-1, 0]) < 1e-12  # transversality at the free end


@pytest.mark.parametrize(("horizon", "margin"), [(10.0, 3e-6), (20.0, 2e-7), (40.0, 3e-6)])
def test_double_well_to_the_saddle(horizon: float, margin: float) -> None:
    found = ao.minimize_action(double_well.build(), -1.0, 0.0, horizon=horizon, steps=200, scheme="gauss2")
    assert found.action == pytest.approx(2.0 * double_well.CLIMB, abs=margin)
    assert np.all(np.diff(found.weights[:, 0]) > -1e-9)


@SCHEMES
def test_hamiltonian_is_constant_to_the_order_of_the_scheme(scheme: str) -> None:
    def to_the_saddle(steps: int, scheme: str) -> ao.Trajectory:
        return ao.minimize_action(double_well.build(), -1.0, 0.0, horizon=5.0, steps=steps, scheme=scheme, tol=1e-11)

    def off_the_axis(steps: int, scheme: str) -> ao.Trajectory:
        return ao.minimize_action(
            maier_stein.build(), (-1.0, 0.0), (-0.2, 0.1), horizon=4.0, steps=steps, scheme=scheme, tol=1e-11
        )

    hamiltonian_converges(scheme, to_the_saddle, (40, 80, 160))
    hamiltonian_converges(scheme, off_the_axis, (40, 80, 160))


BENT = ao.path_through([maier_stein.POINTS[name] for name in ("left minimum", "bend", "saddle")], steps=200)


def maier_stein_path(beta: float, guess: Any, steps: int = 200, horizon: float = 20.0) -> ao.Trajectory:
    left, saddle = maier_stein.POINTS["left minimum"], maier_stein.POINTS["saddle"]
    return ao.minimize_action(
        maier_stein.build(beta), left, saddle, horizon=horizon, steps=steps, scheme="gauss2", guess=guess
    )


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_maier_stein_below_the_bifurcation_keeps_to_the_axis(beta: float) -> None:
    found = maier_stein_path(beta, BENT)
    assert found.action == pytest.approx(0.5, abs=1e-6)
    assert abs(found.weights[:, 1]).max() < 1e-4


def test_maier_stein_beyond_it_leaves_the_axis() -> None:
    found = maier_stein_path(10.0, BENT)
    assert found.action == pytest.approx(maier_stein.ACTIONS[10.0], abs=2e-6)
    mirrored = maier_stein_path(10.0, BENT * [1.0, -1.0])
    np.testing.assert_allclose(mirrored.action, found.action, rtol=1e-10)
    np.testing.assert_allclose(mirrored.weights, found.weights * [1.0, -1.0], atol=1e-5)
    assert found.is_minimum is True
    # without a guess, the straight line is left for one side of it
    chosen = maier_stein_path(10.0, None)
    assert chosen.action == pytest.approx(found.action, rel=1e-8)
    # the axis is stationary as well, and dearer: a saddle of the action, and who asks for it is told so
    with pytest.raises(ao.SolverError, match="a saddle of the action, not a minimum") as caught:
        maier_stein_path(10.0, "line")
    on_axis = caught.value.result
    assert (on_axis.status, on_axis.is_minimum) == ("saddle", False)
    assert on_axis.lowest_eigenvalue < -1.0
    assert on_axis.action == pytest.approx(0.5, abs=1e-6)


def climb(start: str, saddle: str) -> float:
    return 2.0 * (mueller_brown.ENERGIES[saddle] - mueller_brown.ENERGIES[start])


@pytest.mark.parametrize(
    ("start", "end", "saddle"),
    [
        ("deep minimum", "middle minimum", "high saddle"),
        ("middle minimum", "deep minimum", "high saddle"),
        ("right minimum", "middle minimum", "low saddle"),
        ("middle minimum", "right minimum", "low saddle"),
    ],
)
def test_mueller_brown_from_minimum_to_minimum(start: str, end: str, saddle: str) -> None:
    points = mueller_brown.POINTS
    paths = ao.continue_action(
        mueller_brown.build(),
        points[start],
        points[end],
        horizons=(0.01, 0.02, 0.03, 0.04, 0.05),
        steps=100,
        scheme="gauss2",
    )
    twice_the_climb = climb(start, saddle)
    excess = np.array([path.action for path in paths]) / twice_the_climb - 1.0
    assert all(path.success for path in paths)
    assert 0 < excess[-1] < 1e-3  # a finite horizon costs, ever less
    assert np.all(np.diff(np.log(excess)) < -1.0)
    assert paths[-1].energy.max() == pytest.approx(mueller_brown.ENERGIES[saddle], abs=0.01)


def test_mueller_brown_on_a_finer_grid_and_from_a_straight_line() -> None:
    points = mueller_brown.POINTS
    found = ao.minimize_action(
        mueller_brown.build(),
        points["deep minimum"],
        points["middle minimum"],
        horizon=0.05,
        steps=200,
        scheme="gauss2",
    )
    assert climb("deep minimum", "high saddle") == pytest.approx(212.0693474, abs=2e-7)
    assert found.action == pytest.approx(212.0909730, rel=1e-5)  # at this horizon, from 800 steps
    assert found.action == pytest.approx(212.0693474, rel=2e-4)


def test_mueller_brown_points_are_critical() -> None:
    problem = mueller_brown.build()
    for name, point in mueller_brown.POINTS.items():
        assert abs(problem.gradient(np.array(point))).max() < 1e-8, name
        assert problem.energy(np.array(point)) == pytest.approx(mueller_brown.ENERGIES[name], abs=5e-8), name


@SCHEMES
@pytest.mark.parametrize(
    ("build", "start", "horizon"),
    [(double_well.build, [0.2], 4.0), (mueller_brown.build, [0.0, 0.3], 4e-3)],
    ids=["double well", "mueller-brown"],
)
def test_free_end_has_no_action_and_dissipates_what_it_loses(
    scheme: str, build: Callable[[], ao.Problem], start: list[float], horizon: float
) -> None:
    problem, steps = build(), (10, 20, 40)
    found = [ao.minimize_action(problem, start, horizon=horizon, steps=count, scheme=scheme) for count in steps]
    for path in found:
        assert path.action <= 1e-20 * np.ptp(path.energy)
        assert path.kinetic == pytest.approx(path.potential, rel=1e-9)  # |v| = |G^{-1} g| along the flow
        assert abs(path.momenta).max() < 1e-9 * abs(problem.gradient(path.weights)).max()
    assert_order(scheme, steps, [path.balance_defect for path in found])
    assert found[-1].energy_change == pytest.approx(-found[-1].kinetic - found[-1].potential, rel=1e-2)


def test_free_end_of_a_quadratic_balances_exactly() -> None:
    found = ao.minimize_action(quadratic.build(), (1.0, -1.0), horizon=2.0, steps=7)
    assert found.action < 1e-28
    assert abs(found.balance_defect) < 1e-14


@SCHEMES
def test_deep_linear_modes(scheme: str) -> None:
    problem, steps = deep_linear.build(), (40, 80, 160)
    method = "implicit_midpoint" if scheme == "midpoint" else scheme
    errors = []
    for count in steps:
        found = ao.flow(problem, horizon=1.5, steps=count, method=method)
        exact = np.stack([deep_linear.mode(found.times, strength) for strength in (3.0, 2.0)], axis=-1)
        errors.append(float(abs(deep_linear.modes(problem, found.weights) - exact).max()))
    assert exact[-1, 0] == pytest.approx(2.89324077, abs=5e-9)
    assert_order(scheme, steps, errors)


@SCHEMES
def test_least_squares_flow_in_a_constant_metric(scheme: str) -> None:
    mass = np.array([0.5, 2.0, 1.0, 0.3])
    regression = linear_regression.build()
    problem = ao.Problem(
        regression.modules, regression.inputs, regression.targets, ao.SquaredError(), mass=mass, output_metric=None
    )
    hessian = np.stack([problem.gradient(row) - problem.gradient(np.zeros(4)) for row in np.eye(4)])
    best = np.linalg.solve(hessian, -problem.gradient(np.zeros(4)))
    start, steps = np.array([1.0, -1.0, 0.5, 2.0]), (20, 40, 80)
    exact = best + expm(-hessian / mass[:, None] * 2.0) @ (start - best)
    method = "implicit_midpoint" if scheme == "midpoint" else scheme
    ends = [ao.flow(problem, start, horizon=2.0, steps=count, method=method).weights[-1] for count in steps]
    assert_order(scheme, steps, [float(abs(end - exact).max()) for end in ends])


class Stage(ao.Module):
    """`x' = x + u` and the cost so far, u the weight: a stage of discrete-time optimal control."""

    in_size, out_size, weight_size = 2, 2, 1

    def forward(self, ops: Any, w: Any, z: Any) -> Any:
        u = ops.unpack(w, (1,))
        x, cost = ops.columns(z)
        return ops.concatenate([x + u, cost + x**2 + u**2])


@pytest.mark.parametrize("solver", ["ipopt", "fatrop"])
def test_discrete_regulator_costs_what_its_riccati_equation_says(solver: str) -> None:
    """Depth as time: A = B = Q = R = 1, whose Riccati equation P = 1 + P - P^2 / (1 + P) has the golden ratio."""

    def terminal(ops: Any, y: Any, target: Any) -> Any:
        x, cost = ops.columns(y)
        return cost + x**2

    chain = [Stage() for _ in range(20)]
    problem = ao.Problem(chain, np.array([[1.0, 0.0]]), None, ao.CustomLoss(terminal), output_metric=None)
    found = ao.train(problem, np.zeros(20), solver=solver)
    assert found.energy == pytest.approx(1.6180339887, abs=1e-9)
    # the adjoint of the state after the first stage is the slope of the value P x^2 there, at x = 1 / (1 + P)
    slope = ao.adjoints(problem, found.weights).adjoints[0][0, 0]
    assert slope == pytest.approx(2 * 1.6180339887 / 2.6180339887, abs=1e-6)
