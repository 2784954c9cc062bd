"""The second variation of the action across a path: its lowest eigenvalue tells minima from saddles."""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded, eig_banded
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from actionopt.paths.mesh import Hyperplanes, Path

DENSE = 4_000_000  # unknowns squared times bandwidth up to which the banded eigenvalue solver is the quicker one
LOWEST_SHIFT, GROWTH = 1e-7, 8.0


def lowest(path: Path, planes: Hyperplanes) -> tuple[float, np.ndarray]:
    """Return the lowest eigenvalue of the second variation and its displacement `(len(free), n-1)`.

    The eigenvalue is that of `delta^2 S = lambda int |u|^2 ds`, u across the path, s its arc length in the metric;
    infinite where nothing can move.
    """
    if planes.width == 0 or len(planes.free) == 0:
        return np.inf, np.zeros((len(planes.free), planes.width))
    band = planes.assemble(path)
    root = np.sqrt(np.repeat(_arc_weights(path)[planes.free], planes.width))
    scaled = _scaled(band, root)
    k, size = scaled.shape
    if size * size * k <= DENSE:
        values, vectors = eig_banded(scaled, lower=True, select="i", select_range=(0, 0))
        value, vector = float(values[0]), vectors[:, 0]
    else:
        value, vector = _inverted(scaled)
    return value, (vector / root).reshape(len(planes.free), planes.width)


def _arc_weights(path: Path) -> np.ndarray:
    """Simpson's weights of the points, `(2N+1,)`; they sum to the length."""
    weights = np.zeros(len(path.points))
    weights[:-2:2] += path.lengths / 6
    weights[1::2] += path.lengths * 4 / 6
    weights[2::2] += path.lengths / 6
    return np.maximum(weights, 1e-9 * path.length / len(weights))


def _scaled(band: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Divide rows and columns of a lower band by `root`."""
    out = band / root
    for offset in range(band.shape[0]):
        out[offset, : band.shape[1] - offset] /= root[offset:]
    return out


def _inverted(band: np.ndarray) -> tuple[float, np.ndarray]:
    """Lanczos on the inverse about a shift below the spectrum, which a Cholesky factor certifies."""
    size, scale = band.shape[1], float(np.abs(band[0]).mean())
    shift = 0.0  # the nearer to the lowest eigenvalue, the quicker
    while True:
        shifted = band.copy()
        shifted[0] += shift
        try:
            factor = cholesky_banded(shifted, lower=True, check_finite=False)
            break
        except LinAlgError:
            shift = max(LOWEST_SHIFT * scale, GROWTH * shift)
    inverse = LinearOperator(
        (size, size), matvec=lambda x: cho_solve_banded((factor, True), x, check_finite=False), dtype=float
    )
    first = np.random.default_rng(0).standard_normal(size)
    try:
        values, vectors = eigsh(inverse, k=1, which="LA", v0=first, tol=1e-6)
    except ArpackError:  # its best vector all the same: an upper bound of the lowest eigenvalue
        values, vectors = eigsh(inverse, k=1, which="LA", v0=first, tol=1e-3, maxiter=10 * size)
    return float(1.0 / values[0] - shift), vectors[:, 0]
