"""Columns of CasADi: one sample, features downwards, as CasADi's functions take them.

Enough of a namespace for walks through a network whose nodes are CasADi functions; formulas get `CASADI`, which works
on rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import casadi as ca


class ColumnOps:
    """Join and take apart columns, or matrices with a sample a column."""

    def concatenate(self, parts: Sequence[Any]) -> Any:
        """Join features."""
        return ca.vertcat(*parts)

    def split(self, z: Any, sizes: Sequence[int]) -> list[Any]:
        """Take features apart into pieces of the given sizes, which add up to all."""
        return ca.vertsplit(z, [0, *accumulate(sizes)])


COLUMNS: Any = ColumnOps()
