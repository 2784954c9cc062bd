"""What the commands share: the problem file, its options, and how results are written."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from actionopt import figures
from actionopt.cli.reporting import Reporting, printable
from actionopt.errors import InputError
from actionopt.loading import load_problem, locate
from actionopt.plain import plain
from actionopt.problem import Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STDOUT = "actionopt.stdout"


def problem_command(function: Callable[..., int | None]) -> click.Command:
    """Make a command of `function(path, settings, as_json, **own options)`, which returns the exit status.

    The command line gets `PROBLEM.py`, repeated `--set key=value` (`settings`: values are Python literals, and
    words where they are none) and `--json`. Own options are `click.option` decorators below this one. With --json
    whatever is printed while the function runs goes to standard error, so that standard output holds the object
    that `emit` writes and nothing else.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    @functools.wraps(function)
    def run(path: str, settings: tuple[str, ...], as_json: bool, **own: Any) -> int | None:
        with _clear_stdout() if as_json else contextlib.nullcontext():
            return function(path=locate(path), settings=parse_settings(settings), as_json=as_json, **own)

    return click.command(cls=Reporting)(_with_problem(run))


def plot_command(function: Callable[..., Figure]) -> click.Command:
    """Make a script of `function(path, settings, dark, **own options)`, which returns a figure.

    The command line gets `PROBLEM.py`, repeated `--set key=value` and the options of `figure_options`; the figure is
    written there and its path printed.
    """

    @figure_options
    @functools.wraps(function)
    def run(path: str, settings: tuple[str, ...], dark: bool, **own: Any) -> Figure:
        return function(path=locate(path), settings=parse_settings(settings), dark=dark, **own)

    return click.command(cls=Reporting)(_with_problem(run))


def figure_options(function: Callable[..., Figure]) -> Callable[..., None]:
    """Give a function that returns a figure the options of where it goes, how large it is, and its words.

    `--labels` goes to functions that take `labels`, a tuple of names of coordinates or None.
    """
    takes_labels = "labels" in inspect.signature(function).parameters

    @click.option("--out", required=True, metavar="PATH", help="Where the figure goes: PNG, SVG or PDF by its ending.")
    @click.option("--dark", is_flag=True, help="Light ink on dark ground.")
    @click.option("--width", metavar="LENGTH", help="Of the figure: 3.4in, 8.6cm, 86mm, 246pt.")
    @click.option("--height", metavar="LENGTH", help="Of the figure.")
    @click.option("--title", help="Of the figure; '' for none.")
    @click.option("--xlabel", help="Of the horizontal axes that have one.")
    @click.option("--ylabel", help="Of the first vertical axis.")
    @functools.wraps(function)
    def run(
        out: str,
        dark: bool,
        width: str | None,
        height: str | None,
        title: str | None,
        xlabel: str | None,
        ylabel: str | None,
        **own: Any,
    ) -> None:
        figures.check_path(out)
        size = tuple(None if text is None else figures.inches(text) for text in (width, height))
        if takes_labels:
            own["labels"] = None if own["labels"] is None else tuple(name.strip() for name in own["labels"].split(","))
        figure = function(dark=dark, **own)
        figures.resize(figure, *size)
        figures.reword(figure, title=title, xlabel=xlabel, ylabel=ylabel)
        click.echo(figures.save(figure, out))

    names = click.option("--labels", metavar="A,B,...", help="Names of the coordinates.  [default: the file's LABELS]")
    return names(run) if takes_labels else run


def _with_problem(function: Callable[..., Any]) -> Callable[..., Any]:
    settings = click.option(
        "--set", "settings", metavar="KEY=VALUE", multiple=True, help="An option of the problem's build()."
    )
    return click.argument("path", metavar="PROBLEM.py")(settings(function))


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """Read `("width=8", "activation=tanh")` as `{"width": 8, "activation": "tanh"}`.

    Raises
    ------
    InputError
        If an entry is not of the form key=value, or a key comes twice.
    """
    options: dict[str, Any] = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or not key.strip().isidentifier():
            raise InputError(f"--set takes key=value, such as --set width=8; got {setting!r}")
        if key.strip() in options:
            raise InputError(f"--set {key.strip()} was given twice")
        try:
            options[key.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            options[key.strip()] = value.strip()
    return options


def load_modular(path: Path, settings: dict[str, Any]) -> Problem:
    """Load a problem file that must define a Problem, where a Lagrangian has nothing to offer.

    Raises
    ------
    InputError
        If it defines a Lagrangian.
    """
    problem = load_problem(path, **settings)
    if not isinstance(problem, Problem):
        raise InputError(
            f"{path}: this command needs a Problem (modules, data and a loss), and build() returned a "
            f"{type(problem).__name__}; for that there is `actionopt action`"
        )
    return problem


def emit(as_json: bool, record: dict[str, Any], table: str) -> None:
    """Print the record as one JSON object, or the table."""
    stdout = click.get_current_context().meta.get(_STDOUT, sys.stdout)
    if stdout is None:  # started without one, as services are: there is nobody to print for
        return
    try:
        click.echo(json.dumps(plain(record)) if as_json else printable(table), file=stdout)
        stdout.flush()  # an error shows here, while it can still be told, and not when the interpreter ends
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())


@contextlib.contextmanager
def _clear_stdout() -> Iterator[None]:
    """Send what is printed to standard error, what compiled solvers print included, and keep stdout for `emit`."""
    stdout = sys.stdout
    if stdout is None or sys.stderr is None:
        yield
        return
    stdout.flush()
    with contextlib.ExitStack() as stack:
        if _descriptor(stdout) == 1:
            saved = os.dup(1)
            os.dup2(2, 1)
            stdout = stack.enter_context(os.fdopen(os.dup(saved), "w", errors="backslashreplace"))
            stack.callback(_restore, saved)
        click.get_current_context().meta[_STDOUT] = stdout
        with contextlib.redirect_stdout(sys.stderr):
            yield


def _restore(saved: int) -> None:
    os.dup2(saved, 1)
    os.close(saved)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None
