"""Descents on disk: one `.npz` of plain arrays with JSON metadata, written whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.errors import InputError
from actionopt.files import replacing

if TYPE_CHECKING:
    from actionopt.descent.result import Descent

SCHEMA, VERSION = "actionopt.descent", 1
ARRAYS = ("last", "best", "energy", "validation", "step_sizes")
FACTS = ("steps", "skipped", "success", "status", "message", "name", "samples")


def write_descent(descent: Descent, path: str | Path) -> Path:
    """Write `descent` to `path`, whole or not at all."""
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"a descent is saved as .npz, got the name {str(path)!r}")
    members: dict[str, Any] = {name: getattr(descent, name) for name in ARRAYS}
    if descent.direction is not None:
        members["direction"] = descent.direction
    facts = {name: getattr(descent, name) for name in FACTS}
    facts |= {"schema": SCHEMA, "version": VERSION, "options": asdict(descent.options)}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **members, metadata=np.array(json.dumps(facts)))
    return path


def read_descent(path: str | Path) -> dict[str, Any]:
    """Read the fields of a descent, or say why the file is none."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no file {path}")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            members = {name: archive[name] for name in archive.files}
        facts = json.loads(str(members.pop("metadata")))
        if (facts.pop("schema"), facts.pop("version")) != (SCHEMA, VERSION):
            raise ValueError("another schema or version")
        arrays = {name: members[name] for name in ARRAYS}
        return {**arrays, "direction": members.get("direction"), **{k: facts[k] for k in (*FACTS, "options")}}
    except Exception as error:  # zip, zlib, NumPy's headers, JSON: each has types of its own
        raise InputError(f"{path} holds no descent of this version: {error}") from error
