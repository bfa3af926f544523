"""Behaviour cloning of demonstrations: the expert's own, or with noise on its inputs."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from imitation.demonstrate import EpisodeLaw
from imitation.learned import Account, Learned
from imitation.learners.configs import BehaviourCloning, NoiseInjection
from imitation.task import Pupil, Task
from imitation.train import Member, Observer, Progress, train
from mpc.arrays import Array
from mpc.controllers import Noisy
from mpc.rollouts import Rollouts


def clone(
    config: BehaviourCloning,
    task: Task,
    pupils: Sequence[Pupil],
    progress: Progress | None = None,
    observe: Observer | None = None,
) -> Learned:
    """Fit each pupil's policy to its first episodes of the expert."""
    found = task.demonstrations(pupils)
    members = [Member(one.rollouts, pupil.rep) for one, pupil in zip(found, pupils, strict=True)]
    trained = train(task.problem, config, members, progress, observe, expert=task.expert)
    accounts = [Account.of_demonstrations(one) for one in found]
    return Learned.policies(trained, accounts, [member.rollouts for member in members])


def clone_with_noise(
    config: NoiseInjection,
    task: Task,
    pupils: Sequence[Pupil],
    progress: Progress | None = None,
    observe: Observer | None = None,
) -> Learned:
    """Fit to episodes of which a share has noise on the inputs.

    Episode i is a noisy one where ``floor((i + 1) share) > floor(i share)``, so that fewer demonstrations are
    the first of more. What it met decides what is learned; what it is told is the expert's own input there.
    """

    def law(rep: int) -> EpisodeLaw:
        def noisy(episodes: np.ndarray) -> Noisy:
            noise = config.scale * ball_noise(task, rep, episodes)
            chosen = np.floor((episodes + 1) * config.share) > np.floor(episodes * config.share)
            return Noisy(task.expert, noise * chosen[:, None, None])

        return noisy

    found = task.demonstrations(pupils, law)
    data = [one.rollouts if config.labels == "clean" else with_applied_labels(one.rollouts) for one in found]
    members = [Member(rollouts, pupil.rep) for rollouts, pupil in zip(data, pupils, strict=True)]
    trained = train(task.problem, config.base, members, progress, observe, expert=task.expert)
    return Learned.policies(trained, [Account.of_demonstrations(one) for one in found], data)


def ball_noise(task: Task, rep: int, episodes: np.ndarray) -> Array:
    """Uniform in the unit ball, independent in time: ``(E, T, m)``.

    A normal direction, and a radius ``U^(1/m)``.
    """
    m, noise = task.problem.m, np.empty((len(episodes), task.steps, task.problem.m))
    for row, generator in enumerate(task.generators("noise", rep, episodes)):
        direction = generator.standard_normal((task.steps, m))
        radius = generator.random(task.steps) ** (1 / m)
        noise[row] = direction * (radius / np.linalg.norm(direction, axis=1))[:, None]
    return noise


def with_applied_labels(rollouts: Rollouts) -> Rollouts:
    """The inputs that were applied in the place of the expert's: what a careless recording has."""
    assert rollouts.labels is not None
    return replace(rollouts, labels=replace(rollouts.labels, u=rollouts.u))
