"""What all rules share that are made of another rule."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

from imitation.optim.contract import Draw, Draws, Params, Rule
from imitation.optim.draws import asked, asked_first, for_base, of_base


@dataclass(frozen=True, eq=False)
class WrapperState:
    """The base's state, where a wrapper adds nothing to it."""

    base: Any


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
        return for_base(asked(self.base, params))

    def asks_first(self, params: Params) -> dict[str, Draw]:
        return for_base(asked_first(self.base, params))

    def init(self, params: Params, draws: Draws) -> Any:
        return WrapperState(self.base.init(params, of_base(draws)))

    def deployed(self, state: Any, params: Params) -> Params:
        return self.base.deployed(state.base, params)

    def state_bytes(self, params: Params) -> int:
        return self.base.state_bytes(params)

    def renewed(self, state: Any) -> Any:
        return replace(state, base=self.base.renewed(state.base))
