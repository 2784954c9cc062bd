"""One HTML page without outside references: sections of sentences, tables and figures, light and dark."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from string import Template
from typing import Any

from actionopt.tables import html_table

SCALE = 1.55  # pixels a point of a drawing


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes
    ----------
    name : str
        Short and unique on the page: prefixes the identifiers inside the drawing.
    caption : str
        What it shows, in a sentence.
    light, dark : str
        The drawing as SVG, on light and on dark ground.
    """

    name: str
    caption: str
    light: str
    dark: str


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes
    ----------
    title : str
    state : "ok", "failed" or "skipped", or empty for a part that cannot fail
    sentences : sequence of str
    table : (headers, rows), optional
    pictures : sequence of Picture
    folded : str
        What the table is called that stands folded below the pictures; empty where it is read first.
    """

    title: str
    state: str = ""
    sentences: Sequence[str] = ()
    table: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None
    pictures: Sequence[Picture] = field(default=())
    folded: str = ""


def render(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return the page as HTML text."""
    resources = files("actionopt.report")
    template = Template(resources.joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=html.escape(title),
        lead=html.escape(lead),
        style=resources.joinpath("page.css").read_text(encoding="utf-8"),
        contents="\n".join(_contents(section) for section in sections),
        sections="\n".join(_section(section) for section in sections),
    )


def _contents(section: Section) -> str:
    return f'<li><a href="#{_anchor(section)}">{html.escape(section.title)}</a>{_mark(section.state)}</li>'


def _section(section: Section) -> str:
    parts = [f'<section id="{_anchor(section)}">', f"<h2>{html.escape(section.title)}{_mark(section.state)}</h2>"]
    parts += [f"<p>{html.escape(sentence)}</p>" for sentence in section.sentences]
    table = "" if section.table is None else f'<div class="wide">{html_table(*section.table)}</div>'
    parts += [table] if table and not section.folded else []
    parts += [_figure(picture) for picture in section.pictures]
    if table and section.folded:
        parts.append(f"<details><summary>{html.escape(section.folded)}</summary>{table}</details>")
    return "\n".join([*parts, "</section>"])


def _figure(picture: Picture) -> str:
    drawings = "\n".join(
        f'<div class="wide {tone}">{inline_svg(svg, f"{picture.name}-{tone}", picture.caption)}</div>'
        for tone, svg in (("light", picture.light), ("dark", picture.dark))
    )
    return f"<figure>\n{drawings}\n<figcaption>{html.escape(picture.caption)}</figcaption>\n</figure>"


def _mark(state: str) -> str:
    return f' <span class="mark {state}">{state}</span>' if state else ""


def _anchor(section: Section) -> str:
    return re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")


def inline_svg(svg: str, prefix: str, title: str) -> str:
    """Return an SVG file's drawing fit for a page: it scales, is labelled, and its identifiers start with `prefix`."""
    drawing = svg[svg.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    # identifiers in a page are global: those of two figures must not meet
    drawing = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', drawing)
    drawing = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}-", drawing)
    opening, rest = drawing.split(">", 1)
    width = re.search(r'\swidth="([\d.]+)pt"', opening)
    opening = re.sub(r'\s(width|height)="[^"]*pt"', "", opening)
    # as wide as drawn, so that the words of all figures have one size, and narrower where the page is:
    # but on the narrowest pages they scroll, or their words would be too small
    size = float(width[1]) if width else 0.0
    limit = f' style="max-width:{SCALE * size:.0f}px;--drawn:{size:.0f}px"' if width else ""
    return f'{opening}{limit} role="img" aria-label="{html.escape(title, quote=True)}">{rest}'
