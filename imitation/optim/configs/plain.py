"""Configs of SGD, sign-SGD, Lion, Muon and SOAP."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from imitation.optim.configs.adam import AdamW
from imitation.optim.configs.config import Buildable, discounts, not_negative, one_of, positive

if TYPE_CHECKING:
    from imitation.optim.muon import MuonRule
    from imitation.optim.plain import LionRule, SgdRule, SignRule
    from imitation.optim.soap import SoapRule


@dataclass(frozen=True)
class Sgd(Buildable):
    """Stochastic gradient descent with (Nesterov's) momentum, as ``torch.optim.SGD``.

    m = momentum m + g, theta -= lr m (Nesterov: lr (g + momentum m)).

    When: the plain reference of studies: the only rule that every theorem is about.
    """

    lr: float = 1e-2
    """Learning rate, in weights per gradient."""
    momentum: float = 0.0
    """Discount of the running sum of gradients, in [0, 1); 0 stores none."""
    nesterov: bool = False
    """Whether the gradient counts once more in the step; needs momentum."""
    weight_decay: float = 0.0
    """Coefficient of the weights in the gradient."""

    def __post_init__(self) -> None:
        positive(lr=self.lr)
        discounts(momentum=self.momentum)
        not_negative(weight_decay=self.weight_decay)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum > 0, got momentum=0")

    def rule(self) -> "SgdRule":
        from imitation.optim.plain import SgdRule

        return SgdRule(self.momentum, self.nesterov, self.weight_decay)


@dataclass(frozen=True)
class SignSgd(Buildable):
    """The sign of the gradient, or of its running mean (Bernstein et al., arXiv 1802.04434).

    m = momentum m + (1 - momentum) g, theta -= lr (sign(m) + wd theta).

    When: noisy or badly scaled gradients; every weight moves by lr.
    """

    lr: float = 1e-3
    """Learning rate: the change of a weight in one step."""
    momentum: float = 0.9
    """Discount of the gradient's running mean, in [0, 1); 0 stores none."""
    weight_decay: float = 0.0
    """Decoupled decay, times the learning rate, each step."""

    def __post_init__(self) -> None:
        positive(lr=self.lr)
        discounts(momentum=self.momentum)
        not_negative(weight_decay=self.weight_decay)

    def rule(self) -> "SignRule":
        from imitation.optim.plain import SignRule

        return SignRule(self.momentum, self.weight_decay)


@dataclass(frozen=True)
class Lion(Buildable):
    """The sign of a running mean that looks one step ahead (Chen et al., arXiv 2302.06675).

    theta -= lr (sign(beta1 m + (1 - beta1) g) + wd theta), then m = beta2 m + (1 - beta2) g.

    When: as SignSgd with a longer memory; lr a third to a tenth of AdamW's.
    """

    lr: float = 1e-4
    """Learning rate: the change of a weight in one step."""
    beta1: float = 0.9
    """Discount of the mean that is stepped along, in [0, 1)."""
    beta2: float = 0.99
    """Discount of the mean that is kept, in [0, 1)."""
    weight_decay: float = 0.0
    """Decoupled decay, times the learning rate, each step."""

    def __post_init__(self) -> None:
        positive(lr=self.lr)
        discounts(beta1=self.beta1, beta2=self.beta2)
        not_negative(weight_decay=self.weight_decay)

    def rule(self) -> "LionRule":
        from imitation.optim.plain import LionRule

        return LionRule(self.beta1, self.beta2, self.weight_decay)


@dataclass(frozen=True)
class Muon(Buildable):
    """Momentum with orthogonalised matrices; what is no matrix goes by AdamW (Jordan et al., 2024).

    W = (1 - lr wd) W - lr s NS(B), B the (Nesterov) running mean of G, NS five Newton-Schulz steps of
    ``a X + b X X'X + c (X X')^2 X`` towards the nearest orthogonal matrix, s the scale.

    When: hidden matrices of width 64 and more: far ahead of Adam in steps, at some overhead.
    """

    lr: float = 2e-2
    """Learning rate of the matrices."""
    momentum: float = 0.95
    """Discount of the gradient's running mean, in [0, 1)."""
    nesterov: bool = True
    """Whether the gradient is mixed into the mean once more."""
    weight_decay: float = 0.0
    """Decoupled decay of the matrices, times the learning rate, each step."""
    scale: Literal["shape", "rms"] = "shape"
    """Of a step: sqrt(max(1, rows/columns)), or 0.2 sqrt(max(rows, columns)) for the size of AdamW's."""
    rest: AdamW = field(default_factory=AdamW)
    """For all that is no matrix; a schedule acts on both rates alike."""

    def __post_init__(self) -> None:
        positive(lr=self.lr)
        discounts(momentum=self.momentum)
        not_negative(weight_decay=self.weight_decay)
        one_of("scale", self.scale, ("shape", "rms"))

    def rule(self) -> "MuonRule":
        from imitation.optim.muon import MuonRule

        rest, rate = self.rest.rule(), self.rest.lr / self.lr
        return MuonRule(self.momentum, self.nesterov, self.weight_decay, self.scale, rest, rate)


@dataclass(frozen=True)
class Soap(Buildable):
    """Adam in the eigenbases of Shampoo's factors; what is no matrix goes by AdamW (arXiv 2409.11321).

    W = (1 - lr wd) W - lr Q_L A Q_R', A Adam's step for Q_L' G Q_R, with the eigenbases Q of the running
    means of G G' and G'G.

    When: the fewest steps where matrices are small; two small factorisations each ``every`` steps.
    """

    lr: float = 3e-3
    """Learning rate."""
    beta1: float = 0.95
    """Discount of the gradient's running mean, in [0, 1)."""
    beta2: float = 0.95
    """Discount of the turned squared gradient's running mean, in [0, 1)."""
    shampoo: float = 0.95
    """Discount of the factors whose eigenbases are used, in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the second moment, in the units of a gradient."""
    weight_decay: float = 1e-2
    """Decoupled decay, times the learning rate, each step."""
    every: int = 10
    """Steps between renewals of the eigenbases."""

    def __post_init__(self) -> None:
        positive(lr=self.lr, every=self.every)
        discounts(beta1=self.beta1, beta2=self.beta2, shampoo=self.shampoo)
        not_negative(eps=self.eps, weight_decay=self.weight_decay)

    def rule(self) -> "SoapRule":
        from imitation.optim.adamw import AdamWRule
        from imitation.optim.soap import SoapRule

        rest = AdamWRule(self.beta1, self.beta2, self.eps, self.weight_decay)
        return SoapRule(self.beta1, self.beta2, self.shampoo, self.eps, self.weight_decay, self.every, rest)
