"""Trajectories on disk: what a file of one must hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from actionopt.action.scheme import SCHEMES, make_scheme
from actionopt.action.trajectory_data import TrajectoryData
from actionopt.archive import ResultFile
from actionopt.errors import InputError
from actionopt.records import STATS, put_together, taken_apart

NEEDED = ("times", "points", "momenta", "action_density", "node_momenta")
OPTIONAL = ("energy", "kinetic_density", "potential_density", "distance", "step_certificates", "flow_times")
DESCRIBED = {"name": str, "scheme": str, "success": bool, "status": str, "message": str, "stats": dict}
FILE = ResultFile("actionopt.trajectory", 1, "trajectory", "Trajectory.save", DESCRIBED)


def write_trajectory(trajectory: TrajectoryData, path: str | Path) -> Path:
    """Write `trajectory` to `path`, whole or not at all."""
    arrays = {name: getattr(trajectory, name) for name in (*NEEDED, *OPTIONAL)}
    arrays = {name: np.ascontiguousarray(a, dtype=float) for name, a in arrays.items() if a is not None}
    described = {name: getattr(trajectory, name) for name in DESCRIBED}
    described["stats"], extra = taken_apart(trajectory.stats)
    return FILE.write(path, arrays | extra, described)


def read_trajectory(path: str | Path) -> dict[str, Any]:
    """Read the fields of a trajectory, or say why the file is none."""
    path = Path(path)
    arrays, metadata = FILE.read(path, _check)
    extra = {name: arrays.pop(name) for name in list(arrays) if name.startswith(STATS)}
    stats = put_together(path, metadata["stats"], extra)
    return {**{name: metadata[name] for name in DESCRIBED}, "stats": stats, **arrays}


def _check(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    if metadata["scheme"] not in SCHEMES:
        raise InputError(f"{path}: unknown scheme {metadata['scheme']!r}, known are {', '.join(sorted(SCHEMES))}")
    unknown = {name for name in arrays if not name.startswith(STATS)} - {*NEEDED, *OPTIONAL}
    missing = set(NEEDED) - set(arrays)
    if missing or unknown:
        what = f"lacks {sorted(missing)}" if missing else f"holds unknown arrays {sorted(unknown)}"
        raise InputError(f"{path} {what}: no trajectory of this version")
    _check_shapes(path, arrays, metadata["scheme"])
    if "flow_times" in arrays and not _rising(arrays["flow_times"]):
        raise InputError(f"{path}: flow_times must increase")


def _rising(times: np.ndarray) -> bool:
    if times.dtype != float or times.ndim != 1 or not len(times):
        return False
    return bool(np.isfinite(times).all() and (np.diff(times) > 0).all())


def _check_shapes(path: Path, arrays: dict[str, np.ndarray], scheme_name: str) -> None:
    times, points = arrays["times"], arrays["points"]
    if not _rising(times) or points.ndim != 2:
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
