"""What a learner returns: controllers, the policies inside them, and the account of what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from imitation.demonstrate import asked_statuses
from imitation.trained import Deployment, Trained, act
from mpc.controllers import Law, Parallel
from mpc.demonstrations import Demonstrations
from mpc.problem import ControlProblem
from mpc.rollouts import Rollouts
from mpc.status import Status


@dataclass(frozen=True)
class Account:
    """What teaching one pupil took, counted alike by every learner.

    Args:
        queries: labels asked of the expert, in discarded episodes too.
        unusable: how many of them were not usable.
        discarded: episodes that were cut short and thrown away whole.
    """

    queries: int = 0
    unusable: int = 0
    discarded: int = 0

    def __add__(self, other: "Account") -> "Account":
        return Account(
            self.queries + other.queries,
            self.unusable + other.unusable,
            self.discarded + other.discarded,
        )

    @classmethod
    def of_demonstrations(cls, found: Demonstrations) -> "Account":
        """Of complete episodes and those discarded on the way."""
        unusable = sum(count for name, count in found.statuses.items() if Status[name] <= 0)
        return cls(found.queries, unusable, len(found.discarded))

    @classmethod
    def of_rollouts(cls, rollouts: Rollouts) -> "Account":
        """Of loops that are all kept, whatever became of them."""
        statuses = asked_statuses(rollouts)
        return cls(len(statuses), int((statuses <= 0).sum()))


@dataclass(frozen=True, eq=False)
class Learned:
    """K controllers, and the policies that they are made of.

    Args:
        problem: what they were taught on.
        fits: K policies each: one fit where a controller is one policy, else one for each time (forward
            training) or for each round of a blend.
        deployments: how a pupil's fits become its controller, one a pupil.
        accounts: one a pupil.
        rollouts: what each pupil's last policy was fitted to.
    """

    problem: ControlProblem
    fits: tuple[Trained, ...]
    deployments: tuple[Deployment, ...]
    accounts: tuple[Account, ...]
    rollouts: tuple[Rollouts, ...]

    @classmethod
    def policies(
        cls, trained: Trained, accounts: Sequence[Account], rollouts: Sequence[Rollouts]
    ) -> "Learned":
        """Each controller is one policy."""
        deployments = (Deployment(),) * trained.members
        return cls(trained.problem, (trained,), deployments, tuple(accounts), tuple(rollouts))

    @property
    def members(self) -> int:
        """K."""
        return len(self.deployments)

    @property
    def controllers(self) -> tuple[Law, ...]:
        """One a pupil."""
        return tuple(
            deployment.controller(
                [partial(act, fit.policies[k]) for fit in self.fits], self.last.config.policy, self.problem
            )
            for k, deployment in enumerate(self.deployments)
        )

    def together(self, E: int) -> Law:
        """One controller of all pupils' loops, ``E`` each: in one program where they are deployed alike."""
        first = self.deployments[0]
        if any(deployment != first for deployment in self.deployments):
            return Parallel(self.controllers, [E] * self.members)
        laws = [fit.folded(E) for fit in self.fits]
        return first.controller(laws, self.last.config.policy, self.problem)

    @property
    def last(self) -> Trained:
        """The policies fitted last."""
        return self.fits[-1]

    @property
    def queries(self) -> np.ndarray:
        """Labels asked of the expert ``(K,)``."""
        return np.array([account.queries for account in self.accounts])
