"""What a run leaves to read: figures, `results.json` and `report.html`."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from actionopt import figures
from actionopt.plain import plain
from actionopt.problem import Problem
from actionopt.report.page import Picture, Section, render
from actionopt.report.pictures import PICTURES
from actionopt.report.run import Run
from actionopt.report.stages import STAGES
from actionopt.report.workspace import Record, Workspace, key_of, write_text

REPORT, RESULTS, FIGURES = "report.html", "results.json", "figures"
PACKAGES = ("actionopt", "numpy", "scipy", "casadi", "matplotlib")


def write_results(workspace: Workspace, run: Run, command: str) -> None:
    """Write `results.json`, the figures that are new and `report.html` into the folder of a run, in this order."""
    record = {"command": command, "versions": versions(), "ok": run.ok, "stages": _stages(run)}
    write_text(workspace.path(RESULTS), json.dumps(plain(record), indent=1))
    drawn = _draw(workspace, run)
    write_text(workspace.path(REPORT), render(_title(run), _lead(run), [*_sections(run, drawn), _making(run, command)]))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that computed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _stages(run: Run) -> dict[str, Any]:
    return {name: asdict(record) for name, record in run.records.items()}


def _draw(workspace: Workspace, run: Run) -> dict[str, list[Picture]]:
    """Draw each figure whose stage has changed, on light and dark ground; return them by stage."""
    drawn: dict[str, list[Picture]] = {}
    for picture in PICTURES:
        record = run.records.get(picture.stage)
        if record is None or picture.file not in record.files or not picture.applies(run.context):
            continue
        names = [f"{FIGURES}/{picture.name}{ending}.svg" for ending in ("", "-dark")]
        key = key_of("figure", picture.name, record.key, record.files)
        if workspace.finished(f"figure {picture.name}", key) is None:
            began = time.perf_counter()
            for name, dark in zip(names, (False, True), strict=True):
                figures.save(picture.draw(run.context, dark), workspace.path(name))
            seconds = time.perf_counter() - began
            workspace.remember(
                f"figure {picture.name}", key, state="ok", message="", seconds=seconds, summary={}, files=names
            )
        light, dark_svg = (workspace.path(name).read_text(encoding="utf-8") for name in names)
        drawn.setdefault(picture.stage, []).append(Picture(picture.name, picture.caption(run.context), light, dark_svg))
    return drawn


def _title(run: Run) -> str:
    return f"{run.context.what.name}: report"


def _lead(run: Run) -> str:
    failed, skipped = (_titles(run, state) for state in ("failed", "skipped"))
    lead = f"Not everything holds: see {failed}, with what to try." if failed else "Every check that ran holds."
    return f"{lead} Not computed: {skipped}." if skipped else lead


def _titles(run: Run, state: str) -> str:
    """Name the stages that ended in a state."""
    records = run.records
    return " and ".join(stage.title for stage in STAGES if stage.name in records and records[stage.name].state == state)


def _sections(run: Run, drawn: dict[str, list[Picture]]) -> list[Section]:
    sections = [_overview(run)]
    for stage in STAGES:
        record = run.records.get(stage.name)
        if record is not None:
            sections.append(
                Section(
                    stage.title,
                    record.state,
                    [record.message],
                    _numbers(record),
                    drawn.get(stage.name, []),
                    "All numbers",
                )
            )
    return sections


def _overview(run: Run) -> Section:
    what = run.context.what
    rows = [
        (stage.title, record.state, record.summary.get("headline") or "-", _known(record), _seconds(record.seconds))
        for stage in STAGES
        if (record := run.records.get(stage.name)) is not None
    ]
    headers = ["stage", "outcome", "found", "known answer", "seconds"]
    if all(row[3] == "-" for row in rows):
        return Section(
            "Overview", "", [_what(what)], ([*headers[:3], headers[4]], [(*row[:3], row[4]) for row in rows])
        )
    return Section("Overview", "", [_what(what)], (headers, rows))


def _what(what: Any) -> str:
    """Say what the system is."""
    if not isinstance(what, Problem):
        return f"{_count(what.size, 'coordinate')}, a Lagrangian."
    parts = [_count(what.size, "weight"), _count(len(what.labels), "module"), _count(what.samples, "sample")]
    return f"{parts[0]} in {parts[1]}, {parts[2]}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _seconds(seconds: float) -> str:
    """Write seconds with two digits."""
    return f"{seconds:.0f}" if seconds >= 10.0 else f"{seconds:.1f}" if seconds >= 1.0 else f"{seconds:.2f}"


def _known(record: Record) -> str:
    """Return the known answer of a stage, where the file has one."""
    values = [value for name, value in record.summary.items() if name.startswith("known_")]
    return f"{values[0]:.8g}" if values else "-"


def _numbers(record: Record) -> tuple[tuple[str, str], list[tuple[str, Any]]] | None:
    rows = [
        (name.replace("_", " ").replace("hamiltonian", "Hamiltonian"), value)
        for name, value in record.summary.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
    return (("quantity", "value"), rows) if len(rows) > 1 else None


def _making(run: Run, command: str) -> Section:
    options = {name: value for name, value in asdict(run.context.options).items() if value is not None}
    del options["as_the_file_asks"]
    rows = [
        ("command", command),
        ("date", time.strftime("%Y-%m-%d %H:%M")),
        ("machine", f"{platform.system()} {platform.machine()}"),
        *((name, str(plain(value))) for name, value in options.items()),
        *versions().items(),
    ]
    sentences = [
        "The same command finds finished stages again and repeats only what has changed. Results are in results.json "
        "and, as arrays, in the .npz files beside this page."
    ]
    return Section("How this was made", "", sentences, (("", ""), rows))
