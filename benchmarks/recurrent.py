"""Training a recurrent cell, lifted, against the same program written by hand: `python -m benchmarks.recurrent`.

A cell `h <- tanh(W [x, h] + b)` over 20 steps of 32 sequences, read at the end: the states of all steps are variables,
the equations constraints. The hand-written program is what somebody who knows CasADi well would write: one SX function
a cell with its Jacobian and the Hessian of its Lagrangian, mapped over all steps and samples at once, the sparse
matrices assembled by hand and handed to ipopt in place of its own derivatives. Beside it the program as most write it,
with CasADi's own derivatives of the mapped functions. Processor seconds, build and solve together; medians.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np

import actionopt as ao
from benchmarks._report import Report

STEPS, SAMPLES, INPUTS, WIDTH = 20, 32, 2, 4
STARTS = tuple(range(1, 9))
OPTIONS = {"print_level": 0, "sb": "yes", "tol": 1e-8, "acceptable_iter": 0, "mumps_pivot_order": 5}
COLUMNS = ("steps", "start", "contestant", "total", "iterations", "ratio", "ratio_an_iteration", "energy")


def sequences(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs `(B, T, 2)` and targets `(B, 1)`: whether the running sum of the first input ends high."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, steps, INPUTS))
    return x, np.tanh(x[:, :, :1].sum(axis=1) / np.sqrt(steps))


def network(steps: int) -> ao.Problem:
    x, y = sequences(steps)
    cell, read = ao.Dense(INPUTS + WIDTH, WIDTH, "tanh", name="cell"), ao.Dense(WIDTH, 1, name="read")
    h = ao.Input(np.zeros((SAMPLES, WIDTH)), name="h0")
    for k in range(steps):
        h = cell(ao.Input(x[:, k], name=f"x{k + 1}"), h)
    return ao.Problem([ao.Cost(read(h), ao.SquaredError(), y)], weight_decay=1e-3, name="recurrent cell")


def ours(steps: int, w0: np.ndarray) -> dict[str, Any]:
    began = time.process_time()
    found = ao.train(network(steps), w0, solver="ipopt", formulation="lifted")
    total = time.process_time() - began
    return {
        "total": total, "iterations": found.stats["iterations"], "energy": found.energy, "weights": found.weights
    }  # fmt: skip


class ByHand:
    """The program of the cell: weights, then the states of all steps, sample after sample, then the outputs."""

    def __init__(self, steps: int) -> None:
        self.x, self.y = sequences(steps)
        self.steps, self.cell, self.read = steps, WIDTH * (INPUTS + WIDTH + 1), WIDTH + 1
        self.weights = self.cell + self.read
        self.states = self.weights + np.arange(steps * SAMPLES * WIDTH).reshape(steps, SAMPLES, WIDTH)
        self.outputs = self.states[-1, -1, -1] + 1 + np.arange(SAMPLES)
        self.size = self.weights + steps * SAMPLES * WIDTH + SAMPLES
        self.data = self.x.transpose(1, 0, 2).reshape(-1, INPUTS).T  # step after step

    def functions(self) -> tuple[ca.Function, ...]:
        """The cell on one sample with its derivatives, in SX: value; Jacobians; Hessian of the Lagrangian."""
        w, z, x, lam = (ca.SX.sym(n, k) for n, k in zip("wzxl", (self.cell, WIDTH, INPUTS, WIDTH), strict=True))
        matrix = ca.reshape(w[: WIDTH * (INPUTS + WIDTH)], INPUTS + WIDTH, WIDTH).T
        out = ca.tanh(matrix @ ca.vertcat(x, z) + w[WIDTH * (INPUTS + WIDTH) :])
        joined = ca.vertcat(w, z)
        slopes = ca.jacobian(out, joined)
        second = ca.triu(ca.hessian(ca.dot(lam, out), joined)[0])
        return (
            ca.Function("f", [z, x, w], [out]),
            ca.Function("j", [z, x, w], [slopes]),
            ca.Function("h", [z, x, w, lam], [second]),
        )

    def point(self, w: np.ndarray) -> np.ndarray:
        """The variables at weights, states simulated."""
        matrix, offset = w[: WIDTH * (INPUTS + WIDTH)].reshape(WIDTH, -1), w[WIDTH * (INPUTS + WIDTH) : self.cell]
        h, states = np.zeros((SAMPLES, WIDTH)), []
        for k in range(self.steps):
            h = np.tanh(np.concatenate([self.x[:, k], h], axis=1) @ matrix.T + offset)
            states.append(h)
        out = h @ w[self.cell : -1] + w[-1]
        return np.concatenate([w, np.ravel(states), out])

    def solve(self, w0: np.ndarray, *, blocks: bool) -> dict[str, Any]:
        """Build and solve; with derivatives by `blocks`, or CasADi's own."""
        began = time.process_time()
        v, sigma = ca.MX.sym("v", self.size), ca.MX.sym("sigma")
        count = self.steps * SAMPLES
        f, slopes, second = self.functions()
        w, r = v[: self.cell], v[self.cell : self.weights]
        z = ca.reshape(v[self.weights : self.outputs[0]], WIDTH, count)
        before = ca.horzcat(ca.DM.zeros(WIDTH, SAMPLES), z[:, : count - SAMPLES])
        out, last = v[self.outputs[0] :], z[:, count - SAMPLES :]
        gaps = ca.vec(f.map("F", "serial", count, [2], [])(before, self.data, w) - z)
        g = ca.vertcat(gaps, (r[:WIDTH].T @ last).T + r[WIDTH] - out)
        energy = ca.sumsqr(out - self.y[:, 0]) / (2 * SAMPLES) + 5e-4 * ca.sumsqr(v[: self.weights])
        options: dict[str, Any] = {"ipopt": OPTIONS, "print_time": False, "calc_lam_p": False}
        if blocks:
            jacobian = self._jacobian(slopes, before, w, r, last)
            lam = ca.MX.sym("lam", g.numel())
            hessian = self._hessian(second, before, w, lam, sigma)
            p = ca.MX(0, 1)
            gradient = ca.gradient(energy, v)
            names = ["x", "p", "lam_f", "lam_g"]
            options["cache"] = {
                "nlp_grad_f": ca.Function("nlp_grad_f", [v, p], [energy, gradient], names[:2], ["f", "grad_f_x"]),
                "nlp_jac_g": ca.Function("nlp_jac_g", [v, p], [g, jacobian], names[:2], ["g", "jac_g_x"]),
                "nlp_hess_l": ca.Function("nlp_hess_l", [v, p, sigma, lam], [hessian], names, ["triu_hess_gamma_x_x"]),
            }
        solver = ca.nlpsol("nlp", "ipopt", {"x": v, "f": energy, "g": g}, options)
        found = solver(x0=self.point(w0), lbg=0, ubg=0)
        x = found["x"].full().ravel()
        total, count = time.process_time() - began, solver.stats()["iter_count"]
        return {"total": total, "iterations": count, "energy": float(found["f"]), "weights": x[: self.weights]}

    def _jacobian(self, slopes: ca.Function, before: Any, w: Any, r: Any, last: Any) -> Any:
        count = self.steps * SAMPLES
        values = slopes.map("J", "serial", count, [2], [])(before, self.data, w)
        rows, columns = (np.array(part) for part in slopes.sparsity_out(0).get_triplet())
        equations = np.arange(count * WIDTH).reshape(count, WIDTH)
        variables = np.concatenate([np.tile(np.arange(self.cell), (count, 1)), self._before()], axis=1)
        at_row, at_column = equations[:, rows], variables[:, columns]
        kept = (at_column >= 0).ravel()
        reads = count * WIDTH + np.arange(SAMPLES)
        ends = self.states[-1]
        parts = [
            (at_row.ravel()[kept], at_column.ravel()[kept], ca.vec(values.nz[:])[np.flatnonzero(kept).tolist()]),
            (equations.ravel(), self.states.ravel(), ca.DM([-1.0] * (count * WIDTH))),
            (np.repeat(reads, WIDTH), ends.ravel(), ca.repmat(r[:WIDTH], SAMPLES, 1)),
            (np.repeat(reads, WIDTH), np.tile(self.cell + np.arange(WIDTH), SAMPLES), ca.vec(last)),
            (reads, np.full(SAMPLES, self.weights - 1), ca.DM([1.0] * SAMPLES)),
            (reads, self.outputs, ca.DM([-1.0] * SAMPLES)),
        ]
        return assembled(count * WIDTH + SAMPLES, self.size, parts)

    def _hessian(self, second: ca.Function, before: Any, w: Any, lam: Any, sigma: Any) -> Any:
        count = self.steps * SAMPLES
        weighed = ca.reshape(lam[: count * WIDTH], WIDTH, count)
        values = second.map("H", "serial", count, [2], [])(before, self.data, w, weighed)
        rows, columns = (np.array(part) for part in second.sparsity_out(0).get_triplet())
        variables = np.concatenate([np.tile(np.arange(self.cell), (count, 1)), self._before()], axis=1)
        at_row, at_column = variables[:, rows].ravel(), variables[:, columns].ravel()
        shared = (rows < self.cell) & (columns < self.cell)
        kept = np.flatnonzero((at_row >= 0) & (at_column >= 0) & ~np.tile(shared, count))
        nonzeros = ca.vec(values.nz[:])
        table = ca.reshape(nonzeros, len(rows), count)
        reads = lam[count * WIDTH :]
        ends = self.states[-1]
        parts = [
            (at_row[kept], at_column[kept], nonzeros[kept.tolist()]),
            (rows[shared], columns[shared], ca.sum2(table[np.flatnonzero(shared).tolist(), :])),
            (np.tile(self.cell + np.arange(WIDTH), SAMPLES), ends.ravel(), ca.vec(ca.repmat(reads.T, WIDTH, 1))),
            (self.outputs, self.outputs, sigma * ca.DM([1.0 / SAMPLES] * SAMPLES)),
            (np.arange(self.weights), np.arange(self.weights), sigma * ca.DM([1e-3] * self.weights)),
        ]
        return assembled(self.size, self.size, parts)

    def _before(self) -> np.ndarray:
        """Where the state that each equation takes lies, -1 for the first, which is data."""
        first = np.full((1, SAMPLES, WIDTH), -1)
        return np.concatenate([first, self.states[:-1]]).reshape(-1, WIDTH)


