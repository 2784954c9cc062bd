"""Growth of a metric step: the fitted exponents, and the script at small size."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from plots import scaling
from problems import teacher_student

TEACHER = Path(teacher_student.__file__)


def test_exponents_are_slopes_on_log_axes() -> None:
    assert scaling.exponent([(10.0, 2.0), (20.0, 16.0), (40.0, 128.0)]) == pytest.approx(3.0)


def test_rows_are_outputs_times_samples() -> None:
    assert scaling.rows_of(teacher_student.build(samples=7)) == 7


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_script(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"figure{suffix}"
    arguments = ["--weights", "width=4,8", "--rows", "samples=5,10", "--repeats", "1", "--out", str(out)]
    result = CliRunner().invoke(scaling.main, [str(TEACHER), *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert out.stat().st_size > 2000


def test_a_single_value_has_no_exponent(tmp_path: Path) -> None:
    arguments = ["--weights", "width=4", "--rows", "samples=5,10", "--out", str(tmp_path / "figure.png")]
    result = CliRunner().invoke(scaling.main, [str(TEACHER), *arguments])
    assert result.exit_code == 2
    assert "give at least two values with commas between" in result.output
