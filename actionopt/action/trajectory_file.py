"""Trajectories on disk: one `.npz` of plain arrays with JSON metadata, written whole, checked on reading."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from actionopt.action.scheme import SCHEMES, make_scheme
from actionopt.action.trajectory_data import TrajectoryData
from actionopt.errors import InputError
from actionopt.files import replacing
from actionopt.plain import plain

SCHEMA, VERSION = "actionopt.trajectory", 1
METADATA = "metadata"
STATS = "stats/"  # arrays in the stats, such as multipliers, are arrays of the archive: stats/multipliers/end
NEEDED = ("times", "points", "momenta", "action_density", "node_momenta")
OPTIONAL = ("energy", "kinetic_density", "potential_density", "distance", "step_certificates", "flow_times")
DESCRIBED = {"name": str, "scheme": str, "success": bool, "status": str, "message": str, "stats": dict}


def write_trajectory(trajectory: TrajectoryData, path: str | Path) -> Path:
    """Write `trajectory` to `path`, whole or not at all."""
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"a trajectory is saved as .npz, got the name {str(path)!r}")
    arrays = {name: getattr(trajectory, name) for name in (*NEEDED, *OPTIONAL)}
    arrays = {name: np.ascontiguousarray(a, dtype=float) for name, a in arrays.items() if a is not None}
    described = {name: getattr(trajectory, name) for name in DESCRIBED}
    described["stats"], extra = _taken_apart(trajectory.stats)
    arrays |= extra
    metadata = {"schema": SCHEMA, "version": VERSION, **described}
    metadata["checksum"] = _checksum(arrays, metadata)
    with replacing(path) as temporary:
        members: dict[str, Any] = {**arrays, METADATA: np.array(json.dumps(metadata))}
        np.savez_compressed(temporary, **members)
    return path


def read_trajectory(path: str | Path) -> dict[str, Any]:
    """Read the fields of a trajectory, or say why the file is none."""
    path = Path(path)
    arrays = _read_arrays(path)
    metadata = _metadata(path, arrays.pop(METADATA, None))
    unknown = {name for name in arrays if not name.startswith(STATS)} - {*NEEDED, *OPTIONAL}
    missing = set(NEEDED) - set(arrays)
    if missing or unknown:
        what = f"lacks {sorted(missing)}" if missing else f"holds unknown arrays {sorted(unknown)}"
        raise InputError(f"{path} {what}: no trajectory of this version")
    _check_shapes(path, arrays, metadata["scheme"])
    if metadata.pop("checksum") != _checksum(arrays, metadata):
        raise InputError(f"{path} was changed after it was written (its checksum does not match): compute it again")
    extra = {name: arrays.pop(name) for name in list(arrays) if name.startswith(STATS)}
    stats = _put_together(metadata["stats"], extra)
    return {**{name: metadata[name] for name in DESCRIBED}, "stats": stats, **arrays}


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise InputError(f"no trajectory file {path}")
    try:
        # opened here, as numpy leaves the file open where it finds no archive in it
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            with archive:
                members = {name: archive[name] for name in archive.files}
        if not all(isinstance(member, np.ndarray) for member in members.values()):
            raise ValueError("a member is no array")
        return members
    except Exception as error:  # zip, zlib, NumPy's headers and the tokenizer below them: each has types of its own
        raise InputError(f"{path} is truncated or no .npz archive: {error}") from error


def _metadata(path: Path, stored: np.ndarray | None) -> dict[str, Any]:
    foreign = f"{path} was not written by Trajectory.save"
    if stored is None or stored.dtype.kind != "U" or stored.ndim:
        raise InputError(f"{foreign}: it has no {METADATA}")
    try:
        metadata = json.loads(str(stored))
    except ValueError as error:
        raise InputError(f"{foreign}: its {METADATA} is no JSON ({error})") from error
    if not isinstance(metadata, dict) or metadata.get("schema") != SCHEMA:
        raise InputError(f"{foreign}: its schema is not {SCHEMA!r}")
    if metadata.get("version") != VERSION:
        raise InputError(f"{path} has version {metadata.get('version')!r} of {SCHEMA}, this program reads {VERSION}")
    for name, kind in {**DESCRIBED, "checksum": str}.items():
        if not isinstance(metadata.get(name), kind):
            raise InputError(f"{path}: {METADATA} must hold {name} as {kind.__name__}, got {metadata.get(name)!r}")
    if metadata["scheme"] not in SCHEMES:
        raise InputError(f"{path}: unknown scheme {metadata['scheme']!r}, known are {', '.join(sorted(SCHEMES))}")
    return metadata


def _check_shapes(path: Path, arrays: dict[str, np.ndarray], scheme_name: str) -> None:
    times, points = arrays["times"], arrays["points"]
    rising = times.dtype == float and times.ndim == 1 and len(times) > 0 and (np.diff(times) > 0).all()
    if not rising or points.ndim != 2:
        raise InputError(
            f"{path}: times must increase and points be a matrix, got shapes {times.shape}, {points.shape}"
        )
    scheme = make_scheme(scheme_name, times)
    n, stages = points.shape[1], (len(scheme.stages),)
    expected = {
        "times": times.shape,
        "points": (len(scheme.points), n),
        "momenta": (*stages, n),
        "node_momenta": (len(times), n),
        "energy": (len(times),),
        "distance": (len(times),),
        "step_certificates": (len(times) - 1,),
        "flow_times": (len(times),),
    }
    for name, array in arrays.items():
        if name.startswith(STATS):
            continue
        shape = expected.get(name, stages)
        if array.shape != shape or array.dtype != float:
            raise InputError(f"{path}: {name} must be float64 {shape}, got {array.dtype} {array.shape}")


def _checksum(arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> str:
    """SHA-256 of the arrays, by name, and of the metadata without its checksum."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name].astype(arrays[name].dtype.newbyteorder("<"))
        digest.update(f"{name}{array.shape}{array.dtype.str}".encode())
        digest.update(array.tobytes())
    described = {key: value for key, value in metadata.items() if key != "checksum"}
    digest.update(json.dumps(described, sort_keys=True).encode())
    return digest.hexdigest()


def _taken_apart(stats: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Split stats into what JSON can hold and arrays of numbers, by their path."""
    kept: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for key, value in stats.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            arrays[f"{STATS}{key}"] = value
        elif isinstance(value, dict):
            kept[str(key)], inner = _taken_apart(value)
            arrays |= {f"{STATS}{key}/{name.removeprefix(STATS)}": array for name, array in inner.items()}
        else:
            kept[str(key)] = plain(value)
    return kept, arrays


def _put_together(stats: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Put the arrays back where `_taken_apart` found them."""
    for name, array in arrays.items():
        *path, key = name.removeprefix(STATS).split("/")
        place = stats
        for step in path:
            place = place.setdefault(step, {})
        place[key] = array
    return stats
