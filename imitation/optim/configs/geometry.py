"""Configs of rules that look at the shape of the loss around the weights, or turn it."""

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Literal

from imitation.optim.configs.adam import AdamW
from imitation.optim.configs.config import Buildable, not_negative, one_of, positive, require
from imitation.optim.configs.plain import Sgd
from imitation.optim.configs.rules import Base

if TYPE_CHECKING:
    from imitation.optim.escape import EscapeRule
    from imitation.optim.rotations import RotatedRule, SingularRule
    from imitation.optim.sharpness import SamRule
    from imitation.optim.subspaces import SubspaceRule


@dataclass(frozen=True)
class Sam(Buildable):
    """Sharpness-aware minimisation, and its unnormalised sibling (arXiv 2010.01412, 2305.15287).

    The base on the gradient at w + rho (1 - l + l / ||g||) g, l = ``normalised``.

    When: flatter minima, label noise; twice the gradients.
    """

    base: Base = field(default_factory=AdamW)
    """The rule that steps."""
    rho: float = 0.05
    """How far up the gradient is taken: a distance for SAM, per gradient for USAM."""
    normalised: float = 1.0
    """1 for SAM, 0 for USAM, a mixture between."""
    adaptive: bool = False
    """Whether the ascent is measured in parts of the weights (ASAM, arXiv 2102.11600)."""

    def __post_init__(self) -> None:
        not_negative(rho=self.rho)
        require("normalised", self.normalised, 0 <= self.normalised <= 1, "must lie in [0, 1]")

    @property
    def lr(self) -> float:
        return self.base.lr

    def rule(self) -> "SamRule":
        from imitation.optim.sharpness import SamRule

        return SamRule(self.base.rule(), self.rho, self.normalised, self.adaptive)


@dataclass(frozen=True)
class Rotated(Buildable):
    """The base in coordinates turned by random rotations, fixed for the run (arXiv 2410.19964).

    The base on f(R'v) from v = R w, R made of Haar blocks.

    When: to measure how much a rule gains from the axes: SGD nothing, Adam much.
    """

    base: Base = field(default_factory=AdamW)
    """The rule that steps."""
    scope: Literal["global", "layer", "output", "input"] = "global"
    """What is turned among itself: all weights, a tensor's, those into an output or from an input neuron."""
    block: int = 64
    """Largest number of weights that one rotation mixes; it stores block numbers a weight."""

    def __post_init__(self) -> None:
        require("block", self.block, self.block >= 1, "must be at least 1")
        one_of("scope", self.scope, ("global", "layer", "output", "input"))

    @property
    def lr(self) -> float:
        return self.base.lr

    def rule(self) -> "RotatedRule":
        from imitation.optim.rotations import RotatedRule

        return RotatedRule(self.base.rule(), self.scope, self.block)


@dataclass(frozen=True)
class SvdRotated(Buildable):
    """The base in the singular bases of each matrix's gradient (arXiv 2410.19964).

    The base on U'WV for each matrix W, U and V the singular bases of its gradient.

    When: as Rotated, with axes that are better than the given ones instead of random.
    """

    base: Base = field(default_factory=AdamW)
    """The rule that steps; all that is no matrix it steps as it is."""
    every: int = 250
    """Steps between renewals of the bases."""

    def __post_init__(self) -> None:
        positive(every=self.every)

    @property
    def lr(self) -> float:
        return self.base.lr

    def rule(self) -> "SingularRule":
        from imitation.optim.rotations import SingularRule

        return SingularRule(self.base.rule(), self.every)


@dataclass(frozen=True)
class Escape(Buildable):
    """Steps away from sharp minima where the gradient is small (arXiv 2305.15659).

    The base on g + v where ||g|| <= small; v is the part orthogonal to g of the gradient at x + rho u, u on
    the sphere, or of a sample's f_i at x + rho s grad f_i / ||grad f_i||, s = +-1.

    When: after convergence, to move along flat directions to where the trace of the Hessian is smaller.
    """

    base: Base = field(default_factory=Sgd)
    """The rule that steps."""
    by: Literal["sphere", "sample"] = "sphere"
    """Whose gradient leads away: the loss's at a random point nearby, or a sample's up or down its slope."""
    rho: float = 0.05
    """Distance at which that gradient is taken."""
    small: float = inf
    """Norm of the gradient up to which it is small; inf for always."""

    def __post_init__(self) -> None:
        positive(rho=self.rho, small=self.small)
        one_of("by", self.by, ("sphere", "sample"))

    @property
    def lr(self) -> float:
        return self.base.lr

    def rule(self) -> "EscapeRule":
        from imitation.optim.escape import EscapeRule

        return EscapeRule(self.base.rule(), self.by, self.rho, self.small)


@dataclass(frozen=True)
class Subspace(Buildable):
    """The base inside or outside the span of the Hessian's top eigenvectors (arXiv 2405.16002).

    theta += P d (dominant) or (I - P) d (bulk), d the base's step, P onto the span of the k top eigenvectors,
    followed by block Rayleigh-Ritz.

    When: to ask which directions learn: the bulk does, though gradients lie in the dominant part.
    """

    base: Base = field(default_factory=Sgd)
    """The rule that steps."""
    keep: Literal["dominant", "bulk"] = "dominant"
    """The part in the span (Dom-SGD), or the part orthogonal to it (Bulk-SGD)."""
    of: Literal["step", "gradient"] = "step"
    """What is projected: the base's step, or the gradients that it sees."""
    k: int = 2
    """Dimension of the span: the number of outputs, or of classes."""
    every: int = 10
    """Steps between renewals; one costs 2k products with the Hessian of the whole training loss."""
    first: int = 10
    """Rounds of the first renewal, from a random basis."""

    def __post_init__(self) -> None:
        positive(k=self.k, every=self.every, first=self.first)
        one_of("keep", self.keep, ("dominant", "bulk"))
        one_of("of", self.of, ("step", "gradient"))

    @property
    def lr(self) -> float:
        return self.base.lr

    def rule(self) -> "SubspaceRule":
        from imitation.optim.subspaces import SubspaceRule

        return SubspaceRule(self.base.rule(), self.keep, self.of, self.k, self.every, self.first)
