"""Pages of the site that are made rather than written, as a hook of mkdocs.

An API page a public name, the commands with their help, the problem files, the gallery of plots/, the files at the root
of the repository, and a page for each source file that some page links to.
"""

from __future__ import annotations

import ast
import base64
import importlib
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import actionopt as ao
from actionopt.cli import COMMANDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)]*)?(\))")
OUTSIDE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}

# the public names as a reader looks for them
GROUPS = {
    "Systems": ["Problem", "Module", "Input", "Node", "Cost", "Map", "load_problem"],
    "Modules": [
        "Dense", "Activation", "Residual", "Parallel", "Chain", "Parameter", "Conv2d", "AveragePool2d", "Attention",
        "LayerNorm", "Embedding", "Each", "Implicit", "Transposed",
    ],
    "Losses": ["Loss", "SquaredError", "SoftmaxCrossEntropy", "Logistic", "CustomLoss", "WeightedLoss"],
    "Adjoints and training": [
        "adjoints", "Adjoints", "check_adjoints", "AdjointCheck", "train", "Solution", "control", "Constraint",
        "proximal_step", "Stiefel", "Positive", "Simplex", "Ball", "plot_adjoints",
    ],
    "Metric and mini-batches": ["LayerMetric", "BatchedMetric", "step", "Momentum", "descend", "Descent"],
    "Flow and action": [
        "flow", "minimize_action", "continue_action", "path_through", "Lagrangian", "Drift", "Trajectory",
        "Ensemble", "plot_landscape", "plot_phase",
    ],
    "Paths": ["least_action_path", "GeometricPath", "quasipotential", "Quasipotential", "eyring_kramers_rate"],
    "Contraction and stability": [
        "contraction_rate", "contraction_at", "rates_along", "Contraction", "certify", "Certificate", "check_decay",
        "Decay", "worst_rate", "WorstRate", "parallel_rate", "series_rate", "feedback_rate", "network_rate",
        "ComposedRate", "estimate_lipschitz", "Lipschitz", "stability_bound", "paper_stability_order",
        "measure_stability", "Stability",
    ],
    "Proofs": [
        "prove_contraction", "ContractionProof", "prove_basin", "TubeProof", "prove_fit", "FitProof",
        "bound_lipschitz", "LipschitzBounds", "prove_stability", "StabilityProof",
    ],
}  # fmt: skip
REST = "Many at once, errors"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the API pages into the navigation."""
    pages = [{group: [{name: page_of(name)} for name in names]} for group, names in grouped().items()]
    for entry in config.nav or ():
        if isinstance(entry, dict) and "Reference" in entry:
            entry["Reference"] = [*entry["Reference"], *pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and rewrite what leads out of docs/ to pages of the site."""
    made = dict(generated())
    for path in sorted(DOCS.rglob("*.md")):
        made[path.relative_to(DOCS).as_posix()] = path.read_text(encoding="utf-8")
    made = {name: _resolved(name, text) if isinstance(text, str) else text for name, text in made.items()}
    sources = sorted({target for text in made.values() if isinstance(text, str) for target in _sources(text)})
    for target in sources:
        made[f"source/{target}.md"] = source_page(target)
    for name, text in made.items():
        old = files.get_file_from_path(name)
        if old is not None:
            files.remove(old)
        files.append(File.generated(config, name, content=text))
    return files


def grouped() -> dict[str, list[str]]:
    """Return every public name in its group; names that no group lists come last."""
    known = {name for names in GROUPS.values() for name in names}
    groups = {group: [name for name in names if name in ao.__all__] for group, names in GROUPS.items()}
    return {**groups, REST: [name for name in ao.__all__ if name not in known]}


def page_of(name: str) -> str:
    """Name the page of a public name; classes and functions apart, for file systems that ignore case."""
    return f"api/{'classes' if name[0].isupper() else 'functions'}/{name}.md"


def generated() -> Iterator[tuple[str, str | bytes]]:
    """Yield the pages that are made, by their place in docs/."""
    yield "api/index.md", api_index()
    for names in grouped().values():
        for name in names:
            yield page_of(name), f"::: actionopt.{name}\n"
    yield "cli.md", commands()
    yield "problems.md", problems()
    yield "gallery.md", gallery()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        yield from notebook(path)
    for path, page in OUTSIDE.items():
        if page != "index.md":
            text = (ROOT / path).read_text(encoding="utf-8")
            yield page, LINK.sub(lambda m: m[0] if "://" in m[2] else f"](../{m[2]}{m[3] or ''})", text)


def notebook(path: Path) -> Iterator[tuple[str, str | bytes]]:
    """Yield a notebook as a page with what its cells left, and its pictures."""
    parts = []
    for place, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {"text/plain": output.get("text", "")})
            picture = next((kind for kind in ("image/gif", "image/png") if kind in data), None)
            if picture is not None:
                name = f"{path.stem}-{place}.{picture[-3:]}"
                parts.append(f"![{_before(text)}]({name})")
                yield f"notebooks/{name}", base64.b64decode(data[picture])
            else:
                parts.append(f"```text\n{''.join(data['text/plain']).rstrip()}\n```")
    parts.append(f"[The notebook's source](../../notebooks/{path.name})")
    yield f"notebooks/{path.stem}.md", "\n\n".join(parts) + "\n"


