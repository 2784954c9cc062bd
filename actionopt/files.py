"""Files are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actionopt.errors import InputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; what is written there replaces `path` at the end.

    An exception, an interrupt or a full disk leaves an earlier file as it was, and no temporary file behind. Folders
    that are missing are made.

    Parameters
    ----------
    path : str or Path

    Yields
    ------
    Path
        With the ending of `path`.

    Raises
    ------
    InputError
        If the folder cannot be made or written to.

    Examples
    --------
    >>> with replacing("notes.txt") as temporary:  # doctest: +SKIP
    ...     temporary.write_text("whole")
    """
    path = Path(path)
    temporary = _new_file(path)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _new_file(path: Path) -> Path:
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder, expected the path of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    os.fchmod(handle, 0o666 & ~_umask())  # mkstemp makes it readable for the owner alone
    os.close(handle)
    return Path(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
