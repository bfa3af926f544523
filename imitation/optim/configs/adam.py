"""Configs of Adam and of what stores less than it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imitation.optim.configs.config import Buildable, discounts, not_negative, one_of, positive

if TYPE_CHECKING:
    from imitation.optim.adamw import AdamWRule
    from imitation.optim.lean import AdafactorRule, SharedAdamRule, Sm3Rule


@dataclass(frozen=True)
class AdamW(Buildable):
    """Adam with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101, algorithm 2).

    theta = (1 - lr wd) theta - lr m / (sqrt(v) + eps), with m and v the bias-corrected running means of
    g and g^2.

    When: the default: cloning at any size, little to tune but lr.
    """

    lr: float = 3e-4
    """Learning rate: about the largest change of a weight in one step."""
    beta1: float = 0.9
    """Discount of the gradient's running mean, in [0, 1)."""
    beta2: float = 0.999
    """Discount of the squared gradient's running mean, in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the second moment, in the units of a gradient."""
    weight_decay: float = 1e-3
    """Decoupled decay: each step multiplies the weights by 1 - lr * weight_decay."""

    def __post_init__(self) -> None:
        positive(lr=self.lr)
        discounts(beta1=self.beta1, beta2=self.beta2)
        not_negative(eps=self.eps, weight_decay=self.weight_decay)

    def rule(self) -> "AdamWRule":
        from imitation.optim.adamw import AdamWRule

        return AdamWRule(self.beta1, self.beta2, self.eps, self.weight_decay)


@dataclass(frozen=True)
class Adam(Buildable):
    """Adam without weight decay (Kingma & Ba, arXiv 1412.6980).

    theta -= lr m / (sqrt(v) + eps), with m and v the bias-corrected running means of g and g^2.

    When: as AdamW where weights must not decay; ``relative`` where the target changes (DAgger's rounds).
    """

    lr: float = 3e-4
    """Learning rate: about the largest change of a weight in one step."""
    beta1: float = 0.9
    """Discount of the gradient's running mean, in [0, 1)."""
    beta2: float = 0.999
    """Discount of the squared gradient's running mean, in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the second moment, in the units of a gradient."""
    relative: bool = False
    """Adam-Rel (arXiv 2412.17113): the count of steps restarts when the target changes, the moments stay."""

    def __post_init__(self) -> None:
        positive(lr=self.lr)
        discounts(beta1=self.beta1, beta2=self.beta2)
        not_negative(eps=self.eps)

    def rule(self) -> "AdamWRule":
        from imitation.optim.adamw import AdamWRule

        return AdamWRule(self.beta1, self.beta2, self.eps, 0.0, self.relative)


@dataclass(frozen=True)
class AdamMini(Buildable):
    """AdamW with one second moment for each block of weights (Zhang et al., arXiv 2406.16793).

    AdamW with v the running mean of the block's mean of g^2.

    When: as AdamW at half its memory; rows of a matrix share a scale.
    """

    lr: float = 3e-4
    """Learning rate."""
    beta1: float = 0.9
    """Discount of the gradient's running mean, in [0, 1)."""
    beta2: float = 0.999
    """Discount of the running mean of the blocks' mean squares, in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the second moment, in the units of a gradient."""
    weight_decay: float = 1e-3
    """Decoupled decay, times the learning rate, each step."""
    block: Literal["output", "tensor", "weight"] = "output"
    """The weights into an output, a whole tensor, or each weight for itself (that is AdamW)."""

    def __post_init__(self) -> None:
        positive(lr=self.lr)
        discounts(beta1=self.beta1, beta2=self.beta2)
        not_negative(eps=self.eps, weight_decay=self.weight_decay)
        one_of("block", self.block, ("output", "tensor", "weight"))

    def rule(self) -> "SharedAdamRule":
        from imitation.optim.lean import Shared, SharedAdamRule

        shared: Shared = (
            "inputs" if self.block == "output" else "tensor" if self.block == "tensor" else "nothing"
        )
        return SharedAdamRule(self.beta1, self.beta2, self.eps, self.weight_decay, shared)


@dataclass(frozen=True)
class SlimAdam(Buildable):
    """AdamW whose second moment is a mean over axes of each tensor (Kalra et al., arXiv 2503.01843).

    AdamW with v the running mean of g^2 averaged over the chosen dimensions.

    When: as AdamW at half its memory; to see along which dimension second moments can be shared.
    """

    lr: float = 3e-4
    """Learning rate."""
    beta1: float = 0.9
    """Discount of the gradient's running mean, in [0, 1)."""
    beta2: float = 0.999
    """Discount of the running mean of the mean squares, in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the second moment, in the units of a gradient."""
    weight_decay: float = 1e-3
    """Decoupled decay, times the learning rate, each step."""
    over: Literal["inputs", "outputs", "tensor", "nothing"] = "inputs"
    """What the mean is taken over: a matrix's inputs (its columns), its outputs, both, or nothing."""

    def __post_init__(self) -> None:
        positive(lr=self.lr)
        discounts(beta1=self.beta1, beta2=self.beta2)
        not_negative(eps=self.eps, weight_decay=self.weight_decay)
        one_of("over", self.over, ("inputs", "outputs", "tensor", "nothing"))

    def rule(self) -> "SharedAdamRule":
        from imitation.optim.lean import SharedAdamRule

        return SharedAdamRule(self.beta1, self.beta2, self.eps, self.weight_decay, self.over)


@dataclass(frozen=True)
class Adafactor(Buildable):
    """Second moments from row and column means, no first moment (Shazeer & Stern, arXiv 1804.04235).

    theta -= lr u / max(1, rms(u) / largest), u = g / sqrt(r c / mean(r)), with r and c the running means of
    g^2's rows and columns.

    When: the leanest state that still scales by second moments: no momentum.
    """

    lr: float = 1e-3
    """Learning rate."""
    beta2: float = 0.999
    """Discount of the squared gradient's running means, in [0, 1)."""
    eps: float = 1e-30
    """Added to each squared gradient."""
    largest: float = 1.0
    """Root mean square of an update beyond which it is scaled down to that; inf for never."""

    def __post_init__(self) -> None:
        positive(lr=self.lr, largest=self.largest)
        discounts(beta2=self.beta2)
        not_negative(eps=self.eps)

    def rule(self) -> "AdafactorRule":
        from imitation.optim.lean import AdafactorRule

        return AdafactorRule(self.beta2, self.eps, self.largest)


@dataclass(frozen=True)
class Sm3(Buildable):
    """Adagrad with one number for each index of each axis (Anil et al., arXiv 1901.11150, SM3-II).

    theta -= lr m, m the running mean of g / sqrt(a), a = min over a weight's row and column of their largest
    sums of g^2, AdaGrad's without its memory.

    When: sparse or very different gradients; rates fall by themselves, as in AdaGrad.
    """

    lr: float = 1e-2
    """Learning rate."""
    momentum: float = 0.9
    """Discount of the running mean of the scaled gradients, in [0, 1); 0 stores none."""

    def __post_init__(self) -> None:
        positive(lr=self.lr)
        discounts(momentum=self.momentum)

    def rule(self) -> "Sm3Rule":
        from imitation.optim.lean import Sm3Rule

        return Sm3Rule(self.momentum)
