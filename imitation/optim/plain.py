"""Rules with one running mean of the gradient at most: SGD, sign-SGD, Lion."""

from dataclasses import dataclass

from torch import Tensor

from imitation.optim.algebra import decayed, plus, running, size, zeros
from imitation.optim.contract import Draws, Objective, Params, Rule


@dataclass(frozen=True, eq=False)
class Momentum:
    """The running sum or mean of the gradient; without names where the rule has none."""

    mean: Params


@dataclass(frozen=True)
class SgdRule(Rule):
    """``m = mu m + g``, then ``theta -= lr m``, or with Nesterov ``theta -= lr (g + mu m)``.

    ``g`` holds the gradient of ``weight_decay/2 ||theta||^2`` too, as in ``torch.optim.SGD``.
    """

    momentum: float
    nesterov: bool
    weight_decay: float

    def init(self, params: Params, draws: Draws) -> Momentum:
        return Momentum(zeros(params) if self.momentum else {})

    def update(
        self, state: Momentum, params: Params, objective: Objective, lr: float | Tensor, draws: Draws
    ) -> tuple[Params, Momentum, dict[str, Tensor]]:
        loss, grads = objective.loss_and_grad(params)
        if self.weight_decay:
            grads = plus(grads, self.weight_decay, params)
        if not self.momentum:
            return plus(params, -lr, grads), state, {"loss": loss}
        mean = {name: state.mean[name] * self.momentum + g for name, g in grads.items()}
        way = plus(grads, self.momentum, mean) if self.nesterov else mean
        return plus(params, -lr, way), Momentum(mean), {"loss": loss}

    def state_bytes(self, params: Params) -> int:
        return size(params) if self.momentum else 0


@dataclass(frozen=True)
class SignRule(Rule):
    """``m = mu m + (1 - mu) g``, ``theta -= lr (sign m + wd theta)`` (Bernstein et al., arXiv 1802.04434)."""

    momentum: float
    weight_decay: float

    def init(self, params: Params, draws: Draws) -> Momentum:
        return Momentum(zeros(params) if self.momentum else {})

    def update(
        self, state: Momentum, params: Params, objective: Objective, lr: float | Tensor, draws: Draws
    ) -> tuple[Params, Momentum, dict[str, Tensor]]:
        loss, grads = objective.loss_and_grad(params)
        mean = grads
        if self.momentum:
            mean = running(state.mean, grads, self.momentum)
        moved = {name: decayed(p, mean[name].sign(), lr, self.weight_decay) for name, p in params.items()}
        return moved, Momentum(mean) if self.momentum else state, {"loss": loss}

    def state_bytes(self, params: Params) -> int:
        return size(params) if self.momentum else 0


@dataclass(frozen=True)
class LionRule(Rule):
    """``theta -= lr (sign(b1 m + (1 - b1) g) + wd theta)``, ``m = b2 m + (1 - b2) g`` (arXiv 2302.06675)."""

    beta1: float
    beta2: float
    weight_decay: float

    def init(self, params: Params, draws: Draws) -> Momentum:
        return Momentum(zeros(params))

    def update(
        self, state: Momentum, params: Params, objective: Objective, lr: float | Tensor, draws: Draws
    ) -> tuple[Params, Momentum, dict[str, Tensor]]:
        loss, grads = objective.loss_and_grad(params)
        way = running(state.mean, grads, self.beta1)
        mean = running(state.mean, grads, self.beta2)
        moved = {name: decayed(p, way[name].sign(), lr, self.weight_decay) for name, p in params.items()}
        return moved, Momentum(mean), {"loss": loss}

    def state_bytes(self, params: Params) -> int:
        return size(params)
