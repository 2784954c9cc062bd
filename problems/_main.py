"""What `python -m problems.NAME` does: run a command of the command line on that problem file."""

from __future__ import annotations

import os
import sys


def main(file: str, command: str = "check", *options: str) -> None:
    """Run `actionopt COMMAND FILE`, with the options given and then those of the command line."""
    from actionopt.cli import main as run

    run([command, os.path.relpath(file), *options, *sys.argv[1:]])
