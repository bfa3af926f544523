"""Clocks: contestants run in turn, round after round, so that a slow spell of the machine hits them all."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from mpc.arrays import Array


@dataclass(frozen=True)
class Contestant:
    """``run()`` makes ``labels`` labels, on ``threads`` threads."""

    run: Callable[[], object]
    labels: int
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Times:
    """Seconds a label in each round: processor time of the whole process, and wall time."""

    cpu: Array
    wall: Array

    def microseconds(self) -> tuple[float, float]:
        """Medians over the rounds, ``(cpu, wall)``."""
        return 1e6 * float(np.median(self.cpu)), 1e6 * float(np.median(self.wall))

    def ratios(self, to: "Times") -> tuple[float, float]:
        """Medians over the rounds of this one's time over the other's in the same round, ``(cpu, wall)``."""
        return float(np.median(self.cpu / to.cpu)), float(np.median(self.wall / to.wall))


def in_turn(contestants: Sequence[Contestant], rounds: int, least: float) -> list[Times]:
    """Time A B C, A B C, ...: ``rounds`` times, each turn long enough to last ``least`` seconds.

    A run outside the clock comes first: it warms caches and says how often a turn has to repeat.
    """
    repeats = []
    for contestant in contestants:
        with threads(contestant.threads):
            once = _clocked(contestant.run, 1)[1]
        repeats.append(max(1, int(np.ceil(least / max(once, 1e-9)))))
    seconds = np.empty((len(contestants), 2, rounds))
    for round_ in range(rounds):
        for i, contestant in enumerate(contestants):
            with threads(contestant.threads):
                seconds[i, :, round_] = _clocked(contestant.run, repeats[i])
    seconds /= np.array([c.labels * r for c, r in zip(contestants, repeats, strict=True)])[:, None, None]
    return [Times(cpu, wall) for cpu, wall in seconds]


def affordable(run: Callable[[int], object], most: int, budget: float, least: int = 10) -> int:
    """How many of ``most`` labels ``run(count)`` makes within ``budget`` seconds, at least ``least``.

    It is run with more and more labels until that takes a tenth of the budget.
    """
    count = 1
    run(count)  # the first one may compile or allocate
    while True:
        seconds = max(_clocked(lambda count=count: run(count), 1)[1], 1e-9)
        if count >= most or seconds > 0.1 * budget:
            return min(most, max(least, int(budget * count / seconds)))
        count = min(most, 4 * count)


def _clocked(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Seconds of processor and wall time. Threads that a solver starts count towards the former."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        run()
    return time.process_time() - cpu, time.perf_counter() - wall


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Our experts divide a batch among ``count`` threads meanwhile."""
    before = os.environ.get("CENTRALPATH_THREADS")
    os.environ["CENTRALPATH_THREADS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["CENTRALPATH_THREADS"]
        else:
            os.environ["CENTRALPATH_THREADS"] = before
