"""The config of clipping before any rule."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from imitation.optim.configs.adam import AdamW
from imitation.optim.configs.config import Buildable, one_of, positive
from imitation.optim.configs.rules import Base

if TYPE_CHECKING:
    from imitation.optim.clipping import ClippedRule


@dataclass(frozen=True)
class Clipped(Buildable):
    """The base on clipped gradients.

    The base on g min(1, most / ||g||), or on each entry clipped to [-most, most].

    When: rare huge gradients; look at info["clipped"]: a share near 1 makes it a change of rate.
    """

    base: Base = field(default_factory=AdamW)
    """The rule that steps."""
    by: Literal["norm", "value"] = "norm"
    """Whether the gradient's norm (over all weights of a model) or each of its entries is bounded."""
    most: float = 1.0
    """The bound, in the units of a gradient."""

    def __post_init__(self) -> None:
        positive(most=self.most)
        one_of("by", self.by, ("norm", "value"))

    @property
    def lr(self) -> float:
        return self.base.lr

    def rule(self) -> "ClippedRule":
        from imitation.optim.clipping import ClippedRule

        return ClippedRule(self.base.rule(), self.by, self.most)
