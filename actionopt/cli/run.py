"""`actionopt run`: the whole trip of a problem into a folder, with figures and a page."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from actionopt.cli.common import emit, problem_command
from actionopt.cli.points import parse_point
from actionopt.errors import InputError
from actionopt.loading import load_file
from actionopt.report.run import Run, run_stages
from actionopt.report.stages import STAGES, Options
from actionopt.report.workspace import Workspace
from actionopt.tables import text_table

INTERRUPTED = 130


@problem_command
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the results; it resumes.")
@click.option("--start", help="A named point of the file, or numbers with commas.  [default: initial weights]")
@click.option("--end", help="A named point or numbers with commas, nan where free: adds the path there.")
@click.option("--horizon", type=float, help="Length of time.  [default: until the flow has slowed]")
@click.option("--steps", type=int, help="Number of equal steps.  [default: enough for the flow]")
@click.option("--metric", default="layerwise", show_default=True, help="Also joint, euclidean (the mass alone).")
@click.option("--scheme", help="midpoint, gauss2, radau3, radau5.  [default: radau5 for the flow, midpoint for a path]")
@click.option("--solver", default="ipopt", show_default=True, help="Whose multipliers are compared: also fatrop, ...")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the initial weights.")
@click.option(
    "--progress/--no-progress",
    default=None,
    help="Show progress on standard error: a bar, or lines in a log.  [default: shown, but not with --json]",
)
def command(
    path: Path,
    settings: dict[str, Any],
    as_json: bool,
    out: Path,
    start: str | None,
    end: str | None,
    progress: bool | None,
    **options: Any,
) -> int:
    """Check the adjoints, train, follow the flow, certify it, compute and prove contraction; write a report.

    DIR holds report.html, results.json, figures and arrays afterwards. An interrupted run goes on where it stopped
    when the same command is given again; a changed problem file or option repeats what depends on it.

    Exit status 1: a stage failed; the report says which, and what to try.
    """
    from actionopt.report.write import REPORT, write_results

    asked = _asked_by_the_file(path, {"start": start, "end": end, **options})
    start, end = (asked.pop(name) for name in ("start", "end"))
    chosen = Options(
        start=None if start is None else parse_point(path, start, "--start"),
        end=None if end is None else parse_point(path, end, "--end"),
        as_the_file_asks=not _typed(),
        **asked,
    )

    shown_command = typed_command(click.get_current_context())

    def finish(workspace: Workspace, run: Run) -> None:
        write_results(workspace, run, shown_command)

    try:
        shown = (sys.stderr is not None and (sys.stderr.isatty() or not as_json)) if progress is None else progress
        run = run_stages(path, settings, out, chosen, finish=finish, progress=shown)
    except KeyboardInterrupt:
        click.echo(f"actionopt: interrupted; finished stages are kept in {out}: give the same command again", err=True)
        return INTERRUPTED
    page = out / REPORT
    emit(as_json, {**_record(run), "report": str(page)}, f"{_table(run)}\n\nreport: {page}")
    return 0 if run.ok else 1


def _asked_by_the_file(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with those that the file asks for, RUN = {"end": "right minimum"}, where none were typed.

    Raises
    ------
    InputError
        If RUN is no dictionary of options.
    """
    asked = getattr(load_file(path), "RUN", {})
    if not isinstance(asked, dict) or not set(asked) <= set(options):
        raise InputError(f"{path}: RUN may hold {', '.join(sorted(options))}, got {asked!r}")
    if _typed():
        return options  # another path is asked for
    return {name: asked.get(name, value) for name, value in options.items()}


def _typed() -> bool:
    """Whether ends or horizon were typed."""
    source = click.get_current_context().get_parameter_source
    return any(source(name) is click.core.ParameterSource.COMMANDLINE for name in ("start", "end", "horizon"))


def typed_command(context: click.Context) -> str:
    """Write the command line again, as it was typed but in the order of the help."""
    words = ["actionopt", "run"]
    for parameter in context.command.params:
        assert parameter.name is not None
        if context.get_parameter_source(parameter.name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = context.params[parameter.name]
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
        else:
            for one in value if parameter.multiple else (value,):
                words += [parameter.opts[0], str(one)]
    return shlex.join(words)


def _record(run: Run) -> dict[str, Any]:
    return {"ok": run.ok, "stages": {name: asdict(record) for name, record in run.records.items()}}


def _table(run: Run) -> str:
    rows = [
        (
            stage.title,
            record.state,
            record.summary.get("headline") or "-",
            "before" if stage.name not in run.repeated else f"{record.seconds:.2f}",
        )
        for stage in STAGES
        if (record := run.records.get(stage.name)) is not None
    ]
    messages = [record.message for record in run.records.values()]
    return "\n".join([text_table(("stage", "outcome", "found", "seconds"), rows), "", *messages])
