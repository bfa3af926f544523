"""Averages of weights over any rule: moving averages, and schedule-free averaging."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from imitation.optim.algebra import Scalar, minus, mixed, plus, size, times, zeros
from imitation.optim.contract import Draw, Draws, Objective, Params, Rule
from imitation.optim.draws import of_base
from imitation.optim.fused import one_pass
from imitation.optim.wrapper import Wrapper


@dataclass(frozen=True, eq=False)
class EmaState:
    """Steps, the average so far, and the base's state."""

    step: int
    mean: Params
    base: Any


@dataclass(frozen=True)
class EmaRule(Wrapper):
    """Deploys ``m_t = (1 - c_t) m_{t-1} + c_t theta_t`` of the base's weights, which go on as without it.

    'constant': ``c = 1 - decay`` from ``m_0 = theta_0``; 'corrected': from 0, over ``1 - decay^t``, so that
    the start is left out; 'polynomial': ``c = (gamma + 1) / (t + gamma)``, a plain mean for gamma 0; 'power':
    ``1 - c = (1 - 1/t)^(gamma + 1)`` (Karras et al., arXiv 2312.02696).
    """

    base: Rule
    law: Literal["constant", "corrected", "polynomial", "power"]
    decay: float
    gamma: float

    def init(self, params: Params, draws: Draws) -> EmaState:
        mean = zeros(params) if self.law == "corrected" else dict(params)
        return EmaState(0, mean, self.base.init(params, of_base(draws)))

    def update(
        self, state: EmaState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, EmaState, dict[str, Tensor]]:
        params, base, info = self.base.update(state.base, params, objective, lr, of_base(draws))
        step = state.step + 1
        mean = mixed(state.mean, self.base.deployed(base, params), self._share(step))
        return params, EmaState(step, mean, base), info

    def _share(self, step: int) -> float:
        match self.law:
            case "polynomial":
                return (self.gamma + 1) / (step + self.gamma)
            case "power":
                return 1 - (1 - 1 / step) ** (self.gamma + 1)
            case _:
                return 1 - self.decay

    def deployed(self, state: EmaState, params: Params) -> Params:
        if not state.step:
            return params
        return times(1 / (1 - self.decay**state.step), state.mean) if self.law == "corrected" else state.mean

    def state_bytes(self, params: Params) -> int:
        return size(params) + self.base.state_bytes(params)


@one_pass(reads=3, members=3, writes=2, least=16_384)
def _interpolated(y, moved, z, whole, share, place, y_out, z_out):
    """``whole`` is one over the share of x in the old y, ``place`` its share in the new one."""
    for k in range(y.shape[0]):
        for i in range(y.shape[1]):
            x = z[k, i] + whole[k] * (y[k, i] - z[k, i])
            newest = z[k, i] + (moved[k, i] - y[k, i])
            x += share[k] * (newest - x)
            y_out[k, i] = newest + place[k] * (x - newest)
            z_out[k, i] = newest


@dataclass(frozen=True, eq=False)
class ScheduleFreeState:
    """Where the average stands; what is one number a member is ``(K,)``.

    ``total`` is the sum of averaging weights, ``largest`` the largest rate, ``place`` the share of x in y.
    ``other`` is z; where y is z itself (interpolation 0) it is x.
    """

    step: int
    total: Tensor
    largest: Tensor
    place: Tensor
    other: Params
    base: Any


@dataclass(frozen=True)
class ScheduleFreeRule(Wrapper):
    """Schedule-free averaging of any rule (Defazio et al., arXiv 2405.15682): gradients at y, deployed is x.

    ``y = (1 - k) z + k x``; z moves by what the base does to y (its decay acts at y);
    ``x = (1 - c) x + c z``. The weights that are trained are y; k is ``interpolation``, or is drawn uniformly
    from [interpolation, 1] at each step. The share c of the newest z:

    'polynomial': ``w_t / sum w`` with ``w_t = t^power max(lr)^2``: 1/t at a constant rate and power 0.
    'constant': ``weight``; with ``weight = 1 - interpolation``, random k and SGD at the rate
    ``lr / (1 - interpolation)`` it is Ahn, Magakyan, Cutkosky (arXiv 2411.07061).
    'refined': ``min(1, lr^2 / sum lr^2 (1 - interpolation) weight)`` (arXiv 2507.09846).
    """

    base: Rule
    interpolation: float
    law: Literal["polynomial", "constant", "refined"]
    power: float
    weight: float
    random: bool

    def asks(self, params: Params) -> dict[str, Draw]:
        own = {"interpolation": Draw("uniform")} if self.random else {}
        return own | super().asks(params)

    def init(self, params: Params, draws: Draws) -> ScheduleFreeState:
        first = next(iter(params.values()))
        none = first.new_zeros(first.shape[0])
        place = torch.full_like(none, self.interpolation)
        return ScheduleFreeState(0, none, none, place, dict(params), self.base.init(params, of_base(draws)))

    def update(
        self, state: ScheduleFreeState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, ScheduleFreeState, dict[str, Tensor]]:
        moved, base, info = self.base.update(state.base, params, objective, lr, of_base(draws))
        rate = torch.as_tensor(lr, dtype=state.total.dtype).expand_as(state.total)
        step, largest = state.step + 1, torch.maximum(state.largest, rate)
        total, share = self._share(step, state.total, largest, rate)
        place = state.place
        if self.random:
            place = self.interpolation + (1 - self.interpolation) * draws["interpolation"]
        y, other = self._averaged(state, params, moved, share, place)
        return y, ScheduleFreeState(step, total, largest, place, other, base), info

    def _averaged(
        self, state: ScheduleFreeState, y: Params, moved: Params, share: Tensor, place: Tensor
    ) -> tuple[Params, Params]:
        """The new y and ``other``, where the base moves ``y``."""
        found = None
        if not self._at_z:
            found = _interpolated(y, moved, state.other, members=(1 / state.place, share, place))
        if found is not None:
            y, z = found
            return y, z
        x, z = self._points(state, y)
        z = plus(z, 1.0, minus(moved, y))
        x = mixed(x, z, share)
        return (z, x) if self._at_z else (mixed(z, x, place), z)

    @property
    def _at_z(self) -> bool:
        return self.interpolation == 0 and not self.random

    def _points(self, state: ScheduleFreeState, y: Params) -> tuple[Params, Params]:
        """x and z."""
        if self._at_z:
            return state.other, y
        return plus(state.other, 1 / state.place, minus(y, state.other)), state.other

    def _share(self, step: int, total: Tensor, largest: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of weights so far, and the share of the newest z, 0 while rates are, both ``(K,)``."""
        if self.law == "constant":
            return total, torch.full_like(total, self.weight)
        if self.law == "refined":
            total = total + rate**2
            share = _part(rate**2, total) * (1 - self.interpolation) * self.weight
            return total, share.clamp(max=1.0)
        newest = step**self.power * largest**2
        total = total + newest
        return total, _part(newest, total)

    def deployed(self, state: ScheduleFreeState, params: Params) -> Params:
        return self._points(state, params)[0]

    def state_bytes(self, params: Params) -> int:
        first = next(iter(params.values()))
        return size(params) + 3 * first.shape[0] * first.element_size() + self.base.state_bytes(params)


def _part(newest: Tensor, total: Tensor) -> Tensor:
    """``newest / total``, 0/0 = 0."""
    return torch.where(total == 0, newest, newest / total)
