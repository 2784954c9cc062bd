"""The folder of a run: what is remembered, what invalidates it, and that nothing half-done stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import actionopt as ao
from actionopt.report.workspace import LOCK, MANIFEST, Workspace, key_of, open_workspace, write_text


def remember(workspace: Workspace, stage: str, key: str, files: tuple[str, ...] = ()) -> None:
    workspace.remember(stage, key, state="ok", message="fine", seconds=0.1, summary={"value": 1.5}, files=files)


def test_finished_stage_is_found_again(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "new" / "folder") as workspace:
        write_text(workspace.path("a.txt"), "data")
        remember(workspace, "flow", "key", ("a.txt",))
    with open_workspace(tmp_path / "new" / "folder") as workspace:
        record = workspace.finished("flow", "key")
        assert record is not None
        assert (record.state, record.message, record.summary) == ("ok", "fine", {"value": 1.5})
        assert workspace.finished("flow", "another key") is None
        assert workspace.finished("action", "key") is None


@pytest.mark.parametrize("change", ["edited", "removed"])
def test_changed_files_count_as_unfinished(tmp_path: Path, change: str) -> None:
    with open_workspace(tmp_path) as workspace:
        path = workspace.path("a.txt")
        write_text(path, "data")
        remember(workspace, "flow", "key", ("a.txt",))
        path.write_text("other") if change == "edited" else path.unlink()
        assert workspace.finished("flow", "key") is None


def test_forgotten_stage_stays_forgotten(tmp_path: Path) -> None:
    with open_workspace(tmp_path) as workspace:
        remember(workspace, "flow", "key")
        workspace.forget("flow")
    with open_workspace(tmp_path) as workspace:
        assert workspace.finished("flow", "key") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "other", "version": 1, "stages": {}}', '{"stages": 3}'])
def test_damaged_manifest_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with open_workspace(tmp_path) as workspace:
        assert workspace.records == {}
        remember(workspace, "flow", "key")
    assert set(json.loads((tmp_path / MANIFEST).read_text())["stages"]) == {"flow"}


def test_manifest_of_another_version_is_not_read(tmp_path: Path) -> None:
    with open_workspace(tmp_path) as workspace:
        remember(workspace, "flow", "key")
    stored = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**stored, "version": 0}))
    with open_workspace(tmp_path) as workspace:
        assert workspace.records == {}


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    message = r"another run works in .* \(process \d+, since .*\): wait for it or give another --out"
    with open_workspace(tmp_path), pytest.raises(ao.InputError, match=message), open_workspace(tmp_path):
        pass
    with open_workspace(tmp_path):  # the lock has gone with the run
        pass


def test_lock_goes_with_a_killed_process(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom actionopt.report.workspace import open_workspace\n"
        f"with open_workspace({str(tmp_path)!r}):\n    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with open_workspace(tmp_path):
        pass


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ao.InputError, match=r"cannot make the folder .*file/folder"),
        open_workspace(tmp_path / "file/folder"),
    ):
        pass


def test_full_disk_leaves_earlier_results_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_workspace(tmp_path) as workspace:
        remember(workspace, "flow", "key")
        before = (tmp_path / MANIFEST).read_bytes()

        def full(*arguments: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ao.InputError, match=r"cannot write .*manifest.json: No space left on device"):
            remember(workspace, "action", "key")
        monkeypatch.undo()
    assert (tmp_path / MANIFEST).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", MANIFEST]


def test_keys_tell_values_apart() -> None:
    assert key_of("flow", {"a": 1.0, "b": None}) == key_of("flow", {"b": None, "a": 1.0})
    assert len({key_of(x) for x in (1, 1.5, "1", [1], None, {"a": 1})}) == 6


def entry(**changed: Any) -> dict[str, Any]:
    made = {"key": "k", "state": "ok", "message": "fine", "seconds": 0.1, "summary": {}, "files": {}}
    return {**made, **changed}


@pytest.mark.parametrize(
    "changed",
    [
        {"state": "<script>"},
        {"state": 3},
        {"message": ["fine"]},
        {"seconds": float("nan")},
        {"seconds": "0.1"},
        {"summary": []},
        {"files": {"../outside.txt": "0" * 64}},
        {"files": {"/etc/passwd": "0" * 64}},
        {"files": {"a.txt": 5}},
        {"more": 1},
    ],
)
def test_a_manifest_that_someone_edited_counts_as_none(tmp_path: Path, changed: dict[str, Any]) -> None:
    stored = {"schema": "actionopt.run", "version": 1, "stages": {"flow": entry(**changed)}}
    (tmp_path / MANIFEST).write_text(json.dumps(stored))
    assert Workspace(tmp_path).records == {}
    stored["stages"] = {"flow": entry()}
    (tmp_path / MANIFEST).write_text(json.dumps(stored))
    assert set(Workspace(tmp_path).records) == {"flow"}


def test_a_manifest_without_end_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("[" * 200_000)
    assert Workspace(tmp_path).records == {}


def test_lock_is_never_written_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "precious.txt"
    target.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / LOCK).symlink_to(target)
    with pytest.raises(ao.InputError, match=r"\.lock is no regular file: remove it"), open_workspace(folder):
        pass
    assert target.read_text() == "precious"


@pytest.mark.parametrize("name", [LOCK, MANIFEST])
def test_a_pipe_in_the_folder_does_not_hang(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    if name == LOCK:
        with pytest.raises(ao.InputError, match="no regular file"), open_workspace(tmp_path):
            pass
    else:
        assert Workspace(tmp_path).records == {}


def test_a_result_that_became_a_link_counts_as_changed(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "run") as workspace:
        write_text(workspace.path("a.txt"), "data")
        remember(workspace, "flow", "key", ("a.txt",))
        (tmp_path / "copy.txt").write_text("data")
        workspace.path("a.txt").unlink()
        workspace.path("a.txt").symlink_to(tmp_path / "copy.txt")
        assert workspace.finished("flow", "key") is None


def test_what_a_killed_run_was_writing_is_swept_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".flow.writing-ab12cd.npz"
    left.write_bytes(b"half")
    (tmp_path / "mine.txt").write_text("kept")
    with open_workspace(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "mine.txt"]


def test_files_below_the_folder_are_remembered(tmp_path: Path) -> None:
    """A run's figures lie in a folder of their own."""
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "one.svg").write_text("<svg/>")
    with open_workspace(tmp_path) as workspace:
        kept = workspace.remember(
            "figure one", "key", state="ok", message="", seconds=1.0, summary={}, files=["figures/one.svg"]
        )
    with open_workspace(tmp_path) as workspace:
        assert workspace.finished("figure one", "key") == kept
