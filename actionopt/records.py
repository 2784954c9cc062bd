"""What a result notes beside its arrays, taken apart for a file: what JSON knows, and arrays of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from actionopt.errors import InputError
from actionopt.plain import plain

STATS = "stats/"  # arrays in the stats, such as multipliers, are arrays of the archive: stats/multipliers/end


def taken_apart(stats: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Split stats into what JSON can hold and arrays of numbers, by their path; infinite numbers and NaN are arrays."""
    kept: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for key, value in stats.items():
        odd = isinstance(value, float) and not np.isfinite(value)
        if odd or (isinstance(value, np.ndarray) and value.dtype.kind in "fiub"):
            arrays[f"{STATS}{key}"] = np.asarray(value)
        elif isinstance(value, dict):
            kept[str(key)], inner = taken_apart(value)
            arrays |= {f"{STATS}{key}/{name.removeprefix(STATS)}": array for name, array in inner.items()}
        else:
            kept[str(key)] = plain(value)
    return kept, arrays


def put_together(path: Path, stats: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Put the arrays back where `taken_apart` found them.

    Raises
    ------
    InputError
        If one has no place.
    """
    for name, array in arrays.items():
        *steps, key = name.removeprefix(STATS).split("/")
        place = stats
        for step in steps:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise InputError(f"{path}: its array {name} has no place in the stats")
        place[key] = array if array.ndim else array.item()
    return stats


def numbered(name: str, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return a list of arrays as members `name/0`, `name/1`, ... of an archive."""
    return {f"{name}/{k}": np.asarray(array, dtype=float) for k, array in enumerate(arrays)}


def listed(name: str, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the list that `numbered` made members of."""
    count = sum(member.startswith(f"{name}/") for member in arrays)
    return [arrays[f"{name}/{k}"] for k in range(count)]
