"""CMILe: conservative mixtures of policies (Tu, Robey, Zhang, Matni, arXiv 2102.09161)."""

from collections.abc import Sequence

from imitation.learned import Account, Learned
from imitation.learners.configs import Cmile
from imitation.learners.rounds import labelled_loops, part_of, round_sizes
from imitation.task import Pupil, Task
from imitation.train import Member, Observer, Progress, train
from imitation.trained import Deployment, Trained
from mpc.controllers import Blend
from mpc.rollouts import Rollouts


def cmile(
    config: Cmile,
    task: Task,
    pupils: Sequence[Pupil],
    progress: Progress | None = None,
    observe: Observer | None = None,
) -> Learned:
    """Rounds: label loops of ``pi_k``, fit ``pi^_k`` to them, ``pi_{k+1} = (1 - a) pi_k + a pi^_k``.

    ``pi_0`` is the expert. What is deployed after R rounds is ``pi_R`` without the expert's share
    ``(1 - a)^R``, the others' scaled to a sum of 1. With ``aggregate`` each fit is to all rounds so far.

    The paper constrains each fit to keep the closed loop incrementally stable; here, as a penalty
    (``base.stability``), the expert's value is to fall along the fit's loop. With ``L = V + x'Qx``, W =
    d2Q/du2 and an error e of the input, ``L(x+) = L(x) - x'Qx - u'Ru + e'We/2`` to second order where no
    constraint is active: errors of up to half of x'Qx leave half of it to the fall. ``observe`` is never
    asked: no fit is deployed alone.
    """
    plans = [round_sizes(pupil, config.rounds) for pupil in pupils]
    tried, accounts = [0] * len(pupils), [Account() for _ in pupils]
    sets: list[list[Rollouts]] = [[] for _ in pupils]
    used: list[Rollouts] = []
    fits: list[Trained] = []
    for r in range(config.rounds):
        counts = [plan[r] for plan in plans]
        laws = [
            Blend(
                [task.expert, *(fit.controllers[k] for fit in fits)],
                [(1 - config.step) ** r, *_shares(config, r)],
            )
            for k in range(len(pupils))
        ]
        loops = labelled_loops(task, pupils, laws, tried, counts, beta=0.0)
        for k, new in enumerate(loops):
            sets[k].append(new)
            accounts[k] = accounts[k] + Account.of_rollouts(new)
            tried[k] += counts[k]
        used = [Rollouts.concatenate(parts if config.aggregate else parts[-1:]) for parts in sets]
        members = [Member(data, pupil.rep) for data, pupil in zip(used, pupils, strict=True)]
        fits.append(
            train(task.problem, config.base, members, part_of(progress, r, config.rounds), expert=task.expert)
        )
    shares = _shares(config, config.rounds)
    blend = Deployment(weights=tuple(share / sum(shares) for share in shares))
    return Learned(task.problem, tuple(fits), (blend,) * len(pupils), tuple(accounts), tuple(used))


def _shares(config: Cmile, rounds: int) -> list[float]:
    """Of ``pi^_0 .. pi^_{rounds - 1}`` in ``pi_rounds``."""
    return [config.step * (1 - config.step) ** (rounds - 1 - r) for r in range(rounds)]
