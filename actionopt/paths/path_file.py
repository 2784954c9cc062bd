"""Least-action paths on disk: one `.npz` of plain arrays with JSON metadata, written whole, checked on reading."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actionopt.errors import InputError
from actionopt.files import replacing
from actionopt.plain import plain

if TYPE_CHECKING:
    from actionopt.paths.result import GeometricPath

SCHEMA, VERSION = "actionopt.path", 1
METADATA = "metadata"
ARRAYS = ("points", "arc", "speed", "accumulated")
DESCRIBED = ("name", "action", "action_error", "lowest_eigenvalue", "success", "status", "message", "stats")
INFINITE = "infinite"  # JSON has no infinity


def write_path(found: GeometricPath, path: str | Path) -> Path:
    """Write a path, whole or not at all."""
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"a path is saved as .npz, got the name {str(path)!r}")
    arrays = {name: np.ascontiguousarray(getattr(found, name), dtype=float) for name in ARRAYS}
    if found.energy is not None:
        arrays["energy"] = np.ascontiguousarray(found.energy, dtype=float)
    arrays |= {f"candidate/{i}": np.ascontiguousarray(c.points, dtype=float) for i, c in enumerate(found.candidates)}
    metadata: dict[str, Any] = {"schema": SCHEMA, "version": VERSION}
    metadata |= {name: _finite(getattr(found, name)) for name in DESCRIBED}
    metadata["critical_points"] = [
        {"index": p.index, "unstable": p.unstable, "point": p.point.tolist()} for p in found.critical_points
    ]
    metadata["candidates"] = [
        {"name": c.name, "action": c.action, "elements": c.elements, "converged": c.converged} for c in found.candidates
    ]
    metadata["checksum"] = _checksum(arrays, metadata)
    with replacing(path) as temporary:
        members: dict[str, Any] = {**arrays, METADATA: np.array(json.dumps(metadata))}
        np.savez_compressed(temporary, **members)
    return path


def read_path(path: str | Path) -> dict[str, Any]:
    """Read the fields of a path, or say why the file is none."""
    path = Path(path)
    arrays, metadata = _read(path)
    if metadata.pop("checksum", None) != _checksum(arrays, metadata):
        raise InputError(f"{path} was changed after it was written (its checksum does not match): compute it again")
    fields = {name: arrays[name] for name in ARRAYS} | {name: _infinite(metadata[name]) for name in DESCRIBED}
    fields["energy"] = arrays.get("energy")
    fields["critical_points"] = [{**p, "point": np.array(p["point"])} for p in metadata["critical_points"]]
    fields["candidates"] = [{**c, "points": arrays[f"candidate/{i}"]} for i, c in enumerate(metadata["candidates"])]
    return fields


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"no path file {path}")
    try:
        # opened here, as numpy leaves the file open where it finds no archive in it
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            with archive:
                arrays = {name: archive[name] for name in archive.files}
        metadata = json.loads(str(arrays.pop(METADATA, None)))
    except Exception as error:  # zip, zlib, NumPy's headers and JSON: each has types of its own
        raise InputError(f"{path} is truncated or was not written by GeometricPath.save: {error}") from error
    if not isinstance(metadata, dict) or metadata.get("schema") != SCHEMA:
        raise InputError(f"{path} was not written by GeometricPath.save: its schema is not {SCHEMA!r}")
    if metadata.get("version") != VERSION:
        raise InputError(f"{path} has version {metadata.get('version')!r} of {SCHEMA}, this program reads {VERSION}")
    return arrays, metadata


def _finite(value: Any) -> Any:
    return INFINITE if isinstance(value, float) and value == np.inf else plain(value)


def _infinite(value: Any) -> Any:
    return np.inf if value == INFINITE else value


def _checksum(arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> str:
    """SHA-256 of the arrays, by name, and of the metadata without its checksum."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name], dtype="<f8").tobytes())
    described = {key: value for key, value in metadata.items() if key != "checksum"}
    digest.update(json.dumps(described, sort_keys=True).encode())
    return digest.hexdigest()
