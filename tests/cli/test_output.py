"""What happens to a result when its print fails: it was saved before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
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


@pytest.mark.parametrize("as_json", [False, True])
def test_without_standard_error(as_json: bool) -> None:
    words = [sys.executable, "-m", "actionopt", *FLOW, *(["--json"] if as_json else [])]
    closed = ["bash", "-c", 'exec "$@" 2>&-', "bash"]
    done = subprocess.run([*closed, *words], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    assert "balance_defect" in done.stdout.replace(" ", "_")
    wrong = [*closed, *words[:4], "nowhere.py", "--horizon", "1"]
    assert subprocess.run(wrong, stdout=subprocess.PIPE, check=False).returncode == 2


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


def pressed(command: list[str], folder: Path, number: signal.Signals, mark: bytes) -> tuple[int, str]:
    """Send a signal once standard error holds a mark; the status, and what follows it there.

    A shell that runs tests in the background has Ctrl-C ignored: the program gets it as from a terminal.
    """
    code = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    words = [sys.executable, "-c", code, *command]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        seen = b""
        while mark not in seen:
            assert process.poll() is None, seen
            seen += os.read(process.stderr.fileno(), 4096)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    return process.returncode, (seen.rpartition(mark)[2] + said).decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mark", [b" actionopt.startup\n", b" casadi\n", b" actionopt.problem\n"])
def test_no_traceback_while_libraries_load(tmp_path: Path, mark: bytes, number: signal.Signals) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "actionopt", *FLOW]
    status, said = pressed(command, tmp_path, number, mark)
    assert status == 130
    assert "Traceback" not in said
    assert said.endswith("actionopt: interrupted\n")


SLOW = """
import numpy as np
import actionopt as ao

def build():
    print("built", flush=True, file=__import__("sys").stderr)
    rng = np.random.default_rng(0)
    layers = [ao.Dense(8, 24, "tanh"), ao.Dense(24, 24, "tanh"), ao.Dense(24, 3)]
    return ao.Problem(layers, rng.standard_normal((200, 8)), rng.standard_normal((200, 3)), ao.SquaredError())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_training_is_saved_and_says_so(tmp_path: Path, number: signal.Signals) -> None:
    """Newton's method of minutes, interrupted while it works or before."""
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "actionopt", "train", "slow.py", "--solver", "newton", "--tol", "1e-300"]
    status, said = pressed([*command, "--max-iterations", "1000000"], tmp_path, number, b"built\n")
    assert status == 130
    if "slow-interrupted.npy" in said:
        assert np.load(tmp_path / "slow-interrupted.npy").shape == (891,)
    assert said.splitlines()[-1].startswith("actionopt: interrupted")
    assert "Traceback" not in said
