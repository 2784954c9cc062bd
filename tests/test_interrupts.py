"""Ctrl-C waits for the end of a block, and leaves other handlers alone."""

from __future__ import annotations

import contextvars
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import actionopt as ao
from actionopt import interrupts
from actionopt.action import examine, flow, guess, minimize
from actionopt.action.march import March, march
from actionopt.action.newton.solve import NewtonSolver
from actionopt.action.outcome import judged_or_interrupted
from actionopt.interrupts import Interrupt, given_up, interruptible, uninterrupted
from actionopt.nlp.deadline import Deadline
from actionopt.nlp.solver import NlpSolver
from problems import maier_stein, quadratic, xor


def test_the_block_ends_first() -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_happens_without_an_interrupt_or_after_an_error() -> None:
    with uninterrupted():
        pass
    with pytest.raises(ZeroDivisionError), uninterrupted():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_callers_is_kept() -> None:
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_run_as_they_are() -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sigterm_is_held_back_where_it_counts_as_ctrl_c(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)
    done = []

    def work() -> None:
        with uninterrupted():
            signal.raise_signal(number)
            done.append("all of it")

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert done == ["all of it"]
    finally:
        signal.signal(number, before)


def soon() -> threading.Timer:
    """Ctrl-C in a tenth of a second."""
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def test_compiled_code_does_not_keep_ctrl_c_waiting() -> None:
    """The work here ends when the test says so; what is given up does not count as going on once it has."""
    end, began = threading.Event(), time.monotonic()
    soon()
    with pytest.raises(KeyboardInterrupt):
        interruptible(lambda: end.wait(60))
    assert time.monotonic() - began < 30
    assert given_up()
    end.set()
    while given_up() and time.monotonic() - began < 60:
        time.sleep(0.01)
    assert not given_up()


def test_a_wish_that_is_heeded_brings_a_result_and_another_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    wish, end = Interrupt(), threading.Event()

    def heeding() -> str:
        while not wish.raised:
            time.sleep(0.01)
        return "the last iterate"

    soon()
    with wish.catching():
        assert interruptible(heeding, wish) == "the last iterate"
    monkeypatch.setattr(interrupts, "GRACE", 0.1)
    wish.reset()
    soon()
    with pytest.raises(KeyboardInterrupt), wish.catching():
        interruptible(lambda: end.wait(60), wish)
    end.set()


def test_results_errors_and_context_come_back_from_the_other_thread() -> None:
    here = contextvars.ContextVar("here", default="elsewhere")
    here.set("here")
    assert interruptible(here.get) == "here"
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


@pytest.mark.parametrize(
    ("solver", "grace"), [("ipopt", 30.0), ("sqpmethod", 30.0), ("fatrop", 0.0), ("sqpmethod", 0.0), ("newton", 30.0)]
)
def test_train_keeps_the_last_iterate(
    solver: str, grace: float, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    looks: list[bool] = []
    over = Deadline.over.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(interrupts, "GRACE", grace)
    monkeypatch.setattr(interrupts, "TICK", 0.01)

    def looked(self: Deadline) -> bool:
        looks.append(True)
        if len(looks) == 4:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)  # for the thread that waits to hear it
        return bool(over(self))

    def moment(at: Any) -> None:
        if at.iteration == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Deadline, "over", property(looked))
    problem, start = xor.build(), xor.build().initial_weights(0)
    options: dict[str, Any] = {"callback": moment} if solver == "newton" else {}
    found = ao.train(problem, start, solver=solver, tol=1e-14, throw=False, **options)
    assert (found.status, found.success) == ("interrupted", False)
    assert abs(found.weights - start).max() > 1e-6
    assert capfd.readouterr() == ("", "")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


XOR = xor.build()
W0 = XOR.initial_weights(0)


