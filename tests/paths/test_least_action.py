"""Paths of least action from the drift and the ends alone: known actions, order, certificates, units, rejections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt.paths.escape import escape
from actionopt.paths.mesh import evaluate
from actionopt.paths.newton import solve
from actionopt.paths.refine import begin, settle
from actionopt.paths.release import least_cut, released
from actionopt.paths.remesh import polyline
from actionopt.paths.resolved import Resolved, lay_and_solve
from actionopt.paths.system import System, make_flow
from tests.paths.reference import (
    FOCUS,
    SYSTEMS,
    Reference,
    cycle,
    gaussian,
    linear,
    maier_stein,
    toggle,
    turned_in_space,
    well,
)


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_known_actions_without_a_guess(name: str) -> None:
    known = SYSTEMS[name]
    found = ao.least_action_path(known.what(), known.start, known.end)
    assert found.action == pytest.approx(known.action, rel=1e-6)
    assert found.action_error >= abs(found.action - known.action) - 2e-10 * known.action  # the digits of the reference
    assert found.is_minimum
    assert found.status == "converged"
    assert found.stats["gradient_norm"] <= 1e-9
    assert found.candidates[0].action == found.action == min(c.action for c in found.candidates)
    np.testing.assert_allclose(found.points[[0, -1]], [known.start, known.end], atol=1e-12)
    assert sum(leg.action for leg in found.legs) == pytest.approx(found.action, rel=1e-12)


@pytest.mark.parametrize("name", ["Maier-Stein 10", "FitzHugh-Nagumo", "cycle, outward", "multiplicative"])
def test_order_four(name: str) -> None:
    known = SYSTEMS[name]
    found = ao.least_action_path(known.what(), known.start, known.end, elements=(20, 40, 80))
    errors = [abs(action - known.action) for action in found.stats["actions"].values()]
    assert np.log2(errors[0] / errors[2]) / 2 >= 3.5


def test_saddle_minimum_saddle_on_a_landscape() -> None:
    """Mueller-Brown, as a problem: two saddles and the minimum between them are found and pinned."""
    from problems import mueller_brown as mb

    found = ao.least_action_path(mb.build(), mb.POINTS["deep minimum"], mb.POINTS["right minimum"])
    heights = mb.ENERGIES
    climb = heights["high saddle"] - heights["deep minimum"] + heights["low saddle"] - heights["middle minimum"]
    assert found.action == pytest.approx(2 * climb, rel=1e-6)
    assert [p.kind for p in found.critical_points] == ["attractor", "saddle", "attractor", "saddle", "attractor"]
    for point, name in zip(found.critical_points[1:4], ("high saddle", "middle minimum", "low saddle"), strict=True):
        np.testing.assert_allclose(point.point, mb.POINTS[name], atol=1e-9)
    assert found.energy is not None
    assert found.energy.max() == pytest.approx(heights["high saddle"], rel=1e-6)


def test_axis_of_maier_stein_turns_unstable_at_four() -> None:
    """The second variation of the straight exit changes its sign at beta = 4; a guess on the axis stays there."""
    axis = np.linspace([-1.0, 0.0], [1.0, 0.0], 41)
    found = [
        ao.least_action_path(ao.Drift(2, maier_stein(beta)), axis[0], axis[-1], guess=axis)
        for beta in (3.0, 3.999, 4.001, 6.0)
    ]
    for path in found:
        assert path.action == pytest.approx(0.5, rel=1e-9)
        assert abs(path.points[:, 1]).max() < 1e-9
    assert [path.is_minimum for path in found] == [True, True, False, False]
    assert "NO minimum" in found[3].message


def test_the_search_leaves_saddles_of_the_action() -> None:
    """Along the lowest eigenvector of the second variation, from the axis itself."""
    known = SYSTEMS["Maier-Stein 10"]
    system = System(make_flow(known.what(), "layerwise"), np.array(known.start))
    axis = begin(system, np.linspace(known.start, known.end, 11), 25)
    assert axis is not None
    settled = settle(system, axis, 25)
    assert settled.action == pytest.approx(0.5, rel=1e-6)
    assert escape(system, settled, 25).action == pytest.approx(known.action, rel=1e-4)


def test_a_corner_at_a_saddle_that_need_not_be_crossed_is_cut() -> None:
    """`b = -grad V + J grad V` from the left well to a point beside the saddle: held on the saddle, it is let go."""
    target = np.array([-0.1, 1.05])
    exact = 2 * (0.25 * (0.01 - 1) ** 2 + 2 * 0.06**2)
    system = System(make_flow(SYSTEMS["turned well"].what(), "layerwise"), np.array([-1.0, 0.0]))
    corner = np.concatenate([np.linspace([-1.0, 0.0], [0.0, 1.0], 26), np.linspace([0.0, 1.0], target, 6)[1:]])
    curve = polyline(corner, 25)
    node = int(np.linalg.norm(curve[::2] - [0.0, 1.0], axis=1).argmin())
    curve[2 * node] = [0.0, 1.0]
    cuts = np.array([0, node, 25])
    held = Resolved(solve(system, curve, 2 * cuts, tol=1e-9), cuts)
    for _ in range(3):
        held = lay_and_solve(system, held.path, held.cuts, held.passed, 25, 1e-9)
    assert held.converged
    assert held.action > 1.005 * exact
    free = released(system, held, 25)
    assert free is not None
    assert len(free.pins) == 0
    assert free.action == pytest.approx(exact, rel=1e-4)
    assert released(system, free, 25) is None
    crossing = ao.least_action_path(SYSTEMS["turned well"].what(), [-1.0, 0.0], [1.0, 0.0])
    stationary = solve(system, system.inward(crossing.points), 2 * np.array([0, 50, 100]), tol=1.0, max_iterations=0)
    through = Resolved(stationary, np.array([0, crossing.critical_points[1].index // 2, 100]))
    assert least_cut(system, through) is None


def test_the_action_of_the_curve_sees_a_zero_inside_an_element() -> None:
    """From -1 to 1 in a double well straight over the saddle: one element of two Gauss points says what is too low."""
    system = System(make_flow(ao.Drift(1, well), "layerwise"), np.array([-1.0]))
    one = evaluate(system, np.array([[-1.0], [0.1], [1.2]]))
    exact = 0.5 + 2 * ((1.2**2 - 1) ** 2 / 4)
    assert one.action != pytest.approx(exact, rel=0.05)
    assert one.curve_action == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize(
    ("what", "start", "end", "exact"),
    [
        (ao.Drift(2, linear(FOCUS)), [0.0, 0.0], [1.0, 0.5], gaussian(FOCUS, np.array([1.0, 0.5]))),
        (ao.Drift(3, turned_in_space), [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0], 0.5),
    ],
)
def test_errors_cover_turns_below_the_mesh(what: ao.Drift, start: Any, end: Any, exact: float) -> None:
    """Out of a focus, and out of a node that is left on the far side: meshes agree, and are wrong together."""
    found = ao.least_action_path(what, start, end)
    wrong = abs(found.action - exact)
    assert wrong > 3 * abs(np.diff(list(found.stats["actions"].values()))[-1])
    assert wrong <= found.action_error <= 10 * wrong


def test_one_turn_is_not_enough_for_a_weak_cycle() -> None:
    """`r' = r (1 - r^2) / 8, theta' = 1`: a turn takes the distance to the cycle down by exp(-pi/2) only."""

    def weak(ops: Any, w: Any) -> Any:
        u, v = ops.columns(w)
        r = (1.0 - u * u - v * v) / 8.0
        return ops.concatenate([u * r - v, v * r + u])

    found = ao.least_action_path(ao.Drift(2, weak), [1.0, 0.0], [0.4, 0.0], elements=(50, 100, 200))
    assert found.action == pytest.approx(0.3528 / 8, rel=3e-4)
    assert "more turn" in found.stats["guess"]
    assert found.action_error >= abs(found.action - 0.3528 / 8)


def rescaled(known: Reference, scale: np.ndarray, time: float, noise: float) -> ao.Drift:
    """The same system in other units: x -> scale x, t -> t / time, a -> noise a."""
    what = known.what()

    def drift(ops: Any, w: Any) -> Any:
        return what.drift(ops, w * ops.row(1.0 / scale)) * ops.row(scale * time)

    return ao.Drift(what.size, drift, noise=noise * time * scale**2)


@pytest.mark.parametrize("name", ["toggle", "FitzHugh-Nagumo", "cycle, inward", "non-normal", "sheared"])
def test_units_change_nothing_but_units(name: str) -> None:
    known = SYSTEMS[name]
    plain = ao.least_action_path(known.what(), known.start, known.end)
    scale = np.array([1e3, 1e-2, 7.0])[: plain.size]
    other = ao.least_action_path(rescaled(known, scale, 50.0, 0.01), known.start * scale, known.end * scale)
    assert other.action == pytest.approx(100.0 * plain.action, rel=1e-9)
    np.testing.assert_allclose(other.points / scale, plain.points, atol=1e-5)
    assert len(other.candidates) == len(plain.candidates)


@pytest.mark.parametrize("metric", ["layerwise", "euclidean"])
def test_barrier_of_a_network_is_the_same_in_every_metric(metric: str) -> None:
    """Two minima of y = v tanh(w x) with w and v of either sign; over the saddle at 0 the action is twice the climb."""
    x = np.linspace(-2.0, 2.0, 9)[:, None]
    modules = [ao.Dense(1, 1, "tanh", bias=False), ao.Dense(1, 1, bias=False)]
    problem = ao.Problem(modules, x, np.tanh(x), ao.SquaredError(), mass=0.5, weight_decay=0.05)
    w = ao.train(problem, np.array([1.0, 1.0])).weights
    found = ao.least_action_path(problem, w, -w, metric=metric, elements=(20, 40, 80))
    assert found.action == pytest.approx(2 * (problem.energy(np.zeros(2)) - problem.energy(w)), rel=1e-5)
    assert [p.kind for p in found.critical_points] == ["attractor", "saddle", "attractor"]


def test_the_two_doors_agree() -> None:
    """At a long horizon `minimize_action`, begun from the path, ends there with the same action."""
    known = SYSTEMS["Maier-Stein 10"]
    what, end = known.what(), np.zeros(2)
    path = ao.least_action_path(what, known.start, end)
    times = path.times(24.0)
    assert len(times) == len(path.points)
    assert times[0] == 0.0
    assert times[-1] == pytest.approx(24.0)
    found = ao.minimize_action(what, known.start, end, times=times, guess=path.points, scheme="gauss2")
    assert found.action == pytest.approx(path.action, rel=1e-5)
    assert found.action >= path.action - path.action_error
    apart = np.linalg.norm(found.weights[:, None] - path.points[None], axis=-1).min(axis=1)
    assert apart.max() < 5e-3


def test_a_start_in_the_basin_costs_at_most_what_its_attractor_costs() -> None:
    known = SYSTEMS["toggle"]
    behind = ao.least_action_path(known.what(), [3.5, 0.2], known.end)
    assert behind.action == pytest.approx(known.action, rel=1e-3)
    assert behind.action <= known.action * (1 + 1e-6)
    assert "no attractor: the flow takes it to one at no cost" in behind.message
    before = ao.least_action_path(known.what(), [2.0, 0.8], known.end)
    assert before.action < 0.6 * known.action
    down = ao.least_action_path(known.what(), [0.8, 2.0], known.end)
    assert abs(down.action) < 1e-6


def test_saved_paths_come_back(tmp_path: Path) -> None:
    known = SYSTEMS["toggle"]
    found = ao.least_action_path(known.what(), known.start, known.end, elements=(10, 20))
    again = ao.GeometricPath.load(found.save(tmp_path / "path.npz"))
    assert again.summary["stats"] == found.summary["stats"]
    assert (again.action, again.is_minimum, again.message) == (found.action, found.is_minimum, found.message)
    for name in ("points", "arc", "speed", "accumulated"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert [p.kind for p in again.critical_points] == [p.kind for p in found.critical_points]
    np.testing.assert_array_equal(again.candidates[0].points, found.candidates[0].points)
    one = ao.least_action_path(ao.Drift(1, well), [-1.0], [1.0], elements=(4, 8))
    assert ao.GeometricPath.load(one.save(tmp_path / "one.npz")).lowest_eigenvalue == np.inf
    with pytest.raises(ao.InputError, match=r"saved as \.npz"):
        found.save(tmp_path / "path.txt")
    with pytest.raises(ao.InputError, match="no path file"):
        ao.GeometricPath.load(tmp_path / "missing.npz")
    (tmp_path / "broken.npz").write_text("nothing")
    with pytest.raises(ao.InputError, match=r"truncated or no \.npz archive"):
        ao.GeometricPath.load(tmp_path / "broken.npz")


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    found = ao.least_action_path(ao.Drift(1, well), [-1.0], [1.0], elements=(4, 8))
    with np.load(found.save(tmp_path / "path.npz")) as archive:
        members = dict(archive)
    members["points"][3] += 1e-9
    np.savez(tmp_path / "path.npz", **members)
    with pytest.raises(ao.InputError, match="checksum does not match"):
        ao.GeometricPath.load(tmp_path / "path.npz")


def test_never_converged_above_the_tolerance() -> None:
    known = SYSTEMS["FitzHugh-Nagumo"]
    with pytest.raises(ao.SolverError, match="not stationary") as caught:
        ao.least_action_path(known.what(), known.start, known.end, tol=1e-20, elements=(10, 20))
    result = caught.value.result
    assert not result.success
    assert result.status != "converged"
    assert not result.is_minimum
    assert result.stats["gradient_norm"] > 1e-20


def cracked(ops: Any, w: Any) -> Any:
    """NaN where x lies beyond 0.5."""
    return -w * ops.sqrt(0.5 - w) / ops.sqrt(0.5 - w)


@pytest.mark.parametrize(
    ("what", "ends", "options", "message"),
    [
        (ao.Lagrangian(1, lambda ops, w, v: 0.5 * ops.sum(v * v)), ([0.0], [1.0]), {}, "expected a Problem or a Drift"),
        (ao.Drift(1, well), ([0.0, 1.0], [1.0]), {}, r"start must have shape \(1,\)"),
        (ao.Drift(1, well), ([0.0], [np.nan]), {}, "end must be finite"),
        (ao.Drift(1, well), ([1.0], [1.0]), {}, "one point"),
        (ao.Drift(1, cracked), ([0.0], [1.0]), {}, r"drift is .*nan.* at the end"),
        (ao.Drift(2, toggle), ([0.0, 1.0], [1.0, 0.0]), {"elements": (50, 25)}, "elements must be"),
        (ao.Drift(2, toggle), ([0.0, 1.0], [1.0, 0.0]), {"elements": ()}, "elements must be"),
        (ao.Drift(2, toggle), ([0.0, 1.0], [1.0, 0.0]), {"tol": 0.0}, "tol must be"),
        (ao.Drift(2, toggle), ([0.0, 1.0], [1.0, 0.0]), {"starts": -1}, "starts must be"),
        (ao.Drift(2, toggle), ([0.0, 1.0], [1.0, 0.0]), {"guess": np.zeros((3, 3))}, "guess must be"),
        (
            ao.Drift(2, toggle, noise=lambda ops, w: w),
            ([1.0, 1.0], [1.0, -1.0]),
            {},
            r"positive definite.*at w = \[ 1\. -1\.\]",
        ),
    ],
)
def test_rejections(what: Any, ends: Any, options: Any, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.least_action_path(what, *ends, **options)


def test_a_wall_of_nan_names_its_point() -> None:
    """No path leads through |x| < 0.1."""

    def walled(ops: Any, w: Any) -> Any:
        x, y = ops.columns(w)
        gap = ops.sqrt(x * x - 0.01)
        return ops.concatenate([-x, -y]) + 0.0 * gap

    with pytest.raises(
        ao.InputError, match=r"cannot be reached by any path that was tried: the drift is .*nan.* at \["
    ):
        ao.least_action_path(ao.Drift(2, walled), [-1.0, 0.0], [1.0, 0.0])


def test_noise_that_dies_on_the_way_names_its_point() -> None:
    def fading(ops: Any, w: Any) -> Any:
        x, _ = ops.columns(w)
        return x * x - 0.01

    with pytest.raises(ao.InputError, match=r"positive definite.*at w = \["):
        ao.least_action_path(ao.Drift(2, linear(-np.eye(2)), noise=fading), [-1.0, 0.0], [1.0, 0.0])


def test_a_cycle_is_seen_and_said() -> None:
    found = ao.least_action_path(ao.Drift(2, cycle), [1.0, 0.0], [0.4, 0.0], elements=(50, 100))
    assert found.stats["start"] == "cycle"
    assert "limit cycle" in found.message
