"""What does a step of each optimizer cost, alone and for each member of a population?

The 4-layer MLP (2 inputs, width 64, 1 output, GELU) in float32, on one thread. What a rule costs is what its
step takes where gradients cost nothing; rules that ask for more than gradients are charged for all but the
first gradient. The Hessian is that of a training set four times as large as the minibatch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.speed.optimizer_peers import PEERS, Peer, plain_gradient
from bench.speed.table import short, write_plain
from bench.speed.timing import Contestant, in_turn
from imitation.memory import keep_freed
from imitation.objective import Cloning
from imitation.optim import (
    SUITE,
    Adam,
    Config,
    Escape,
    Rotated,
    Sam,
    ScheduleFree,
    Sgd,
    Subspace,
)
from imitation.optim.batches import BatchObjective
from imitation.optim.contract import GradientObjective, Objective, Params
from imitation.optim.draws import asked, asked_first, drawn
from imitation.optim.flat import FlatObjective, Layout
from imitation.policies.configs import Mlp
from imitation.population import stacked
from imitation.samples import Samples

_NAN = float("nan")
_NETWORK, _STATES, _INPUTS = Mlp(), 2, 1
_STEPS = 10
POPULATIONS = 1, 8, 64
RULES: dict[str, Config] = {
    **{config.__name__: config() for config in SUITE},
    "SGD with momentum": Sgd(momentum=0.9),
    "ScheduleFree over SGD": ScheduleFree(Sgd(lr=0.1)),
    "Sam over SGD": Sam(Sgd()),
    "Escape by a sample": Escape(by="sample"),
    "Rotated by outputs": Rotated(Adam(), scope="output"),
    "Subspace, every step": Subspace(every=1),
}
"""The suite with its defaults, and some more."""


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Args:
        rules: names of ``RULES``, or their beginnings; none for all.
        batch: samples of a minibatch.
        rounds: turns of each contestant.
        turn: least seconds of a turn.
    """

    rules: tuple[str, ...] = ()
    batch: int = 256
    rounds: int = 5
    turn: float = 0.1

    def __post_init__(self) -> None:
        if self.rules and not self.chosen:
            raise ValueError(f"rules must name some of {', '.join(RULES)}, got {' '.join(self.rules)}")

    @property
    def chosen(self) -> tuple[str, ...]:
        return tuple(name for name in RULES if not self.rules or name.startswith(self.rules))


QUICK = Settings(("AdamW", "Sgd", "Muon", "Subspace"), rounds=2, turn=0.05)
"""A sketch in half a minute."""


@dataclass(frozen=True)
class Row:
    """One rule; times in microseconds for one member.

    Args:
        gradients: evaluations in a step.
        bytes: of state, for each weight.
        rule: what a step costs beyond its first gradient, for populations of 1, 8, 64.
        step: the step with its gradients, likewise.
        in_gradients: the rule alone in gradient evaluations, K = 1.
        peer: its name, what its step takes one tensor after the other or with foreach, and fused.
        loop: the plain loop with the peer, whose gradients are autograd's.
    """

    rule_name: str
    gradients: int
    bytes: float
    rule: tuple[float, ...]
    step: tuple[float, ...]
    in_gradients: float
    peer: str
    peer_step: float
    peer_fused: float
    loop: float

    @property
    def cheaper(self) -> float:
        """How many times cheaper a step is for a member of the largest population than alone."""
        return self.step[0] / self.step[-1]

    @property
    def beside(self) -> float:
        """The rule alone over the peer's step."""
        return self.rule[0] / self.peer_step

    @property
    def cheaper_than_loop(self) -> float:
        """How many times cheaper a step is for a member of the largest population than in the plain loop."""
        return self.loop / self.step[-1]


def run(settings: Settings, progress: Callable[[str], object]) -> Iterator[Row]:
    """One row after another."""
    torch.set_num_threads(1)
    keep_freed()
    populations = [Population.of(K, settings.batch) for K in POPULATIONS]
    for place, name in enumerate(settings.chosen, 1):
        progress(f"rule {place} of {len(settings.chosen)}: {name}")
        yield measure(name, populations, settings)


@dataclass(frozen=True, eq=False)
class Population:
    """K networks, their loss on one minibatch of a training set four times as large, and its gradients."""

    params: Params
    objective: BatchObjective
    gradients: tuple[torch.Tensor, Params]

    @classmethod
    def of(cls, members: int, batch: int) -> "Population":
        rng = np.random.default_rng(0)
        policies = [_NETWORK.build(_STATES, _INPUTS) for _ in range(members)]
        for k, policy in enumerate(policies):
            policy.draw(torch.Generator().manual_seed(k))
            policy.to(torch.float32)
        params, buffers = stacked(policies)
        sizes = (4 * batch, _STATES), (4 * batch, _INPUTS)
        data = [Samples(*(rng.normal(size=size) for size in sizes)) for _ in policies]
        cloning = Cloning.of(policies[0], buffers, data, torch.float32)
        objective = cloning.objective(torch.arange(batch).expand(members, batch))
        return cls(params, objective, objective.loss_and_grad(params))

    @property
    def members(self) -> int:
        return len(next(iter(self.params.values())))

    def free(self) -> GradientObjective:
        """The objective whose gradients are there already."""
        return GradientObjective("gradients at hand", lambda params: self.gradients)


