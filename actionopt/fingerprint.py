"""A digest of what a problem file built, so that changed data repeat the stages that used the old."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from actionopt.action.lagrangian import Lagrangian
from actionopt.ops import NUMPY
from actionopt.problem import Problem

LIBRARIES = ("numpy", "scipy", "casadi", "actionopt")
PROBES = 3  # points at which a formula is evaluated


def fingerprint(what: Problem | Lagrangian) -> str:
    """Digest a system by its data and by values of its formulas, wherever the file read or imported them from.

    Not the file's text but what came of it, so that data files and neighbouring modules count.
    """
    digest = hashlib.sha256()
    for part in (*_described(what), *_evaluated(what)):
        array = (
            np.asarray(part, dtype=float)
            if not isinstance(part, str)
            else np.frombuffer(part.encode(errors="surrogatepass"), np.uint8)
        )
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@cache
def libraries() -> dict[str, str]:
    """Return the versions of what results depend on."""
    return {name: _version(name) for name in LIBRARIES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _described(what: Problem | Lagrangian) -> list[Any]:
    if isinstance(what, Problem):
        network = what.network
        labels = [f"{place.label} {place.of} {place.module!r}" for place in network.nodes]
        costs = [f"{term.node} {term.loss.name} {term.weight!r}" for term in network.costs]
        metric = what.output_metric if isinstance(what.output_metric, str | None) else "callable"
        words = [what.name, f"{metric}", *labels, *costs]
        return [*words, what.mass, what.weight_decay, *network.data, *network.targets]
    bounds = [np.broadcast_to(np.asarray(bound, dtype=float), what.size) for bound in what.bounds or ()]
    return [type(what).__name__, what.name, what.size, *bounds]


def _evaluated(what: Problem | Lagrangian) -> list[Any]:
    if isinstance(what, Problem):
        points = [what.initial_weights(seed) for seed in range(PROBES)]
        with np.errstate(all="ignore"):
            return [part for w in points for part in (w, what.energy(w), what.gradient(w))]
    points = list(np.random.default_rng(0).standard_normal((PROBES, 2, what.size)))
    with np.errstate(all="ignore"):
        return [part for w, v in points for part in _formulas(what, w, v) if part is not None]


def _formulas(what: Lagrangian, w: np.ndarray, v: np.ndarray) -> tuple[Any, ...]:
    constraint = None if what.constraint is None else what.constraint(NUMPY, w, v)
    return what.value(NUMPY, w, v), what.energy(w), constraint
