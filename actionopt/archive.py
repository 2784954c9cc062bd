"""Results on disk: one `.npz` of plain arrays with JSON metadata and a checksum, written whole, checked on reading.

A file may come from anyone. Nothing of it is executed, and what it would unpack to is known before it is unpacked.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from actionopt.errors import InputError
from actionopt.files import is_file, replacing
from actionopt.memory import check_memory, said_size

METADATA = "metadata"
Check = Callable[[Path, dict[str, np.ndarray], dict[str, Any]], None]
SMALL = 256_000_000  # bytes that any archive may unpack to
DENSEST = 100  # times its size, to which a larger one may: numbers that were computed do not compress so far


@dataclass(frozen=True)
class ResultFile:
    """A kind of result that is saved and loaded.

    Attributes
    ----------
    schema, version : str, int
        Written into every file; a program reads its own version.
    what, writer : str
        What the files hold and which method writes them, for messages.
    described : dict
        What the metadata must hold, and as which type or types.
    """

    schema: str
    version: int
    what: str
    writer: str
    described: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: str | Path, arrays: Mapping[str, np.ndarray], described: Mapping[str, Any]) -> Path:
        """Write arrays and what describes them, whole or not at all.

        Raises
        ------
        InputError
            If the name does not end in .npz or the file cannot be written.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise InputError(f"a {self.what} is saved as .npz, got the name {str(path)!r}")
        metadata = {"schema": self.schema, "version": self.version, **described}
        metadata["checksum"] = _checksum(arrays, metadata)
        save_arrays(path, {**arrays, METADATA: np.array(json.dumps(metadata))})
        return path

    def read(self, path: str | Path, check: Check | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays of a file and what describes them; `check(path, arrays, metadata)` says what must fit.

        Raises
        ------
        InputError
            If the file is missing, truncated, of another kind or version, was changed after it was written, or would
            unpack to more than it can honestly hold.
        """
        path = Path(path)
        if not is_file(path):
            raise InputError(f"no {self.what} file {path}")
        arrays = load_arrays(path)
        metadata = self._metadata(path, arrays.pop(METADATA, None))
        if check is not None:
            check(path, arrays, metadata)
        if metadata.pop("checksum") != _checksum(arrays, metadata):
            raise InputError(f"{path} was changed after it was written (its checksum does not match): compute it again")
        return arrays, metadata

    def _metadata(self, path: Path, stored: np.ndarray | None) -> dict[str, Any]:
        foreign = f"{path} was not written by {self.writer}"
        if stored is None or stored.dtype.kind != "U" or stored.ndim:
            raise InputError(f"{foreign}: it has no {METADATA}")
        try:
            metadata = json.loads(str(stored))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{foreign}: its {METADATA} is no JSON ({error})") from error
        if not isinstance(metadata, dict) or metadata.get("schema") != self.schema:
            raise InputError(f"{foreign}: its schema is not {self.schema!r}")
        if metadata.get("version") != self.version:
            found = metadata.get("version")
            raise InputError(f"{path} has version {found!r} of {self.schema}, this program reads {self.version}")
        for name, kind in {**self.described, "checksum": str}.items():
            if not isinstance(metadata.get(name), kind):
                raise InputError(f"{path}: {METADATA} must hold {name} as {_called(kind)}, got {metadata.get(name)!r}")
        return metadata


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write plain arrays as .npz, whole or not at all, compressed unless they compress further than is read again."""
    members: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **members)
        if _too_dense(sum(array.nbytes for array in members.values()), temporary.stat().st_size):
            np.savez(temporary, **members)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a .npz, none of them objects.

    Raises
    ------
    InputError
        If it is truncated or no such archive, or would unpack to more than it can honestly hold.
    """
    try:
        # opened here, as numpy leaves the file open where it finds no archive in it
        with open(path, "rb") as file:
            if file.read(6) == np.lib.format.MAGIC_PREFIX:
                raise ValueError("it holds a single array")
            with zipfile.ZipFile(file) as archive:
                _check_size(path, archive.infolist())
                return {info.filename.removesuffix(".npy"): _member(archive, info) for info in archive.infolist()}
    except InputError:
        raise
    except Exception as error:  # zip, zlib, NumPy's headers and the tokenizer below them: each has types of its own
        raise InputError(f"{path} is truncated or no .npz archive: {error}") from error


def _check_size(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive by what its table says it holds; reading stops there whatever else the members hold."""
    unpacked, packed = sum(info.file_size for info in members), path.stat().st_size
    if _too_dense(unpacked, packed):
        raise InputError(
            f"{path} would unpack from {said_size(packed)} to {said_size(unpacked)}, further than computed numbers "
            "compress: it was not written by this program"
        )
    check_memory(f"the content of {path}", unpacked / 8, "load it on a larger machine")


def _too_dense(unpacked: int, packed: int) -> bool:
    return unpacked > SMALL and unpacked > DENSEST * packed


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    if not info.filename.endswith(".npy"):
        raise ValueError("a member is no array")
    with archive.open(info) as stream:
        declared = _declared_size(stream)  # numpy makes room for what a header asks for
    if declared != info.file_size:
        raise ValueError(f"{info.filename} is not as long as its shape says")
    with archive.open(info) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _declared_size(stream: Any) -> int:
    """Return how long an array's file is by its header, in bytes."""
    counting = _Counting(stream)
    version = np.lib.format.read_magic(counting)
    if version not in _HEADERS:
        raise ValueError(f"unknown version {version} of an array")
    shape, _, kind = _HEADERS[version](counting)
    if kind.hasobject:
        raise ValueError("Object arrays are refused")
    return counting.read_so_far + int(np.prod(shape, dtype=object)) * kind.itemsize


_HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class _Counting:
    """A stream that counts what was read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.read_so_far = stream, 0

    def read(self, size: int = -1, /) -> bytes:
        content = self.stream.read(size)
        self.read_so_far += len(content)
        return content


def _checksum(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    """SHA-256 of the arrays, by name, and of the metadata without its checksum."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name].astype(arrays[name].dtype.newbyteorder("<"))
        digest.update(f"{name}{array.shape}{array.dtype.str}".encode())
        digest.update(array.tobytes())
    described = {key: value for key, value in metadata.items() if key != "checksum"}
    digest.update(json.dumps(described, sort_keys=True).encode())
    return digest.hexdigest()


def _called(kind: Any) -> str:
    return " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
