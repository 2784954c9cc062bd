"""Descents on disk: what a file of one holds."""

from __future__ import annotations

from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from actionopt.archive import ResultFile
from actionopt.descent.options import Options
from actionopt.errors import InputError
from actionopt.metric.damping import Damping

ARRAYS = ("last", "best", "energy", "validation", "step_sizes", "mass_factors", "damping")
FACTS = {
    "steps": int,
    "skipped": int,
    "success": bool,
    "status": str,
    "message": str,
    "name": str,
    "samples": int,
    "start": float,
    "options": dict,
}
FILE = ResultFile("actionopt.descent", 3, "descent", "Descent.save", FACTS)


class Saved(Protocol):
    """What is written of a descent, beside `ARRAYS` and `FACTS`."""

    @property
    def direction(self) -> np.ndarray | None: ...
    @property
    def damping(self) -> Any: ...
    @property
    def options(self) -> Any: ...


def write_descent(descent: Saved, path: str | Path) -> Path:
    """Write `descent` to `path`, whole or not at all."""
    found = {name: getattr(descent, name) for name in ARRAYS} | {"damping": astuple(descent.damping)}
    arrays = {name: np.asarray(values, dtype=float) for name, values in found.items()}
    if descent.direction is not None:
        arrays["direction"] = np.asarray(descent.direction, dtype=float)
    facts = {name: getattr(descent, name) for name in FACTS}
    return FILE.write(path, arrays, facts | {"options": asdict(descent.options)})


def read_descent(path: str | Path) -> dict[str, Any]:
    """Read the fields of a descent, or say why the file is none."""
    arrays, facts = FILE.read(path, _check)
    return {"direction": None, **arrays, **{name: facts[name] for name in FACTS}}


def _check(path: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    sizes = {name: array.shape for name, array in arrays.items() if name in ("last", "best", "direction")}
    vectors = all(array.ndim == 1 and array.dtype == float for array in arrays.values())
    complete = set(arrays) - {"direction"} == set(ARRAYS) and arrays["damping"].size == len(fields(Damping))
    if not complete or not vectors or len(set(sizes.values())) != 1:
        raise InputError(f"{path} holds no descent of this version: its arrays are not those of one")
    if set(facts["options"]) != {field.name for field in fields(Options)}:
        raise InputError(f"{path} holds no descent of this version: its options are not those of one")
