"""DAgger: label the states that the learner itself meets (Ross, Gordon, Bagnell 2011)."""

from collections.abc import Sequence

from imitation.learned import Account, Learned
from imitation.learners.configs import Dagger
from imitation.learners.rounds import labelled_loops, part_of, round_sizes
from imitation.task import Pupil, Task
from imitation.train import Member, Observer, Progress, train
from mpc.rollouts import Rollouts


def dagger(
    config: Dagger,
    task: Task,
    pupils: Sequence[Pupil],
    progress: Progress | None = None,
    observe: Observer | None = None,
) -> Learned:
    """Rounds: loops of the mixture ``beta_r pi* + (1 - beta_r) pi_r``, labelled; a policy of all so far.

    The first round is the expert's demonstrations. Each policy is fitted from fresh weights; the last one is
    deployed.
    """
    plans = [round_sizes(pupil, config.rounds) for pupil in pupils]
    firsts = [Pupil(pupil.rep, plan[0]) for pupil, plan in zip(pupils, plans, strict=True)]
    found = task.demonstrations(firsts)
    sets, tried = [one.rollouts for one in found], [one.attempts for one in found]
    accounts = [Account.of_demonstrations(one) for one in found]
    trained = None
    for r in range(config.rounds):
        if trained is not None:
            counts = [plan[r] for plan in plans]
            loops = labelled_loops(task, pupils, trained.controllers, tried, counts, config.share(r))
            sets = [Rollouts.concatenate([old, new]) for old, new in zip(sets, loops, strict=True)]
            accounts = [a + Account.of_rollouts(new) for a, new in zip(accounts, loops, strict=True)]
            tried = [before + count for before, count in zip(tried, counts, strict=True)]
        members = [Member(data, pupil.rep) for data, pupil in zip(sets, pupils, strict=True)]
        last = r == config.rounds - 1
        told = part_of(progress, r, config.rounds)
        trained = train(
            task.problem, config.base, members, told, observe if last else None, expert=task.expert
        )
    assert trained is not None
    return Learned.policies(trained, accounts, sets)
