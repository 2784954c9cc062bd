"""The pictures of a trajectory and of the landscape it crosses, and the order of the schemes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import actionopt as ao
from actionopt.action.draw_landscape import _affordable, draw_landscape, principal_plane
from actionopt.action.draw_trajectory import draw_trajectory
from plots import landscape, order, trajectory
from problems import double_well, lqr, maier_stein, mueller_brown, xor

FOLDER = Path(xor.__file__).parent


@pytest.fixture(scope="module")
def valley() -> ao.Trajectory:
    """From the deep minimum of the Mueller-Brown potential over the high saddle."""
    points = mueller_brown.POINTS
    ends = points["deep minimum"], points["middle minimum"]
    return ao.minimize_action(mueller_brown.build(), *ends, horizon=0.02, steps=60, scheme="gauss2", throw=False)


@pytest.fixture(scope="module")
def net() -> ao.Trajectory:
    return ao.flow(xor.build(), horizon=2.0, steps=10)


def panels(found: ao.Trajectory) -> dict[str, Any]:
    return {ax.get_ylabel(): ax for ax in draw_trajectory(found).axes}


def test_panels_hold_what_they_say(valley: ao.Trajectory) -> None:
    by_name = panels(valley)
    assert list(by_name) == ["weights", "energy", "action density $l$", "$H$ less its mean"]
    for line, column in zip(by_name["weights"].lines[:2], valley.weights.T, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), column)
    energy, top = by_name["energy"].lines  # no balance: the path pays action
    np.testing.assert_array_equal(energy.get_ydata(), valley.energy)
    assert top.get_xdata()[0] == valley.times[valley.energy.argmax()]
    density = by_name["action density $l$"].lines[0]
    np.testing.assert_array_equal(density.get_xdata(), valley.stage_times)
    assert by_name["action density $l$"].get_yscale() == "log"
    np.testing.assert_allclose(
        by_name["$H$ less its mean"].lines[0].get_ydata(), valley.hamiltonian - valley.hamiltonian.mean()
    )


def test_the_balance_of_a_flow_meets_its_energy(net: ao.Trajectory) -> None:
    energy, balance = panels(net)["energy"].lines
    np.testing.assert_allclose(balance.get_ydata(), energy.get_ydata(), atol=5e-3)
    assert balance.get_ydata()[-1] == pytest.approx(net.energy[0] - net.kinetic - net.potential)


def test_momenta_where_there_is_no_energy() -> None:
    found = ao.minimize_action(lqr.build(), 1.0, horizon=1.0, steps=5)
    np.testing.assert_array_equal(panels(found)["momenta"].lines[0].get_ydata(), found.node_momenta[:, 0])


def test_of_many_weights_those_that_move_most_are_drawn() -> None:
    problem = ao.Problem(
        ao.Parameter(130), None, None, ao.CustomLoss(lambda ops, y, t: 0.5 * ops.sum(y * y)), output_metric=None
    )
    start = np.linspace(0.0, 1.0, 130)
    found = ao.flow(problem, start, horizon=1.0, steps=3)
    ax = panels(found)["weights (100 of 130)"]
    assert [line.get_ydata()[0] for line in ax.lines] == pytest.approx(start[30:])


def boxes(fig: Any, texts: list[Any]) -> list[Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    return [text.get_window_extent(canvas.get_renderer()) for text in texts]


@pytest.mark.parametrize("name", ["mueller_brown", "double_well", "maier_stein"])
def test_names_of_points_do_not_overlap(name: str) -> None:
    module = {"mueller_brown": mueller_brown, "double_well": double_well, "maier_stein": maier_stein}[name]
    what, points = module.build(), module.POINTS
    first, last = list(points.values())[:2]
    found = ao.minimize_action(
        what, first, last, horizon=0.01 if name == "mueller_brown" else 5.0, steps=20, throw=False
    )
    fig = draw_landscape(what, [found], points=points, resolution=20)
    texts = list(fig.axes[0].texts)
    assert {text.get_text() for text in texts} == set(points)
    extents = boxes(fig, texts)
    for one, other in combinations(extents, 2):
        assert not one.overlaps(other)
    frame = fig.axes[0].get_window_extent()
    for extent in extents:
        assert extent.x0 > frame.x0
        assert extent.x1 < frame.x1


def test_landscape_holds_the_energy_and_the_paths(valley: ao.Trajectory) -> None:
    problem = mueller_brown.build()
    fig = draw_landscape(problem, [valley, valley], points=mueller_brown.POINTS, labels=["one", "two"], resolution=30)
    ax, bar = fig.axes
    np.testing.assert_allclose(np.stack(ax.lines[0].get_data(), axis=-1), valley.points)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    assert (ax.get_xlabel(), ax.get_ylabel(), bar.get_ylabel()) == ("$w_1$", "$w_2$", "energy")
    # the levels resolve what the paths see, and leave the far walls out
    levels = ax.collections[0].levels
    assert levels[0] <= valley.energy.min()
    assert valley.energy.max() < levels[-1] < 100.0
    for point in mueller_brown.POINTS.values():
        assert ax.get_xlim()[0] < point[0] < ax.get_xlim()[1]


def test_slices_say_so(net: ao.Trajectory) -> None:
    ax, bar = draw_landscape(xor.build(), [net], resolution=10).axes
    assert ax.get_xlabel().startswith("first principal direction (")
    assert ax.get_ylabel().startswith("second principal direction (")
    assert bar.get_ylabel() == "energy of the slice through the paths' mean"


def test_the_principal_plane_holds_a_plane_path(rng: np.random.Generator) -> None:
    frame = np.linalg.qr(rng.standard_normal((6, 2)))[0].T
    inside = rng.standard_normal((40, 2)) * [3.0, 1.0]
    weights = 2.0 + inside @ frame
    plane = principal_plane(weights)
    np.testing.assert_allclose(plane.lift(plane.project(weights)), weights, atol=1e-12)
    np.testing.assert_allclose(plane.directions @ plane.directions.T, np.eye(2), atol=1e-12)
    assert abs(plane.directions[0] @ frame[0]) > 0.9
    share = float(plane.labels[0].split("(")[1].split()[0]) + float(plane.labels[1].split("(")[1].split()[0])
    assert share == pytest.approx(100.0, abs=0.5)


def test_paths_of_two_points_and_at_rest() -> None:
    problem = xor.build()
    w = problem.initial_weights()
    short = ao.minimize_action(problem, w, w + 0.1, horizon=1.0, steps=1)
    draw_landscape(problem, [short], resolution=4)
    rest = ao.flow(mueller_brown.build(), mueller_brown.POINTS["deep minimum"], horizon=1e-3, steps=2)
    draw_landscape(mueller_brown.build(), [rest], resolution=4)


def test_a_drift_without_energy_shows_its_streamlines() -> None:
    found = ao.minimize_action(maier_stein.build(), (-1, 0), (0, 0), horizon=5.0, steps=10, throw=False)
    fig = draw_landscape(maier_stein.build(), [found], points=maier_stein.POINTS, resolution=20)
    assert len(fig.axes) == 1
    assert fig.axes[0].collections


def test_dear_energies_are_sampled_on_a_coarser_grid() -> None:
    assert _affordable(mueller_brown.build()) == 120
    many = ao.Problem(ao.Dense(60, 40), np.zeros((5000, 60)), np.zeros((5000, 40)), ao.SquaredError())
    assert _affordable(many) == 30


def test_energies_that_are_not_finite_leave_holes() -> None:
    system = ao.Lagrangian(2, lambda ops, w, v: ops.sum(v * v), energy=lambda ops, w: ops.sum(ops.log(w)))
    found = ao.minimize_action(system, (0.1, 0.1), (1.0, 1.0), horizon=1.0, steps=4)
    ax = draw_landscape(system, [found], resolution=10).axes[0]
    assert ax.get_xlim()[0] < 0.0
    assert np.isfinite(ax.collections[0].levels).all()


def test_points_of_another_size_are_not_drawn() -> None:
    path = ao.flow(double_well.build(), [0.5], horizon=1.0, steps=3)
    ax = draw_landscape(double_well.build(), [path], points={"here": 0.0, "elsewhere": (1.0, 2.0)}).axes[0]
    assert [text.get_text() for text in ax.texts] == ["here"]


def test_a_landscape_needs_paths_of_its_own_size(valley: ao.Trajectory) -> None:
    with pytest.raises(ao.InputError, match="at least one trajectory"):
        draw_landscape(mueller_brown.build(), [])
    with pytest.raises(ao.InputError, match="the trajectory has 2 weights, XOR has 17"):
        draw_landscape(xor.build(), [valley])


@pytest.fixture
def script() -> Callable[..., Any]:
    def run(main: Any, *args: object) -> Any:
        return CliRunner().invoke(main, [str(arg) for arg in args])

    return run


@pytest.mark.parametrize(("suffix", "dark"), [(".png", ()), (".svg", ("--dark",)), (".pdf", ())])
def test_scripts(
    script: Callable[..., Any], tmp_path: Path, valley: ao.Trajectory, suffix: str, dark: tuple[str]
) -> None:
    file, out = valley.save(tmp_path / "path.npz"), tmp_path / f"figure{suffix}"
    done = script(trajectory.main, file, "--out", out, *dark)
    assert (done.exit_code, done.output) == (0, f"{out}\n")
    assert out.stat().st_size > 3000
    out.unlink()
    args = (FOLDER / "mueller_brown.py", "--path", file, "--path", file, "--resolution", 15, "--out", out, *dark)
    done = script(landscape.main, *args)
    assert (done.exit_code, done.output) == (0, f"{out}\n")
    assert out.stat().st_size > 3000


def test_scripts_refuse_what_is_wrong(script: Callable[..., Any], tmp_path: Path) -> None:
    done = script(trajectory.main, "missing.npz", "--out", tmp_path / "figure.png")
    assert (done.exit_code, done.stderr) == (2, "actionopt: no trajectory file missing.npz\n")
    done = script(trajectory.main, "missing.npz", "--out", tmp_path / "figure.gif")
    assert done.exit_code == 2
    assert "must end in .png" in done.stderr
    done = script(order.main, FOLDER / "double_well.py", "--horizon", 1, "--steps", "5", "--out", tmp_path / "x.png")
    assert (done.exit_code, "--steps takes two or more whole numbers" in done.stderr) == (2, True)


def test_orders_of_a_path_to_the_saddle() -> None:
    counts = [20, 40, 80]
    errors = order.measure(double_well.build(), [-1.0], [0.0], horizon=5.0, counts=counts)
    step = 5.0 / np.array(counts)
    for quantity in ("weights", "action"):
        assert order.observed_order(step, errors[quantity]["midpoint"]) == pytest.approx(2.0, abs=0.1)
        assert order.observed_order(step, errors[quantity]["gauss2"]) == pytest.approx(4.0, abs=0.2)
    texts = [text.get_text() for text in order.draw("well", step, errors).axes[0].get_legend().get_texts()]
    assert texts[0].startswith("midpoint: order 2.0")


def test_orders_of_a_flow_are_those_of_its_energy_balance() -> None:
    problem, counts = double_well.build(), [10, 20]
    errors = order.measure(problem, [0.3], None, horizon=3.0, counts=counts)
    assert list(errors) == ["weights", "energy balance"]
    assert order.observed_order(3.0 / np.array(counts), errors["energy balance"]["midpoint"]) == pytest.approx(
        2, abs=0.2
    )


def test_errors_of_rounding_have_no_order() -> None:
    assert order.observed_order(np.array([0.1, 0.2]), np.array([1e-16, 1e-3])) is None


def test_order_script(script: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "order.png"
    done = script(
        order.main, FOLDER / "double_well.py", "--start", "left minimum", "--end", "saddle", "--horizon", 2,
        "--steps", "5,10", "--out", out,
    )  # fmt: skip
    assert (done.exit_code, done.output) == (0, f"{out}\n")
    assert out.stat().st_size > 3000
