"""Tables of results: aligned text for terminals, HTML for notebooks and reports."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np


def text_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Align rows under headers: numbers to the right, words to the left.

    Parameters
    ----------
    headers : sequence of str
        One a column.
    rows : sequence of sequences
        Cells; see `cell` for how they are written.

    Returns
    -------
    str
        Without a newline at the end.

    Examples
    --------
    >>> print(text_table(["module", "error"], [["1 Dense", 1.5e-17], ["2 Dense", 0.0]]))
    module     error
    1 Dense  1.5e-17
    2 Dense        0
    """
    cells = [[cell(value) for value in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(headers), *cells]) for column in range(len(headers))]
    numeric = _numeric_columns(len(headers), rows)
    lines = [
        "  ".join(
            value.rjust(width) if number else value.ljust(width)
            for value, width, number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in [list(headers), *cells]
    ]
    return "\n".join(lines)


def html_table(headers: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """Write the same table in HTML, every cell escaped; for `_repr_html_` and the report."""
    numeric = _numeric_columns(len(headers), rows)
    align = ["right" if number else "left" for number in numeric]
    head = "".join(
        f'<th style="text-align:{side}">{html.escape(header)}</th>' for header, side in zip(headers, align, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="text-align:{side}">{html.escape(cell(value))}</td>'
            for value, side in zip(row, align, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def cell(value: Any) -> str:
    """Write a value as tables show it: floats to four digits, truth as yes or no, None as a dash."""
    if value is None:
        return "-"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return f"{value:.4g}"
    return str(value)


def _numeric_columns(columns: int, rows: Sequence[Sequence[Any]]) -> list[bool]:
    return [bool(rows) and all(_is_number(row[column]) for row in rows) for column in range(columns)]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