def test_action_keeps_the_flow_that_was_to_be_its_first_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    whole: list[np.ndarray] = []

    def interrupted(*arguments: Any, **options: Any) -> March:
        done = march(*arguments, **options)
        whole.append(done.points)
        return March(done.points[:8], "interrupted")

    monkeypatch.setattr(guess, "march", interrupted)
    with pytest.raises(ao.SolverError, match=r"interrupted in its first guess, the flow, at t = 0\.3;") as caught:
        ao.minimize_action(XOR, W0, horizon=1.0, steps=10, scheme="gauss2")
    found = caught.value.result
    assert found.status == "interrupted"
    np.testing.assert_allclose(found.times, [0.0, 0.1, 0.2, 0.3], rtol=1e-12)
    np.testing.assert_array_equal(found.points, whole[0][:7])
    monkeypatch.setattr(guess, "march", lambda *a, **k: March(W0[None], "interrupted"))
    with pytest.raises(KeyboardInterrupt):  # nothing was reached
        ao.minimize_action(XOR, W0, horizon=1.0, steps=10)


def test_action_keeps_its_guess_while_the_solver_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NlpSolver, "_build", _pressed)
    line = np.linspace([1.0, -1.0], [0.5, 0.8], 11)
    found = ao.minimize_action(
        quadratic.build(), line[0], line[-1], horizon=1.5, steps=10, solver="fatrop", throw=False
    )
    assert (found.status, found.success) == ("interrupted", False)
    assert "this is its first guess" in found.message
    np.testing.assert_allclose(found.weights, line, rtol=1e-14)


def _pressed(*arguments: Any, **options: Any) -> Any:
    raise KeyboardInterrupt


def test_action_keeps_a_path_that_was_not_yet_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = (1.0, -1.0), (0.5, 0.8)
    expected = ao.minimize_action(quadratic.build(), *ends, horizon=1.5, steps=10)
    monkeypatch.setattr(examine, "to_a_minimum", _pressed)
    found = ao.minimize_action(quadratic.build(), *ends, horizon=1.5, steps=10, throw=False)
    assert (found.status, found.success) == ("interrupted", False)
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_ctrl_c_in_one_of_several_solves_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first path converged; the second solve was interrupted and is neither compared nor gone on from."""
    solve, calls = NewtonSolver.solve, []

    def second(*arguments: Any) -> Any:
        calls.append(arguments)
        found = solve(*arguments)
        return replace(found, status="interrupted") if len(calls) == 2 else found

    monkeypatch.setattr(NewtonSolver, "solve", second)
    found = ao.minimize_action(maier_stein.build(), (-1.0, 0.0), (0.0, 0.0), horizon=8.0, steps=30, throw=False)
    assert (found.status, len(calls)) == ("interrupted", 2)


def test_an_interrupted_certificate_keeps_what_it_was_to_certify(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is computed when status or message are asked for, as the command line does before it saves."""
    whole = ao.flow(XOR, W0, horizon=1.0, steps=5, certify=False)
    monkeypatch.setattr(flow, "certify_flow", _pressed)
    kept = judged_or_interrupted(ao.flow(XOR, W0, horizon=1.0, steps=5))
    assert (kept.status, kept.success, kept.distance, kept.certificate) == ("interrupted", False, None, None)
    assert "interrupted before it was certified" in kept.message
    np.testing.assert_array_equal(kept.weights, whole.weights)
    monkeypatch.setattr(minimize, "certify_flow", _pressed)
    (kept,) = ao.continue_action(XOR, W0, horizons=[1.0], steps=5, throw=False)
    assert (kept.status, kept.success, kept.distance) == ("interrupted", False, None)


def test_a_thread_that_worked_goes_on_living() -> None:
    """CasADi keeps the stream that a solver writes to with the thread that built it, which ipopt needs."""
    worked = interruptible(threading.current_thread)
    assert interruptible(threading.current_thread) in threading.enumerate()
    assert worked.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_threads_of_its_own() -> None:
    script = (
        "import os, sys, time, warnings; warnings.simplefilter('ignore')\n"
        "from actionopt.interrupts import interruptible\n"
        "interruptible(lambda: 1); time.sleep(0.2)\n"
        "child = os.fork()\n"
        "if not child: os._exit(interruptible(lambda: 7))\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 7
