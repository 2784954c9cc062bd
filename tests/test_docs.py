"""The site: every page's examples run, every public name has one, no link is dead, nothing comes from the network."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import actionopt as ao
from actionopt.cli import COMMANDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = ["index.md", "quickstart.md", *(f"howto/{path.name}" for path in sorted((DOCS / "howto").glob("*.md")))]
needs_mkdocs = pytest.mark.skipif(
    find_spec("mkdocstrings") is None or find_spec("material") is None, reason="pip install '.[docs]' brings mkdocs"
)


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_a_page_run(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = doctest.testfile(str(DOCS / page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
    assert result.attempted >= 3


@pytest.mark.parametrize("name", ao.__all__)
def test_every_public_name_has_an_example(name: str) -> None:
    """In its docstring, which its page shows and the doctests of the package run."""
    assert "\n    >>> " in (getattr(ao, name).__doc__ or "")


def test_every_markdown_page_with_examples_is_run_by_some_test() -> None:
    run = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for path in sorted(DOCS.rglob("*.md")):
        page = path.relative_to(DOCS).as_posix()
        if re.search(r"^>>> ", path.read_text(), re.MULTILINE) and page not in PAGES:
            assert f'"{path.name}"' in run, page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly as `make docs` builds it."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(out)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING" not in done.stderr
    return out


@needs_mkdocs
@pytest.mark.slow
def test_the_site(site: Path) -> None:
    pages = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    for name in ao.__all__:
        kind = "classes" if name[0].isupper() else "functions"
        text = pages[f"api/{kind}/{name}.html"]
        assert "&gt;&gt;&gt; " in text, name
    assert set(COMMANDS) <= set(re.findall(r'<h2 id="([a-z]+)"', pages["cli.html"]))
    for path in (ROOT / "plots").glob("[a-z]*.py"):
        assert f"source/plots/{path.name}.html" in pages["gallery.html"], path.stem
    for path in (ROOT / "problems").glob("[a-z]*.py"):
        assert f"actionopt run problems/{path.name}" in pages["problems.html"]
    _links_lead_somewhere(site, pages)
    _nothing_comes_from_elsewhere(site, pages)


def _links_lead_somewhere(site: Path, pages: dict[str, str]) -> None:
    anchors = {name: set(re.findall(r'\b(?:id|name)="([^"]+)"', text)) for name, text in pages.items()}
    for name, text in pages.items():
        if name == "404.html":  # its links are from wherever it is shown
            continue
        for target in re.findall(r'\b(?:href|src)="([^"]*)"', text):
            if re.match(r"[a-z]+:", target) or not target:
                continue
            place, _, anchor = target.partition("#")
            linked = os.path.normpath(os.path.join(os.path.dirname(name), place.partition("?")[0])) if place else name
            assert (site / linked).exists(), f"{name}: {target}"
            if anchor and linked in anchors and not anchor.startswith("__"):
                assert anchor in anchors[linked], f"{name}: {target}"


def _nothing_comes_from_elsewhere(site: Path, pages: dict[str, str]) -> None:
    for name, text in pages.items():
        loaded = re.findall(r'<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)="(https?:[^"]*)"', text)
        assert not loaded, f"{name} loads {loaded}"
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"url\(['\"]?https?:", sheet.read_text(encoding="utf-8")), sheet.name