def measure(name: str, populations: Sequence[Population], settings: Settings) -> Row:
    """Everything about one rule."""
    config = RULES[name]
    rule, peer = config.rule(), PEERS.get(name, Peer())
    plain = rule.needs == {"grad"}
    contestants = []
    for one in populations:
        contestants += [
            Contestant(lambda one=one: one.objective.loss_and_grad(one.params), one.members),
            Contestant(stepper(config, one, one.objective), _STEPS * one.members),
        ]
        if plain:
            contestants.append(Contestant(stepper(config, one, one.free()), _STEPS * one.members))
    contestants.append(Contestant(plain_gradient(_NETWORK, _STATES, _INPUTS, settings.batch), 1))
    for build in (peer.step, peer.fused):
        if build is not None:
            contestants.append(Contestant(build(populations[0].params, populations[0].gradients[1]), 1))
    found = [times.microseconds()[1] for times in in_turn(contestants, settings.rounds, settings.turn)]
    each = 3 if plain else 2
    groups = [found[i : i + each] for i in range(0, each * len(populations), each)]
    gradient, step = [group[0] for group in groups], [group[1] for group in groups]
    beyond = [group[2] for group in groups] if plain else [s - g for s, g in zip(step, gradient, strict=True)]
    autograd, *theirs = found[each * len(populations) :]
    their_step = theirs[0] if peer.step else _NAN
    params = populations[0].params
    weights = sum(p[0].numel() for p in params.values())
    return Row(
        name,
        rule.gradients,
        rule.state_bytes(params) / weights,
        tuple(beyond),
        tuple(step),
        beyond[0] / gradient[0],
        peer.name,
        their_step,
        theirs[-1] if peer.fused else _NAN,
        autograd + (min(theirs) if theirs else _NAN),
    )


def stepper(config: Config, population: Population, objective: Objective) -> Callable[[], object]:
    """Ten steps of the rule, as training takes them, so that what is done every ten steps is counted."""
    rule, params = config.rule(), population.params
    seen = objective
    if rule.elementwise:
        layout = Layout.of(params)
        seen, params = FlatObjective(objective, layout), layout.pack(params)
    generators = [torch.Generator().manual_seed(k) for k in range(population.members)]
    state = rule.init(params, drawn(asked_first(rule, params), generators, torch.float32))
    each_step = asked(rule, params)
    holds: dict[str, Any] = {"state": state}

    def steps() -> None:  # the weights stay where they are: a thousand steps must not diverge
        for _ in range(_STEPS):
            draws = drawn(each_step, generators, torch.float32)
            _, holds["state"], _ = rule.update(holds["state"], params, seen, config.lr, draws)

    steps()  # what is done once, at the first step, is not counted
    return steps


HEADS = (
    "rule", "gradients", "bytes / weight", "rule us K=1", "K=8", "K=64", "step us K=1", "K=8", "K=64",
    "K=1 / K=64", "rule / gradient", "peer", "its us", "fused us", "rule / peer", "loop us", "loop / K=64",
)  # fmt: skip
LEGEND = (
    "us: microseconds for each member, medians over rounds; rule: a step whose gradients cost nothing (whose "
    "first gradient costs nothing, for rules that ask for more); step: with its gradients; peer: the step of "
    "another package with gradients in place, with foreach where it has that, and fused; loop: a step of the "
    "plain loop, autograd's gradient of nn.Sequential and the quicker of these two."
)


def cells(row: Row) -> tuple[str, ...]:
    """A row as text, in the order of ``HEADS``."""
    return (
        row.rule_name, str(row.gradients), short(row.bytes), *map(short, row.rule), *map(short, row.step),
        short(row.cheaper), short(row.in_gradients), row.peer, short(row.peer_step),
        short(row.peer_fused), short(row.beside), short(row.loop), short(row.cheaper_than_loop),
    )  # fmt: skip


def write(rows: list[Row], out: Path, command: str) -> None:
    """``optimizers.md``, ``optimizers.csv`` and ``optimizers.parquet`` in the folder ``out``."""
    import pandas as pd

    table = pd.DataFrame([_flat(row) for row in rows])
    legend = f"{LEGEND} torch {torch.__version__}."
    write_plain("optimizers", HEADS, [cells(row) for row in rows], legend, table, out, command)


def _flat(row: Row) -> dict[str, Any]:
    named = {field.name: getattr(row, field.name) for field in fields(row)}
    for name in ("rule", "step"):
        named |= {f"{name}_{K}": value for K, value in zip(POPULATIONS, named.pop(name), strict=True)}
    return named
