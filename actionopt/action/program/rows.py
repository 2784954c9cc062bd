"""Which row of a program's constraints belongs to which condition: counted out stage by stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Block:
    """Rows of one kind: `width` at each of the stages `at (B,)`, in the order of `local (B, width)` within a stage."""

    at: np.ndarray
    local: np.ndarray


class Rows:
    """Hands out the own rows of N+1 stages; the gap of n rows that leads to the next stage stands before them.

    Parameters
    ----------
    stages : int
        N+1.
    gap : int
        n.
    """

    def __init__(self, stages: int, gap: int) -> None:
        self.gap = gap
        self.counts = np.zeros(stages, dtype=int)

    def take(self, at: np.ndarray, width: int) -> Block:
        """Take `width` rows at each of the stages `at (B,)`, which do not decrease."""
        rank = np.arange(len(at)) - np.searchsorted(at, at, side="left")
        local = self.counts[at][:, None] + rank[:, None] * width + np.arange(width)
        self.counts += width * np.bincount(at, minlength=len(self.counts)).astype(int)
        return Block(at, local)

    @property
    def _first(self) -> np.ndarray:
        """The first row of every stage: that of its gap, where it has one."""
        return np.concatenate([[0], np.cumsum(self.counts[:-1] + self.gap)])

    @property
    def gaps(self) -> np.ndarray:
        """Rows `(N, n)` of the gaps."""
        return self._first[:-1, None] + np.arange(self.gap)

    def of(self, block: Block) -> np.ndarray:
        """Return the rows `(B, width)` of a block, once all are taken."""
        own = self._first + np.append(np.full(len(self.counts) - 1, self.gap), 0)
        return own[block.at][:, None] + block.local

    @property
    def total(self) -> int:
        return int(self.counts.sum()) + self.gap * (len(self.counts) - 1)
