"""A guess in the plane: the cheapest way over a grid, each edge at its geometric action."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from actionopt.paths.geometric import action_density, norms
from actionopt.paths.system import System

GRID = 51
TIE = 1e-4  # of |d||b| added to every edge: among ways of equal action the shorter
STEPS = [(i, j) for i in range(-3, 4) for j in range(-3, 4) if np.gcd(i, j) == 1]
SMOOTHINGS = 3


def cheapest_ways(
    system: System, start: np.ndarray, ends: np.ndarray, low: np.ndarray, high: np.ndarray
) -> list[np.ndarray | None]:
    """Return polylines `(k, 2)` of least action from start to each of the ends `(m, 2)`, over a grid of `[low, high]`.

    None where no way leads there.
    """
    axes = [np.linspace(low[i], high[i], GRID) for i in range(2)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    first = int(np.linalg.norm(places - start, axis=1).argmin())
    places[first] = start
    rows, columns = _edges()
    d = places[columns] - places[rows]
    middle = 0.5 * (places[columns] + places[rows])
    with np.errstate(all="ignore"):
        length, speed = norms(system, middle, d)
        cost = action_density(system, middle, d) + TIE * length * speed
    finite = np.isfinite(cost)
    between = rows[finite].astype(np.int32), columns[finite].astype(np.int32)  # what SciPy's graphs take before 1.15
    graph = csr_array((np.maximum(cost[finite], 1e-300), between), shape=(len(places), len(places)))
    distance, before = dijkstra(graph, indices=first, return_predecessors=True)
    return [_way(places, distance, before, first, end) for end in ends]


def _way(
    places: np.ndarray, distance: np.ndarray, before: np.ndarray, first: int, end: np.ndarray
) -> np.ndarray | None:
    last = int(np.linalg.norm(places - end, axis=1).argmin())
    if first == last or not np.isfinite(distance[last]):
        return None
    way = [last]
    while way[-1] != first:
        way.append(int(before[way[-1]]))
    curve = places[way[::-1]].copy()
    curve[-1] = end
    return _smoothed(curve)


def _edges() -> tuple[np.ndarray, np.ndarray]:
    index = np.arange(GRID * GRID).reshape(GRID, GRID)
    rows, columns = [], []
    for i, j in STEPS:
        here = index[max(0, -i) : GRID - max(0, i), max(0, -j) : GRID - max(0, j)]
        rows.append(here.ravel())
        columns.append((here + i * GRID + j).ravel())
    return np.concatenate(rows), np.concatenate(columns)


def _smoothed(way: np.ndarray) -> np.ndarray:
    """Round the corners that the grid makes."""
    lengths = np.linalg.norm(np.diff(way, axis=0), axis=1)
    arc = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.linspace(0.0, arc[-1], 4 * len(way))
    curve = np.stack([np.interp(at, arc, column) for column in way.T], axis=-1)
    for _ in range(8 * SMOOTHINGS):
        curve[1:-1] = 0.25 * curve[:-2] + 0.5 * curve[1:-1] + 0.25 * curve[2:]
    return curve
