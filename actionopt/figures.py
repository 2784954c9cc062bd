"""One style for every figure, and how figures are written.

Figures are made without pyplot: no global state, no window, nothing to close. Matplotlib loads on use.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actionopt.errors import InputError
from actionopt.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours (jfly.uni-koeln.de/color), told apart by colour-blind readers; the strongest ones first
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#7F7F7F"  # reads on light and on dark ground
CMAP = "cividis"  # for surfaces: even in lightness, the same to colour-blind readers
SUFFIXES = (".png", ".svg", ".pdf")
SCREEN = 110  # dots an inch where a notebook shows a figure
UNITS = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.0}
NARROW, PRINT = 4.5, 8.0  # inches below which a figure is a column of a paper, and its words' size in points

_SETTINGS = threading.RLock()
_LIGHT = {"ground": "#FFFFFF", "ink": "#1A1A1A", "grid": "#E4E4E4"}
_DARK = {"ground": "#14171C", "ink": "#E6E6E6", "grid": "#30353D"}


def figure(
    rows: int = 1,
    cols: int = 1,
    *,
    width: float | None = None,
    height: float | None = None,
    dark: bool = False,
    **options: Any,
) -> tuple[Figure, Any]:
    """Make a figure in the house style.

    Parameters
    ----------
    rows, cols : int
        Grid of axes.
    width, height : float, optional
        Size in inches; 4.8 a column and 3.2 a row where None.
    dark : bool
        Light ink on dark ground.
    **options
        Handed to `Figure.subplots`: `sharex`, `sharey`, `height_ratios`, ...

    Returns
    -------
    (Figure, Axes or array of Axes)
        As `matplotlib.pyplot.subplots`: a single Axes for one row and column, else an array without axes of
        length one.
    """
    with house(dark):
        from matplotlib.figure import Figure

        fig = Figure(figsize=(width or 4.8 * cols, height or 3.2 * rows), layout="constrained")
        drawn = fig.subplots(rows, cols, **options)
        for shown in (fig, *fig.axes):  # a notebook shows what a cell ends with: figures without pyplot have to say how
            vars(shown)["_repr_png_"] = partial(_png, fig)
        return fig, drawn


def _png(fig: Figure) -> bytes:
    """Return a figure as PNG, as notebooks ask for it."""
    dark = _is_dark(fig)
    _finish(fig, (_DARK if dark else _LIGHT)["ink"])
    image = io.BytesIO()
    with house(dark):
        fig.savefig(image, format="png", dpi=SCREEN)
    return image.getvalue()


def axes(ax: Axes | None = None, *, dark: bool = False) -> Axes:
    """Return the axes given, or new ones in the house style: for `plot(ax=None)` methods."""
    return figure(dark=dark)[1] if ax is None else ax


def grid_color(ax: Axes) -> Any:
    """Return the colour of the grid on the ground of these axes: what there is nothing to say of."""
    return (_DARK if _luminance(ax.get_facecolor()) < 0.5 else _LIGHT)["grid"]


def inches(text: str) -> float:
    """Read a length on paper, `3.4in`, `8.6cm`, `86mm` or `246pt`, in inches; a bare number is in inches.

    Raises
    ------
    InputError
        If it is none.
    """
    for unit, factor in UNITS.items():
        if text.strip().endswith(unit):
            number, scale = text.strip().removesuffix(unit), factor
            break
    else:
        number, scale = text, 1.0
    try:
        length = float(number) * scale
    except ValueError:
        length = float("nan")
    if not 0.5 <= length <= 100.0:
        raise InputError(
            f"a length on paper is such as 3.4in, 8.6cm, 86mm or 246pt, from half an inch on; got {text!r}"
        )
    return length


def resize(fig: Figure, width: float | None = None, height: float | None = None) -> None:
    """Give a figure another size in inches; one alone keeps its proportions. Words keep theirs, 8 points where narrow.

    Panels side by side go one below the other where the width is a column's.
    """
    if width is None and height is None:
        return
    from matplotlib.text import Text

    old_width, old_height = fig.get_size_inches()
    new_width = width or old_width * (height or old_height) / old_height
    if new_width < NARROW and (panels := _stack(fig)) > 1:
        old_width, old_height = 1.0, 0.55 * panels
    # not as flat as the wide figure was: words do not shrink with it
    new_height = height or max(old_height * new_width / old_width, min(old_height, 0.62 * new_width))
    fig.set_size_inches(new_width, new_height)
    if new_width < NARROW:
        for text in fig.findobj(Text):
            text.set_fontsize(min(float(text.get_fontsize()), PRINT))


def _stack(fig: Figure) -> int:
    """Put panels that stand side by side one below the other; return how many, 0 where there is one column."""
    placed = [ax for ax in fig.axes if ax.get_subplotspec() is not None]
    grid = placed[0].get_gridspec() if placed else None
    if grid is None or grid.ncols == 1 or any(ax.get_gridspec() is not grid for ax in placed):
        return 0
    column = fig.add_gridspec(len(placed), 1)
    for row, ax in enumerate(placed):
        ax.set_subplotspec(column[row])
    return len(placed)


def reword(fig: Figure, *, title: str | None = None, xlabel: str | None = None, ylabel: str | None = None) -> None:
    """Give a figure other words: its title (empty for none), its horizontal axes' label, its first vertical axis's."""
    axes_ = fig.axes
    if title is not None:
        if fig.get_suptitle():
            fig.suptitle(title, fontsize=10.5)
        else:
            axes_[0].set_title(title)
    if xlabel is not None:
        for ax in axes_:
            if ax.get_xlabel():
                ax.set_xlabel(xlabel)
    if ylabel is not None:
        axes_[0].set_ylabel(ylabel)


def save(fig: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, SVG or PDF, by the ending of the path; the same figure gives the same bytes.

    Parameters
    ----------
    fig : Figure
    path : str or Path
        Folders that are missing are made; an earlier file is replaced only by a whole one.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If the ending is another one or the file cannot be written.
    """
    path = check_path(path)
    dark = _is_dark(fig)
    _finish(fig, (_DARK if dark else _LIGHT)["ink"])
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
    with house(dark), replacing(path) as temporary:
        fig.savefig(temporary, dpi=200, metadata=metadata)
    return path


