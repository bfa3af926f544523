"""Any ``torch.optim.Optimizer`` class behind the interface of a rule, one model at a time."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imitation.optim.contract import Draws, Objective, Params, Rule


@dataclass(frozen=True, eq=False)
class ForeignState:
    """The optimizer object itself, its leaves and the rates it began with (mutable: never share it)."""

    optimizer: Any
    leaves: Params
    rates: tuple[float, ...]


@dataclass(frozen=True)
class ForeignRule(Rule):
    """Runs ``cls(params, **arguments).step(closure)``.

    The rates of its groups are multiplied by the rate asked for over ``lr``, the one that the class was given
    or has by default.

    Unlike the suite's rules it is not pure: the optimizer object in the state changes as it steps.
    Optimizers with ``train()`` and ``eval()`` (schedule-free ones) are switched to read the weights to
    deploy.
    """

    cls: type
    arguments: tuple[tuple[str, Any], ...] = ()
    lr: float = 1.0

    @property
    def vectorises(self) -> bool:
        return False

    @property
    def elementwise(self) -> bool:
        return False

    def init(self, params: Params, draws: Draws) -> ForeignState:
        members = {p.shape[0] for p in params.values()}
        if members != {1}:
            raise ValueError(
                f"{self.cls.__qualname__} runs one model at a time, got member axes {sorted(members)}; "
                f"train the members one by one"
            )
        leaves = {name: p[0].detach().clone().requires_grad_() for name, p in params.items()}
        optimizer = self.cls(list(leaves.values()), **dict(self.arguments))
        _switch(optimizer, "train")
        return ForeignState(
            optimizer, leaves, tuple(group.get("lr", 0.0) for group in optimizer.param_groups)
        )

    def update(
        self,
        state: ForeignState,
        params: Params,
        objective: Objective,
        lr: float | Tensor,
        draws: Draws,
    ) -> tuple[Params, ForeignState, dict[str, Tensor]]:
        losses: list[Tensor] = []
        for group, rate in zip(state.optimizer.param_groups, state.rates, strict=True):
            if "lr" in group:
                group["lr"] = rate * (float(lr) / self.lr)

        def closure() -> Tensor:
            loss, grads = objective.loss_and_grad(_stacked(state.leaves))
            losses.append(loss)
            for name, leaf in state.leaves.items():
                leaf.grad = grads[name][0].clone(memory_format=torch.contiguous_format)
            return loss[0]

        _write(state.leaves, params)
        state.optimizer.step(closure)
        return _stacked(state.leaves), state, {"loss": losses[0]}

    def deployed(self, state: ForeignState, params: Params) -> Params:
        _switch(state.optimizer, "eval")
        weights = _stacked(state.leaves)
        _switch(state.optimizer, "train")
        return weights

    def state_bytes(self, params: Params) -> int:
        raise ValueError(f"the state of the foreign class {self.cls.__qualname__} is not known in advance")


def _stacked(leaves: Params) -> Params:
    return {name: leaf.detach().clone()[None] for name, leaf in leaves.items()}


def _write(leaves: Params, params: Params) -> None:
    with torch.no_grad():
        for name, leaf in leaves.items():
            leaf.copy_(params[name][0])


def _switch(optimizer: Any, mode: str) -> None:
    """``train()`` or ``eval()`` where the class has it."""
    if hasattr(optimizer, mode):
        getattr(optimizer, mode)()
