"""The command line: `actionopt COMMAND PROBLEM.py [--set key=value]... [options]`."""

from __future__ import annotations

from importlib import import_module

import click

from actionopt.cli.reporting import Reporting
from actionopt.errors import unknown_name

# a line a command: its file is actionopt/cli/<name>.py and defines `command`
COMMANDS = {
    "check": "Compare the multipliers of the layer equations with backpropagation.",
    "train": "Train to a point where the optimality conditions hold.",
    "flow": "Integrate the Riemannian gradient flow.",
    "action": "Find a trajectory of least action.",
    "path": "Find the path of least action between two points, whatever time it takes.",
    "contract": "Compute contraction rates along the flow, and check them on two solutions.",
    "prove": "Prove contraction on a ball of weights, and a tube that leads there.",
    "sweep": "Run many options and seeds, a row each.",
    "plot": "Draw a figure of a problem or a saved result, as papers want them.",
    "run": "Check, flow, certificate, contraction and proof (with --end a path), with figures and a report.",
}


class Commands(Reporting, click.Group):
    """A group that imports the file of a command when it runs."""

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


@click.group(cls=Commands, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="actionopt", prog_name="actionopt")
def main() -> None:
    """Riemannian optimization in modular systems: from one problem file to certified answers."""
