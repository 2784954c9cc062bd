"""How a program ends: with an exit status, and in one line on standard error where something is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from actionopt.action.interrupts import was_interrupted
from actionopt.errors import InputError, SolverError


class Reporting(click.Command):
    """A command whose errors are one line on standard error and an exit status, never a traceback.

    0 it holds; 1 it ran, and a check failed or a solver did not converge; 2 the input or the options are wrong;
    130 interrupted. The function returns the status, None for 0.
    """

    def main(self, args: Sequence[str] | None = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run and exit with the status, or return it where `standalone_mode` is off."""
        status = self._status(args, *rest, **extra)
        if standalone_mode:
            sys.exit(status)
        return status

    def _status(self, args: Sequence[str] | None, *rest: Any, **extra: Any) -> int:
        run: Any = super().main
        try:
            return run(args, *rest, standalone_mode=False, **extra) or 0
        except click.ClickException as error:
            return _complain(error.format_message(), 2)
        except InputError as error:
            return _complain(str(error), 2)
        except SolverError as error:
            return _complain(str(error), 130 if was_interrupted(error.result) else 1)
        except (click.Abort, KeyboardInterrupt):
            return _complain("interrupted", 130)
        except BrokenPipeError:  # the reader, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0


def _complain(message: str, status: int) -> int:
    click.echo("actionopt: " + " ".join(message.split()), err=True)
    return status
