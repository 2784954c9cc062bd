"""A block solved through the singular values of its rows: what double precision can do where a mass is tiny.

In scaled coordinates, with `K = U diag(s) V^T` and `f = 1/(1 + s^2)`:

    (I + K^T K)^{-1} c = (c - V V^T c) + V diag(f) V^T c

Nothing here grows with the condition number but the rounding of c itself, which no solver can undo.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import svd

from actionopt.metric.block import Block

NUMBERS = 3e7  # entries of K beyond which it is not multiplied out
ROUNDING = 4.0 * np.finfo(float).eps  # of a singular value decomposition, relative to the largest


def solve_singular(block: Block, c: np.ndarray) -> tuple[np.ndarray, float]:
    """Solve `(I + K^T K) x = c` for `c (size,)`; also return an estimate of the relative error of x.

    Notes
    -----
    The decomposition is exact for rows that differ from K by about `e = ROUNDING sqrt(size) s_1`. A change of K mixes
    the directions i and j, weights `f_i` and `f_j`, by the divided difference
    `|f_i - f_j| / |s_i - s_j| = (s_i + s_j) f_i f_j` times e (Daleckii-Krein); what the rows do not see has s = 0.
    The projection onto it rounds by `ROUNDING |c|`.
    """
    _, s, rows = svd(block.matrix(), full_matrices=False, check_finite=False)
    along = rows @ c
    f = 1.0 / (1.0 + s * s)
    x = rows.T @ (f * along)
    others, rounded = s, 0.0
    if block.size > len(s):
        unseen = c - rows.T @ along
        x = x + unseen - rows.T @ (rows @ unseen)
        others, rounded = np.append(s, 0.0), ROUNDING * float(np.linalg.norm(c))
    mixing = (others[:, None] + s) / (1.0 + others[:, None] ** 2) * f
    moved = ROUNDING * np.sqrt(block.size) * s.max(initial=0.0) * float(np.linalg.norm(mixing * along)) + rounded
    size = float(np.linalg.norm(x))
    return x, 0.0 if moved == 0.0 else (float(moved) / size if size > 0.0 else np.inf)
