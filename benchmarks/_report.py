"""What every benchmark shares: one BLAS thread, medians with their spread, the machine, a table and JSON.

Run benchmarks as modules, `python -m benchmarks.NAME`: the package sets one BLAS thread before NumPy is loaded.

    report = Report("title", columns=("case", "seconds"))
    timing = measure(lambda: work(), repeats=5)
    report.add(case="small", seconds=timing)
    report.emit(json_path)
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds of repeated runs, and what the last run returned.

    Attributes
    ----------
    seconds : list of float
        One entry a run.
    value : object
        Result of the last run.
    """

    seconds: list[float]
    value: Any = field(default=None, repr=False)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """Fastest and slowest run."""
        return min(self.seconds), max(self.seconds)

    def __str__(self) -> str:
        low, high = self.spread
        return f"{duration(self.median)} ({duration(low)} .. {duration(high)})"

    def record(self) -> dict[str, Any]:
        return {"median": self.median, "min": self.spread[0], "max": self.spread[1], "runs": len(self.seconds)}


def measure(work: Callable[[], Any], *, repeats: int = 5, warmup: int = 0) -> Timing:
    """Time `work()` `repeats` times, after `warmup` runs that do not count."""
    for _ in range(warmup):
        work()
    seconds, value = [], None
    for _ in range(repeats):
        began = time.perf_counter()
        value = work()
        seconds.append(time.perf_counter() - began)
    return Timing(seconds, value)


def processor_seconds_of(pids: Sequence[int]) -> list[float]:
    """Return the processor time that processes have used so far, in seconds (Linux)."""
    tick = os.sysconf("SC_CLK_TCK")
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return [(int(field[11]) + int(field[12])) / tick for field in fields]


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the exponent k of `seconds = c sizes^k`, fitted to the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in GB (10^9 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def machine(*packages: str) -> dict[str, Any]:
    """Describe the machine and the versions that decide a figure; `packages` are added to the usual ones."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS"),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: _version(name) for name in ("actionopt", "numpy", "scipy", "casadi", *packages)},
    }


class Report:
    """Rows of one benchmark, printed as a table and written as JSON.

    Parameters
    ----------
    title : str
    columns : sequence of str
        Keys of the rows, in the order of the table.
    packages : sequence of str
        Further packages whose versions belong beside the figures.
    """

    def __init__(self, title: str, columns: Sequence[str], packages: Sequence[str] = ()) -> None:
        self.title = title
        self.columns = list(columns)
        self.machine = machine(*packages)
        self.rows: list[dict[str, Any]] = []
        self.findings: dict[str, Any] = {}

    def add(self, **row: Any) -> None:
        """Add a row; entries are numbers, text, None or Timings. It is printed to stderr at once."""
        unknown = set(row) - set(self.columns)
        if unknown:
            raise KeyError(f"{self.title}: no column {sorted(unknown)}, columns are {self.columns}")
        self.rows.append(row)
        print("  ".join(_cell(row.get(column)) for column in self.columns), file=sys.stderr, flush=True)

    def find(self, **findings: Any) -> None:
        """Add figures that sum the rows up: ratios, slopes."""
        self.findings.update(findings)

    def table(self) -> str:
        """Return the rows as a Markdown table, followed by the findings."""
        cells = [self.columns, *([_cell(row.get(column)) for column in self.columns] for row in self.rows)]
        widths = [max(len(line[index]) for line in cells) for index in range(len(self.columns))]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in cells
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        lines += ["", *(f"{name}: {_cell(value)}" for name, value in self.findings.items())]
        return "\n".join([f"# {self.title}", "", *lines]).rstrip()

    def record(self) -> dict[str, Any]:
        rows = [{key: _plain(value) for key, value in row.items()} for row in self.rows]
        findings = {key: _plain(value) for key, value in self.findings.items()}
        return {"title": self.title, "machine": self.machine, "rows": rows, "findings": findings}

    def emit(self, json_path: str | Path | None = None) -> None:
        """Print the table, and the JSON too unless it goes to a file."""
        print(self.table())
        text = json.dumps(self.record(), indent=1)
        if json_path is None:
            print("\n" + text)
            return
        path = Path(json_path)
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(text + "\n")
        os.replace(temporary, path)


def duration(seconds: float) -> str:
    """Write a time with three digits and its unit."""
    unit, size = next((pair for pair in (("s", 1.0), ("ms", 1e-3)) if seconds >= pair[1]), ("us", 1e-6))
    return f"{seconds / size:.3g} {unit}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Timing):
        return value.record()
    return value.item() if isinstance(value, np.generic) else value


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
