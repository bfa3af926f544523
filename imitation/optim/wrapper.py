"""What all rules share that are made of another rule."""

from dataclasses import replace
from typing import Any, Protocol

from imitation.optim.contract import Draw, Params, Rule
from imitation.optim.draws import for_base


class Wrapper(Rule, Protocol):
    """A rule with a ``base``, in all by default what that is; its state holds the base's as ``base``."""

    base: Rule

    @property
    def needs(self) -> frozenset[str]:
        return self.base.needs

    @property
    def gradients(self) -> int:
        return self.base.gradients

    @property
    def vectorises(self) -> bool:
        return self.base.vectorises

    @property
    def elementwise(self) -> bool:
        return self.base.elementwise

    def asks(self, params: Params) -> dict[str, Draw]:
        return for_base(self.base.asks(params))

    def asks_first(self, params: Params) -> dict[str, Draw]:
        return for_base(self.base.asks_first(params))

    def renewed(self, state: Any) -> Any:
        return replace(state, base=self.base.renewed(state.base))
