"""Configs of online learners of updates."""

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

from imitation.optim.configs.config import Buildable, discounts, one_of, positive

if TYPE_CHECKING:
    from imitation.optim.follow_the_leader import LeaderRule


@dataclass(frozen=True)
class ClippedAdam(Buildable):
    """Adam as discounted follow-the-regularised-leader, clipped (Ahn & Cutkosky, arXiv 2405.18199).

    z = -clip(D m / sqrt(v)), theta += a z, with m = sum b^(t-s) g_s, v = sum b^(2(t-s)) g_s^2, a = 1 or
    drawn from Exp(1).

    When: non-smooth losses, with Ema around it: its guarantee is for the average.
    """

    lr: float = 1e-3
    """D: the size of a step."""
    discount: float = 0.99
    """b, in [0, 1): betas are (b, b^2), without bias correction."""
    clip: float = 1.0
    """Largest change of a weight (by norm: of all) in parts of D; inf for b-FTRL (arXiv 2402.01567)."""
    by: Literal["weight", "norm"] = "weight"
    """Whether weights are learned one by one or together."""
    random: bool = False
    """Whether each step is scaled by a draw from Exp(1), as the theory has it."""

    def __post_init__(self) -> None:
        positive(lr=self.lr, clip=self.clip)
        discounts(discount=self.discount)
        one_of("by", self.by, ("weight", "norm"))

    def rule(self) -> "LeaderRule":
        from imitation.optim.follow_the_leader import LeaderRule

        return LeaderRule(self.discount, self.clip, self.by, self.random)


@dataclass(frozen=True)
class Ftrl(Buildable):
    """Discounted follow-the-regularised-leader, Adam in disguise (Ahn et al., arXiv 2402.01567).

    theta -= D m / sqrt(v), with m = sum b^(t-s) g_s and v = sum b^(2(t-s)) g_s^2.

    When: to study Adam as an online learner; as Adam without bias correction or eps.
    """

    lr: float = 1e-3
    """D: the size of a step."""
    discount: float = 0.99
    """b, in [0, 1): betas are (b, b^2), without bias correction."""

    def __post_init__(self) -> None:
        positive(lr=self.lr)
        discounts(discount=self.discount)

    def rule(self) -> "LeaderRule":
        from imitation.optim.follow_the_leader import LeaderRule

        return LeaderRule(self.discount, inf, "weight", False)
