"""The first half second of the command line, while its libraries load: Ctrl-C and SIGTERM end it in one line.

Loaded before everything else, so that no traceback of half an import reaches the user. The commands put handlers of
their own in place once they run (`cli/reporting.py`).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType


def is_command_line() -> bool:
    """Whether this process is `actionopt` or `python -m actionopt`, not a program that imports the package."""
    if os.path.basename(sys.argv[0] if sys.argv else "").removesuffix(".exe") == "actionopt":
        return True
    words = sys.orig_argv
    return "-m" in words and words[words.index("-m") + 1 :][:1] == ["actionopt"]


def end_quietly() -> None:
    """Have Ctrl-C and SIGTERM end the process at once, where nothing was computed that could be lost."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # ignored where a shell runs it in the background
        signal.signal(signal.SIGINT, _end)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    try:
        os.write(2, b"actionopt: interrupted\n")
    finally:
        os._exit(130)


if is_command_line():
    end_quietly()
