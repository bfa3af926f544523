"""A ``torch.optim.Optimizer`` over any update rule, for the parameters of one model."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from imitation.optim.contract import Draw, Draws, GradientObjective, Objective, Params, Rule, require_offers
from imitation.optim.draws import asked, asked_first, drawn
from imitation.optim.state import plain, restored


class TorchFace(torch.optim.Optimizer):
    """Runs ``rule`` with K = 1: gradients in place then ``step()``, or ``step(closure)``.

    The closure is torch's usual one (zero the gradients, compute the loss, call backward, return the
    loss). Rules that ask for several gradients a step need it. ``eval()`` puts the weights to deploy into
    the model and ``train()`` puts the trained ones back; both do nothing where the two are the same.
    A learning-rate scheduler may change ``param_groups[0]["lr"]``. A weight without a gradient counts as
    one with gradient zero: leave out what is frozen.

    Args:
        params: the tensors, or pairs (name, tensor): one group.
        rule: the update rule.
        lr: learning rate.
        objective: for rules that need more than gradients.
        seed: of the random numbers that the rule asks for; where they stand is part of ``state_dict``.

    Raises:
        ValueError: for several parameter groups, or a rule whose needs the objective does not meet.
    """

    def __init__(
        self,
        params: "Iterable[Any]",
        rule: Rule,
        lr: float,
        objective: Objective | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(params, {"lr": lr})
        if len(self.param_groups) != 1:
            raise ValueError(
                f"params must be one group, got {len(self.param_groups)}; build one optimizer for each group"
            )
        self._rule = rule
        self._objective = objective
        self._generator = torch.Generator().manual_seed(seed)
        self._progress: Any = None
        self._trained: Params | None = None
        if objective is not None:
            require_offers(rule, objective)
        elif rule.needs - {"grad"}:
            raise ValueError(
                f"{type(rule).__name__} needs {sorted(rule.needs)} of its objective, a closure gives only "
                f"gradients; pass objective=... to build"
            )

    @property
    def _named(self) -> Params:
        group = self.param_groups[0]
        names = group.get("param_names") or [str(i) for i in range(len(group["params"]))]
        return dict(zip(names, group["params"], strict=True))

    def _weights(self) -> Params:
        return {name: p.detach().clone()[None] for name, p in self._named.items()}

    def _drawn(self, draws: Mapping[str, Draw]) -> Draws:
        first = next(iter(self._named.values()))
        return drawn(draws, [self._generator], first.dtype)

    def _begun(self, weights: Params) -> Any:
        """The rule's state before its first step."""
        return self._rule.init(weights, self._drawn(asked_first(self._rule, weights)))

    def renew(self) -> None:
        """Say that the target has changed, as it does between rounds of DAgger."""
        if self._progress is not None:
            self._progress = self._rule.renewed(self._progress)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step of the rule; the loss at its first gradient where there is a closure."""
        if self._trained is not None:
            raise ValueError("the model holds the deployed weights; call train() on the optimizer first")
        weights = self._weights()
        if self._progress is None:
            self._progress = self._begun(weights)
        objective = self._objective or model_objective(self._named, closure)
        lr = self.param_groups[0]["lr"]
        draws = self._drawn(asked(self._rule, weights))
        weights, self._progress, info = self._rule.update(self._progress, weights, objective, lr, draws)
        _write(self._named, weights)
        return None if closure is None and self._objective is None else info["loss"][0]

    def eval(self) -> None:
        """Put the weights to deploy into the model."""
        if self._trained is not None or self._progress is None:
            return
        weights = self._weights()
        deployed = self._rule.deployed(self._progress, weights)
        if deployed is not weights:
            self._trained = weights
            _write(self._named, deployed)

    def train(self) -> None:
        """Put the weights that are trained back into the model."""
        if self._trained is not None:
            _write(self._named, self._trained)
            self._trained = None

    def state_dict(self) -> dict[str, Any]:
        """torch's form, the rule's state under ``state["rule"]``; the model must hold its trained weights."""
        if self._trained is not None:
            raise ValueError("the model holds the deployed weights; call train() before state_dict()")
        if self._progress is not None:
            self.state["rule"] = plain(self._progress)  # type: ignore[index]
            self.state["draws"] = self._generator.get_state()  # type: ignore[index]
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from ``state_dict``: the next steps are the same bits as without the round trip."""
        super().load_state_dict(state_dict)
        record = self.state.get("rule")  # type: ignore[call-overload]
        self._progress = None
        if record is not None:
            self._progress = restored(self._begun(self._weights()), record)
            self._generator.set_state(self.state["draws"])  # type: ignore[index]


def model_objective(named: Params, closure: Callable[[], Any] | None) -> GradientObjective:
    """The loss of a torch model as an objective: through a closure, or from gradients in place (once)."""
    used = False

    def gradient(params: Params) -> tuple[Tensor, Params]:
        nonlocal used
        _write(named, params)
        loss: Any = float("nan")
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        elif used:
            raise ValueError("this rule takes several gradients a step; call step(closure)")
        used = True
        first = next(iter(named.values()))
        return torch.as_tensor(loss, dtype=first.dtype).detach().reshape(1), _gradients(named)

    return GradientObjective("the loss of a closure", gradient)


def _gradients(named: Params) -> Params:
    return {
        name: (torch.zeros_like(p) if p.grad is None else p.grad.detach().clone())[None]
        for name, p in named.items()
    }


def _write(named: Params, params: Params) -> None:
    with torch.no_grad():
        for name, p in named.items():
            p.copy_(params[name][0])
