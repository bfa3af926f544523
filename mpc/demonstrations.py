"""Demonstrations: the complete episodes of an expert, and the account of those that were not."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from mpc.rollouts import Rollouts
from mpc.status import Status

_BLOCK = 256
_JUDGED_AFTER = 200
_SMALLEST_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """Kept episodes among the attempts ``first .. first + attempts - 1``, in order.

    Args:
        rollouts: the kept ones, all complete, with the expert's labels.
        episodes, seeds: index and seed of each kept episode, int64 ``(E,)``.
        discarded, discarded_seeds: the same of the episodes that were discarded whole.
        queries: labels asked of the expert, in discarded episodes too.
        statuses: how many of those labels had each status, by the status's name.
    """

    rollouts: Rollouts
    episodes: np.ndarray
    seeds: np.ndarray
    discarded: np.ndarray
    discarded_seeds: np.ndarray
    queries: int
    statuses: dict[str, int]

    @property
    def kept(self) -> int:
        return len(self.episodes)

    @property
    def attempts(self) -> int:
        return len(self.episodes) + len(self.discarded)

    @staticmethod
    def concatenate(parts: "list[Demonstrations]") -> "Demonstrations":
        """Several runs of attempts, one after the other."""

        def joined(name: str) -> np.ndarray:
            return np.concatenate([getattr(part, name) for part in parts])

        return Demonstrations(
            rollouts=Rollouts.concatenate([part.rollouts for part in parts]),
            episodes=joined("episodes"),
            seeds=joined("seeds"),
            discarded=joined("discarded"),
            discarded_seeds=joined("discarded_seeds"),
            queries=sum(part.queries for part in parts),
            statuses=total(part.statuses for part in parts),
        )


MakeBlock = Callable[[int, int], Demonstrations]
"""``make_block(first, count)``: attempt the episodes ``first .. first + count - 1``."""

Progress = Callable[[int, int], object]
"""``progress(done, total)`` in kept episodes."""


def total(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Sum of counts by status, from the best status to the worst."""
    parts = list(counts)
    sums = {status.name: sum(part.get(status.name, 0) for part in parts) for status in Status}
    return {name: count for name, count in sums.items() if count}


def collect(
    make_block: MakeBlock,
    wanted: int,
    first: int = 0,
    stop: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Demonstrations:
    """Attempt the episodes ``first, first + 1, ...`` until ``wanted`` are kept or ``stop`` is reached.

    No more are ever attempted than are still wanted, so the last attempt is one that was kept: all
    that is returned, counts too, is a function of ``wanted`` and not of how the work was divided, and
    fewer wanted episodes are the first of more.

    Raises:
        ValueError: if more than 90% of at least 200 attempts fail.
    """
    parts: list[Demonstrations] = []
    kept = attempted = 0
    while kept < wanted and (stop is None or first + attempted < stop):
        count = min(_BLOCK, wanted - kept)
        if stop is not None:
            count = min(count, stop - first - attempted)
        part = make_block(first + attempted, count)
        parts.append(part)
        kept, attempted = kept + part.kept, attempted + part.attempts
        require_yield(kept, attempted, total(part.statuses for part in parts))
        if progress is not None:
            progress(kept)
    return Demonstrations.concatenate(parts)


def require_yield(kept: int, attempted: int, statuses: dict[str, int]) -> None:
    """Refuse to go on where hardly any attempt is kept.

    Raises:
        ValueError: if more than 90% of at least 200 attempts failed.
    """
    if attempted >= _JUDGED_AFTER and kept < _SMALLEST_SHARE * attempted:
        raise ValueError(
            f"only {kept} of {attempted} attempted episodes were complete with acceptable labels (labels "
            f"by status: {statuses}); draw initial states from a smaller set (problem.initial), shorten "
            f"the episodes, smooth the expert less, or accept optimal_inaccurate labels"
        )
