"""Configs of rules that are made of another rule: ``Sam(base=AdamW(lr=1e-3))``."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from imitation.optim.configs.adam import AdamW
from imitation.optim.configs.config import (
    Buildable,
    Config,
    discounts,
    not_negative,
    one_of,
    positive,
    require,
)
from imitation.optim.configs.rules import PlainConfig

if TYPE_CHECKING:
    Base = Config
    from imitation.optim.averaging import EmaRule, ScheduleFreeRule
    from imitation.optim.clipping import ClippedRule
    from imitation.optim.rotations import RotatedRule, SingularRule
    from imitation.optim.sharpness import SamRule
else:
    Base = PlainConfig  # the command line reads annotations at run time; in Python any config is a base


@dataclass(frozen=True)
class Clipped(Buildable):
    """The base on clipped gradients."""

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


@dataclass(frozen=True)
class Ema(Buildable):
    """Deploys a moving average of the base's weights."""

    base: Base = field(default_factory=AdamW)
    """The rule that steps."""
    law: Literal["constant", "corrected", "polynomial", "power"] = "constant"
    """Of the share of the newest weights: constant with the start counted or left out, or falling with t."""
    decay: float = 0.999
    """Constant laws: the share of the older weights, in [0, 1)."""
    gamma: float = 8.0
    """Polynomial law: (gamma + 1)/(t + gamma); power law: 1 - (1 - 1/t)^(gamma + 1)."""

    def __post_init__(self) -> None:
        discounts(decay=self.decay)
        not_negative(gamma=self.gamma)
        one_of("law", self.law, ("constant", "corrected", "polynomial", "power"))

    @property
    def lr(self) -> float:
        return self.base.lr

    def rule(self) -> "EmaRule":
        from imitation.optim.averaging import EmaRule

        return EmaRule(self.base.rule(), self.law, self.decay, self.gamma)


@dataclass(frozen=True)
class ScheduleFree(Buildable):
    """Averaging in place of a schedule, gradients between average and newest (arXiv 2405.15682)."""

    base: Base = field(default_factory=lambda: AdamW(lr=2.5e-3, beta1=0.0, weight_decay=0.0))
    """The rule that steps; the average stands in for momentum, so AdamW with beta1 0 or SGD without."""
    interpolation: float = 0.9
    """Share of the average in the point where gradients are taken, in [0, 1)."""
    law: Literal["polynomial", "constant", "refined"] = "polynomial"
    """Of the share of the newest in the average: t^power by the largest rate so far squared; ``weight``;
    or, of the rates squared, the newest's share times (1 - interpolation) weight (arXiv 2507.09846)."""
    power: float = 0.0
    """Polynomial law: the exponent of t; 0 gives a plain mean at a constant rate."""
    weight: float = 0.1
    """Constant law: the share. Refined law: its factor C; 1/(1 - interpolation) gives a plain mean."""
    random: bool = False
    """Whether the interpolation is drawn from [interpolation, 1] at each step (arXiv 2411.07061)."""

    def __post_init__(self) -> None:
        discounts(interpolation=self.interpolation)
        not_negative(power=self.power)
        require("weight", self.weight, self.weight > 0, "must be positive")
        if self.law == "constant":
            require("weight", self.weight, self.weight <= 1, "is a share, at most 1,")
        one_of("law", self.law, ("polynomial", "constant", "refined"))

    @property
    def lr(self) -> float:
        return self.base.lr

    def rule(self) -> "ScheduleFreeRule":
        from imitation.optim.averaging import ScheduleFreeRule

        return ScheduleFreeRule(
            self.base.rule(), self.interpolation, self.law, self.power, self.weight, self.random
        )


@dataclass(frozen=True)
class Sam(Buildable):
    """Sharpness-aware minimisation, and its unnormalised sibling (arXiv 2010.01412, 2305.15287)."""

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
    """The base in coordinates turned by random rotations, fixed for the run (arXiv 2410.19964)."""

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
    """The base in the singular bases of each matrix's gradient (arXiv 2410.19964)."""

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
