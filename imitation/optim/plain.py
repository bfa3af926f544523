"""Rules with one running mean of the gradient at most: SGD, sign-SGD, Lion."""

from dataclasses import dataclass

from torch import Tensor

from imitation.optim.algebra import decayed, plus, running, size, zeros
from imitation.optim.contract import Draws, Objective, Params, Rule
from imitation.optim.fused import one_pass


@one_pass(reads=3, members=1, numbers=4, writes=2, least=65_536)
def _momentum(p, g, mean, rate, keep, decay, own, other, p_out, mean_out):
    for k in range(p.shape[0]):
        for i in range(p.shape[1]):
            slope = g[k, i] + decay * p[k, i]
            now = keep * mean[k, i] + slope
            p_out[k, i] = p[k, i] - rate[k] * (own * slope + other * now)
            mean_out[k, i] = now


@one_pass(reads=3, members=2, numbers=2, writes=2, least=8_192)
def _sign(p, g, mean, shrink, rate, new1, new2, p_out, mean_out):
    for k in range(p.shape[0]):
        ahead, back, none = rate[k], -rate[k], rate[k] - rate[k]
        for i in range(p.shape[1]):
            error = g[k, i] - mean[k, i]
            way = mean[k, i] + new1 * error
            p_out[k, i] = shrink[k] * p[k, i] - (ahead if way > 0 else back if way < 0 else none)
            mean_out[k, i] = mean[k, i] + new2 * error


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
        if self.momentum and _momentum.fits(params, grads, state.mean):
            own, other = (1.0, self.momentum) if self.nesterov else (0.0, 1.0)
            moved, mean = _momentum(
                params,
                grads,
                state.mean,
                members=(lr,),
                numbers=(self.momentum, self.weight_decay, own, other),
            )
            return moved, Momentum(mean), {"loss": loss}
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
        if self.momentum and _sign.fits(params, grads, state.mean):
            new = 1 - self.momentum
            moved, mean = _sign(
                params, grads, state.mean, members=(1 - lr * self.weight_decay, lr), numbers=(new, new)
            )
            return moved, Momentum(mean), {"loss": loss}
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
        if _sign.fits(params, grads, state.mean):
            moved, mean = _sign(
                params, grads, state.mean,
                members=(1 - lr * self.weight_decay, lr), numbers=(1 - self.beta1, 1 - self.beta2),
            )  # fmt: skip
            return moved, Momentum(mean), {"loss": loss}
        way = running(state.mean, grads, self.beta1)
        mean = running(state.mean, grads, self.beta2)
        moved = {name: decayed(p, way[name].sign(), lr, self.weight_decay) for name, p in params.items()}
        return moved, Momentum(mean), {"loss": loss}

    def state_bytes(self, params: Params) -> int:
        return size(params)
