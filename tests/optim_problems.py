"""A population of small problems for update rules, and rules run over it."""

from itertools import islice

import torch

from imitation.optim.draws import asked, asked_first, drawn
from imitation.optim.flat import FlatObjective, Layout

STEPS = 100


class Bowls:
    """A different badly scaled quartic for each member: sum of h d^2 / 2 + (A d)^4 / 4, d = w - c, A = I."""

    offers = frozenset({"grad", "hvp", "ggn", "sample_grad"})

    def __init__(self, members):
        draws = [torch.Generator().manual_seed(k) for k in members]
        self.h = torch.stack([10 ** (2 * torch.rand(7, generator=g, dtype=torch.float64) - 1) for g in draws])
        self.c = torch.stack([torch.randn(7, generator=g, dtype=torch.float64) for g in draws])
        self.axes = torch.eye(7, dtype=torch.float64).expand(len(self.h), 7, 7)

    def along(self, w):
        """``w - c`` in the axes of the quartic ``(K, 7)``."""
        return (self.axes @ (w - self.c)[..., None])[..., 0]

    def flat_grad(self, w):
        return self.h * (w - self.c) + (self.axes.mT @ self.along(w)[..., None] ** 3)[..., 0]

    def loss_and_grad(self, params):
        w = flattened(params)
        return (self.h * (w - self.c) ** 2 / 2 + self.along(w) ** 4 / 4).sum(1), self.shaped(
            self.flat_grad(w)
        )

    def matrix(self, w, cubic):
        """The Hessian (cubic = 3), or the Gauss-Newton matrix of sqrt(h) d and (A d)^2 / sqrt 2 (2)."""
        return torch.diag_embed(self.h) + cubic * self.axes.mT @ (self.along(w)[..., None] ** 2 * self.axes)

    def hvp(self, params, v, full=True):
        return self.shaped((self.matrix(flattened(params), 3) @ flattened(v)[..., None])[..., 0])

    def ggn(self, params, v):
        return self.shaped((self.matrix(flattened(params), 2) @ flattened(v)[..., None])[..., 0])

    def sample_grad(self, params, i):
        """A sample is a weight's own loss, seven times."""
        own = torch.nn.functional.one_hot(i % 7, 7).to(torch.float64)
        return self.shaped(7 * own * self.flat_grad(flattened(params)))

    @staticmethod
    def shaped(w):
        return {"a": w[..., :6].unflatten(-1, (2, 3)), "b": w[..., 6:]}


class Turned(Bowls):
    """Bowls whose quartics lie across the weights, each member's in its own directions."""

    def __init__(self, members):
        super().__init__(members)
        draws = [torch.Generator().manual_seed(300 + k) for k in members]
        self.axes = torch.linalg.qr(
            torch.stack([torch.randn(7, 7, generator=g, dtype=torch.float64) for g in draws])
        ).Q


def start(members):
    draws = [torch.Generator().manual_seed(100 + k) for k in members]
    w = torch.stack([torch.randn(7, generator=g, dtype=torch.float64) for g in draws])
    return Bowls.shaped(w)


def flattened(params):
    """Named tensors (K, ...) as (K, P), blocks of them (b, K, ...) as (b, K, P)."""
    return torch.cat([p.flatten(-2) if name == "a" else p for name, p in params.items()], -1)


def generators(members):
    return [torch.Generator().manual_seed(200 + k) for k in members]


def steps_of(config, members, lr=None, flat=False, problem=Bowls):
    """``(rule, params, state, info)`` after each step of the rule over a population of bowls."""
    objective, params, rule = problem(members), start(members), config.rule()
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


def run(config, members, steps=STEPS, lr=None, flat=False, problem=Bowls):
    """Weights (steps, K, 7) of the rule over a population of bowls."""
    path = islice(steps_of(config, members, lr, flat, problem), steps)
    return torch.stack([flattened(p) for _, p, _, _ in path])
