"""How a program ends: with an exit status, and in one line on standard error where something is wrong."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from actionopt import startup
from actionopt.errors import InputError, SolverError
from actionopt.interrupts import SIGNALS, given_up, was_interrupted


class Reporting(click.Command):
    """A command whose errors are one line on standard error and an exit status, never a traceback.

    0 it holds; 1 it ran, and a check failed or a solver did not converge; 2 the input or the options are wrong;
    130 interrupted. The function returns the status, None for 0.
    """

    def main(self, args: Sequence[str] | None = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run and exit with the status, or return it where `standalone_mode` is off."""
        _print_any_text()
        try:
            with _terminated_as_interrupted():
                status = self._status(args, *rest, **extra)
        except KeyboardInterrupt:  # between the two
            status = _complain("interrupted", 130)
        if not standalone_mode:
            return status
        if startup.is_command_line():
            _settle(status)
        sys.exit(status)

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
            _discard_output()
            return 0
        except OSError as error:  # a full disk behind standard output; files raise InputError
            _discard_output()
            return _complain(f"cannot write the output: {error.strerror or error}", 1)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Take SIGTERM, which schedulers send, as Ctrl-C: what was reached is kept. Ctrl-C that is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in earlier.items():
        if number == signal.SIGTERM or handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _settle(status: int) -> None:
    """Let Ctrl-C change nothing any more as the interpreter ends, nor a build that was given up hold it up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if given_up():
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
        os._exit(status)


def _discard_output() -> None:
    """Let what is still buffered go nowhere, so that the interpreter's end does not raise again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _complain(message: str, status: int) -> int:
    with contextlib.suppress(OSError):  # a standard error that takes nothing: the status tells
        click.echo("actionopt: " + printable(" ".join(message.split())), err=True)
    return status


def printable(text: str) -> str:
    """Write control characters out, which a name may hold and a terminal obeys; lines and tabs stay."""
    return text.translate(_CONTROLS)


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def _print_any_text() -> None:
    """Have standard output write out what its encoding lacks, as standard error does, in place of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="backslashreplace")
