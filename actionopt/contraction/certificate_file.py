"""Certificates of contraction on disk: what a file of one holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from actionopt.archive import ResultFile
from actionopt.contraction.compose import ComposedRate
from actionopt.errors import InputError

DESCRIBED = {"labels": list, "metric": str, "radius": (int, float, type(None))}
FILE = ResultFile("actionopt.certificate", 1, "certificate", "Certificate.save", DESCRIBED)
ARRAYS = ("times", "rates", "gains", "couplings", "composed", "whole")


def write_certificate(found: Any, path: str | Path) -> Path:
    """Write a `Certificate`, whole or not at all."""
    arrays = {name: np.asarray(getattr(found, name), dtype=float) for name in ARRAYS}
    arrays |= {"uniform": np.asarray(float(found.uniform)), "scaling": found.uniform.scaling}
    radius = None if found.radius is None else float(found.radius)
    return FILE.write(path, arrays, {"labels": list(found.labels), "metric": found.metric, "radius": radius})


def read_certificate(path: str | Path) -> dict[str, Any]:
    """Read the fields of a certificate, or say why the file is none."""
    arrays, said = FILE.read(path, _check)
    uniform = ComposedRate(arrays["uniform"].item(), arrays["scaling"])
    words = {"labels": tuple(map(str, said["labels"])), "metric": said["metric"], "radius": said["radius"]}
    return {**{name: arrays[name] for name in ARRAYS}, **words, "uniform": uniform}


def _check(path: Path, arrays: dict[str, np.ndarray], said: dict[str, Any]) -> None:
    nodes, k = len(arrays.get("times", ())), len(said["labels"])
    shapes = dict(zip(ARRAYS, ((nodes,), (nodes, k), (nodes, k, k), (nodes, k, k), (nodes,), (nodes,)), strict=True))
    shapes |= {"uniform": (), "scaling": (k,)}
    found = {name: array.shape for name, array in arrays.items()}
    if found != shapes or any(array.dtype != float for array in arrays.values()):
        raise InputError(f"{path} holds no certificate of this version: its arrays are not those of one")
