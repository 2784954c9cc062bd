"""Where the nodes of a path lie: by arc length, turning, action, and closer where a leg starts and ends.

At a critical point the drift vanishes and the path has the smoothness of a power of the arc length; nodes at
`s ~ k^2.5` near the ends of a leg keep the order of the elements there.
"""

from __future__ import annotations

import itertools

import numpy as np

from actionopt.paths.mesh import Path, elements

FINE = 16  # samples an element, of the piecewise quadratic curve
GRADING = 0.6  # nodes have the density s^-0.6 near the ends of a leg
FEWEST = 4  # elements of a leg
ACTION_SHARE = 0.5  # weight of a leg's action beside its length: more starves the legs along the flow


def sample(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points on the curve, `FINE` an element and the last node, and the element of each."""
    s = np.arange(FINE) / FINE
    values = np.stack([(1 - s) * (1 - 2 * s), 4 * s * (1 - s), s * (2 * s - 1)], axis=1)
    curve = (values @ elements(points)).reshape(-1, points.shape[1])
    return np.concatenate([curve, points[-1:]]), np.repeat(np.arange(len(points) // 2), FINE)


def share(path: Path, cuts: np.ndarray, count: int) -> np.ndarray:
    """Give each leg between the nodes `cuts` its number of elements, `count` in all.

    A leg counts by its share of the length and of the action.
    """
    legs = len(cuts) - 1
    lengths = np.array([path.lengths[a:b].sum() for a, b in itertools.pairwise(cuts)])
    actions = np.array([path.actions[a:b].clip(0.0).sum() for a, b in itertools.pairwise(cuts)])
    weight = lengths / lengths.sum() + ACTION_SHARE * actions / max(actions.sum(), 1e-9 * path.gross)
    few = min(FEWEST, max(1, count // legs))
    numbers = np.maximum(few, np.floor(count * weight / weight.sum()).astype(int))
    while numbers.sum() != count:
        step = 1 if numbers.sum() < count else -1
        excess = count * weight / weight.sum() - numbers
        allowed = numbers > few if step < 0 else np.ones(legs, dtype=bool)
        if not allowed.any():
            break
        numbers[np.argmax(np.where(allowed, step * excess, -np.inf))] += step
    return numbers


def redistribute(path: Path, cuts: np.ndarray, count: int, plain: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Lay `count` elements anew along a path.

    Parameters
    ----------
    path : Path
    cuts : array (legs + 1,) of int
        The nodes (numbered by element) where legs meet, the ends of the path included; they stay nodes.
    count : int
    plain : bool
        By arc length alone: a fold shorter than an element is then stepped over.

    Returns
    -------
    points : array (2 count + 1, n)
    cuts : array (legs + 1,)
        Where the legs meet now.
    """
    numbers = share(path, cuts, count)
    curve, _ = sample(path.points)
    pieces = []
    for (first, last), number in zip(itertools.pairwise(cuts), numbers, strict=True):
        leg = curve[first * FINE : last * FINE + 1]
        action = np.repeat(path.actions[first:last].clip(0.0) / FINE, FINE)
        pieces.append(_leg(leg, action, int(number), plain))
    points = np.concatenate([pieces[0], *[piece[1:] for piece in pieces[1:]]])
    return points, np.concatenate([[0], np.cumsum(numbers)])


def _leg(curve: np.ndarray, action: np.ndarray, count: int, plain: bool) -> np.ndarray:
    """Return `2 count + 1` points along one leg, its ends kept."""
    steps = np.diff(curve, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    arc = np.concatenate([[0.0], np.cumsum(lengths)])
    total = arc[-1]
    if not total > 0:
        return np.linspace(curve[0], curve[-1], 2 * count + 1)
    graded = 1 - GRADING
    ends = (arc[1:] ** graded - arc[:-1] ** graded) + ((total - arc[:-1]) ** graded - (total - arc[1:]) ** graded)
    unit = steps / np.maximum(lengths, 1e-300)[:, None]
    turning = np.linalg.norm(np.diff(unit, axis=0, prepend=unit[:1]), axis=1)
    turning = np.convolve(np.pad(turning, FINE // 2, mode="edge"), np.ones(FINE + 1) / (FINE + 1), "valid")
    monitor = lengths / total + ends / ends.sum()
    # a full turn of the direction counts as much as the whole length
    monitor += turning / (2 * np.pi)
    if action.sum() > 0:
        monitor += action / action.sum()
    place = np.concatenate([[0.0], np.cumsum(lengths if plain else monitor)])
    nodes = np.interp(np.linspace(0.0, place[-1], count + 1), place, arc)
    return along(curve, arc, [*np.stack([nodes[:-1], 0.5 * (nodes[:-1] + nodes[1:])], axis=1).ravel().tolist(), total])


def along(curve: np.ndarray, arc: np.ndarray, places: object) -> np.ndarray:
    """Points at arc lengths `places` of a curve sampled at `arc`."""
    return np.stack([np.interp(np.asarray(places, dtype=float), arc, column) for column in curve.T], axis=-1)


def polyline(curve: np.ndarray, count: int) -> np.ndarray:
    """Lay `count` elements of equal length along a polyline `(k, n)`: `(2 count + 1, n)`."""
    lengths = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    arc = np.concatenate([[0.0], np.cumsum(lengths)])
    return along(curve, arc, np.linspace(0.0, arc[-1], 2 * count + 1))


def smoothed(points: np.ndarray, fixed: np.ndarray, passes: int = 4) -> np.ndarray:
    """Average each point with its neighbours, those numbered in `fixed` kept."""
    out = points.copy()
    for _ in range(passes):
        mean = out.copy()
        mean[1:-1] = 0.25 * out[:-2] + 0.5 * out[1:-1] + 0.25 * out[2:]
        mean[fixed] = points[fixed]
        out = mean
    return out
