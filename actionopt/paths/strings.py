"""Guesses in many dimensions: strings that the flow pulls into the valleys, from random arcs.

Each image moves with the drift by a linearly implicit Euler step, so that stiff systems take steps of their slow time
scale, and the images are spread evenly again (E, Ren, Vanden-Eijnden, 2007). A string comes to rest along the flow from
saddles to attractors: the path of least action of a gradient flow, and a guess for others.
"""

from __future__ import annotations

import numpy as np

from actionopt.paths.system import System

IMAGES, STEPS = 20, 120
GROWTH = 1.2  # of the step in time, until the fastest growth of the flow limits it
BEND = 0.5  # size of an arc, relative to the distance of the ends


def random_arcs(start: np.ndarray, end: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return curves `(count, IMAGES, n)` from start to end, bent by random half-waves; the first is straight."""
    rng = np.random.default_rng(seed)
    s = np.linspace(0.0, 1.0, IMAGES)
    waves = np.stack([np.sin(np.pi * k * s) / k for k in (1, 2)])
    size = float(np.linalg.norm(end - start))
    bends = rng.standard_normal((count, 2, len(start))) * BEND * size / np.sqrt(len(start)) * 1.5
    bends[0] = 0.0
    return start + (end - start) * s[:, None] + np.einsum("cki,ks->csi", bends, waves)


def relax(system: System, curves: np.ndarray) -> np.ndarray:
    """Move strings `(count, images, n)` with the drift, their ends fixed; NaN where the drift is not finite."""
    n = system.size
    step, limit = 0.0, np.inf
    for _ in range(STEPS):
        inner = curves[:, 1:-1].reshape(-1, n)
        drift, slopes = system.drift(inner), system.jacobian(inner)
        bad = ~(np.isfinite(drift).all(axis=1) & np.isfinite(slopes).all(axis=(1, 2)))
        drift[bad], slopes[bad] = np.nan, 0.0
        if step == 0.0:
            growth = np.linalg.eigvalsh(0.5 * (slopes + slopes.swapaxes(1, 2)))[:, -1].max()
            step = 0.5 / max(float(np.median(np.linalg.norm(slopes, axis=(1, 2)))), np.finfo(float).tiny)
            limit = max(0.5 / growth, step) if growth > 0 else np.inf  # 1 - step * growth stays positive
        moved = np.linalg.solve(np.eye(n) - step * slopes, step * drift[..., None])[..., 0]
        longest = 0.1 * np.linalg.norm(curves[:, -1] - curves[:, 0], axis=-1).max()
        size = np.linalg.norm(moved, axis=1, keepdims=True)
        moved *= np.minimum(1.0, longest / np.maximum(size, np.finfo(float).tiny))
        curves[:, 1:-1] += moved.reshape(len(curves), -1, n)
        curves = _spread(curves)
        step = min(GROWTH * step, limit)
    return curves


def _spread(curves: np.ndarray) -> np.ndarray:
    out = curves.copy()
    for curve, new in zip(curves, out, strict=True):
        if np.isfinite(curve).all():
            arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
            at = np.linspace(0.0, arc[-1], len(curve))
            for j in range(curve.shape[1]):
                new[:, j] = np.interp(at, arc, curve[:, j])
    return out
