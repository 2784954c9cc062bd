"""What is proved, how much of what is true it is, and how long it takes.

    python -m benchmarks.proofs [--json PATH]

1. Balls: the largest radius proved by one box, the radius beyond which a point with a negative rate was found and
   checked, and the processor time of the search. Columns "first" are the radii that a first prototype proved.
2. Many boxes: where the largest ball is known exactly.
3. Fits: output-space certificates of a network with more weights than outputs.
4. Tubes: the radius at the end of a tube over that of the true flows (closed form), or what was proved.
5. Stability: bound over the largest change in 200 random replacements, and over the worst of all that was found.
6. Time: a Hessian at 33 weights, the Gauss-Newton form at 65.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import actionopt as ao
from actionopt.contraction.influence import influential_exchanges
from actionopt.contraction.proof.derivatives import box_of, derivatives
from actionopt.contraction.proof.prover import Prover
from actionopt.contraction.proof.refute import refuted_beyond
from actionopt.ops import NUMPY
from benchmarks._report import Report
from problems import double_well, gene_cascade, robot_arm, xor

COLUMNS = ("case", "n", "rate", "proved", "refuted_beyond", "seconds", "first", "note")
Case = tuple[ao.Problem, np.ndarray]


def minimum(problem: ao.Problem, start: np.ndarray) -> np.ndarray:
    return ao.train(problem, start, solver="newton").weights


def product() -> Case:
    """`(a b - 1)^2 / 2` with decay .1 at its minimum; the largest ball has radius .14160."""

    def value(ops: Any, y: Any, target: Any) -> Any:
        a, b = ops.columns(y)
        return 0.5 * (a * b - 1.0) ** 2

    problem = ao.Problem(ao.Parameter(2), None, None, ao.CustomLoss(value), output_metric=None, weight_decay=0.1)
    return problem, np.full(2, np.sqrt(0.9))


def arm(posture: int) -> Case:
    return robot_arm.build(), robot_arm.postures()[posture]


def genes(count: int, weight_decay: float) -> Case:
    problem = gene_cascade.build(genes=count, weight_decay=weight_decay)
    start = gene_cascade.solution(count)
    return problem, start if not weight_decay else minimum(problem, start)


def teacher(weight_decay: float) -> Case:
    """A tanh network 2-2-1 on 20 samples that it labelled itself, its minimum with decay beside it.

    The seed is one whose rates at both minima, 5.7e-4 and .0154, are those of the prototype's instance, which is lost.
    """
    inputs = np.random.default_rng(20).uniform(-1.0, 1.0, (20, 2))
    net = [ao.Dense(2, 2, "tanh"), ao.Dense(2, 1)]
    source = ao.Problem(net, inputs, np.zeros(20), ao.SquaredError())
    w = 2.0 * source.initial_weights(20)
    targets = source.outputs(w)
    problem = ao.Problem(net, inputs, targets, ao.SquaredError(), weight_decay=weight_decay)
    return problem, minimum(problem, w) if weight_decay else w


def narrow_xor() -> Case:
    problem = xor.build(width=2, weight_decay=0.02)
    return problem, minimum(problem, xor.solution(2))


def logistic() -> Case:
    inputs, targets = labelled(logistic_problem, 50)
    problem = logistic_problem(inputs, targets)
    return problem, minimum(problem, np.zeros(4))


CASES: tuple[tuple[str, Callable[[], Case], float], ...] = (
    ("a b, decay .1", product, 0.0977),
    ("arm, elbow up", lambda: arm(0), 0.00371),
    ("arm, elbow down", lambda: arm(1), 0.00374),
    ("gene 1", lambda: genes(1, 0.0), 0.0126),
    ("gene 3, decay .1", lambda: genes(3, 0.1), 0.0040),
    ("tanh 2-2-1, zero residual", lambda: teacher(0.0), 0.00327),
    ("tanh 2-2-1, decay .05", lambda: teacher(0.05), 0.00675),
    ("xor width 2, decay .02", narrow_xor, 0.0039),
    ("logistic d = 3, decay .1", logistic, 0.276),
)


def balls(report: Report) -> None:
    for name, build, first in CASES:
        problem, centre = build()
        proof = ao.prove_contraction(problem, centre)
        report.add(
            case=name,
            n=problem.size,
            rate=ao.contraction_rate(problem, centre, metric="euclidean"),
            proved=float(proof.radius),
            refuted_beyond=refuted_beyond(problem, centre, proof.radius),
            seconds=proof.seconds,
            first=first,
            note=proof.form,
        )
    problem, centre = product()
    proof = ao.prove_contraction(problem, centre, boxes=400)
    report.add(
        case="a b, 400 boxes", n=2, proved=float(proof.radius), seconds=proof.seconds, note=f"{proof.boxes} boxes"
    )
    report.find(boxes_400_of_exact=proof.radius / 0.14159891)


def fits(report: Report) -> None:
    problem = xor.build(width=8)
    w = minimum(problem, problem.initial_weights(0))
    begun, best = time.process_time(), None
    for radius in np.geomspace(1e-4, 0.1, 61):
        proof = ao.prove_fit(problem, w, radius)
        if not proof.proved:
            break
        best = proof
    assert best is not None
    report.add(
        case="plain xor, width 8, output space", n=problem.size, rate=best.kappa, proved=best.radius,
        seconds=time.process_time() - begun, first=0.00168, note="rate: kappa",
    )  # fmt: skip


def tubes(report: Report) -> None:
    problem = double_well.build()
    trajectory = ao.flow(problem, [0.1], horizon=8.0, steps=80, metric="euclidean", method="rk4")
    proof = ao.prove_basin(problem, trajectory, 0.01)
    t = trajectory.times[-1]
    flows = [1.0 / np.sqrt(1.0 + (1.0 / x**2 - 1.0) * np.exp(-2.0 * t)) for x in (0.09, 0.1, 0.11)]
    ratio = float(proof.radii[-1] / max(abs(flows[0] - flows[1]), abs(flows[2] - flows[1])))
    report.add(case="tube, double well", n=1, proved=proof.radii[0], seconds=proof.seconds, note=proof.status)
    report.find(double_well_tube_over_closed_form=ratio)
    for name, (problem, centre), energy, options in (
        ("gene 3", genes(3, 0.1), 0.065, {"horizon": 8.0, "steps": 60}),
        ("xor width 2", narrow_xor(), 0.12, {"horizon": 12.0, "steps": 120}),
    ):
        start = start_of_energy(problem, centre, energy)
        trajectory = ao.flow(problem, start, metric="euclidean", method="Radau", **options)
        for radius in (1e-3, 1e-4, 0.0):
            proof = ao.prove_basin(problem, trajectory, radius)
            if proof.proved:
                break
        note = f"{proof.status} from E = {problem.energy(start):.3g}, rates from {proof.rates.min():.2g}"
        report.add(case=f"tube, {name}", n=problem.size, proved=radius, seconds=proof.seconds, note=note)


def start_of_energy(problem: ao.Problem, centre: np.ndarray, energy: float) -> np.ndarray:
    """Return weights of a given energy, on a random ray from the minimum."""
    direction = np.random.default_rng(0).standard_normal(problem.size)
    low, high = 0.0, 4.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if problem.energy(centre + middle * direction) < energy else (low, middle)
    return centre + low * direction


def ridge_problem(inputs: Any, targets: Any) -> ao.Problem:
    return ao.Problem(ao.Dense(3, 1), inputs, targets, ao.SquaredError(), weight_decay=0.1)


def logistic_problem(inputs: Any, targets: Any) -> ao.Problem:
    return ao.Problem(ao.Dense(3, 1), inputs, targets, ao.Logistic(), weight_decay=0.1)


def mean_problem(inputs: Any, targets: Any) -> ao.Problem:
    return ao.Problem(ao.Parameter(2), None, targets, ao.SquaredError(), output_metric=None)


def labelled(build: Any, count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((count, 3))
    if build is mean_problem:
        return None, rng.standard_normal((count, 2))
    targets = inputs @ [1.0, -0.5, 0.3] + 0.3 * rng.standard_normal(count)
    return inputs, (targets > 0).astype(float) if build is logistic_problem else targets


def sample_losses(whole: ao.Problem, w: np.ndarray) -> np.ndarray:
    return np.asarray(whole.loss.value(NUMPY, whole.outputs(w), whole.target_array))


def stability(report: Report) -> None:
    """Bounds on limits and losses over what replacements did.

    Measured are 200 random replacements, and the three of all that move most to first order; for the mean every one.
    Where the metric depends on the data the flows start near the centre, as the bound has it, and run to a horizon.
    """
    cases = [("ridge", ridge_problem, n, "euclidean") for n in (50, 100, 200)]
    cases += [("logistic", logistic_problem, n, "euclidean") for n in (400, 800)]
    cases += [("mean", mean_problem, 50, "euclidean"), ("ridge, natural gradient", ridge_problem, 400, "joint")]
    for name, build, n, metric in cases:
        inputs, targets = labelled(build, n + 20)

        def take(rows: Any, build: Any = build, inputs: Any = inputs, targets: Any = targets) -> ao.Problem:
            return build(None if inputs is None else inputs[rows], targets[rows])

        problem, whole = take(np.arange(n)), take(np.arange(n + 20))
        centre, limits = minimum(problem, np.zeros(problem.size)), metric == "euclidean"
        start = None if limits else centre + 0.005

        def reached(problem: ao.Problem, metric: str = metric, start: Any = start) -> np.ndarray:
            if start is None:
                return minimum(problem, np.zeros(problem.size))
            return ao.flow(problem, start, horizon=2.0, steps=10, metric=metric, method="DOP853").weights[-1]

        base, rng, replaced = reached(problem), np.random.default_rng(0), np.arange(n, n + 20)
        random = [(int(rng.integers(n)), int(rng.choice(replaced))) for _ in range(200)]
        if name == "mean":
            random = [(out, int(into)) for out in range(n) for into in replaced]
        given = (None if inputs is None else inputs[n:], targets[n:])
        for quantity in ("limit", "loss") if limits else ("weights",):
            proof = ao.prove_stability(
                problem, centre, replacements=given, metric=metric, quantity=quantity,
                horizon=None if limits else 2.0, start=start,
            )  # fmt: skip
            found = []
            for out, into in [*influential_exchanges(whole, n, centre, quantity, 3), *random]:
                rows = np.arange(n)
                rows[out] = into
                other = reached(take(rows))
                if quantity == "loss":
                    found.append(float(abs(sample_losses(whole, other) - sample_losses(whole, base)).max()))
                else:
                    found.append(float(np.linalg.norm(other - base)))
            drawn, worst = max(found[3:]), max(found)
            note = (
                f"bound {proof.bound:.4g}: {proof.bound / drawn:.3f} x random, {proof.bound / worst:.3f} x worst found"
            )
            report.add(case=f"{name}, n = {n}, {quantity}", n=problem.size, rate=proof.rate,
                       proved=float(proof.radius), seconds=proof.seconds, note=note)  # fmt: skip


def times(report: Report) -> None:
    for width in (8, 16):
        problem = xor.build(width=width, weight_decay=0.02)
        w = problem.initial_weights(0)
        prover = Prover(problem, w, "euclidean", 1, np.inf)
        tasks = [
            ("Hessian over a box", lambda p=problem, w=w: derivatives(p, box_of(p, w, 1e-3), 2)),
            ("Gauss-Newton form", lambda p=prover: p._gauss_newton(1e-3)),
        ]
        for name, task in tasks:
            begun = time.process_time()
            task()
            report.add(case=f"{name}", n=problem.size, seconds=time.process_time() - begun)


def main() -> None:
    path = sys.argv[sys.argv.index("--json") + 1] if "--json" in sys.argv else None
    report = Report("Proofs of contraction, one thread, processor time", COLUMNS)
    for part in (balls, fits, tubes, stability, times):
        part(report)
    report.emit(path)


if __name__ == "__main__":
    main()