def assembled(rows: int, columns: int, parts: list[tuple[np.ndarray, np.ndarray, Any]]) -> Any:
    """A sparse matrix from places and values, values at one place added."""
    at_row, at_column = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    values = ca.vertcat(*(ca.MX(part[2]) for part in parts))
    keys, where = np.unique(at_column * rows + at_row, return_inverse=True)
    counts = np.bincount(keys // rows, minlength=columns)
    pattern = ca.Sparsity(rows, columns, [0, *np.cumsum(counts).tolist()], (keys % rows).tolist())
    if len(keys) == len(where):
        return ca.MX(pattern, values[np.argsort(where).tolist()])
    adding = ca.DM(ca.Sparsity.triplet(len(keys), len(where), where.tolist(), list(range(len(where)))), 1.0)
    return ca.MX(pattern, ca.densify(adding @ values))


def main() -> None:
    json_path = sys.argv[sys.argv.index("--json") + 1] if "--json" in sys.argv else None
    report = Report("A recurrent cell trained lifted, against the program written by hand", COLUMNS)
    for steps in (5, STEPS):
        totals: dict[str, list[dict[str, Any]]] = {}
        for seed in STARTS:  # no two solvers take the same way: five starts
            w0 = network(steps).initial_weights(seed)
            contestants: dict[str, Callable[[], dict[str, Any]]] = {
                "actionopt": lambda steps=steps, w0=w0: ours(steps, w0),
                "by hand, blocks": lambda steps=steps, w0=w0: ByHand(steps).solve(w0, blocks=True),
            }
            if steps <= 5:  # minutes beyond
                contestants["by hand, CasADi's derivatives"] = lambda w0=w0: ByHand(5).solve(w0, blocks=False)
            for name, run in contestants.items():
                runs = [run() for _ in range(3)]
                found = {**runs[0], "total": statistics.median(each["total"] for each in runs)}
                assert abs(network(steps).gradient(found["weights"])).max() <= 1e-6, name  # each ends in a minimum
                totals.setdefault(name, []).append({**found, "seed": seed})
        best = totals["by hand, blocks"]
        for name, rows in totals.items():
            for row, reference in zip(rows, best, strict=True):
                ratio = row["total"] / reference["total"]
                each = ratio * reference["iterations"] / row["iterations"]
                report.add(
                    steps=steps, start=row["seed"], contestant=name, total=row["total"], iterations=row["iterations"],
                    ratio=ratio, ratio_an_iteration=each, energy=row["energy"],
                )  # fmt: skip
            whole = sum(row["total"] for row in rows) / sum(row["total"] for row in best)
            work = sum(row["iterations"] for row in rows) / sum(row["iterations"] for row in best)
            report.find(
                **{f"{name} / by hand, {steps} steps": whole, f"... an iteration, {name}, {steps}": whole / work}
            )
    report.emit(json_path)


if __name__ == "__main__":
    main()
