"""kill -9 at any moment of a run: no finished stage is lost, the march goes on from where it was kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actionopt.report.workspace import MANIFEST

pytestmark = pytest.mark.slow

# a run in a process that was loaded once, killed by its parent; a march that keeps itself after every step
PROGRAM = """
import os, signal, sys, time
from dataclasses import replace
from pathlib import Path

from actionopt import figures
from actionopt.action import checkpoint
from actionopt.report import write
from actionopt.report.run import run_stages
from actionopt.report.stages import Options

checkpoint.EVERY = checkpoint.BUSY = 0.0
draw = lambda context, dark: figures.figure(dark=dark)[0]
write.PICTURES = (replace(write.PICTURES[0], draw=draw),)

def child(folder):
    if not (pid := os.fork()):
        finish = lambda workspace, run: write.write_results(workspace, run, "run")
        run_stages(Path(sys.argv[1]), {}, folder, Options(steps=60), finish=finish)
        os._exit(0)
    return pid

def state(folder):
    so_far = folder / ".action-so-far.npz"
    print((folder / "manifest.json").read_text().replace("\\n", "") if (folder / "manifest.json").exists() else "{}")
    print(so_far.stat().st_size if so_far.exists() else 0, flush=True)

whole, killed = Path(sys.argv[2]), Path(sys.argv[3])
began = time.monotonic()
assert os.waitpid(child(whole), 0)[1] == 0
taken = time.monotonic() - began
for moment in range(1, 21):
    pid = child(killed)
    time.sleep(0.05 + taken * moment / 50)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    state(killed)
assert os.waitpid(child(killed), 0)[1] == 0
"""

PROBLEM = """
import time

import numpy as np
import actionopt as ao


class Slow(ao.Dense):
    def forward(self, ops, w, z):
        time.sleep(5e-5)
        return super().forward(ops, w, z)


def build():
    inputs = np.linspace(-1.0, 1.0, 8).reshape(4, 2)
    return ao.Problem([Slow(2, 3, "tanh"), ao.Dense(3, 1)], inputs, inputs[:, 0] ** 2, ao.SquaredError(), name="slow")
"""


def test_at_twenty_moments(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(PROBLEM)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = [sys.executable, "-c", PROGRAM, tmp_path / "slow.py", whole, killed]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 40
    finished: dict[str, Any] = {}
    reached = 0
    for manifest, size in zip(lines[::2], lines[1::2], strict=True):
        stages = json.loads(manifest).get("stages", {})
        # nothing that was finished is gone or was computed again: not even its seconds changed
        assert {name: stages.get(name) for name in finished} == finished
        if "action" not in stages:
            assert int(size) >= reached
            reached = int(size)
        finished = stages
    assert finished, "every kill came before the first stage was done"
    ends = [json.loads((folder / MANIFEST).read_text())["stages"] for folder in (whole, killed)]
    assert {name: record["state"] for name, record in ends[0].items()} == {
        name: record["state"] for name, record in ends[1].items()
    }
    energies = [records["flow"]["summary"]["energy_end"] for records in ends]
    assert energies[0] == energies[1]
    assert ends[0]["action"]["summary"]["energy_change"] == pytest.approx(
        ends[1]["action"]["summary"]["energy_change"], rel=1e-12
    )
    assert not list(killed.glob(".*so-far*"))
    assert not list(killed.glob(".*writing*"))
    assert (killed / "report.html").exists()
