"""Batches divided among threads: every row once, one pool for the process, little work in the caller."""

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from mpc import OnlineExpert, catalogue
from mpc.kernels.threads import run_blocks, thread_count

MUCH, LITTLE = 1e9, 1.0  # nanoseconds a row


def cover(rows: int, effort: float, **bounds: int) -> tuple[list[tuple[int, int]], set[int]]:
    """Blocks that were run, in order of their rows, and the threads that ran them."""
    blocks, threads = [], set()

    def work(start: int, stop: int) -> None:
        blocks.append((start, stop))
        threads.add(threading.get_ident())

    run_blocks(rows, work, effort, **bounds)
    return sorted(blocks), threads


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("effort", [LITTLE, MUCH])
@pytest.mark.parametrize("rows", [0, 1, 15, 255, 1000])
def test_blocks_cover_every_row_once_within_their_bounds(threads, effort, rows, monkeypatch):
    monkeypatch.setenv("CENTRALPATH_THREADS", threads)
    blocks, _ = cover(rows, effort, least=10, most=40)
    assert [row for block in blocks for row in range(*block)] == list(range(rows))
    sizes = [stop - start for start, stop in blocks]
    assert max(sizes, default=0) <= 40 + 9
    assert threads == "1" or effort == LITTLE or min(sizes, default=10) >= min(10, rows)


def test_little_work_stays_in_the_thread_that_calls(monkeypatch):
    monkeypatch.setenv("CENTRALPATH_THREADS", "4")
    assert cover(1000, LITTLE)[1] == {threading.get_ident()}
    assert cover(20, MUCH, least=16)[1] == {threading.get_ident()}  # one block


def test_all_threads_take_part_and_are_kept(monkeypatch):
    monkeypatch.setenv("CENTRALPATH_THREADS", "3")
    together = threading.Barrier(3, timeout=30)
    for _ in range(5):
        run_blocks(3, lambda start, stop: together.wait() and None, MUCH, least=1, most=1)
    assert sum(thread.name == "centralpath" for thread in threading.enumerate()) <= 3


def test_what_fails_is_raised_and_no_more_is_begun(monkeypatch):
    monkeypatch.setenv("CENTRALPATH_THREADS", "2")
    begun = []

    def fail(start: int, stop: int) -> None:
        begun.append(start)
        raise ArithmeticError(f"row {start}")

    with pytest.raises(ArithmeticError, match="row"):
        run_blocks(10_000, fail, MUCH)
    assert len(begun) <= 2
    assert [stop for _, stop in cover(10, MUCH)[0]] == [10]  # the pool serves on


def test_threads_that_call_at_once_and_calls_within_calls(monkeypatch):
    monkeypatch.setenv("CENTRALPATH_THREADS", "2")
    seen = np.zeros((4, 50, 40), int)

    def outer(i: int) -> None:
        def row(start: int, stop: int) -> None:
            for j in range(start, stop):

                def inner(first: int, last: int, j: int = j) -> None:
                    seen[i, j, first:last] += 1

                run_blocks(40, inner, MUCH, least=4, most=8)

        run_blocks(50, row, MUCH, least=1, most=5)

    callers = [threading.Thread(target=outer, args=(i,)) for i in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert (seen == 1).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own(monkeypatch):
    monkeypatch.setenv("CENTRALPATH_THREADS", "2")
    expert, x = OnlineExpert(catalogue.double_integrator()), np.tile([[3.0, 0.5]], (5000, 1))
    u = expert(x).u
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=lambda: answers.put(expert(x).u))
    child.start()
    np.testing.assert_array_equal(answers.get(timeout=60), u)
    child.join(30)
    assert child.exitcode == 0


def test_the_process_ends_while_threads_wait():
    code = "from mpc.kernels.threads import run_blocks; run_blocks(99, lambda *_: None, 1e9, 1, 1); print(1)"
    env = {**os.environ, "CENTRALPATH_THREADS": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize("text", ["0", "-2", "many"])
def test_a_bad_number_of_threads_is_refused(text, monkeypatch):
    monkeypatch.setenv("CENTRALPATH_THREADS", text)
    with pytest.raises(ValueError, match=f"CENTRALPATH_THREADS must be a whole number.*got '{text}'"):
        thread_count()
