"""What a proof of contraction found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from actionopt.tables import html_table, text_table


@dataclass(frozen=True)
class ContractionProof:
    """Whether the flow contracts on a ball of weights, proved, refuted or neither.

    Attributes
    ----------
    status : str
        "proved", "refuted" (a point of the ball with a smaller rate was found and checked) or "undecided".
    rate : float
        Lower bound of the contraction rate on the ball where it is proved; -inf where nothing is known, and an upper
        bound of the least rate where it is refuted.
    radius : float
        Of the ball `|w - centre|_D <= radius`, D the mass; 0 where a search proved none.
    basin : bool
        Whether every flow that starts in the basin, the ball of `basin_radius`, stays in the region and converges to
        the only equilibrium there.
    basin_radius : float
        0 where there is none.
    equilibrium_within : float or None
        A distance from the centre, in the norm of the mass, within which the equilibrium lies.
    boxes : int
        Number of boxes looked at.
    counterexample : array (n,) or None
        Weights in the ball where the rate is below what was asked.
    message : str
        What the status means here, and what to try.
    centre : array (n,)
    metric : str
    form : str
        Which argument proved it.
    seconds : float
        Processor time.
    """

    status: str
    rate: float
    radius: float
    basin: bool
    basin_radius: float
    equilibrium_within: float | None
    boxes: int
    counterexample: np.ndarray | None
    message: str
    centre: np.ndarray
    metric: str
    form: str
    seconds: float

    @property
    def proved(self) -> bool:
        """Whether the rate is proved on the ball."""
        return self.status == "proved"

    @property
    def ok(self) -> bool:
        """The same as `proved`."""
        return self.proved

    def table(self) -> str:
        """Write what was found as two columns."""
        return text_table(("", "value"), self._rows())

    def _rows(self) -> list[tuple[str, Any]]:
        rows: list[tuple[str, Any]] = [("status", self.status), ("radius", self.radius), ("rate above", self.rate)]
        if self.status == "refuted":
            rows[-1] = ("rate below", self.rate)
        if self.basin:
            rows += [("basin of radius", self.basin_radius), ("equilibrium within", self.equilibrium_within)]
        return [*rows, ("form", self.form), ("boxes", self.boxes), ("seconds", round(self.seconds, 3))]

    def __repr__(self) -> str:
        return f"ContractionProof({self.status}: {self.message})"

    def _repr_html_(self) -> str:
        return html_table(("", "value"), self._rows(), self.message)
