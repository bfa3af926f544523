"""Configs of averages of weights over any rule: ``Ema(base=AdamW(lr=1e-3))``."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from imitation.optim.configs.adam import AdamW
from imitation.optim.configs.config import Buildable, discounts, not_negative, one_of, require
from imitation.optim.configs.plain import Sgd
from imitation.optim.configs.rules import Base

if TYPE_CHECKING:
    from imitation.optim.averaging import EmaRule, ScheduleFreeRule
    from imitation.optim.conversion import ConversionRule


@dataclass(frozen=True)
class Ema(Buildable):
    """Deploys a moving average of the base's weights.

    Deploys m_t = (1 - c_t) m_{t-1} + c_t theta_t; c_t by the law. The base goes on as without it.

    When: noise at the end of a constant rate: the average cuts it at no cost in gradients.
    """

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
    """Averaging in place of a schedule, gradients between average and newest (arXiv 2405.15682).

    y = (1 - k) z + k x; z moves by what the base does at y; x = (1 - c) x + c z is deployed.

    When: a constant rate without knowing the number of steps in advance; rates a few times the base's own.
    """

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
        if self.random:
            enough = self.interpolation >= 0.1
            require("interpolation", self.interpolation, enough, "must be at least 0.1 where it is random")
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
class Conversion(Buildable):
    """Gradients at random points along the step of a base that learns online (arXiv 2302.03775, 2411.07061).

    y_t = x_t + s_t d_t with s_t drawn; d_{t+1} is the base's step for the gradient at y_t; x by choice. The
    paper's learner d' = zeta (d - lr g), zeta = b/(1 + lr mu), is Sgd(lr=zeta lr, momentum=zeta).

    When: to study why momentum, Adam and averaging work: the form in which their theory is proved.
    """

    base: Base = field(default_factory=lambda: Sgd(lr=1e-2, momentum=0.99))
    """The online learner: its step is d."""
    choice: Literal["last", "anchor", "ahead"] = "last"
    """Of x, from where d leads: the last x + d, the start, or x + d/zeta (schedule-free)."""
    zeta: float = 0.99
    """Of 'ahead', in (0, 1]; as the learner's momentum for schedule-free SGD."""
    scaling: Literal["uniform", "exponential", "one"] = "uniform"
    """Of s, in the point x + s d where the gradient is taken."""
    output: Literal["newest", "mean", "random"] = "mean"
    """What is deployed: the point of the next gradient, the points' mean, or that mean at a random step."""
    discount: float = 0.99
    """Of older points in the mean, in [0, 1)."""

    def __post_init__(self) -> None:
        discounts(discount=self.discount)
        require("zeta", self.zeta, 0 < self.zeta <= 1, "must lie in (0, 1]")
        one_of("choice", self.choice, ("last", "anchor", "ahead"))
        one_of("scaling", self.scaling, ("uniform", "exponential", "one"))
        one_of("output", self.output, ("newest", "mean", "random"))

    @property
    def lr(self) -> float:
        return self.base.lr

    def rule(self) -> "ConversionRule":
        from imitation.optim.conversion import ConversionRule

        return ConversionRule(
            self.base.rule(), self.choice, self.zeta, self.scaling, self.output, self.discount
        )
