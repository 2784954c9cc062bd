"""Least-action paths: error against processor time, beside the geometric minimum action method and published values.

    python -m benchmarks.paths [RESULTS.json] [FIGURE.png]

Systems whose least action is known to ten digits. "here, no guess" is `least_action_path` from the drift and the
ends alone, its own search included; "gMAM" is the method as published (`_gmam.py`), which is given
a guess with the right bend; "here, guess of gMAM" starts from the same. The
published values are those of CriticalTransitions.jl, from its tests and documentation.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import actionopt as ao
from actionopt import figures
from actionopt.paths.system import System, make_flow
from benchmarks._gmam import action, gmam
from benchmarks._report import Report
from problems import fitzhugh_nagumo, maier_stein, toggle_switch

ELEMENTS = ((5, 10), (5, 10, 20), (10, 20, 40), (25, 50, 100))
POINTS = (30, 100, 300, 1000, 3000, 10_000)
REPEATS = 3
SEARCH, GIVEN = "here, no guess", "here, guess of gMAM"
FLOOR = 1e-10  # relative error below which the reference values are not known
PUBLISHED = {
    "Maier-Stein, beta = 10": (0.3375, "CriticalTransitions.jl, test/largedeviations/gMAM.jl"),
    "FitzHugh-Nagumo": (0.18, "CriticalTransitions.jl, test/largedeviations/gMAM.jl, +- 0.01"),
}


@dataclass(frozen=True)
class Case:
    """A system, its ends and saddle, a point that a good guess passes, and its least action."""

    name: str
    what: Callable[[], Any]
    start: Any
    end: Any
    through: Any
    action: float
    step: float = 0.1  # the longest, of 0.1, 0.02, 0.002, with which gMAM is stable


CASES = (
    Case("Maier-Stein, beta = 10", maier_stein.build, (-1.0, 0.0), (0.0, 0.0), (-0.5, 0.35), 0.34004140333),
    Case(
        "FitzHugh-Nagumo",
        fitzhugh_nagumo.build,
        fitzhugh_nagumo.POINTS["excited"],
        fitzhugh_nagumo.POINTS["saddle"],
        (0.3, 0.3),
        fitzhugh_nagumo.ACTION,
        0.002,
    ),
    Case(
        "toggle switch, constant noise",
        lambda: toggle_switch.build("constant"),
        toggle_switch.POINTS["u high"],
        (1.2134116627622296, 1.2134116627622296),
        (1.9, 0.8),
        toggle_switch.ACTIONS["constant"],
    ),
)


def main() -> None:
    """Run all cases; write JSON and the figure where their paths are given."""
    report = Report(
        "Least-action paths", ("system", "method", "size", "cpu seconds", "action", "relative error", "estimated error")
    )
    for case in CASES:
        _here(report, case)
        _peer(report, case)
        if case.name in PUBLISHED:
            value, source = PUBLISHED[case.name]
            report.add(
                system=case.name, method=source, action=value, **{"relative error": abs(value / case.action - 1)}
            )
    report.find(**_ratios(report))
    if len(sys.argv) > 2:
        figures.save(_figure(report), sys.argv[2])
    report.emit(sys.argv[1] if len(sys.argv) > 1 else None)


def _here(report: Report, case: Case) -> None:
    given = ao.path_through([case.start, case.through, case.end], steps=100)
    for method, guess in ((SEARCH, None), (GIVEN, given)):
        for elements in ELEMENTS:

            def work(guess: Any = guess, elements: Any = elements) -> Any:
                return ao.least_action_path(case.what(), case.start, case.end, elements=elements, guess=guess)

            seconds, found = _timed(work)
            report.add(
                system=case.name,
                method=method,
                size=elements[-1],
                action=found.action,
                **{
                    "cpu seconds": seconds,
                    "relative error": abs(found.action / case.action - 1),
                    "estimated error": found.action_error / case.action,
                },
            )


def _peer(report: Report, case: Case) -> None:
    what = case.what()
    system = System(make_flow(what, "layerwise"), np.array(case.start))
    drift = system.flow.drift
    jacobian = system.flow.jacobian
    for count in POINTS:
        guess = ao.path_through([case.start, case.through, case.end], steps=count)
        seconds, (points, steps) = _timed(lambda g=guess: gmam(g, drift, jacobian, step=case.step), repeats=1)
        found = action(points, drift)
        assert abs(found / case.action - 1) < 0.05, f"gMAM found another path of {case.name}: {found}"
        report.add(
            system=case.name, method=f"gMAM ({steps} steps)", size=count, action=found,
            **{"cpu seconds": seconds, "relative error": abs(found / case.action - 1)},
        )  # fmt: skip


def _timed(work: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, Any]:
    """Median processor seconds of some runs, and what the last returned."""
    seconds, value = [], None
    for _ in range(repeats):
        began = time.process_time()
        value = work()
        seconds.append(time.process_time() - began)
    return float(np.median(seconds)), value


def _ratios(report: Report) -> dict[str, float]:
    """How much smaller the error of our finest mesh is than gMAM's in the same time, between two runs of gMAM's."""
    ratios = {}
    for case in CASES:
        rows = [row for row in report.rows if row["system"] == case.name and row.get("cpu seconds")]
        peers = sorted((r["cpu seconds"], r["relative error"]) for r in rows if r["method"].startswith("gMAM"))
        times, errors = np.log(np.array(peers).T)
        for method in (SEARCH, GIVEN):
            finest = max((row for row in rows if row["method"] == method), key=lambda row: row["size"])
            theirs = float(np.exp(np.interp(np.log(finest["cpu seconds"]), times, errors)))
            name = f"{case.name}: error of gMAM over that {method}, in {finest['cpu seconds']:.2g} s"
            ratios[name] = theirs / max(finest["relative error"], FLOOR)
    return ratios


def _figure(report: Report) -> Any:
    fig, axes = figures.figure(1, len(CASES), width=3.0 * len(CASES), height=2.9)
    for ax, case in zip(np.atleast_1d(axes), CASES, strict=True):
        rows = [row for row in report.rows if row["system"] == case.name and row.get("cpu seconds")]
        for label, color, marker in (
            (SEARCH, figures.COLORS[0], "o-"),
            (GIVEN, figures.COLORS[2], "^-"),
            ("gMAM", figures.COLORS[1], "s--"),
        ):
            mine = [row for row in rows if row["method"].startswith(label)]
            errors = [max(row["relative error"], FLOOR) for row in mine]
            ax.loglog([row["cpu seconds"] for row in mine], errors, marker, color=color, label=label, ms=4)
        if case.name in PUBLISHED:
            error = abs(PUBLISHED[case.name][0] / case.action - 1)
            ax.axhline(error, color=figures.GREY, lw=0.9, ls=":", label="published value")
        ax.set(xlabel="CPU seconds", ylabel="relative error of the action", xlim=(3e-3, 1.0))
        ax.xaxis.set_minor_formatter("")
        ax.set_title(case.name, fontsize=9)
    handles, labels = np.atleast_1d(axes)[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)  # beside the curves, not over them
    return fig


if __name__ == "__main__":
    main()