def check_path(path: str | Path) -> Path:
    """Return the path, if a figure can be written under its ending; raise InputError before any work is done."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: a figure's path must end in {', '.join(SUFFIXES)}; got {path.suffix or 'no ending'}")
    return path


@contextmanager
def house(dark: bool = False) -> Iterator[None]:
    """Draw in the house style, whatever the user's own settings are, and leave those as they were.

    Matplotlib's settings belong to the whole process: one thread at a time may have others for a while.
    """
    with _SETTINGS:
        _load()
        from matplotlib import style

        with style.context(["default", _style(dark)]):
            yield


def _load() -> None:
    """Import Matplotlib, also where the environment names a backend that it does not know: we need none."""
    if "matplotlib" in sys.modules:
        return
    named = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib as mpl
    finally:
        if named is not None:
            os.environ["MPLBACKEND"] = named
    if named is not None:
        with contextlib.suppress(ValueError):
            mpl.rcParams["backend"] = named


def _style(dark: bool) -> Any:
    from cycler import cycler

    tone = _DARK if dark else _LIGHT
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(inked, tone["ink"]),
        "figure.facecolor": tone["ground"],
        "axes.facecolor": tone["ground"],
        "savefig.facecolor": "auto",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": tone["grid"],
        "grid.linewidth": 0.7,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=COLORS),
        "axes.titlesize": 10.0,
        "axes.labelsize": 9.5,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "font.size": 9.5,
        "svg.hashsalt": "actionopt",
        "svg.fonttype": "none",  # text as text: it can be searched and edited, and set in the font of a paper
        "pdf.fonttype": 42,  # TrueType, which journals ask for
        "ps.fonttype": 42,
    }


def _is_dark(fig: Figure) -> bool:
    return _luminance(fig.get_facecolor()) < 0.5


def _luminance(color: Any) -> float:
    from matplotlib.colors import to_rgb

    return sum(to_rgb(color)) / 3.0


def _finish(fig: Figure, ink: str) -> None:
    """Bring what was added after the style, as titles, legends and annotations are, into the style."""
    from matplotlib.text import Text

    for text in fig.findobj(Text):
        if _undrawable(text.get_text()):
            text.set_text(text.get_text().encode("ascii", "backslashreplace").decode().replace("\0", "\\x00"))
        text.set_usetex(False)  # the user's setting, where text was added after the style
        if "$" in text.get_text() and not _is_formula(text.get_text()):
            text.set_parse_math(False)  # a name that has a dollar in it
        if text.get_color() in ("black", "k", "#000000"):
            text.set_color(ink)
    for ax in fig.axes:
        ax.title.set_fontsize(min(float(ax.title.get_fontsize()), 10.0))
        legend = ax.get_legend()
        if legend is not None:
            legend.get_frame().set(facecolor=ax.get_facecolor(), edgecolor="none", alpha=0.8)


def _undrawable(text: str) -> bool:
    """Whether a name holds what no font has: halves of pairs, as in paths of another encoding, or zero bytes."""
    return "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_formula(text: str) -> bool:
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return False
    return True
