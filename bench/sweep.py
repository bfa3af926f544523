"""Run a study's chunks in worker processes, and keep every finished one.

Workers are spawned processes of one thread each, so a number depends neither on how many there are
nor on who else is at work. What is stored is never run again; a failure is stored as rows with their
error and run again the next time. A worker that dies costs its own chunk only.
"""

import os
import pkgutil
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

from bench.experiment import Chunk, Experiment, divide
from bench.outcome import Outcomes, describe, failure, versions
from bench.store import Store, commit, is_done, open_store, write_results

_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMBA")
ONE_THREAD = {**{f"{name}_NUM_THREADS": "1" for name in _THREADS}, "CENTRALPATH_THREADS": "1"}
"""Environment of a worker."""

Run = Callable[[Chunk], Outcomes]
Progress = Callable[[int, int, int], object]
"""``progress(finished, total, failed)`` in experiments, called when a chunk has been committed."""


@dataclass(frozen=True)
class Summary:
    """What a sweep did, in experiments."""

    store: Path
    total: int
    stored_before: int
    run: int
    failed: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.total} experiments: {self.stored_before} were stored, {self.run} run in "
            f"{self.seconds:.0f} s, {self.failed} failed"
        )


def sweep(
    experiments: Iterable[Experiment],
    store_dir: str | os.PathLike[str],
    workers: int | None = None,
    progress: Progress | None = None,
    *,
    run: Run | None = None,
    command: str = "",
) -> Summary:
    """Run what is missing of ``experiments`` in the store at ``store_dir``.

    A program that calls this outside the command line needs ``if __name__ == "__main__":`` around the
    call, because workers are spawned.

    Args:
        workers: number of processes; None: one for each CPU that this process may use.
        progress: called first with what was stored before, then after each chunk.
        run: what a worker does with a chunk, importable by name (None: ``bench.run.run``).
        command: the command line, kept in the store for its report.

    Raises:
        ValueError: if there is nothing to run, ``workers`` is below 1, or ``store_dir`` holds
            something else.
        KeyboardInterrupt: passed through; finished chunks stay, the same call resumes.
    """
    started = time.perf_counter()
    chunks = divide(experiments)
    if not chunks:
        raise ValueError("experiments is empty; a study must yield at least one")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    store = open_store(store_dir, {**manifest(chunks), "command": command})
    todo = [chunk for chunk in chunks if not is_done(store, chunk.name)]
    tally = _Tally(sum(len(chunk.members) for chunk in chunks), _size(todo), store, progress)
    if todo:
        if run is None:
            compile_kernels()
        _run_all(todo, run or run_chunk, min(workers or available_cpus(), len(todo)), tally.finish)
        write_results(store)
    before = tally.total - tally.missing
    return Summary(store.path, tally.total, before, tally.done, tally.failed, time.perf_counter() - started)


def manifest(chunks: Sequence[Chunk]) -> dict[str, Any]:
    """What a store says it holds: every experiment's record by key, and the division into chunks."""
    members = [member for chunk in chunks for member in chunk.members]
    return {
        "study": ", ".join(dict.fromkeys(member.study for member in members)),
        "chunks": {chunk.name: [member.key() for member in chunk.members] for chunk in chunks},
        "experiments": {member.key(): member.record() for member in members},
        "versions": versions(),
    }


def available_cpus() -> int:
    """CPUs this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@dataclass(eq=False)
class _Tally:
    """Commits outcomes and counts experiments."""

    total: int
    missing: int
    store: Store
    progress: Progress | None
    done: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        self._tell()

    def finish(self, chunk: Chunk, outcomes: Outcomes) -> None:
        commit(self.store, chunk.name, outcomes.rows, outcomes.arrays, outcomes.metadata)
        self.done += len(chunk.members)
        self.failed += outcomes.failed
        self._tell()

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.total - self.missing + self.done, self.total, self.failed)


def _size(chunks: Sequence[Chunk]) -> int:
    return sum(len(chunk.members) for chunk in chunks)


def run_chunk(chunk: Chunk) -> Outcomes:
    """``bench.run.run``, imported where it runs: the driver needs no torch."""
    from bench.run import run

    return run(chunk)


def compile_kernels() -> None:
    """Compile all kernels once, here, so that the workers load them from the cache."""
    import mpc.kernels

    for module in pkgutil.iter_modules(mpc.kernels.__path__):
        import_module(f"mpc.kernels.{module.name}")


def _run_all(
    todo: Sequence[Chunk], run: Run, workers: int, finish: Callable[[Chunk, Outcomes], None]
) -> None:
    """All chunks through a pool; those in flight when a worker died once more, each alone."""
    waiting, suspects = deque(todo), list[Chunk]()
    with _environment(ONE_THREAD):
        while waiting:
            suspects += _drain(waiting, run, workers, finish)
        for chunk in suspects:
            if _drain(deque([chunk]), run, 1, finish):
                finish(chunk, failure(chunk, "its worker process died (killed, out of memory, or crashed)"))


def _drain(
    waiting: deque[Chunk], run: Run, workers: int, finish: Callable[[Chunk, Outcomes], None]
) -> list[Chunk]:
    """Work through ``waiting`` until it is empty or a worker dies; the chunks then in flight.

    No more chunks are handed out than there are workers, so one of those in flight is the culprit.
    """
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    flying: dict[Future[Outcomes], Chunk] = {}
    try:
        while waiting or flying:
            while waiting and len(flying) < workers:
                future = pool.submit(_work, run, waiting[0])
                flying[future] = waiting.popleft()
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                outcomes = future.result()
                finish(flying.pop(future), outcomes)
    except BrokenProcessPool:
        return list(flying.values())
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return []


def _start_worker() -> None:
    """An interrupt from the keyboard is the driver's business, and no worker outlives its driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_driver, daemon=True).start()


def _end_with_driver() -> None:
    driver = parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


def _work(run: Run, chunk: Chunk) -> Outcomes:
    """``run(chunk)``; an exception becomes rows, so that it is stored and counted."""
    try:
        return run(chunk)
    except Exception as error:
        return failure(chunk, describe(error))


@contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    """Environment variables for the processes that are spawned meanwhile."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
