"""What an update rule is, and what it may ask of the objective it minimises.

All tensors carry a leading member axis K: a population of models of one shape, one program (K = 1
alone). Members never meet: norms, projections and moments are per member. A rule draws no random
numbers: it says what it ``asks`` for, and the driver draws that for each member from the member's own
seed (``imitation.optim.draws``). It keeps no hidden state and never writes to a gradient.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

Params = dict[str, Tensor]
"""Named tensors, each ``(K, ...)``."""


class Objective(Protocol):
    """The loss of each member as a function of its weights: one minibatch, the same at every call."""

    @property
    def offers(self) -> frozenset[str]:
        """Which of 'grad', 'hvp', 'ggn', 'sample_grad' can be asked for; the others raise ValueError."""
        ...

    def loss_and_grad(self, params: Params) -> tuple[Tensor, Params]:
        """Loss ``(K,)`` and its gradient."""
        ...

    def hvp(self, params: Params, v: Params, full: bool = True) -> Params:
        """Hessian of the loss times ``v``; ``full``: of the whole training set's loss.

        ``v`` holds one vector a member, like ``params``, or a block of b: tensors ``(b, K, ...)``.
        """
        ...

    def ggn(self, params: Params, v: Params) -> Params:
        """Generalised Gauss-Newton matrix of the minibatch's loss times ``v``, one vector a member."""
        ...

    def sample_grad(self, params: Params, i: Tensor) -> Params:
        """Gradient of the loss of one sample of the minibatch: ``i (K,)``, modulo their number."""
        ...


@dataclass(frozen=True, eq=False)
class GradientObjective:
    """An objective that offers gradients and nothing else.

    Args:
        name: what it is, for the error where a rule asks for more.
        gradient: named tensors ``(K, ...)`` to the loss ``(K,)`` and its gradient.
    """

    name: str
    gradient: Callable[[Params], tuple[Tensor, Params]]

    offers = frozenset({"grad"})

    def loss_and_grad(self, params: Params) -> tuple[Tensor, Params]:
        return self.gradient(params)

    def hvp(self, params: Params, v: Params, full: bool = True) -> Params:
        raise self._not_offered("hvp")

    def ggn(self, params: Params, v: Params) -> Params:
        raise self._not_offered("ggn")

    def sample_grad(self, params: Params, i: Tensor) -> Params:
        raise self._not_offered("sample_grad")

    def _not_offered(self, what: str) -> ValueError:
        return ValueError(
            f"{self.name} does not offer {what!r}; use a rule that needs only gradients, or an objective "
            f"that offers it"
        )


@dataclass(frozen=True)
class Draw:
    """Random numbers that a rule asks for: independent, of one shape for each member.

    Args:
        law: 'uniform' on [0, 1), 'normal', 'exponential' (mean 1), or 'integer' in 0 .. high - 1.
        shape: without the member axis.
    """

    law: Literal["uniform", "normal", "exponential", "integer"]
    shape: tuple[int, ...] = ()
    high: int = 0


Draws = Mapping[str, Tensor]
"""The numbers asked for by name, each ``(K, *shape)``."""


class Rule(Protocol):
    """A pure update rule over a population; the defaults are those of a plain rule.

    The first gradient of a step is taken at ``params``, so that a rule of one gradient a step works with
    gradients that are there already. A wrapper holds its base as the field ``base`` and calls its ``update``
    with another objective or at another point.
    """

    @property
    def needs(self) -> frozenset[str]:
        """What it asks of the objective: some of 'grad', 'hvp', 'ggn', 'sample_grad'."""
        return frozenset({"grad"})

    @property
    def gradients(self) -> int:
        """Calls of ``loss_and_grad`` in one step."""
        return 1

    @property
    def vectorises(self) -> bool:
        """Whether it takes K > 1."""
        return True

    @property
    def elementwise(self) -> bool:
        """Whether one flat ``(K, P)`` buffer may stand for the named tensors: shapes do not matter to it.

        Such a rule steps a few times as fast (``Elementwise``); one that looks at layers must not say so.
        """
        return False

    def asks(self, params: Params) -> dict[str, Draw]:
        """The draws that each ``update`` takes."""
        return {}

    def asks_first(self, params: Params) -> dict[str, Draw]:
        """The draws that ``init`` takes."""
        return {}

    def init(self, params: Params, draws: Draws) -> Any:
        """The state before the first step."""
        ...

    def update(
        self, state: Any, params: Params, objective: Objective, lr: float | Tensor, draws: Draws
    ) -> tuple[Params, Any, dict[str, Tensor]]:
        """New weights, new state, diagnostics; ``lr`` is one rate or one for each member ``(K,)``.

        ``info["loss"]`` is the loss ``(K,)`` at the first gradient of the step.
        """
        ...

    def deployed(self, state: Any, params: Params) -> Params:
        """The weights to use; ``params`` itself where they are the ones that are trained."""
        return params

    def renewed(self, state: Any) -> Any:
        """The state after the target has changed, as it does between rounds of DAgger."""
        return state

    def state_bytes(self, params: Params) -> int:
        """Bytes of the tensors that the state holds."""
        ...


class Elementwise(Rule, Protocol):
    """A rule that treats every weight alike, whatever tensor it lies in: it may be handed one flat buffer."""

    @property
    def elementwise(self) -> bool:
        return True


def require_offers(rule: Rule, objective: Objective) -> None:
    """Raise ValueError, before the first step, where the rule needs what the objective lacks."""
    missing = sorted(rule.needs - objective.offers)
    if missing:
        raise ValueError(
            f"{type(rule).__name__} needs {missing} of its objective, {type(objective).__name__} offers "
            f"{sorted(objective.offers)}; pass an objective that offers them"
        )


def require_step(rule: Rule, params: Params, step: object) -> None:
    """Raise ValueError where what ``update`` gave for ``params`` is not what a rule gives."""
    name = f"{type(rule).__name__}.update"
    if not (isinstance(step, tuple) and len(step) == 3):
        raise ValueError(f"{name} must return (params, state, info), got {type(step).__name__}")
    moved, _, info = step
    asked, got = ({n: tuple(p.shape) for n, p in group.items()} for group in (params, moved))
    if got != asked:
        raise ValueError(f"{name} must return weights of the names and shapes {asked}, got {got}")
    K = next(iter(asked.values()))[0]
    loss = info.get("loss")
    if not isinstance(loss, Tensor) or loss.shape != (K,):
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else loss
        raise ValueError(f'{name} must return info["loss"], one for each of the {K} members, got {shape}')


def per_member(value: float | Tensor, like: Tensor) -> float | Tensor:
    """A number as it is; one number a member ``(K,)`` in the shape and type to go with ``like (K, ...)``."""
    if isinstance(value, torch.Tensor) and value.dim():
        return value.to(like.dtype).view(-1, *[1] * (like.dim() - 1))
    return value
