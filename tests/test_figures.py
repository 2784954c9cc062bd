"""Figures: one style, light and dark, written by suffix, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from actionopt import InputError, figures


def drawn(dark: bool = False) -> figures.Figure:
    """A figure with everything that is made after the style: title, legend, text."""
    fig, ax = figures.figure(dark=dark)
    ax.plot([0, 1], [1, 2], label="rising")
    ax.set(title="A title", xlabel="time", ylabel="energy")
    ax.legend()
    ax.text(0.5, 1.2, "note")
    return fig


def lightness(color: object) -> float:
    return float(np.mean(to_rgb(color)))


@pytest.mark.parametrize("suffix", figures.SUFFIXES)
def test_same_figure_same_bytes(tmp_path: Path, suffix: str) -> None:
    paths = [figures.save(drawn(), tmp_path / f"{name}{suffix}") for name in "ab"]
    assert paths[0].stat().st_size > 1000
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_formats_are_what_their_ending_says(tmp_path: Path) -> None:
    with Image.open(figures.save(drawn(), tmp_path / "f.PNG")) as image:
        assert image.format == "PNG"
        assert image.size == (960, 640)
    assert ElementTree.parse(figures.save(drawn(), tmp_path / "f.svg")).getroot().tag.endswith("svg")
    assert figures.save(drawn(), tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("dark", [False, True])
def test_ink_reads_on_the_ground(tmp_path: Path, dark: bool) -> None:
    fig = drawn(dark)
    figures.save(fig, tmp_path / "f.png")
    ax = fig.axes[0]
    texts = [ax.title, ax.xaxis.label, *ax.texts, *ax.get_legend().get_texts(), *ax.get_xticklabels()]
    ground = lightness(fig.get_facecolor())
    assert (ground < 0.2) == dark
    assert all(abs(lightness(text.get_color()) - ground) > 0.7 for text in texts)
    with Image.open(tmp_path / "f.png") as image:
        assert abs(np.asarray(image.convert("L"))[0, 0] / 255 - ground) < 0.01


def test_grids_are_shaped_as_subplots() -> None:
    assert figures.figure()[1].get_title() == ""
    assert figures.figure(2, 3)[1].shape == (2, 3)
    assert figures.figure(1, 3)[1].shape == (3,)
    fig, _ = figures.figure(2, 2)
    assert tuple(fig.get_size_inches()) == (9.6, 6.4)
    assert tuple(figures.figure(width=7, height=2)[0].get_size_inches()) == (7, 2)


def test_axes_given_are_returned() -> None:
    ax = figures.axes()
    assert figures.axes(ax) is ax
    assert not ax.spines["top"].get_visible()


@pytest.mark.parametrize("name", ["figure.gif", "figure", "figure.png.txt"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"must end in \.png, \.svg, \.pdf; got"):
        figures.save(drawn(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_no_pyplot_state() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    drawn(dark=True)
    assert dict(mpl.rcParams) == before


def test_a_users_tex_is_not_asked_for(tmp_path: Path) -> None:
    expected = figures.save(drawn(), tmp_path / "a.png").read_bytes()
    with matplotlib.rc_context({"text.usetex": True}):
        before = dict(matplotlib.rcParams)
        assert figures.save(drawn(), tmp_path / "b.png").read_bytes() == expected
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", [r"open $\frac{ brace", "a $ and a $ b", "costs 5 $", r"back\slash $x_{"])
def test_names_with_dollars_are_drawn(tmp_path: Path, name: str) -> None:
    fig, ax = figures.figure()
    ax.plot([1, 2], label=name)
    ax.set(title=name, xlabel=name)
    ax.legend()
    assert figures.save(fig, tmp_path / "f.svg").stat().st_size > 1000


def test_an_unknown_backend_in_the_environment_is_no_obstacle(tmp_path: Path) -> None:
    code = (
        "import os; from actionopt import figures; fig, ax = figures.figure(); ax.plot([1, 2]); "
        f"figures.save(fig, {str(tmp_path / 'f.png')!r}); assert os.environ['MPLBACKEND'] == 'nonsense'"
    )
    environment = {**os.environ, "MPLBACKEND": "nonsense"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


def test_threads_that_draw_leave_the_settings_as_they_were(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda k: figures.save(drawn(), tmp_path / f"{k}.png"), range(8)))
    assert all(path.stat().st_size > 1000 for path in paths)
    assert dict(matplotlib.rcParams) == before
