"""What happens to a result when its print fails: it was saved before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import actionopt as ao

ROOT = Path(__file__).parents[2]
FLOW = ["flow", str(ROOT / "problems" / "xor.py"), "--horizon", "1", "--steps", "5"]
ACTION = ["action", str(ROOT / "problems" / "quadratic.py"), "--horizon", "1.5", "--steps", "20"]
COMMANDS = {"flow": FLOW, "action": [*ACTION, "--start", "start", "--end", "end"]}


def command(name: str, out: Path) -> list[str]:
    return [sys.executable, "-m", "actionopt", *COMMANDS[name], "--out", str(out)]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_behind_standard_output_costs_the_print_alone(tmp_path: Path, name: str) -> None:
    out = tmp_path / "kept.npz"
    with open("/dev/full", "w") as full:
        done = subprocess.run(command(name, out), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "actionopt: cannot write the output: No space left on device\n")
    assert ao.Trajectory.load(out).success


@pytest.mark.parametrize("as_json", [False, True])
def test_a_reader_that_has_gone_is_no_error(tmp_path: Path, as_json: bool) -> None:
    out = tmp_path / "kept.npz"
    reader, writer = os.pipe()
    os.close(reader)
    words = [*command("flow", out), *(["--json"] if as_json else [])]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert ao.Trajectory.load(out).success


@pytest.mark.parametrize("as_json", [False, True])
def test_without_standard_output(tmp_path: Path, as_json: bool) -> None:
    out = tmp_path / "kept.npz"
    words = [*command("flow", out)[3:], *(["--json"] if as_json else [])]
    code = f"import sys; sys.stdout = None; from actionopt.cli import main; main({words!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    assert ao.Trajectory.load(out).success


def test_terminated_is_interrupted(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "actionopt", "flow", FLOW[1], "--horizon", "100", "--steps", "200000"]
    out = tmp_path / "kept.npz"
    with subprocess.Popen(
        [*words, "--out", str(out), "--progress"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        seen = b""
        while seen.count(b"it/s") < 4:
            assert process.poll() is None, seen
            seen += os.read(process.stderr.fileno(), 100)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert f"interrupted; the last trajectory is in {out}" in said
    assert ao.Trajectory.load(out).status == "interrupted"
