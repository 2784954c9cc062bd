"""Tables: aligned text and escaped HTML."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from actionopt.tables import cell, html_table, text_table


def test_columns_align() -> None:
    table = text_table(["module", "size", "error"], [["1 Dense", 17, 1.23456e-16], ["10 Residual", 3, 0.0]])
    assert table == (
        "module       size      error\n"
        "1 Dense        17  1.235e-16\n"
        "10 Residual     3          0"
    )  # fmt: skip


def test_no_rows() -> None:
    assert text_table(["a", "b"], []) == "a  b"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (np.bool_(False), "no"),
        (3, "3"),
        (np.float64(0.25), "0.25"),
        ("x", "x"),
        (1e9, "1e+09"),
    ],
)
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text


def test_html_is_well_formed_and_escaped() -> None:
    tree = ElementTree.fromstring(html_table(["<b>", "n"], [["a & b", 1.5]], caption="x < y"))
    assert tree.find("caption").text == "x < y"
    assert [head.text for head in tree.iter("th")] == ["<b>", "n"]
    assert [(data.text, data.get("style")) for data in tree.iter("td")] == [
        ("a & b", "text-align:left"),
        ("1.5", "text-align:right"),
    ]
