"""What a proof found: the part that all proofs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actionopt.tables import html_table, text_table


@dataclass(frozen=True)
class Proof:
    """A status, and what stands behind it.

    Attributes
    ----------
    status : str
        "proved", "undecided", or for some proofs "refuted".
    message : str
        What the status means here, and what to try.
    seconds : float
        Processor time.
    """

    status: str
    message: str
    seconds: float

    @property
    def proved(self) -> bool:
        """Whether it is proved."""
        return self.status == "proved"

    @property
    def ok(self) -> bool:
        """The same as `proved`."""
        return self.proved

    def rows(self) -> list[tuple[str, Any]]:
        """Return what was found as pairs of a name and a value, without status and seconds."""
        return []

    def table(self) -> str:
        """Write what was found as two columns."""
        return text_table(("", "value"), self._framed())

    def _framed(self) -> list[tuple[str, Any]]:
        return [("status", self.status), *self.rows(), ("seconds", round(self.seconds, 3))]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.status}: {self.message})"

    def _repr_html_(self) -> str:
        return html_table(("", "value"), self._framed(), self.message)
