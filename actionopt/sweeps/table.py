"""What a sweep found, as text, CSV, JSON, a data frame or a figure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actionopt.errors import InputError, unknown_name
from actionopt.export import needed
from actionopt.files import replacing
from actionopt.plain import plain
from actionopt.sweeps.work import Row
from actionopt.tables import html_table, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".csv", ".json", ".txt")


class SweepTable:
    """Rows of a sweep.

    Attributes
    ----------
    options : tuple of str
        Names of the options that were varied.
    rows : list of dict
        Options, seed and results of every case that ran, in the order of the grid.
    failed : list of dict
        Options, seed and `error` of the others.

    Examples
    --------
    >>> def build(width=4):
    ...     layers = [ao.Dense(2, width, "tanh"), ao.Dense(width, 1)]
    ...     return ao.Problem(layers, np.eye(2), [1.0, -1.0], ao.SquaredError())
    >>> table = ao.sweep(build, {"width": [2, 3]}, seeds=2, run=lambda problem, seed: {"size": problem.size})
    >>> [row["size"] for row in table.rows]
    [9, 9, 13, 13]
    """

    def __init__(self, options: Sequence[str], rows: Sequence[Row]) -> None:
        self.options = tuple(options)
        self.rows = [dict(row) for row in rows if "error" not in row]
        self.failed = [dict(row) for row in rows if "error" in row]

    @property
    def columns(self) -> tuple[str, ...]:
        """Options, the seed, and every name that some run gave, in the order of their first appearance."""
        return tuple(dict.fromkeys([*self.options, "seed", *(name for row in self.rows for name in row)]))

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        lines = [text_table(self.columns, self._cells())]
        lines += [f"failed: {_case(row, self.options)}: {row['error']}" for row in self.failed]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"SweepTable({len(self.rows)} rows, {len(self.failed)} failed, of {', '.join(self.options) or 'seeds'})"

    def _repr_html_(self) -> str:
        return html_table(self.columns, self._cells(), caption=repr(self))

    def to_csv(self) -> str:
        """Return the table as comma-separated text, numbers in all their digits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([["" if cell is None else cell for cell in row] for row in self._cells()])
        return text.getvalue()

    def to_json(self) -> str:
        """Return rows and failures as one JSON object."""
        return json.dumps(plain({"options": self.options, "rows": self.rows, "failed": self.failed}), indent=1)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, a row a case that ran.

        Raises
        ------
        InputError
            If pandas is not installed.
        """
        return needed("pandas", "to_pandas").DataFrame(self.rows, columns=list(self.columns))

    def save(self, path: str | Path) -> Path:
        """Write the table as CSV, JSON or text, by the ending of the path, whole or not at all.

        Raises
        ------
        InputError
            If the ending is another one or the file cannot be written.
        """
        path = Path(path)
        if path.suffix not in FORMATS:
            raise InputError(f"{path}: a table's path must end in {', '.join(FORMATS)}")
        text = self.to_csv() if path.suffix == ".csv" else self.to_json() if path.suffix == ".json" else f"{self}\n"
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return path

    def plot(self, y: str, x: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw medians over the seeds with the middle 80 % of them, over an option; a line for each of the others.

        Parameters
        ----------
        y : str
            A result that is a number.
        x : str, optional
            The option on the horizontal axis; the first one with several values where None.
        ax : matplotlib Axes, optional
            Where to draw; a new figure where None.

        Raises
        ------
        InputError
            If there is no such column, or it holds no numbers.
        """
        from actionopt.sweeps.figure import draw_medians

        for name in (y, *([] if x is None else [x])):
            if name not in self.columns:
                raise unknown_name("column", name, self.columns)
        return draw_medians(self.rows, self.options, y, x, ax)

    def _cells(self) -> list[list[Any]]:
        return [[row.get(name) for name in self.columns] for row in self.rows]


def _case(row: Row, options: Sequence[str]) -> str:
    return ", ".join(f"{name}={row[name]!r}" for name in (*options, "seed"))
