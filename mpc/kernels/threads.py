"""How a kernel is run over the rows of a batch by several threads.

One pool serves the whole process: the threads are made at first need and wait for the next batch, for making
them costs as much as some hundred labels. The thread that calls takes its share, and what it needs no help
with it does alone. Kernels release the interpreter's lock, and rows never see each other, so the numbers
depend neither on the threads nor on how the rows are divided among them.
"""

import os
import queue
import threading
from collections.abc import Callable

_WORTH_A_THREAD = 150e3  # nanoseconds of work that pay for waking one


def thread_count() -> int:
    """Threads a batch is divided among: $CENTRALPATH_THREADS, by default the number of cores."""
    text = os.environ.get("CENTRALPATH_THREADS", "")
    if text and not (text.isdigit() and int(text) >= 1):
        raise ValueError(f"CENTRALPATH_THREADS must be a whole number of at least 1, got {text!r}")
    return int(text) if text else os.cpu_count() or 1


class _Job:
    """Rows of one batch, handed out in blocks that shrink as the end comes near, so that all end together."""

    def __init__(self, rows: int, work: Callable[[int, int], None], threads: int, least: int, most: int):
        self._rows, self._work, self._share, self._bounds = rows, work, 2 * threads, (least, most)
        self._next, self._running, self._failure = 0, 0, None
        self._lock = threading.Lock()
        self._finished = threading.Condition(self._lock)

    def _take(self) -> tuple[int, int] | None:
        with self._lock:
            start, left = self._next, self._rows - self._next
            if left <= 0:
                return None
            least, most = self._bounds
            size = min(most, max(least, -(-left // self._share)))
            self._next = self._rows if left - size < least else start + size
            self._running += 1
            return start, self._next

    def run(self) -> None:
        """Work until no block is left, in whichever thread this is called."""
        while (block := self._take()) is not None:
            failure = None
            try:
                self._work(*block)
            except BaseException as error:
                failure = error
            with self._lock:
                self._running -= 1
                if failure is not None:
                    self._failure, self._next = self._failure or failure, self._rows
                if not self._running:
                    self._finished.notify_all()

    def stop(self) -> None:
        """Hand out no more blocks."""
        with self._lock:
            self._next = self._rows

    def wait(self) -> None:
        """Until the blocks that other threads took are done; raises what failed first."""
        with self._finished:
            self._finished.wait_for(lambda: not self._running)
        if self._failure is not None:
            raise self._failure


class _Pool:
    """Threads that wait for jobs, never fewer than were asked for; they end with the process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """In a child made by ``fork`` only the thread that made it is left, and locks may be held."""
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._count, self._lock = 0, threading.Lock()

    def help_with(self, job: _Job, threads: int) -> None:
        """Ask ``threads`` threads to take part in a job; those that are busy come when it may be over."""
        with self._lock:
            while self._count < threads:
                threading.Thread(target=self._serve, name="centralpath", daemon=True).start()
                self._count += 1
        for _ in range(threads):
            self._jobs.put(job)

    def _serve(self) -> None:
        while True:
            self._jobs.get().run()


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def run_blocks(
    rows: int, work: Callable[[int, int], None], effort: float, least: int = 16, most: int = 256
) -> None:
    """Call ``work(start, stop)`` on blocks that cover ``rows`` rows once, in as many threads as pay.

    Args:
        effort: what a row takes in nanoseconds, roughly: little work stays in the thread that calls.
        least, most: rows of a block; what would be a last block of fewer than ``least`` joins the one before.

    Raises:
        BaseException: what ``work`` raises, after all blocks that have begun have ended.
    """
    threads = min(thread_count(), 1 + int(rows * effort / _WORTH_A_THREAD), max(rows // least, 1))
    if threads == 1:
        for start in range(0, rows, most):
            work(start, min(start + most, rows))
        return
    job = _Job(rows, work, threads, least, most)
    _pool.help_with(job, threads - 1)
    try:
        job.run()
    except BaseException:
        job.stop()
        raise
    job.wait()
