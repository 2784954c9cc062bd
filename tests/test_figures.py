"""Figures: one style, light and dark, written by suffix, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

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
