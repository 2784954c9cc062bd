"""Files are replaced whole, and nothing half-done is left behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from actionopt import InputError
from actionopt.files import replacing


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_into_new_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    with replacing(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert names(path.parent) == ["file.txt"]


def write_half(path: Path, error: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError("wrong"), KeyboardInterrupt()])
def test_an_error_leaves_the_earlier_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.txt"
    path.write_text("earlier")
    with pytest.raises(type(error)):
        write_half(path, error)
    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["file.txt"]


def test_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*file\.txt: No space left on device"):
        write_half(tmp_path / "file.txt", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert names(tmp_path) == []


def test_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a folder"), replacing(tmp_path):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"), replacing(tmp_path / "file" / "inside.txt"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"), replacing(tmp_path / "file"):
        pass


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    with replacing(tmp_path / "ours") as temporary:
        temporary.write_text("")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_permissions_of_the_replaced_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("earlier")
    path.chmod(0o600)
    with replacing(path) as temporary:
        temporary.write_text("later")
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_mask_of_other_threads_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(mask: int) -> int:
        raise AssertionError("the umask belongs to the whole process")

    monkeypatch.setattr(os, "umask", forbidden)
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("")


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("earlier")
    under_way = temporary.with_name(temporary.name + "x.txt")
    for left, age in ((temporary, 7200), (under_way, 0)):
        left.write_text("half")
        then = left.stat().st_mtime - age
        os.utime(left, (then, then))
    other = tmp_path / ".file2.writing-abc.txt"
    other.write_text("another file's")
    os.utime(other, (0, 0))
    with replacing(path) as new:
        new.write_text("whole")
    assert names(tmp_path) == sorted(["file.txt", under_way.name, other.name])