def _before(code: str) -> str:
    """Return the last line of a cell, which drew its picture, as the picture's words."""
    return code.strip().splitlines()[-1].replace("[", "(").replace("]", ")")


def api_index() -> str:
    """List the public names with their first sentences."""
    parts = ["# Every public name\n", "All of `import actionopt as ao`. Each page has an example that the tests run.\n"]
    for group, names in grouped().items():
        parts += [f"## {group}\n", "| name | |\n|---|---|"]
        parts += [f"| [`ao.{name}`](../{page_of(name)}) | {_first(getattr(ao, name).__doc__)} |" for name in names]
        parts.append("")
    return "\n".join(parts)


def commands() -> str:
    """Show every command's help."""
    parts = [
        "# The command line\n",
        "`actionopt COMMAND PROBLEM.py [--set key=value]... [options]`, also as `python -m actionopt`. Exit status 0: "
        "it holds; 1: it ran, and a check failed or a solver did not converge; 2: the input is wrong, said in one "
        "line; 130: interrupted, with what was reached kept. With `--json` standard output is one JSON object.\n",
    ]
    for name, summary in COMMANDS.items():
        command = importlib.import_module(f"actionopt.cli.{name}").command
        context = click.Context(command, info_name=f"actionopt {name}", max_content_width=96, terminal_width=96)
        parts += [f"## {name}\n", f"{summary}\n", f"```text\n{command.get_help(context)}\n```\n"]
    return "\n".join(parts)


def problems() -> str:
    """Show every problem file: what it is, its source, its known answer."""
    parts = ["# Problems that come along\n", "Each runs as it stands and is there to be copied.\n"]
    for path in sorted((ROOT / "problems").glob("[a-z]*.py")):
        title, rest = _document(path)
        rest = re.sub(r"\n(\w[\w ]*)\n-{3,}\n", r"\n\n**\1.** ", f"\n{rest}")
        parts += [
            f"## {path.stem.replace('_', ' ')}\n",
            f"{title}\n\n{rest.strip()}\n",
            f"[The file](../problems/{path.name}); `actionopt run problems/{path.name} --out out/{path.stem}`\n",
        ]
    return "\n".join(parts)


def gallery() -> str:
    """Show every script of plots/: its figure, what it shows, the command."""
    parts = ["# Gallery\n", "A script of `plots/` a figure; `make gallery` draws them again.\n"]
    for path in sorted((ROOT / "plots").glob("[a-z]*.py")):
        title, rest = _document(path)
        parts.append(f"## {path.stem.replace('_', ' ')}\n")
        drawn = (f"figures/gallery/{path.stem}.svg", f"figures/{path.stem}.png")
        parts += [f"![{title}]({name})\n" for name in drawn if (DOCS / name).exists()][:1]
        parts += [f"{title}\n\n{rest.strip()}\n", f"[The script](../plots/{path.name})\n"]
    return "\n".join(parts)


def source_page(target: str) -> str:
    """Show a file, or list a folder's files with their first sentences."""
    path = ROOT / target
    if path.suffix == ".ipynb":
        return f"# {target}\n\nOpen it with Jupyter from a clone of the repository.\n"
    if path.is_dir():
        rows = [f"- `{target}/{p.name}` — {_document(p)[0]}" for p in sorted(path.glob("[a-z]*.py"))]
        return "\n".join([f"# {target}/\n", *rows, ""])
    return f"# {target}\n\n```python\n{path.read_text(encoding='utf-8')}\n```\n"


def _document(path: Path) -> tuple[str, str]:
    """Return a script's docstring: its first sentences up to a blank line as one line, and the rest."""
    first, _, rest = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem).partition("\n\n")
    return " ".join(first.split()), rest


def _first(document: str | None) -> str:
    """Return the first sentence of a docstring, fit for a table."""
    return " ".join((document or "").strip().partition("\n\n")[0].split()).replace("|", "\\|")


def _resolved(name: str, text: str) -> str:
    """Turn links that leave docs/ into links to pages of the site."""

    def turned(match: re.Match[str]) -> str:
        target = match[2]
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        if not place.startswith("../"):
            return match[0]
        outside = place[3:]
        if outside.startswith("docs/"):  # as files at the root write it
            page = outside.removeprefix("docs/").rstrip("/") or "index.md"
            page = "index.md" if outside.rstrip("/") == "docs" else page
        elif outside in OUTSIDE:
            page = OUTSIDE[outside]
        elif outside.rstrip("/") == "problems":
            page = "problems.md"
        elif outside.rstrip("/") == "plots":
            page = "gallery.md"
        elif (ROOT / outside).exists():
            page = f"source/{outside.rstrip('/')}.md"
        else:
            return match[0]
        return f"{match[1]}{posixpath.relpath(page, posixpath.dirname(name) or '.')}{match[3] or ''}{match[4]}"

    return LINK.sub(turned, text)


def _sources(text: str) -> Iterator[str]:
    """List the source files whose pages a text links to."""
    for match in LINK.finditer(text):
        found = re.search(r"(?:^|/)source/(.+)\.md$", match[2])
        if found:
            yield found[1]
