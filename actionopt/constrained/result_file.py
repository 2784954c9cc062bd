"""Solutions and checks on disk: what a file of one holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from actionopt.archive import ResultFile
from actionopt.constrained.history import History
from actionopt.errors import InputError
from actionopt.records import STATS, listed, numbered, put_together, taken_apart

SAID = {"success": bool, "status": str, "message": str, "stats": dict, "is_minimum": bool | None}
SOLUTION = ResultFile("actionopt.solution", 1, "solution", "Solution.save", SAID)
NUMBERS = ("energy", "gradient_norm", "adjoint_error")
LISTS = ("multipliers", "states", "constraint_multipliers")
HISTORY = ("energy", "gradient_norm", "seconds")

CHECKED = {"ok": bool, "solver": str, "status": str, "message": str, "stats": dict, "modules": list}
CHECK = ResultFile("actionopt.adjoint_check", 1, "check", "AdjointCheck.save", CHECKED)
CHECK_NUMBERS = ("max_error", "relative_error", "gradient_error", "tol")
CHECK_LISTS = ("multipliers", "adjoints")
ROW = {"name": str, "size": int, "largest": float, "max_error": float, "relative_error": float}


def write_solution(solution: Any, path: str | Path) -> Path:
    """Write a `Solution`, whole or not at all; what many starts found beside it is not kept."""
    arrays = {name: np.asarray(getattr(solution, name), dtype=float) for name in (*NUMBERS, "weights")}
    arrays["bounds_multipliers"] = np.asarray(solution.bounds_multipliers, dtype=float)
    if solution.lowest_eigenvalue is not None:
        arrays["lowest_eigenvalue"] = np.asarray(solution.lowest_eigenvalue, dtype=float)
    for name in LISTS:
        arrays |= numbered(name, getattr(solution, name))
    if solution.history is not None:
        arrays |= {f"history/{name}": np.asarray(getattr(solution.history, name), dtype=float) for name in HISTORY}
    stats, extra = taken_apart(solution.stats)
    said = {name: getattr(solution, name) for name in SAID} | {"stats": stats}
    return SOLUTION.write(path, arrays | extra, said)


def read_solution(path: str | Path) -> dict[str, Any]:
    """Read the fields of a solution, or say why the file is none."""
    arrays, said = SOLUTION.read(path, _needs("weights", "bounds_multipliers", *NUMBERS))
    fields = _fields(Path(path), arrays, said, SAID, NUMBERS, LISTS)
    lowest = arrays.get("lowest_eigenvalue")
    history = {name: arrays.get(f"history/{name}") for name in HISTORY}
    kept = None if any(column is None for column in history.values()) else history
    return fields | {
        "weights": arrays["weights"],
        "bounds_multipliers": arrays["bounds_multipliers"],
        "lowest_eigenvalue": None if lowest is None else lowest.item(),
        "history": None if kept is None else History(**{name: column.tolist() for name, column in kept.items()}),  # type: ignore[union-attr]
    }


def write_check(check: Any, path: str | Path) -> Path:
    """Write an `AdjointCheck`, whole or not at all."""
    arrays = {name: np.asarray(getattr(check, name), dtype=float) for name in CHECK_NUMBERS}
    arrays |= {name: np.asarray(getattr(check, name)) for name in ("gradient", "gradient_multipliers")}
    for name in CHECK_LISTS:
        arrays |= numbered(name, getattr(check, name))
    stats, extra = taken_apart(check.stats)
    rows = [asdict(row) for row in check.modules]
    errors = np.array([[row[name] for name in ("largest", "max_error", "relative_error")] for row in rows])
    arrays["rows"] = errors.reshape(len(rows), 3)  # arrays hold what is not finite as well
    modules = [{"name": row["name"], "size": int(row["size"])} for row in rows]
    said = {name: getattr(check, name) for name in CHECKED} | {"stats": stats, "modules": modules}
    return CHECK.write(path, arrays | extra, said)


def read_check(path: str | Path) -> dict[str, Any]:
    """Read the fields of a check, or say why the file is none; `modules` as mappings."""
    arrays, said = CHECK.read(path, _needs("gradient", "gradient_multipliers", "rows", *CHECK_NUMBERS))
    fields = _fields(Path(path), arrays, said, CHECKED, CHECK_NUMBERS, CHECK_LISTS)
    try:
        modules = [
            {"name": str(row["name"]), "size": int(row["size"]), "largest": a, "max_error": b, "relative_error": c}
            for row, (a, b, c) in zip(said["modules"], arrays["rows"].tolist(), strict=True)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no check of this version: {error!r}") from error
    gradients = {name: arrays[name] for name in ("gradient", "gradient_multipliers")}
    return fields | gradients | {"modules": modules}


def _fields(
    path: Path,
    arrays: dict[str, np.ndarray],
    said: dict[str, Any],
    words: dict[str, Any],
    numbers: tuple[str, ...],
    lists: tuple[str, ...],
) -> dict[str, Any]:
    """Return numbers, lists and words of a result."""
    try:
        found = {name: arrays[name].item() for name in numbers} | {name: listed(name, arrays) for name in lists}
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} holds no result of this version: {error!r}") from error
    extra = {name: array for name, array in arrays.items() if name.startswith(STATS)}
    return {**found, **{name: said[name] for name in words}, "stats": put_together(path, said["stats"], extra)}


def _needs(*names: str) -> Any:
    def check(path: Path, arrays: dict[str, np.ndarray], said: dict[str, Any]) -> None:
        missing = set(names) - set(arrays)
        if missing or any(array.dtype.kind not in "fiub" for array in arrays.values()):
            what = f"it lacks {sorted(missing)}" if missing else "its arrays are no numbers"
            raise InputError(f"{path} holds no result of this version: {what}")

    return check
