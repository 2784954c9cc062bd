"""The page: self-contained, escaped, identifiers of its drawings apart."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import pytest

from actionopt import figures
from actionopt.report.page import Picture, Section, inline_svg, render


def drawing() -> str:
    fig, ax = figures.figure()
    ax.plot([0, 1], [1, 2], label="a & b")
    ax.legend()
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg")
    return buffer.getvalue()


def page() -> str:
    svg = drawing()
    pictures = [Picture(name, f"What {name} shows, with <angles>.", svg, svg) for name in ("first", "second")]
    sections = [
        Section("Gradient flow & more", "ok", ["It holds: 1 < 2."], (("name", "value"), [("a<b", 1.5)]), pictures),
        Section("Action", "failed", ["Take more steps."]),
    ]
    return render("Title <of> it", "A & B", sections)


class Reader(HTMLParser):
    """Collects identifiers, references and unclosed tags."""

    VOID = frozenset(("meta", "link", "br", "img", "path", "use", "rect", "circle"))

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "xlink:href", "src"):
                self.references.append(value or "")
            self.references += re.findall(r"url\(([^)]*)\)", value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def read() -> Reader:
    reader = Reader()
    reader.feed(page())
    return reader


def test_tags_close(read: Reader) -> None:
    assert read.open == []


def test_nothing_is_fetched(read: Reader) -> None:
    assert all(reference.startswith("#") or reference == "data:," for reference in read.references)
    assert not re.search(r"<script|@import|http-equiv", page())


def test_identifiers_are_unique_and_references_meet_them(read: Reader) -> None:
    assert len(read.ids) == len(set(read.ids))
    missing = {reference[1:] for reference in read.references if reference.startswith("#")} - set(read.ids)
    assert missing == set()


def test_words_are_escaped_and_labelled() -> None:
    text = page()
    assert "Title &lt;of&gt; it" in text
    assert "A &amp; B" in text
    assert "It holds: 1 &lt; 2." in text
    assert "a&lt;b" in text
    assert 'aria-label="What first shows, with &lt;angles&gt;."' in text
    assert '<span class="mark failed">failed</span>' in text


def test_drawing_scales_with_the_page() -> None:
    opening = inline_svg(drawing(), "name", "title").split(">", 1)[0]
    assert "viewBox" in opening
    assert not re.search(r"\s(width|height)=", opening)
