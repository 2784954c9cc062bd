"""What users draw themselves: landscapes, phase portraits, costates, moving pictures, and figures for papers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

import actionopt as ao
from actionopt import figures
from actionopt.cli import main
from actionopt.loading import locate
from problems import double_well, maier_stein, mueller_brown, pendulum, xor


@pytest.fixture(scope="module")
def net() -> ao.Problem:
    return xor.build()


@pytest.fixture(scope="module")
def flow(net: ao.Problem) -> ao.Trajectory:
    return ao.flow(net, horizon=1.0, steps=8)


def test_a_slice_holds_the_energies_of_its_plane(net: ao.Problem, rng: np.random.Generator) -> None:
    w, first, second = net.initial_weights(), *rng.standard_normal((2, net.size))
    ax = ao.plot_landscape(net, w, (first, second), window=([-1, -2], [1, 2]), resolution=5)
    drawn = ax.collections[0]
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (-2, 2))
    corners = [net.energy(w + x * first + y * second) for x in (-1, 0, 1) for y in (-2, 0, 2)]
    assert drawn.levels[0] <= min(corners)
    assert ax.get_xlabel() == "first direction"


def test_a_path_is_where_its_plane_puts_it(net: ao.Problem, flow: ao.Trajectory, rng: np.random.Generator) -> None:
    w, directions = flow.weights[0], rng.standard_normal((2, net.size))
    ax = ao.plot_landscape(net, w, directions, path=flow, resolution=5, labels=["a", "b"])
    shown = np.stack(ax.lines[0].get_data(), axis=-1)
    nearest = np.linalg.lstsq(directions.T, (flow.points - w).T, rcond=None)[0].T
    np.testing.assert_allclose(shown, nearest, atol=1e-9)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")
    assert ao.plot_landscape(net, directions="pca", path=flow, resolution=5).get_aspect() == 1.0


def test_paths_without_time_and_points_alone() -> None:
    potential, points = mueller_brown.build(), mueller_brown.POINTS
    straight = np.linspace(points["deep minimum"], points["middle minimum"], 7)
    ax = ao.plot_landscape(potential, path=straight, points=points, kinds={"deep minimum": "minimum"}, resolution=8)
    np.testing.assert_array_equal(np.stack(ax.lines[0].get_data(), axis=-1), straight)
    assert {line.get_marker() for line in ax.lines} >= {"o", "x"}
    ax = ao.plot_landscape(potential, points["high saddle"], resolution=8)
    assert np.mean(ax.get_xlim()) == pytest.approx(points["high saddle"][0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs directions, two vectors"),
        ({"directions": "rows"}, 'two vectors .* or "pca"'),
        ({"directions": (np.ones(17), np.ones(17)), "centre": np.zeros(17)}, "must span a plane"),
        ({"directions": (np.ones(3), np.ones(17))}, "each of the directions must be 17 finite numbers"),
        ({"directions": np.eye(17)[:2]}, "give a centre"),
        ({"centre": np.zeros(3), "path": np.zeros((4, 17))}, "centre must be 17 finite numbers"),
        ({"path": np.zeros((4, 3))}, "has 3 weights, the system has 17"),
        ({"path": np.zeros((4, 17)), "window": ([0, 0], [0, 1])}, "window must be two corners"),
    ],
)
def test_landscapes_refuse(net: ao.Problem, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.plot_landscape(net, resolution=4, **arguments)


def test_a_phase_portrait_shows_the_field_and_no_potential() -> None:
    ax = ao.plot_phase(maier_stein.build(), window=([-1.5, -1], [1.5, 1]), points=maier_stein.POINTS, labels=["u", "v"])
    assert (ax.get_xlabel(), ax.get_ylim(), len(ax.figure.axes)) == ("u", (-1.0, 1.0), 1)
    assert {text.get_text() for text in ax.texts} == set(maier_stein.POINTS)
    with pytest.raises(ao.InputError, match="a Drift of two coordinates"):
        ao.plot_phase(double_well.build())  # type: ignore[arg-type]


def test_costates_are_the_adjoints_of_a_sample(net: ao.Problem) -> None:
    w = net.initial_weights()
    found = ao.adjoints(net, w).adjoints
    ax = ao.plot_adjoints(net, w, components=[0], samples=[2], multipliers=ao.check_adjoints(net, w))
    line = next(line for line in ax.lines if line.get_label() == "component 0")
    np.testing.assert_array_equal(line.get_ydata(), [found[0][2, 0], found[1][2, 0]])
    dots = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots, line.get_ydata(), rtol=1e-9)
    band = ao.plot_adjoints(net, w)
    assert len(band.collections) == 2
    for wrong, message in (({"components": [9]}, "0 .. 3"), ({"samples": [4]}, "0 .. 3"), ({"times": [1]}, "a node")):
        with pytest.raises(ao.InputError, match=message):
            ao.plot_adjoints(net, w, **wrong)


def test_costates_of_an_optimum_hold_what_its_end_adds() -> None:
    problem = pendulum.build(stages=8, step=0.1, limit=50.0)
    found = ao.train(problem, problem.initial_weights())
    ax = ao.plot_adjoints(problem, found, labels=["angle", "speed"])
    assert ax.get_ylabel() == r"costate $\lambda$"
    line = next(line for line in ax.lines if line.get_label() == "speed")
    np.testing.assert_array_equal(line.get_ydata(), [m[0, 1] for m in found.multipliers])
    bare = ao.plot_adjoints(problem, found.weights)  # of the energy alone: the pinned end is not in it
    other = next(line for line in bare.lines if line.get_label() == "component 1")
    assert len(other.get_ydata()) == 8
    assert abs(np.asarray(other.get_ydata()) - line.get_ydata()).max() > 1e-3


def test_animations(tmp_path: Path, flow: ao.Trajectory, net: ao.Problem) -> None:
    from PIL import Image

    for name, what in (("plane.gif", net), ("time.gif", None)):
        options = {"resolution": 5} if what is not None else {}
        flow.animate(tmp_path / name, what, seconds=0.5, rate=8, dpi=40, **options)
        with Image.open(tmp_path / name) as image:
            assert image.n_frames == 4
            first = np.asarray(image.convert("L"))
            image.seek(3)
            assert abs(np.asarray(image.convert("L")) - first.astype(float)).max() > 50
    with pytest.raises(ao.InputError, match=r"must end in .gif or .mp4"):
        flow.animate(tmp_path / "a.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plane.gif", "time.gif"]


def test_lengths_on_paper() -> None:
    assert figures.inches("3.4in") == 3.4
    assert figures.inches("8.6cm") == pytest.approx(3.3858, abs=1e-4)
    assert (figures.inches("25.4 mm"), figures.inches("72pt")) == pytest.approx((1.0, 1.0))
    for wrong in ("wide", "-3in", "0cm", "nan"):
        with pytest.raises(ao.InputError, match="a length on paper"):
            figures.inches(wrong)


def run(*args: object) -> Any:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_a_figure_of_a_column_with_words_of_its_own(tmp_path: Path, flow: ao.Trajectory) -> None:
    file, out = flow.save(tmp_path / "flow.npz"), tmp_path / "figure.svg"
    words = ("--xlabel", "time (s)", "--ylabel", "all weights", "--title", "learning")
    done = run("plot", "trajectory", file, "--out", out, "--width", "3.4in", *words)
    assert (done.exit_code, done.output) == (0, f"{out}\n")
    drawing = out.read_text()
    width, height = (float(found) for found in re.findall(r'(?:width|height)="([\d.]+)pt"', drawing)[:2])
    assert width == pytest.approx(3.4 * 72)
    assert height > width  # panels below one another
    for word in ("time (s)", "all weights", "learning"):  # text is text
        assert word in re.sub(r"<[^>]*>", "", drawing)


def test_fonts_of_a_pdf_are_truetype(tmp_path: Path, flow: ao.Trajectory) -> None:
    file = flow.save(tmp_path / "flow.npz")
    assert run("plot", "trajectory", file, "--out", tmp_path / "figure.pdf").exit_code == 0
    content = (tmp_path / "figure.pdf").read_bytes()
    assert b"/CIDFontType2" in content
    assert b"/Type3" not in content


def test_names_of_coordinates_come_from_the_problem(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import actionopt as ao\nLABELS = ('u', 'v')\n"
        "def build(size=2):\n    return ao.Drift(size, lambda ops, w: -w)\n"
    )
    drift = ao.load_problem(tmp_path / "own.py")
    assert ao.plot_phase(drift).get_xlabel() == "u"
    assert ao.load_problem(tmp_path / "own.py", size=3).coordinates is None
    named = ao.Lagrangian(1, lambda ops, w, v: ops.sum(v * v), labels=["height"])
    found = ao.minimize_action(named, [0.0], [1.0], horizon=1.0, steps=3)
    assert ao.plot_landscape(named, path=found).get_ylabel() == "height"
    assert found.plot().get_ylabel() == "height"  # the result keeps them, in its file too
    assert ao.Trajectory.load(found.save(tmp_path / "found.npz")).plot().get_ylabel() == "height"
    assert found.plot(labels=["h"]).get_ylabel() == "h"
    with pytest.raises(ao.InputError, match="labels must be 1 names"):
        ao.Lagrangian(1, lambda ops, w, v: ops.sum(v * v), labels=["a", "b"])
    (tmp_path / "own.py").write_text(
        "import actionopt as ao\nLABELS = 3\ndef build():\n    return ao.Drift(1, lambda ops, w: -w)\n"
    )
    with pytest.raises(ao.InputError, match="LABELS must be names"):
        ao.load_problem(tmp_path / "own.py")


def test_problems_come_along_under_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("xor", "xor.py", "problems/xor.py"):
        assert ao.load_problem(name).name == "XOR"
        assert run("check", name).exit_code == 0
    assert locate("elsewhere/xor.py") == Path("elsewhere/xor.py")
    (tmp_path / "xor.py").write_text(
        "import actionopt as ao\ndef build():\n    return ao.Drift(1, lambda ops, w: -w)\n"
    )
    assert ao.load_problem("xor.py").size == 1  # a file of one's own goes before
    done = run("check", "nowhere")
    assert (done.exit_code, "no problem file nowhere" in done.stderr) == (2, True)


def test_the_figures_are_named() -> None:
    done = run("plot", "landscap", "--out", "x.png")
    assert (done.exit_code, "did you mean 'landscape'?" in done.stderr) == (2, True)
    assert "costates" in run("plot", "--help").output
    assert "--component" in run("plot", "costates", "--help").output


@pytest.mark.parametrize("result", ["solution", "check", "flow", "metric"])
def test_results_draw_into_axes_that_are_given(net: ao.Problem, flow: ao.Trajectory, result: str) -> None:
    w = net.initial_weights()
    made = {
        "solution": lambda: ao.train(net, w, throw=False),
        "check": lambda: ao.check_adjoints(net, w),
        "flow": lambda: flow,
        "metric": lambda: ao.LayerMetric(net, w),
    }[result]()
    ax = Figure().subplots()
    assert made.plot(ax) is ax
    assert made.plot() is not ax
