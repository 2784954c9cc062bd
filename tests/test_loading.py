"""Problem files: what they must hold, and messages that show the user's own line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import actionopt as ao
from actionopt.loading import named_points

GOOD = """
import actionopt as ao

POINTS = {"origin": (0.0, 0.0)}

def build(value=2.0, *, scale=1.0):
    return ao.Problem(ao.Dense(1, 1), [1.0], [scale * value], ao.SquaredError(), name=f"{value}")
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(source: str, name: str = "mine.py") -> Path:
        (tmp_path / name).write_text(source)
        return tmp_path / name

    return write


def test_options_reach_build(write: Callable[[str], Path]) -> None:
    path = write(GOOD)
    assert ao.load_problem(path).name == "2.0"
    assert ao.load_problem(str(path), value=3.0, scale=2.0).targets == [6.0]


def test_points(write: Callable[..., Path]) -> None:
    assert named_points(write(GOOD)) == {"origin": (0.0, 0.0)}
    assert named_points(write("x = 1", "none.py")) == {}


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("[1, 2]", r"POINTS must be a dictionary \{name: coordinates\}, got \[1, 2\]"),
        ("{1: (0, 0)}", "the names of POINTS must be strings, got 1"),
        ("{'a': 'b'}", r"POINTS\['a'\] must be numbers, one a coordinate, got 'b'"),
        ("{'a': [[1]]}", r"POINTS\['a'\] must be numbers, one a coordinate"),
    ],
)
def test_wrong_points(write: Callable[..., Path], points: str, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        named_points(write(f"POINTS = {points}\n"))


def test_options_for_any_name(write: Callable[[str], Path]) -> None:
    formula = "lambda ops, w, v: v * v"
    body = f"def build(**options):\n    return ao.Lagrangian(options['size'], {formula})\n"
    path = write(f"import actionopt as ao\n\n{body}")
    assert ao.load_problem(path, size=3).size == 3


def test_files_beside_it_can_be_imported(write: Callable[..., Path], tmp_path: Path) -> None:
    write("VALUE = 5.0\n", "constants_of_mine.py")
    path = write(GOOD.replace("import actionopt as ao", "import actionopt as ao\nfrom constants_of_mine import VALUE"))
    before = list(sys.path)
    try:
        assert ao.load_problem(path).name == "2.0"
    finally:
        sys.modules.pop("constants_of_mine", None)
    assert sys.path == before


def test_the_path_stays_as_it_was(write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the folder is on it already, and where the file itself changes it."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = list(sys.path)
    ao.load_problem(write(GOOD))
    ao.load_problem(write("import sys\nsys.path.clear()\n" + GOOD, "clears.py"))
    assert sys.path == before


def test_a_changed_file_is_read_again(write: Callable[[str], Path]) -> None:
    assert ao.load_problem(write(GOOD)).name == "2.0"
    assert ao.load_problem(write(GOOD.replace("value=2.0", "value=7.125"))).name == "7.125"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", r"mine\.py: expected a function build\(\*\*options\) that returns a Problem or a Lagrangian$"),
        ("build = 3\n", r"mine\.py: expected a function build"),
        ("def build(:\n", r"mine\.py, line 1, `def build\(:`: SyntaxError: invalid syntax$"),
        ("import nowhere_at_all\n", r"line 1, `import nowhere_at_all`: ModuleNotFoundError: No module named"),
        ("x = 1\ny = x / 0\n", r"line 2, `y = x / 0`: ZeroDivisionError: division by zero$"),
        ("raise SystemExit(3)\n", r"line 1, `raise SystemExit\(3\)`: SystemExit: 3$"),
        ("def build():\n    return 3\n", r"build\(\) must return a Problem or a Lagrangian, got int$"),
        ("def build():\n    pass\n", r"build\(\) must return a Problem or a Lagrangian, got NoneType$"),
        ("def build():\n    return helper()\n\ndef helper():\n    return [][1]\n", r"line 5, `return \[\]\[1\]`: "),
        (
            "import actionopt as ao\n\ndef build():\n"
            "    modules = [ao.Dense(2, 3), ao.Dense(4, 1)]\n"
            "    return ao.Problem(modules, [[1, 2]], [1], ao.SquaredError())\n",
            r"mine\.py, line 5, `return ao\.Problem\(.*`: .*Dense\(4, 1",
        ),
        (
            "import numpy as np\nimport actionopt as ao\n\nclass Own(ao.Module):\n"
            "    in_size, out_size, weight_size = 2, 2, 0\n    def forward(self, ops, w, z):\n"
            "        return np.tanh(z)\n\ndef build():\n"
            "    return ao.Problem([Own()], [[1, 2]], [[1, 2]], ao.SquaredError())\n",
            r"line 7, `return np\.tanh\(z\)`: module 1 Own: forward cannot be differentiated, TypeError",
        ),
        (
            "import numpy as np\n\ndef build():\n    return np.linalg.solve(np.zeros((2, 2)), np.ones(2))\n",
            r"line 4, `return np.linalg.solve\(.*`: LinAlgError: Singular matrix$",
        ),
    ],
)  # fmt: skip
def test_wrong_files(write: Callable[[str], Path], source: str, message: str) -> None:
    path = write(source)
    with pytest.raises(ao.InputError, match=message) as caught:
        ao.load_problem(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_fails_leaves_nothing_behind(write: Callable[[str], Path]) -> None:
    before = set(sys.modules)
    with pytest.raises(ao.InputError):
        ao.load_problem(write("raise ValueError('no')\n"))
    assert {name for name in set(sys.modules) - before if "problem" in name} == set()


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ao.InputError, match=r"no problem file .*gone\.py: expected a Python file"):
        ao.load_problem(tmp_path / "gone.py")
    with pytest.raises(ao.InputError, match="no problem file"):
        ao.load_problem(tmp_path)
    (tmp_path / "data.txt").write_text("1 2 3")
    with pytest.raises(ao.InputError, match=r"data\.txt: expected a Python file, with the ending \.py"):
        ao.load_problem(tmp_path / "data.txt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vlaue": 1}, r"unknown option of .*mine\.py 'vlaue'; did you mean 'value'\? Known: scale, value"),
        ({"zzz": 1}, r"unknown option of .*mine\.py 'zzz'\. Known: scale, value"),
        ({"value": "three"}, r"mine\.py, line 7, `return ao\.Problem.*`: TypeError: can't multiply sequence"),
        ({"value": np.nan}, r"line 7, .*targets must be finite, got nan at sample 0, column 0"),
    ],
)
def test_wrong_options(write: Callable[[str], Path], options: dict, message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.load_problem(write(GOOD), **options)


def test_missing_option(write: Callable[[str], Path]) -> None:
    with pytest.raises(ao.InputError, match=r"mine\.py: build\(\) is missing a required argument: 'width'"):
        ao.load_problem(write("def build(width):\n    return 0\n"))
