"""The spectrum of a metric, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np

from actionopt import figures
from actionopt.metric.block import Block


def spectrum(block: Block) -> np.ndarray:
    """Return the eigenvalues above one of `D^{-1/2} G D^{-1/2}`, largest first, at most min(size, rank)."""
    matrix = block.gram() if block.rank < block.size else block.normal()
    return 1.0 + np.linalg.eigvalsh(matrix)[::-1].clip(0.0)


def draw_spectrum(all_blocks: Sequence[Block], ax: Any = None) -> Any:
    """Draw the eigenvalues of every block over its mass; returns the axes."""
    ax = figures.axes(ax)
    blocks = [block for block in all_blocks if block.rank]
    for block, color in zip(blocks, cycle(figures.COLORS)):
        values = spectrum(block)
        ax.loglog(np.arange(1, len(values) + 1), values, color=color, label=block.label)
    ax.set_xlabel("index")
    ax.set_ylabel("eigenvalue of the metric over the mass")
    if blocks:
        ax.legend()
    return ax
