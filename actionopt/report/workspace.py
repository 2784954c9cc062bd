"""The folder of a run: finished stages are remembered, and repeated only when what they depend on has changed.

`manifest.json` holds, for every finished stage, the key of what went into it and the checksums of its files. A stage
whose key and files are unchanged is not repeated. The folder is locked while a run works in it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from actionopt.errors import InputError
from actionopt.files import open_regular, read_text, replacing, sweep

SCHEMA, VERSION = "actionopt.run", 1
MANIFEST, LOCK = "manifest.json", ".lock"
STATES = ("ok", "failed", "skipped")
MANIFEST_LIMIT = 10_000_000  # characters beyond which a manifest is none of ours


@dataclass(frozen=True)
class Record:
    """What is remembered of a finished stage.

    Attributes
    ----------
    key : str
        Digest of everything the stage depends on.
    state : str
        "ok", "failed" (it ran, and what it was to show does not hold) or "skipped" (it does not apply).
    message : str
        What happened and, where it did not hold, what to try.
    seconds : float
        Wall-clock time of the stage when it ran.
    summary : dict
        Its figures, as JSON.
    files : dict
        SHA-256 of each file it wrote, by name.
    """

    key: str
    state: str
    message: str
    seconds: float
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


class Workspace:
    """A folder and its manifest; made by `open_workspace`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = _read_manifest(folder / MANIFEST)

    def path(self, name: str) -> Path:
        """Return where a file of the run lies."""
        return self.folder / name

    def finished(self, stage: str, key: str) -> Record | None:
        """Return the record of a stage that need not run again: the same key, and its files as it wrote them."""
        record = self.records.get(stage)
        if record is None or record.key != key:
            return None
        unchanged = all(_digest_of(self.path(name)) == digest for name, digest in record.files.items())
        return record if unchanged else None

    def remember(
        self,
        stage: str,
        key: str,
        *,
        state: str,
        message: str,
        seconds: float,
        summary: dict[str, Any],
        files: Sequence[str],
    ) -> Record:
        """Enter a finished stage into the manifest, with the checksums of its files."""
        digests = {name: _digest_of(self.path(name)) or "" for name in files}
        record = Record(key, state, message, seconds, summary, digests)
        self.records[stage] = record
        self._write()
        return record

    def forget(self, stage: str) -> None:
        """Take a stage out of the manifest, as one that is about to run again."""
        if self.records.pop(stage, None) is not None:
            self._write()

    def _write(self) -> None:
        stages = {name: asdict(record) for name, record in self.records.items()}
        text = json.dumps({"schema": SCHEMA, "version": VERSION, "stages": stages}, indent=1)
        write_text(self.path(MANIFEST), text)


@contextmanager
def open_workspace(folder: str | Path) -> Iterator[Workspace]:
    """Open the folder of a run, made where it is missing, and lock it against other runs.

    Raises
    ------
    InputError
        If it cannot be made or written to, or another run works in it.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    with _locked(folder):
        sweep(folder)  # what a killed run was writing; nobody else of ours writes here
        yield Workspace(folder)


def key_of(*parts: Any) -> str:
    """Digest what a stage depends on: numbers, words, lists and dicts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; what no encoding has, such as halves of pairs, is written out."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _read_manifest(path: Path) -> dict[str, Record]:
    """Read the records; a manifest that is damaged or of another version counts as none."""
    try:
        stored = json.loads(read_text(path, MANIFEST_LIMIT))
        if (stored["schema"], stored["version"]) != (SCHEMA, VERSION):
            return {}
        return {str(name): _record(entry) for name, entry in stored["stages"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _record(entry: dict[str, Any]) -> Record:
    """Check one entry of a manifest: it was written by a program, but anyone may have edited the folder since.

    Raises
    ------
    ValueError, TypeError
        If it is not what `remember` writes.
    """
    record = Record(**entry)
    words = all(isinstance(word, str) for word in (record.key, record.message))
    if not words or record.state not in STATES or not isinstance(record.summary, dict):
        raise ValueError("no record of a stage")
    if not math.isfinite(record.seconds):
        raise ValueError("no time")
    for name, digest in record.files.items():
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts
        if not isinstance(digest, str) or not inside:
            raise ValueError("files of a run lie in its folder")
    return record


def _digest_of(path: Path) -> str | None:
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the operating system releases whatever happens to the process."""
    import fcntl

    try:
        descriptor = open_regular(folder / LOCK, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EINVAL, errno.ENXIO):
            raise InputError(f"{folder / LOCK} is no regular file: remove it, or give another --out") from error
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = file.read(100).strip() or "another process"
            raise InputError(f"another run works in {folder} ({holder}): wait for it or give another --out") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}")
        file.flush()
        yield
