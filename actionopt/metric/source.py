"""The gradient as one more row: a right-hand side that is never multiplied out.

Pulled back beside the m rows of the output metric's factor, the slope of the loss gives a row `t` of every sample with
`g = K_t^T 1`; then, in scaled coordinates, `c~ = K_t^T 1 + v` with v from momentum and weight decay, and the dual form
needs only products over samples:

    b = K c~ = K K_t^T 1 + K v,    x~ = c~ - K^T y = [K; K_t]^T [-y; 1] + v

Its solution tells what a step needs besides: `K x~ = b - K K^T y`, the change of the outputs along x, and `g . x`.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from actionopt.metric.block import Block


class Along(NamedTuple):
    """A solution `x (size,)` of a block, and what it does.

    Attributes
    ----------
    x : array (size,)
    moved : array (m, B)
        `K_a x_a`, its share of the change of the outputs.
    fall : float
        `t . x` with t the gradient of the loss: what the energy without weight decay falls by.
    """

    x: np.ndarray
    moved: np.ndarray
    fall: float


class Source:
    """The right-hand side `K_t^T 1 + v` of one block, in scaled coordinates.

    Parameters
    ----------
    whole : Block
        The block with all rows, those of the slope last.
    rows : Block
        The block with the rows of the metric.
    v : array (size,) or None
        In scaled coordinates.
    """

    def __init__(self, whole: Block, rows: Block, v: np.ndarray | None) -> None:
        self.whole, self.rows, self.v = whole, rows, v
        self.slope = whole.part(slice(rows.shape[0], None))
        self.ones = np.full(self.slope.shape, rows.shape[1] ** -0.5, dtype=rows.root.dtype)

    @cached_property
    def gradient(self) -> np.ndarray:
        """`K_t^T 1`, multiplied out."""
        return self.slope.pull(self.ones)

    @cached_property
    def vector(self) -> np.ndarray:
        """`c~`, multiplied out."""
        return self.gradient if self.v is None else self.gradient + self.v

    @cached_property
    def _pushed(self) -> tuple[np.ndarray, float]:
        """`K K_t^T 1 (m, B)`, and `|K_t^T 1|^2`."""
        both = self.whole.push_pull(self.slope, self.ones)
        rows = self.rows.shape[0]
        return both[:rows], float(np.vdot(both[rows:], self.ones))

    @cached_property
    def _mixed(self) -> tuple[np.ndarray, float]:
        """`K v (m, B)`, and `v . K_t^T 1`."""
        both = self.whole.push(self.v if self.v is not None else np.zeros(self.rows.size))
        rows = self.rows.shape[0]
        return both[:rows], float(np.vdot(both[rows:], self.ones))

    @cached_property
    def lifted(self) -> np.ndarray:
        """`b = K c~ (m, B)`."""
        return self._pushed[0] if self.v is None else self._pushed[0] + self._mixed[0]

    @cached_property
    def square(self) -> float:
        """`c~ . c~`."""
        own = self._pushed[1]
        return own if self.v is None else own + 2.0 * self._mixed[1] + float(self.v @ self.v)

    def recovered(self, y: np.ndarray, moved: np.ndarray) -> Along:
        """Return x~ from the dual solution `y (m, B)` and `moved = K x~`."""
        x = self.whole.pull(np.concatenate([-y, self.ones]))
        fall = self._pushed[1] - float(np.vdot(self._pushed[0], y))
        if self.v is not None:
            x += self.v
            fall += self._mixed[1]
        return Along(x, moved, fall)

    def along(self, x: np.ndarray) -> Along:
        """Say what `x (size,)` does, in scaled coordinates."""
        both = self.whole.push(x)
        rows = self.rows.shape[0]
        return Along(x, both[:rows], float(np.vdot(both[rows:], self.ones)))
