"""Is the estimated distance of a flow honest, close, and cheap? `python -m benchmarks.certificate [--json PATH]`.

Six problems by six methods with 10, 40 and 160 steps: the largest estimated distance over time beside the largest true
one, in the metric, to a reference by DOP853 at its tightest tolerance. Then what the certificate costs beside the flow
by rk4 that it certifies, in processor time.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import actionopt as ao
from actionopt.metric.batched import BatchedMetric
from benchmarks._report import Report
from problems import deep_linear, gene_cascade, iris, linear_regression, robot_arm, teacher_student, xor

SYSTEMS: dict[str, tuple[Callable[..., ao.Problem], float]] = {
    "xor": (xor.build, 5.0),
    "robot arm": (robot_arm.build, 3.0),
    "gene cascade": (gene_cascade.build, 5.0),
    "deep linear": (deep_linear.build, 2.0),
    "teacher and student": (teacher_student.build, 3.0),
    "linear regression": (linear_regression.build, 3.0),
}
METHODS = ("euler", "rk4", "implicit_midpoint", "gauss2", "DOP853", "Radau")
STEPS = (10, 40, 160)
REFERENCE = 1e-12  # what the reference is good for: closer flows cannot be told from it
COLUMNS = ("problem", "method", "steps", "true", "estimated", "ratio", "least_ratio", "certificate", "action", "status")


def true_distance(problem: ao.Problem, found: ao.Trajectory, reference: np.ndarray) -> np.ndarray:
    """Distance of the nodes to the reference `(N+1, n)`, in the metric at either, whichever is larger."""
    off = found.weights - reference
    squares = [(off * BatchedMetric(problem, w).product(off)).sum(axis=1) for w in (found.weights, reference)]
    return np.asarray(np.sqrt(np.maximum(*squares)))


def rows(steps: tuple[int, ...] = STEPS, methods: tuple[str, ...] = METHODS) -> list[dict[str, Any]]:
    """Return a row a problem, method and number of steps."""
    out = []
    for name, (build, horizon) in SYSTEMS.items():
        problem = build()
        start = problem.initial_weights(0)
        finest = ao.flow(
            problem, start, horizon=horizon, steps=max(steps), method="DOP853", tol=REFERENCE, certify=False
        ).weights
        for method in methods:
            for count in steps:
                found = ao.flow(problem, start, horizon=horizon, steps=count, method=method, throw=False)
                reference = finest[:: max(steps) // count]
                true = true_distance(problem, found, reference[: len(found.times)])
                assert found.distance is not None
                told = true[1:] > REFERENCE  # below, the reference is no closer to the flow than the trajectory
                row = {
                    "problem": name,
                    "method": method,
                    "steps": count,
                    "true": true.max(),
                    "estimated": found.distance.max(),
                    "ratio": found.distance.max() / true.max() if told.any() else None,
                    "least_ratio": float((found.distance[1:] / true[1:])[told].min()) if told.any() else None,
                    "certificate": found.certificate,
                    "action": found.action,
                    "status": found.status,
                }
                out.append(dict(zip(COLUMNS, (row[column] for column in COLUMNS), strict=True)))
    return out


def findings(table: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum the rows up."""
    true, estimated, actions = (np.array([row[key] for row in table]) for key in ("true", "estimated", "action"))
    fixed = [row for row in table if row["method"] not in ("DOP853", "Radau")]
    least = [row["least_ratio"] for row in table if row["least_ratio"] is not None]
    found: dict[str, Any] = {
        "least estimated / true, at any node": min(least),
        "rank correlation, estimated": float(spearmanr(true, estimated)[0]),
        "rank correlation, discrete action": float(spearmanr(true, abs(actions))[0]),
    }
    for method in dict.fromkeys(row["method"] for row in fixed):
        found[f"largest estimated / true, {method}"] = max(
            r["ratio"] for r in fixed if r["method"] == method and r["ratio"]
        )
    near = [row["estimated"] for row in table if row["method"] in ("DOP853", "Radau") and row["true"] < 1e-11]
    if near:
        found["largest estimate of adaptive flows within 1e-11"] = max(near)
    return found


def costs(report: Report) -> None:
    """Processor time of the certificate as a part of that of the rk4 flow it certifies; medians of five."""
    for name, (build, horizon) in {**SYSTEMS, "iris": (iris.build, 2.0)}.items():
        problem = build()
        start = problem.initial_weights(0)
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(5):
            for certify in seconds:
                began = time.process_time()
                _ = ao.flow(problem, start, horizon=horizon, steps=100, method="rk4", certify=certify).status
                seconds[certify].append(time.process_time() - began)
        plain = statistics.median(seconds[False])
        report.find(**{f"certificate / rk4, {name}": statistics.median(seconds[True]) / plain - 1.0})


def main() -> None:
    json_path = sys.argv[sys.argv.index("--json") + 1] if "--json" in sys.argv else None
    report = Report("Certificates of computed flows", COLUMNS)
    table = rows()
    for row in table:
        report.add(**row)
    report.find(**findings(table))
    costs(report)
    report.emit(json_path)


if __name__ == "__main__":
    main()
