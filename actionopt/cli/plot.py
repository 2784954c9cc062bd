"""`actionopt plot NAME`: the scripts of plots/, wherever the package is installed."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any

import click

from actionopt.cli.reporting import Reporting
from actionopt.errors import InputError, unknown_name

PACKAGE = Path(__file__).parents[1]
FOLDERS = (PACKAGE / "plots", PACKAGE.parent / "plots")  # where the scripts come along


class Plots(Reporting):
    """A command whose help lists the figures; `actionopt plot NAME --help` shows a figure's own."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Figures"):
            formatter.write_dl([(name, summary(path)) for name, path in scripts().items()])


def scripts() -> dict[str, Path]:
    """Return the scripts that come along, by name.

    Raises
    ------
    InputError
        If there are none.
    """
    for folder in FOLDERS:
        found = {path.stem: path for path in sorted(folder.glob("[a-z]*.py"))} if folder.is_dir() else {}
        if found:
            return found
    raise InputError("the scripts of figures are not here: install the package anew, or take its repository's plots/")


def summary(path: Path) -> str:
    """Return the first sentence of a script."""
    document = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem
    return " ".join(document.partition("\n\n")[0].split())


@click.command(cls=Plots, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("name", metavar="FIGURE")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="...")
def command(name: str, arguments: tuple[str, ...]) -> int:
    """Draw a figure: `actionopt plot landscape FILE --path path.npz --width 3.4in --out figure.pdf`.

    All take --out, --width, --height, --title, --xlabel, --ylabel and --dark, most --labels.
    """
    known = scripts()
    if name not in known:
        raise unknown_name("figure", name, known)
    script = load(name, known[name])
    return int(script.main(list(arguments), prog_name=f"actionopt plot {name}", standalone_mode=False) or 0)


def load(name: str, path: Path) -> Any:
    """Return a script as a module; its command is `main`."""
    spec = importlib.util.spec_from_file_location(f"actionopt_plot_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
