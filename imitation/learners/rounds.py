"""What learners in rounds share: how episodes divide into rounds, and loops of learners that are labelled."""

from collections.abc import Callable, Sequence

import numpy as np

from imitation.task import Pupil, Task
from imitation.train import Progress
from mpc.closed_loop import simulate
from mpc.controllers import Law, Mixture, Parallel
from mpc.rollouts import Rollouts


def round_sizes(pupil: Pupil, rounds: int) -> list[int]:
    """Episodes of each round: as equal as can be, larger ones first.

    Raises:
        ValueError: if there are fewer episodes than rounds.
    """
    if pupil.demonstrations < rounds:
        raise ValueError(
            f"{rounds} rounds need at least as many demonstrations, got {pupil.demonstrations}; take fewer "
            f"rounds or more demonstrations"
        )
    each, more = divmod(pupil.demonstrations, rounds)
    return [each + (r < more) for r in range(rounds)]


def labelled_loops(
    task: Task,
    pupils: Sequence[Pupil],
    laws: Sequence[Law],
    firsts: Sequence[int],
    counts: Sequence[int],
    beta: float,
) -> list[Rollouts]:
    """Each pupil's loops from its episodes ``first .. first + count - 1``, with the expert's labels.

    Every step of a loop is the expert's with probability ``beta``, else the law's. All loops of all pupils
    are one batch, so the expert labels them together. Loops that end early are kept.
    """
    asked = list(zip(pupils, firsts, counts, strict=True))
    x0 = np.concatenate([task.initial_states(pupil.rep, first, count) for pupil, first, count in asked])
    coins = [
        np.array([generator.random(task.steps) for generator in generators])
        for pupil, first, count in asked
        for generators in [task.generators("mixture", pupil.rep, np.arange(first, first + count))]
    ]
    mixture = Mixture(task.expert, Parallel(laws, counts), np.concatenate(coins) < beta)
    rollouts = simulate(task.problem, mixture, x0, task.steps)
    ends = np.cumsum(counts)
    return [rollouts[end - count : end] for end, count in zip(ends, counts, strict=True)]


def part_of(progress: Progress | None, part: int, parts: int) -> Callable[[int, int], None]:
    """Progress of one of several equal parts as that of the whole."""
    return lambda done, total: None if progress is None else progress(part * total + done, parts * total)
