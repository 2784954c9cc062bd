"""The folder of a sweep: a file a row, written whole, so that a sweep that was killed goes on where it stopped."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actionopt.errors import InputError
from actionopt.files import read_text, replacing
from actionopt.sweeps.grid import Case
from actionopt.sweeps.work import Row, Work

SWEEP, ROWS = "sweep.json", "rows"
SCHEMA, VERSION = "actionopt.sweep", 1
ROW_LIMIT = 10_000_000  # characters beyond which a row is none of ours


class Store:
    """Rows on disk, by case.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    work : Work
        What the rows are of.

    Raises
    ------
    InputError
        If the folder holds the rows of another sweep, or cannot be written to.
    """

    def __init__(self, folder: str | Path, work: Work) -> None:
        self.folder, self.work = Path(folder), work
        described = {"schema": SCHEMA, "version": VERSION, **_description(work)}
        head = self.folder / SWEEP
        earlier = _read(head)
        if earlier is None and head.exists():
            raise InputError(f"{head} is no record of a sweep: give another out")
        if earlier is not None and earlier != described:
            changed = [name for name in described if earlier.get(name) != described[name]]
            raise InputError(
                f"{self.folder} holds another sweep (its {', '.join(changed) or 'record'} differs): give another out"
            )
        _write(head, described)

    def row(self, case: Case) -> Row | None:
        """Return the row of a case that was finished, None where there is none.

        What failed is tried again, and so is what builds another problem now, as with a changed data file, or is run by
        other code.
        """
        stored = _read(self._path(case))
        if not isinstance(stored, dict) or not isinstance(stored.get("row"), dict) or "error" in stored["row"]:
            return None
        if stored.get("code") != self.work.code or stored.get("built") != self.work.built(case):
            return None
        return {**case.options, **stored["row"]}

    def keep(self, case: Case, row: Row, built: str) -> None:
        """Write the row of a case and the digest of what it built; the options are known and keep their types."""
        results = {name: value for name, value in row.items() if name not in case.options}
        _write(self._path(case), {"row": results, "built": built, "code": self.work.code})

    def _path(self, case: Case) -> Path:
        return self.folder / ROWS / f"{case.key}.json"


def _description(work: Work) -> dict[str, Any]:
    """Say what is computed, so that rows of another thing are not taken for these."""
    if callable(work.build):
        built = f"{work.build.__module__}.{work.build.__qualname__}"
    else:
        path = Path(work.build)
        if not path.is_file():
            raise InputError(f"no problem file {path}")
        built = f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    return {"build": built, "run": _name(work.run)}


def _name(run: Any) -> str:
    if isinstance(run, functools.partial):
        return f"{_name(run.func)} {run.args!r} {sorted(run.keywords.items())!r}"
    return f"{getattr(run, '__module__', '')}.{getattr(run, '__qualname__', type(run).__name__)}"


def _read(path: Path) -> Any:
    try:
        return json.loads(read_text(path, ROW_LIMIT))
    except (OSError, ValueError, RecursionError):
        return None


def _write(path: Path, record: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record), encoding="utf-8")


def missing(store: Store | None, cases: Sequence[Case]) -> tuple[dict[str, Row], list[Case]]:
    """Return the rows that are there, by the key of their case, and the cases that are not."""
    there = {} if store is None else {case.key: row for case in cases if (row := store.row(case)) is not None}
    return there, [case for case in cases if case.key not in there]
