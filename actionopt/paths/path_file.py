"""Least-action paths on disk: what a file of one holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from actionopt.archive import ResultFile
from actionopt.errors import InputError
from actionopt.plain import plain

ARRAYS = ("points", "arc", "speed", "accumulated")
NUMBER = (int, float, str)  # INFINITE
DESCRIBED = {
    "name": str,
    "action": NUMBER,
    "action_error": NUMBER,
    "lowest_eigenvalue": NUMBER,
    "success": bool,
    "status": str,
    "message": str,
    "stats": dict,
}
FILE = ResultFile("actionopt.path", 2, "path", "GeometricPath.save", DESCRIBED)
INFINITE = "infinite"  # JSON has no infinity


class Saved(Protocol):
    """What is written of a path, beside `ARRAYS` and `DESCRIBED`."""

    @property
    def energy(self) -> np.ndarray | None: ...
    @property
    def candidates(self) -> Sequence[Any]: ...
    @property
    def critical_points(self) -> Sequence[Any]: ...


def write_path(found: Saved, path: str | Path) -> Path:
    """Write a path, whole or not at all."""
    arrays = {name: np.ascontiguousarray(getattr(found, name), dtype=float) for name in ARRAYS}
    if found.energy is not None:
        arrays["energy"] = np.ascontiguousarray(found.energy, dtype=float)
    arrays |= {f"candidate/{i}": np.ascontiguousarray(c.points, dtype=float) for i, c in enumerate(found.candidates)}
    metadata: dict[str, Any] = {name: _finite(getattr(found, name)) for name in DESCRIBED}
    metadata["critical_points"] = [
        {"index": p.index, "unstable": p.unstable, "point": p.point.tolist()} for p in found.critical_points
    ]
    metadata["candidates"] = [
        {"name": c.name, "action": c.action, "elements": c.elements, "converged": c.converged} for c in found.candidates
    ]
    return FILE.write(path, arrays, metadata)


def read_path(path: str | Path) -> dict[str, Any]:
    """Read the fields of a path, or say why the file is none."""
    path = Path(path)
    arrays, metadata = FILE.read(path)
    try:
        return _fields(arrays, metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no path of this version: {error!r}") from error


def _fields(arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> dict[str, Any]:
    fields = {name: arrays[name] for name in ARRAYS} | {name: _infinite(metadata[name]) for name in DESCRIBED}
    fields["energy"] = arrays.get("energy")
    fields["critical_points"] = [{**p, "point": np.array(p["point"])} for p in metadata["critical_points"]]
    fields["candidates"] = [{**c, "points": arrays[f"candidate/{i}"]} for i, c in enumerate(metadata["candidates"])]
    return fields


def _finite(value: Any) -> Any:
    return INFINITE if isinstance(value, float) and value == np.inf else plain(value)


def _infinite(value: Any) -> Any:
    return np.inf if value == INFINITE else value
