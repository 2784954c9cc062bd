"""Draw the figures of the gallery again: the commands that the scripts of plots/ show in their docstrings.

python docs/gallery.py [NAME]...
"""

from __future__ import annotations

import ast
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "figures" / "gallery"


def commands(script: Path) -> list[list[str]]:
    """Return the commands of a script's docstring, up to the first that draws."""
    document = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    lines = [line.strip() for line in document.replace("\\\n", " ").splitlines()]
    found = [shlex.split(line) for line in lines if line.startswith(("python plots/", "actionopt "))]
    first = next(k for k, words in enumerate(found) if words[0] == "python")
    return found[: first + 1]


def draw(script: Path) -> Path:
    """Run a script's commands in a folder of their own; the figure goes to the gallery."""
    out = OUT / f"{script.stem}.svg"
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("problems", "plots"):
            (Path(folder) / name).symlink_to(ROOT / name)
        for program, *words in commands(script):
            if program == "python":
                words[words.index("--out") + 1] = str(out)
            else:
                words = ["-m", "actionopt", *words]
            subprocess.run([sys.executable, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return out


def main() -> None:
    """Draw all, or those that are named."""
    for script in sorted((ROOT / "plots").glob("[a-z]*.py")):
        if not sys.argv[1:] or script.stem in sys.argv[1:]:
            print(draw(script), flush=True)


if __name__ == "__main__":
    main()
