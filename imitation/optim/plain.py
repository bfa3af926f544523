"""Rules with one running mean of the gradient at most: SGD, sign-SGD, Lion."""

from dataclasses import dataclass

import torch
from torch import Tensor

from imitation.optim.algebra import decayed, plus, running, size, zeros
from imitation.optim.contract import Draws, Elementwise, Objective, Params
from imitation.optim.fused import one_pass


@one_pass(reads=3, members=1, numbers=4, writes=2, least=65_536)
def _momentum(p, g, mean, rate, keep, decay, own, other, p_out, mean_out):
    for k in range(p.shape[0]):
        for i in range(p.shape[1]):
            slope = g[k, i] + decay * p[k, i]
            now = keep * mean[k, i] + slope
            p_out[k, i] = p[k, i] - rate[k] * (own * slope + other * now)
            mean_out[k, i] = now


@one_pass(reads=3, members=2, numbers=4, writes=2)
def _sign(p, g, mean, shrink, rate, keep1, new1, keep2, new2, p_out, mean_out):
    for k in range(p.shape[0]):
        ahead, back = rate[k], -rate[k]
        for i in range(p.shape[1]):
            way = keep1 * mean[k, i] + new1 * g[k, i]
            p_out[k, i] = shrink[k] * p[k, i] - (ahead if way > 0 else back if way < 0 else way)
            mean_out[k, i] = keep2 * mean[k, i] + new2 * g[k, i]


@dataclass(frozen=True, eq=False)
class Momentum:
    """The running sum or mean of the gradient; without names where the rule has none."""

    mean: Params


@dataclass(frozen=True)
class SgdRule(Elementwise):
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
        if not self.momentum:
            return plus(params, -lr, self._decaying(params, grads)), state, {"loss": loss}
        own, other = (1.0, self.momentum) if self.nesterov else (0.0, 1.0)
        found = _momentum(
            params, grads, state.mean,
            members=(lr,), numbers=(self.momentum, self.weight_decay, own, other),
        )  # fmt: skip
        if found is not None:
            moved, mean = found
            return moved, Momentum(mean), {"loss": loss}
        grads = self._decaying(params, grads)
        mean = {name: state.mean[name] * self.momentum + g for name, g in grads.items()}
        way = plus(grads, self.momentum, mean) if self.nesterov else mean
        return plus(params, -lr, way), Momentum(mean), {"loss": loss}

    def _decaying(self, params: Params, grads: Params) -> Params:
        return plus(grads, self.weight_decay, params) if self.weight_decay else grads

    def state_bytes(self, params: Params) -> int:
        return size(params) if self.momentum else 0


@dataclass(frozen=True)
class SignRule(Elementwise):
    """``m = mu m + (1 - mu) g``, ``theta -= lr (sign m + wd theta)`` (Bernstein et al., arXiv 1802.04434)."""

    momentum: float
    weight_decay: float

    def init(self, params: Params, draws: Draws) -> Momentum:
        return Momentum(zeros(params) if self.momentum else {})

    def update(
        self, state: Momentum, params: Params, objective: Objective, lr: float | Tensor, draws: Draws
    ) -> tuple[Params, Momentum, dict[str, Tensor]]:
        loss, grads = objective.loss_and_grad(params)
        if not self.momentum:
            return _signed(params, grads, lr, self.weight_decay), state, {"loss": loss}
        betas = self.momentum, self.momentum
        moved, mean = _sign_step(params, grads, state.mean, lr, betas, self.weight_decay)
        return moved, Momentum(mean), {"loss": loss}

    def state_bytes(self, params: Params) -> int:
        return size(params) if self.momentum else 0


@dataclass(frozen=True)
class LionRule(Elementwise):
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
        betas = self.beta1, self.beta2
        moved, mean = _sign_step(params, grads, state.mean, lr, betas, self.weight_decay)
        return moved, Momentum(mean), {"loss": loss}

    def state_bytes(self, params: Params) -> int:
        return size(params)


def _sign_step(
    params: Params,
    grads: Params,
    mean: Params,
    lr: float | Tensor,
    betas: tuple[float, float],
    weight_decay: float,
) -> tuple[Params, Params]:
    """``theta -= lr (sign(b1 m + (1 - b1) g) + wd theta)`` and ``b2 m + (1 - b2) g``."""
    numbers = [share for beta in betas for share in (beta, 1 - beta)]
    found = _sign(params, grads, mean, members=(1 - lr * weight_decay, lr), numbers=numbers)
    if found is not None:
        moved, mean = found
        return moved, mean
    way = running(mean, grads, betas[0])
    return _signed(params, way, lr, weight_decay), running(mean, grads, betas[1])


def _signed(params: Params, way: Params, lr: float | Tensor, weight_decay: float) -> Params:
    """A step along the signs of ``way``; what is not a number stays so."""
    signs = {name: torch.where(d.isnan(), d, d.sign()) for name, d in way.items()}
    return {name: decayed(p, signs[name], lr, weight_decay) for name, p in params.items()}
