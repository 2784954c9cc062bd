"""The frame of the command line: settings, JSON, exit status, one line for what is wrong."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
from click.testing import CliRunner

import actionopt as ao
from actionopt import cli
from actionopt.cli.common import emit, load_modular, parse_settings, plain, plot_command, problem_command

Run = Callable[..., "tuple[int, str, str]"]

LINEAR = "def build(width=1):\n    return ao.Problem(ao.Dense(1, width), [1.0], [[2.0] * width], ao.SquaredError())\n"


def test_settings_are_literals_or_words() -> None:
    given = ("width=8", "rate = 1e-3", "sizes=(1, 2)", "name=tanh", "on=True", "nothing=None", "text='a=b'", "path=a=b")
    assert parse_settings(given) == {
        "width": 8, "rate": 1e-3, "sizes": (1, 2), "name": "tanh", "on": True, "nothing": None, "text": "a=b",
        "path": "a=b",
    }  # fmt: skip


@pytest.mark.parametrize("setting", ["width", "=3", "2x=3", "", "a b=1"])
def test_settings_of_another_form(setting: str) -> None:
    with pytest.raises(ao.InputError, match="--set takes key=value, such as --set width=8; got"):
        parse_settings((setting,))


def test_setting_twice() -> None:
    with pytest.raises(ao.InputError, match="--set width was given twice"):
        parse_settings(("width=1", "width=2"))


@dataclass(frozen=True)
class Row:
    """A row of a result."""

    size: int
    error: float


def test_plain_makes_strict_json() -> None:
    record = {
        "array": np.array([[1.0, np.nan], [np.inf, 2.0]]),
        "number": np.float64(0.1),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "nested": [{"x": (1, None, -math.inf)}],
        "path": Path("a/b"),
        "row": Row(1, np.float64(np.nan)),
    }
    text = json.dumps(plain(record), allow_nan=False)
    assert json.loads(text) == {
        "array": [[1.0, None], [None, 2.0]],
        "number": 0.1,
        "count": 3,
        "flag": True,
        "nested": [{"x": [1, None, None]}],
        "path": "a/b",
        "row": {"size": 1, "error": None},
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "actionopt: Missing command."),
        (["chek", "x.py"], "actionopt: unknown command 'chek'; did you mean 'check'? Known: "),
        (["--nonsense"], "actionopt: No such option"),
        (["check"], "actionopt: Missing argument 'PROBLEM.py'."),
        (
            ["check", "nowhere.py"],
            "actionopt: no problem file nowhere.py: expected a Python file with a function build",
        ),
        (["check", "x.py", "y.py"], "actionopt: Got unexpected extra argument (y.py)"),
        (["check", "problems/xor.py", "--set", "width"], "actionopt: --set takes key=value"),
        (["check", "problems/xor.py", "--set", "wdith=3"], "actionopt: unknown option of problems/xor.py 'wdith'; did"),
    ],
)
def test_wrong_command_line(run: Run, args: list[str], message: str) -> None:
    status, out, err = run(*args)
    assert (status, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(run: Run, name: str) -> None:
    status, out, err = run(name, "--help")
    assert (status, err) == (0, "")
    assert name in out.splitlines()[0]
    assert len(out.splitlines()[2].strip()) > 20


def test_help_and_version(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert all(name in out for name in cli.COMMANDS)
    assert run("--version")[:2] == (0, f"actionopt, version {ao.__version__}\n")


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from actionopt.cli import main; main(['--help'], standalone_mode=False);"
        "sys.exit(any(m.startswith('actionopt.cli.') and m != 'actionopt.cli.reporting' for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ao.InputError("the input\nis wrong"), 2, "actionopt: the input is wrong\n"),
        (ao.SolverError("it stopped"), 1, "actionopt: it stopped\n"),
        (ao.SolverError("stopped by hand", SimpleNamespace(status="interrupted")), 130, "actionopt: stopped by hand\n"),
        (KeyboardInterrupt(), 130, "actionopt: interrupted\n"),
        (click.BadParameter("odd"), 2, "actionopt: Invalid value: odd\n"),
    ],
)
def test_errors_become_a_line_and_a_status(error: BaseException, status: int, message: str) -> None:
    @problem_command
    def command(path: Path, settings: dict, as_json: bool) -> None:
        raise error

    result = CliRunner().invoke(command, ["p.py"])
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.strip("\n") == message.strip("\n")


def test_errors_of_our_own_keep_their_traceback() -> None:
    @problem_command
    def command(path: Path, settings: dict, as_json: bool) -> None:
        raise ZeroDivisionError("a bug")

    assert isinstance(CliRunner().invoke(command, ["p.py"]).exception, ZeroDivisionError)


def test_json_alone_on_standard_output() -> None:
    @problem_command
    @click.option("--number", type=int)
    def command(path: Path, settings: dict, as_json: bool, number: int) -> int:
        print("chatter")
        emit(as_json, {"path": path, "number": number, **settings}, "a table")
        return number

    result = CliRunner().invoke(command, ["p.py", "--set", "a=1", "--number", "1", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"path": "p.py", "number": 1, "a": 1}
    assert result.stderr == "chatter\n"
    assert CliRunner().invoke(command, ["p.py", "--number", "0"]).stdout == "chatter\na table\n"


def test_json_alone_where_compiled_code_prints(tmp_path: Path) -> None:
    """Also in a process of its own, with a write to the descriptor as Fortran and C++ solvers do it."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from actionopt.cli.common import emit, problem_command\n"
        "@problem_command\n"
        "def command(path, settings, as_json):\n"
        "    os.write(1, b'compiled chatter\\n')\n"
        "    emit(as_json, {'x': 1}, '')\n"
        "    return 1\n"
        "command()\n"
    )
    done = subprocess.run([sys.executable, script, "p.py", "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, '{"x": 1}\n', "compiled chatter\n")


def test_closed_pipe_is_quiet(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from actionopt.cli.common import emit, problem_command\n"
        "@problem_command\n"
        "def command(path, settings, as_json):\n"
        "    emit(as_json, {}, 'line\\n' * 100000)\n"
        "command()\n"
    )
    done = subprocess.run(
        f"{sys.executable} {script} p.py | head -n 1", shell=True, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("line\n", "")


def test_lagrangian_where_a_problem_is_needed(problem_file: Callable[[str], Path]) -> None:
    path = problem_file("def build():\n    return ao.Lagrangian(1, lambda ops, w, v: ops.sum(v * v))\n")
    with pytest.raises(
        ao.InputError, match=r"needs a Problem .* returned a Lagrangian; for that there is `actionopt act"
    ):
        load_modular(path, {})


def test_plot_command_writes_the_figure(problem_file: Callable[[str], Path], tmp_path: Path) -> None:
    from actionopt import figures

    @plot_command
    def script(path: Path, settings: dict, dark: bool) -> object:
        problem = load_modular(path, settings)
        fig, ax = figures.figure(dark=dark)
        ax.plot(problem.initial_weights())
        return fig

    path = problem_file(LINEAR)
    out = tmp_path / "new" / "figure.svg"
    result = CliRunner().invoke(script, [str(path), "--set", "width=2", "--out", str(out), "--dark"])
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    assert out.read_text().startswith("<?xml")
    result = CliRunner().invoke(script, [str(path), "--out", str(tmp_path / "figure.gif")])
    assert result.exit_code == 2
    assert "must end in .png, .svg, .pdf; got .gif" in result.stderr
    assert CliRunner().invoke(script, [str(path)]).stderr == "actionopt: Missing option '--out'.\n"
