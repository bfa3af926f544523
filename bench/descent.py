"""A rule of the suite over a population, watched on the way: what small studies of optimizers are made of."""

from collections.abc import Callable, Sequence

from torch import Tensor

from imitation.descent import descent
from imitation.optim import Config
from imitation.optim.contract import Objective, Params
from imitation.optim.schedules import Schedule, factor

Watch = Callable[[int, Params, dict[str, Tensor]], None]
"""``watch(step, weights, info)`` after each step, steps counted from 1."""


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
        reps: the members' repetitions, which seed their draws.
        lr: one rate, or one a member ``(K,)`` (default: the config's).
    """
    full = config.lr if lr is None else lr

    def rate(step: int) -> float | Tensor:
        return full * factor(schedule, step, steps)

    deployed = params
    for step in descent(config.rule(), params, map(objective, range(steps)), rate, reps):
        if watch is not None:
            watch(step.number, step.weights, step.info)
        if step.number == steps:
            deployed = step.deployed
    return deployed
