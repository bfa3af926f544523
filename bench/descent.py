"""A rule of the suite over a population, step by step: what small studies of optimizers are made of."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from imitation.optim import Config
from imitation.optim.contract import Objective, Params, require_offers
from imitation.optim.draws import asked, asked_first, drawn
from imitation.optim.flat import FlatObjective, Layout
from imitation.optim.schedules import Schedule, factor
from mpc.seeds import integer_seed

Watch = Callable[[int, Params, Params, dict[str, Tensor]], None]
"""``watch(step, weights, weights to deploy, info)`` after each step, steps counted from 1."""


def descend(
    config: Config,
    params: Params,
    objective: Callable[[int], Objective],
    steps: int,
    reps: Sequence[int],
    *,
    lr: float | Tensor | None = None,
    schedule: Schedule = "constant",
    watch: Watch | None = None,
) -> Params:
    """The deployed weights after ``steps`` steps from ``params (K, ...)``.

    Args:
        objective: of step 0, 1, ...
        reps: the members' repetitions, which seed their draws ``('draws', rep)``.
        lr: one rate, or one a member ``(K,)`` (default: the config's).
    """
    rule, layout = config.rule(), Layout.of(params)
    rate = config.lr if lr is None else lr
    generators = [torch.Generator().manual_seed(integer_seed("draws", rep)) for rep in reps]
    dtype = next(iter(params.values())).dtype
    at = layout.pack(params) if rule.elementwise else params
    state: Any = rule.init(at, drawn(asked_first(rule, at), generators, dtype))
    each_step = asked(rule, at)

    def named(weights: Params) -> Params:
        return layout.views(weights) if rule.elementwise else weights

    for step in range(steps):
        seen = objective(step)
        if not step:
            require_offers(rule, seen)
        if rule.elementwise:
            seen = FlatObjective(seen, layout)
        now = rate * factor(schedule, step, steps)
        at, state, info = rule.update(state, at, seen, now, drawn(each_step, generators, dtype))
        if watch is not None:
            watch(step + 1, named(at), named(rule.deployed(state, at)), info)
    return named(rule.deployed(state, at))
