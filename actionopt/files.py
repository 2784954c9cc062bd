"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actionopt.errors import InputError

ABANDONED = 3600.0  # seconds after which a temporary file belongs to a process that was killed


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
        _sync(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _new_file(path: Path) -> Path:
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder, expected the path of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    os.fchmod(handle, _mode(path))  # mkstemp makes it readable for the owner alone
    os.close(handle)
    return Path(name)


def _mode(path: Path) -> int:
    """Return the permissions of the file that is replaced, or those that a new file gets here.

    The process's mask cannot be read without changing it for all threads: a file made in the usual way shows it.
    """
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        pass
    probe = path.parent / f"{_prefix(path)}{os.getpid()}-{threading.get_ident()}"
    descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
        os.unlink(probe)


def _sync(path: Path) -> None:
    """Bring a file, or the entries of a folder, to the disk; not every file system takes folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _sweep(path: Path) -> None:
    """Remove what killed processes left of earlier writes of this path, once it is too old to be under way."""
    for left in path.parent.glob(f"{glob.escape(_prefix(path))}*{glob.escape(path.suffix)}"):
        with contextlib.suppress(OSError):
            if left.is_file() and time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()


def is_file(path: Path) -> bool:
    """Whether a path names a file; no path can have a name that is too long or holds a zero byte."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a zero byte
        return False


def sweep(folder: Path) -> None:
    """Remove all that killed processes left of writes in a folder where no other is at work."""
    for left in folder.glob(".*.writing-*"):
        with contextlib.suppress(OSError):
            if left.is_file() and not left.is_symlink():
                left.unlink()


def open_regular(path: Path, flags: int) -> int:
    """Open a file that is one: no link to elsewhere, no pipe that would wait for its other end.

    Raises
    ------
    OSError
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "expected a regular file", str(path))
    return descriptor


def read_text(path: Path, limit: int) -> str:
    """Return the first `limit` characters of a regular file.

    Raises
    ------
    OSError, UnicodeError
    """
    with os.fdopen(open_regular(path, os.O_RDONLY), encoding="utf-8") as file:
        return file.read(limit)


def _prefix(path: Path) -> str:
    return f".{path.stem}.writing-"
