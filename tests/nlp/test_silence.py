"""Solvers in threads: what they print is dropped, what others print is not, and nothing is left behind."""

from __future__ import annotations

import contextlib
import io
import sys
import threading

import numpy as np
import pytest

import actionopt as ao
from actionopt.nlp.silence import silenced


def test_only_the_thread_that_asked_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    inside, outside = threading.Event(), threading.Event()

    def solver() -> None:
        with silenced(True):
            print("chatter")
            inside.set()
            assert outside.wait(10)
            print("more chatter")

    thread = threading.Thread(target=solver)
    thread.start()
    assert inside.wait(10)
    print("mine")
    outside.set()
    thread.join()
    assert capsys.readouterr().out == "mine\n"


def test_ends_in_any_order_leave_the_stream_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    steps = [threading.Event() for _ in range(3)]

    def first() -> None:
        with silenced(True):
            steps[0].set()
            assert steps[1].wait(10)

    def second() -> None:
        assert steps[0].wait(10)
        with silenced(True):
            steps[1].set()
            assert steps[2].wait(10)

    threads = [threading.Thread(target=one) for one in (first, second)]
    for thread in threads:
        thread.start()
    threads[0].join()  # the first to begin ends first, while the second goes on
    steps[2].set()
    threads[1].join()
    assert sys.stdout is before
    print("still here")
    assert capsys.readouterr().out == "still here\n"


def test_nested_and_quiet_only_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with silenced(False):
        print("loud")
    with silenced(True), silenced(True):
        print("hushed")
    with silenced(True):
        with contextlib.redirect_stdout(io.StringIO()) as caught:
            print("caught")
        print("hushed")
    print("end")
    assert (capsys.readouterr().out, caught.getvalue()) == ("loud\nend\n", "caught\n")


def test_without_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with silenced(True):
        pass
    assert sys.stdout is None


def test_two_threads_train_as_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    problem = ao.Problem(
        [ao.Dense(2, 3, "tanh"), ao.Dense(3, 1)], np.eye(2), [0.0, 1.0], ao.SquaredError(), weight_decay=0.1
    )
    alone = [ao.train(problem, problem.initial_weights(seed), solver="ipopt").weights for seed in range(4)]
    before = sys.stdout
    found: dict[int, np.ndarray] = {}

    def train(seed: int) -> None:
        found[seed] = ao.train(problem, problem.initial_weights(seed), solver="ipopt").weights

    threads = [threading.Thread(target=train, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[seed].tobytes() == weights.tobytes() for seed, weights in enumerate(alone))
    assert sys.stdout is before
    print("seen")
    assert capsys.readouterr().out == "seen\n"
