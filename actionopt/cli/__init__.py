"""The command line: `actionopt COMMAND PROBLEM.py [--set key=value]... [options]`.

Exit status: 0 it holds; 1 it ran, and a check failed or a solver did not converge; 2 the input or the options are
wrong, with one line on standard error; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from actionopt.errors import InputError, SolverError, unknown_name

# a line a command: its file is actionopt/cli/<name>.py and defines `command`
COMMANDS = {
    "check": "Compare the multipliers of the layer equations with backpropagation.",
    "train": "Train to a point where the optimality conditions hold.",
}


class Commands(click.Group):
    """A group that imports a command's file when it runs, and says in one line what went wrong."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"actionopt.cli.{name}").command
        command.name = name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS:
            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, args: Sequence[str] | None = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run and exit with the status; a command returns its status, None for 0."""
        status = self._status(args, *rest, **extra)
        if standalone_mode:
            sys.exit(status)
        return status

    def _status(self, args: Sequence[str] | None, *rest: Any, **extra: Any) -> int:
        try:
            return super().main(args, *rest, standalone_mode=False, **extra) or 0
        except click.ClickException as error:
            return _complain(error.format_message(), 2)
        except InputError as error:
            return _complain(str(error), 2)
        except SolverError as error:
            return _complain(str(error), 1)
        except (click.Abort, KeyboardInterrupt):
            return _complain("interrupted", 130)
        except BrokenPipeError:  # the reader, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0


def _complain(message: str, status: int) -> int:
    click.echo("actionopt: " + " ".join(message.split()), err=True)
    return status


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(package_name="actionopt", prog_name="actionopt")
def main() -> None:
    """Riemannian optimization in modular systems: from one problem file to certified answers."""
