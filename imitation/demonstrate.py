"""Demonstrations of an expert: closed loops from seeded initial states, kept only where every label is good.

Free of torch, so that datasets are generated without it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mpc.closed_loop import Controller, simulate
from mpc.configs import ExpertConfig
from mpc.dataset import Dataset, Plan, require_vacant, write_dataset
from mpc.demonstrations import Demonstrations, MakeBlock, Progress, collect
from mpc.expert import Expert
from mpc.initial import draw_initial_states, episode_generators, episode_seed
from mpc.problem import ControlProblem
from mpc.rollouts import Rollouts
from mpc.sampling import disturbance_generators, draw_disturbance
from mpc.status import Status

EpisodeLaw = Callable[[np.ndarray], Controller]
"""The controller of the episodes with these indices, which keeps the expert's labels."""


def demonstrate(
    problem: ControlProblem,
    expert: Expert,
    system: str,
    rep: int,
    episodes: int,
    steps: int,
    first_episode: int = 0,
    disturbance: bool = False,
    accept: Status = Status.optimal,
    law: EpisodeLaw | None = None,
) -> Demonstrations:
    """The first ``episodes`` complete episodes of ``expert``, each of ``steps`` steps.

    Episode i starts where the seed ``('x0', system, rep, i)`` says, whoever the expert is. An episode
    that is cut short, diverges or has an unacceptable label is discarded whole, counted, its seed
    recorded, and the next index attempted. So the n demonstrations of a sweep are nested, and none
    depends on the batch it was made in.

    Args:
        system: the system's spec as text; it names the seeds.
        rep: repetition; it names the seeds too.
        first_episode: index of the first attempt.
        disturbance: add uniform disturbances from ``problem.W``, seeded by
            ``('disturbance', system, rep, i)``.
        accept: the worst status of a label that is kept, ``optimal`` or ``optimal_inaccurate``.
        law: who acts in the episodes, for instance the expert with noise; None: the expert.

    Raises:
        ValueError: on a bad argument, or if more than 90% of at least 200 attempts fail.
    """
    _require_counts(episodes=episodes, steps=steps)
    make_block = block_maker(problem, expert, system, rep, steps, disturbance, accept, law)
    return collect(make_block, episodes, first_episode)


def generate(
    path: str | Path,
    problem: ControlProblem,
    expert_config: ExpertConfig,
    system: str,
    rep: int,
    episodes: int,
    steps: int,
    shard_size: int = 1024,
    progress: Progress | None = None,
    disturbance: bool = False,
    accept: Status = Status.optimal,
) -> Dataset:
    """Write the demonstrations that ``demonstrate`` gives to a dataset at ``path``, shard by shard.

    Whatever interrupts it passes through and leaves the finished shards in ``<path>.partial``; the
    same call carries on from there, and ends with the same files as a run that was never interrupted.

    Args:
        shard_size: attempted episodes in a shard; what an interruption can cost.
        progress: called with (kept, wanted) episodes.

    Raises:
        ValueError: if ``path`` exists, on a bad argument, if too few attempts succeed, or if the
            partial directory was made by another plan.
    """
    _require_counts(episodes=episodes, steps=steps, shard_size=shard_size)
    if not hasattr(expert_config, "build"):
        raise ValueError(
            f"expert_config must be a config, such as mpc.Barrier(eta=0.1), which the dataset keeps; got "
            f"{type(expert_config).__name__}"
        )
    if not isinstance(accept, Status):
        raise ValueError(f"accept must be a mpc.Status, such as Status.optimal, got {accept!r}")
    require_vacant(path)
    plan = Plan(problem, system, expert_config, rep, episodes, steps, shard_size, disturbance, accept.name)
    expert = expert_config.build(problem)
    make_block = block_maker(problem, expert, system, rep, steps, disturbance, accept)
    return write_dataset(path, plan, make_block, progress)


def block_maker(
    problem: ControlProblem,
    expert: Expert,
    system: str,
    rep: int,
    steps: int,
    disturbance: bool = False,
    accept: Status = Status.optimal,
    law: EpisodeLaw | None = None,
) -> MakeBlock:
    """``make_block(first, count)``: attempt those episodes and sort the good from the bad.

    Args:
        law: who acts in the episodes; None: the expert.

    Raises:
        ValueError: if ``accept`` is not a usable status.
    """
    if accept <= 0:
        raise ValueError(f"accept must be Status.optimal or Status.optimal_inaccurate, got {accept!r}")

    def make_block(first: int, count: int) -> Demonstrations:
        x0 = draw_initial_states(problem, episode_generators(system, rep, first, count))
        w = None
        if disturbance:
            w = draw_disturbance(problem, disturbance_generators(system, rep, first, count), steps)
        indices = np.arange(first, first + count, dtype=np.int64)
        rollouts = simulate(problem, expert if law is None else law(indices), x0, steps, disturbance=w)
        seeds = np.array([episode_seed(system, rep, int(i)) for i in indices], dtype=np.int64)
        good = _acceptable(problem, rollouts, accept)
        asked = asked_statuses(rollouts)
        return Demonstrations(
            rollouts=rollouts[good],
            episodes=indices[good],
            seeds=seeds[good],
            discarded=indices[~good],
            discarded_seeds=seeds[~good],
            queries=len(asked),
            statuses={status.name: n for status in Status if (n := int((asked == status).sum()))},
        )

    return make_block


def _acceptable(problem: ControlProblem, rollouts: Rollouts, accept: Status) -> np.ndarray:
    """Boolean (E,): complete, never past the divergence limit, every label at least as good as accept."""
    if rollouts.labels is None:
        raise ValueError(
            "expert must label states: it must return a Control with a status, as the experts of mpc do; "
            "a plain function x -> u is a policy, not an expert"
        )
    bounded = (np.abs(rollouts.x) <= problem.divergence_limit).all(axis=(1, 2))
    return rollouts.complete & bounded & (rollouts.labels.status >= accept).all(axis=1)


def asked_statuses(rollouts: Rollouts) -> np.ndarray:
    """Statuses (queries,) of all the labels that the expert was asked for."""
    status = np.zeros(0, np.int8) if rollouts.labels is None else rollouts.labels.status
    return status[status != Status.unset]


def _require_counts(**counts: int) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or value != int(value) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
