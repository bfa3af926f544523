"""An objective with another gradient."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from imitation.optim.contract import Objective, Params


@dataclass(frozen=True, eq=False)
class Altered:
    """``objective`` with ``gradient`` in the place of its gradient; all else is the objective's."""

    objective: Objective
    gradient: Callable[[Params], tuple[Tensor, Params]]

    @property
    def offers(self) -> frozenset[str]:
        return self.objective.offers

    def loss_and_grad(self, params: Params) -> tuple[Tensor, Params]:
        return self.gradient(params)

    def hvp(self, params: Params, v: Params, full: bool = True) -> Params:
        return self.objective.hvp(params, v, full)

    def ggn(self, params: Params, v: Params) -> Params:
        return self.objective.ggn(params, v)

    def sample_grad(self, params: Params, i: Tensor) -> Params:
        return self.objective.sample_grad(params, i)
