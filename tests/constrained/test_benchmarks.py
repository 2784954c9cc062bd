"""The benchmarks of the constrained problem run at small size, and what they compare agrees."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from benchmarks import constrained_scale, derived_products, train


def test_scale(tmp_path: Path) -> None:
    path = tmp_path / "scale.json"
    arguments = ["--repeats", "1", "--samples", "5", "--depth", "3", "--depths", "2,3", "--json", str(path)]
    result = CliRunner().invoke(constrained_scale.main, arguments)
    assert result.exit_code == 0, result.output
    assert "train depth 3" in result.output
    record = json.loads(path.read_text())
    assert len(record["rows"]) == 2 * len(constrained_scale.CONTESTANTS) + 2
    assert all(row["iterations"] == record["rows"][0]["iterations"] for row in record["rows"][:3])
    assert record["rows"][-1]["relative error"] <= 1e-10
    assert record["findings"]["fatrop, solve: exponent of depth"] is not None


def test_derived_products(tmp_path: Path) -> None:
    path = tmp_path / "products.json"
    result = CliRunner().invoke(derived_products.main, ["--samples", "5", "--repeats", "1", "--json", str(path)])
    assert result.exit_code == 0, result.output
    rows = json.loads(path.read_text())["rows"]
    assert [row["size"] for row in rows] == [4, 4, 16, 16, 64, 64]
    assert all(row["recorded"]["median"] > 0 for row in rows)
    assert all(row["CasADi ratio"] > 0 for row in rows[::2])


def test_train(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    names = "xor,residual depth 20,linear regulator of 60 stages"
    result = CliRunner().invoke(train.main, ["--seeds", "1", "--cases", names, "--json", str(path)])
    assert result.exit_code == 0, result.output
    record = json.loads(path.read_text())
    assert {row["arrived"] for row in record["rows"]} == {"1/1"}
    energies = [row["energy"] for row in record["rows"] if row["case"] == "residual depth 20"]
    assert len(energies) == 5
    assert max(energies) - min(energies) <= 1e-10  # one minimum for all
    assert record["findings"]["residual depth 20: ipopt / newton"] > 0


def test_train_names_an_unknown_case() -> None:
    result = CliRunner().invoke(train.main, ["--cases", "xorr"])
    assert result.exit_code == 2
    assert "no case 'xorr'; known are xor, teacher-student" in result.output
