"""A rule over a population, step by step: what training and studies of optimizers are made of."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from imitation.memory import keep_freed
from imitation.optim.contract import Objective, Params, Rule, require_offers, require_step
from imitation.optim.draws import asked, asked_first, drawn
from imitation.optim.flat import FlatObjective, Layout
from mpc.seeds import integer_seed


@dataclass(frozen=True, eq=False)
class Step:
    """Where a rule stands after a step; ``at`` is one flat buffer where that does for the rule.

    Args:
        number: steps taken.
        info: the rule's diagnostics of this step.
    """

    number: int
    info: dict[str, Tensor]
    rule: Rule
    layout: Layout
    state: Any
    at: Params

    @property
    def weights(self) -> Params:
        """The weights that are trained."""
        return self._named(self.at)

    @property
    def deployed(self) -> Params:
        """The weights to use."""
        return self._named(self.rule.deployed(self.state, self.at))

    def _named(self, params: Params) -> Params:
        return self.layout.views(params) if self.rule.elementwise else params


def descent(
    rule: Rule,
    params: Params,
    objectives: Iterable[Objective],
    rate: Callable[[int], float | Tensor],
    reps: Sequence[int],
) -> Iterator[Step]:
    """Step after step from ``params (K, ...)``, one for each objective.

    Args:
        rate: of step 0, 1, ...
        reps: the members' repetitions, which seed their draws ``('draws', rep)``.

    Raises:
        ValueError: before the first step, where the rule needs what the objective lacks; after it, where
            what it returned is not what a rule returns.
    """
    keep_freed()
    layout = Layout.of(params)
    generators = [torch.Generator().manual_seed(integer_seed("draws", rep)) for rep in reps]
    dtype = next(iter(params.values())).dtype
    at = layout.pack(params) if rule.elementwise else params
    state = rule.init(at, drawn(asked_first(rule, at), generators, dtype))
    each_step = asked(rule, at)
    for number, objective in enumerate(objectives):
        seen = FlatObjective(objective, layout) if rule.elementwise else objective
        if not number:
            require_offers(rule, seen)
        draws = drawn(each_step, generators, dtype)
        found = rule.update(state, at, seen, rate(number), draws)
        if not number:
            require_step(rule, at, found)
        at, state, info = found
        yield Step(number + 1, info, rule, layout, state, at)
