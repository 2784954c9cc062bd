"""Running all stages of a problem into a folder."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from actionopt.action.checkpoint import Checkpoint
from actionopt.errors import InputError, SolverError
from actionopt.fingerprint import fingerprint, libraries
from actionopt.interrupts import unless_interrupted
from actionopt.loading import load_problem, named_points
from actionopt.report.known import drawing_of, known_answers
from actionopt.report.progress import stage_bar
from actionopt.report.stages import STAGES, Context, Options, Outcome, Stage, check_options
from actionopt.report.workspace import Record, Workspace, key_of, open_workspace


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Attributes
    ----------
    context : Context
    records : dict
        The record of each stage that applies, in order.
    repeated : tuple of str
        The stages that ran this time; the others were found finished.
    """

    context: Context
    records: dict[str, Record]
    repeated: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether no stage failed."""
        return all(record.state != "failed" for record in self.records.values())


def run_stages(
    path: Path,
    settings: dict[str, Any],
    out: Path,
    options: Options,
    *,
    finish: Callable[[Workspace, Run], None],
    progress: bool = False,
) -> Run:
    """Run the stages of a problem file that are not finished in the folder `out`.

    Parameters
    ----------
    path : Path
        The problem file.
    settings : dict
        Options of its `build`.
    out : Path
        Made where it is missing; locked while the run works in it.
    options : Options
    finish : callable
        `finish(workspace, run)` draws the figures and writes the page, in the locked folder.
    progress : bool
        Show a bar of stages on stderr.

    Raises
    ------
    InputError
        If the problem or an option cannot be used, or the folder cannot be written to.
    """
    what = load_problem(path, **settings)
    source = [hashlib.sha256(Path(path).read_bytes()).hexdigest(), fingerprint(what)]
    known = known_answers(path, settings)
    if not options.as_the_file_asks:  # least energies are those of any start, actions belong to their ends
        known = {name: value for name, value in known.items() if name == "energy"}
    context = Context(what, options, Path(out), named_points(path), known, draw=drawing_of(path))
    check_options(context)
    with open_workspace(out) as workspace:
        stages = [stage for stage in STAGES if stage.applies(context)]
        with stage_bar(len(stages) + 1, progress) as begin:
            run = _run_all(stages, context, workspace, source, settings, begin)
            begin("Figures and report")
            finish(workspace, run)
    return run


def _run_all(
    stages: Sequence[Stage],
    context: Context,
    workspace: Workspace,
    source: list[str],
    settings: dict[str, Any],
    begin: Callable[[str], None],
) -> Run:
    keys: dict[str, str] = {}
    records: dict[str, Record] = {}
    repeated: list[str] = []
    for stage in stages:
        begin(stage.title)
        keys[stage.name] = key = _key(stage, source, settings, context.options, keys)
        record = workspace.finished(stage.name, key)
        if record is None:
            record = _run_stage(stage, context, workspace, key, records)
            repeated.append(stage.name)
        records[stage.name] = record
    return Run(context, records, tuple(repeated))


def _key(stage: Stage, source: list[str], settings: dict[str, Any], options: Options, keys: dict[str, str]) -> str:
    """Digest what a stage depends on: the system and its options, the programs, and the stages before it."""
    chosen = {name: _plain(value) for name, value in asdict(options).items() if name in stage.options}
    return key_of(
        program_digest(), libraries(), stage.name, source, settings, chosen, [keys[name] for name in stage.needs]
    )


@cache
def program_digest() -> str:
    """Digest the package itself: what another version of it computed is computed again."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _run_stage(stage: Stage, context: Context, workspace: Workspace, key: str, records: dict[str, Record]) -> Record:
    """Run a stage and enter it in the manifest; one that raises is not remembered, so the next run repeats it."""
    workspace.forget(stage.name)
    missing = [name for name in stage.needs if not records[name].files]
    if missing:
        return Record(key, "skipped", f"Skipped: it needs the stage {missing[0]!r}, which brought no result.", 0.0)
    began = time.perf_counter()
    context.checkpoint = Checkpoint(workspace.path(f".{stage.name}-so-far.npz"), key)
    try:
        outcome: Outcome = stage.run(context)
    except (InputError, SolverError) as error:
        unless_interrupted(getattr(error, "result", None))
        return Record(key, "failed", str(error), time.perf_counter() - began)
    record = workspace.remember(
        stage.name,
        key,
        state=outcome.state,
        message=outcome.message,
        seconds=time.perf_counter() - began,
        summary={name: _plain(value) for name, value in {**outcome.summary, "headline": outcome.headline}.items()},
        files=list(outcome.files),
    )
    context.checkpoint.remove()
    return record
