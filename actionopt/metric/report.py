"""How a metric was inverted: a row a block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from actionopt.tables import html_table, text_table


@dataclass(frozen=True)
class ReportRow:
    """One block of a metric.

    Attributes
    ----------
    module : str
        The module, or "all modules" for the joint metric.
    size : int
        Number of weights n_a.
    rank : int
        Number of rows r = m B of its factor.
    solver : str
        "primal", "dual", "cg", or "cg, held primal" and "cg, held dual" where an older factorisation preconditions,
        and "singular values" where rounding left the others short of the tolerance.
    iterations : int
        Conjugate-gradient iterations of the last solution; refinements for a factorisation of its own.
    residual : float
        `|c - G x| / |x|` in the norms of the inverse mass and the mass: a bound on the relative error.
    error : float
        Estimate of the relative error: that bound where it suffices, else the size of the last correction, or what
        rounding does to a solution through singular values.
    condition : float
        Bound on the condition number of `D^{-1/2} G D^{-1/2}`, its largest eigenvalue.
    """

    module: str
    size: int
    rank: int
    solver: str
    iterations: int
    residual: float
    error: float
    condition: float


_HEADERS = tuple(field.name for field in fields(ReportRow))


@dataclass(frozen=True)
class MetricReport:
    """The rows of a metric, in the order of its modules.

    Attributes
    ----------
    kind : str
        "layerwise" or "joint".
    rows : tuple of ReportRow
        Also by iteration and index.
    """

    kind: str
    rows: tuple[ReportRow, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ReportRow]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> ReportRow:
        return self.rows[index]

    def __str__(self) -> str:
        return text_table(_HEADERS, self._cells())

    def _repr_html_(self) -> str:
        return html_table(_HEADERS, self._cells(), caption=f"{self.kind} metric")

    def _cells(self) -> list[list[Any]]:
        return [[getattr(row, name) for name in _HEADERS] for row in self.rows]
