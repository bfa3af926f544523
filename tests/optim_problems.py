"""A population of small problems for update rules, and rules run over it."""

from itertools import islice

import torch

from imitation.optim.draws import asked, asked_first, drawn
from imitation.optim.flat import FlatObjective, Layout

STEPS = 100


class Bowls:
    """A different badly scaled quartic for each member: sum of h (w - c)^2 / 2 + (w - c)^4 / 4."""

    offers = frozenset({"grad"})

    def __init__(self, members):
        draws = [torch.Generator().manual_seed(k) for k in members]
        self.h = torch.stack([10 ** (2 * torch.rand(7, generator=g, dtype=torch.float64) - 1) for g in draws])
        self.c = torch.stack([torch.randn(7, generator=g, dtype=torch.float64) for g in draws])

    def flat_grad(self, w):
        d = w - self.c
        return self.h * d + d**3

    def loss_and_grad(self, params):
        w = torch.cat([p.flatten(1) for p in params.values()], 1)
        d = w - self.c
        g = self.flat_grad(w)
        return (self.h * d**2 / 2 + d**4 / 4).sum(1), {"a": g[:, :6].view(-1, 2, 3), "b": g[:, 6:]}


def start(members):
    draws = [torch.Generator().manual_seed(100 + k) for k in members]
    w = torch.stack([torch.randn(7, generator=g, dtype=torch.float64) for g in draws])
    return {"a": w[:, :6].reshape(-1, 2, 3), "b": w[:, 6:]}


def flattened(params):
    """Named tensors (K, ...) as (K, P)."""
    return torch.cat([p.flatten(1) for p in params.values()], 1)


def generators(members):
    return [torch.Generator().manual_seed(200 + k) for k in members]


def steps_of(config, members, lr=None, flat=False):
    """``(rule, params, state, info)`` after each step of the rule over a population of bowls."""
    objective, params, rule = Bowls(members), start(members), config.rule()
    if flat:
        layout = Layout.of(params)
        objective, params = FlatObjective(objective, layout), layout.pack(params)
    random = generators(members)
    state = rule.init(params, drawn(asked_first(rule, params), random, torch.float64))
    while True:
        draws = drawn(asked(rule, params), random, torch.float64)
        params, state, info = rule.update(state, params, objective, config.lr if lr is None else lr, draws)
        assert info["loss"].shape == (len(members),)
        yield rule, params, state, info


def run(config, members, steps=STEPS, lr=None, flat=False):
    """Weights (steps, K, 7) of the rule over a population of bowls."""
    return torch.stack([flattened(p) for _, p, _, _ in islice(steps_of(config, members, lr, flat), steps)])
