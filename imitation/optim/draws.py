"""Random numbers for rules: drawn for each member from the member's own generator."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from imitation.optim.contract import Draw, Draws, Params, Rule

_BASE = "base."


def drawn(draws: Mapping[str, Draw], generators: Sequence[torch.Generator], dtype: torch.dtype) -> Draws:
    """What is asked for, each ``(K, *shape)``: a member's numbers depend on its own generator alone."""
    return {
        name: torch.stack([_one(draw, generator, dtype) for generator in generators])
        for name, draw in draws.items()
    }


def asked_first(rule: Rule, params: Params) -> dict[str, Draw]:
    """What ``init`` of a rule asks for; one without ``asks_first`` asks for nothing."""
    return rule.asks_first(params) if hasattr(rule, "asks_first") else {}


def asked(rule: Rule, params: Params) -> dict[str, Draw]:
    """What each step of a rule asks for; one without ``asks`` asks for nothing."""
    return rule.asks(params) if hasattr(rule, "asks") else {}


def for_base(draws: Mapping[str, Draw]) -> dict[str, Draw]:
    """What a wrapper asks for on behalf of its base."""
    return {_BASE + name: draw for name, draw in draws.items()}


def of_base(draws: Draws) -> Draws:
    """What the base asked for, by its own names."""
    return {name.removeprefix(_BASE): value for name, value in draws.items() if name.startswith(_BASE)}


def _one(draw: Draw, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    if draw.law == "integer":
        return torch.randint(draw.high, draw.shape, generator=generator)
    if draw.law == "normal":
        return torch.randn(draw.shape, generator=generator, dtype=torch.float64).to(dtype)
    uniform = torch.rand(draw.shape, generator=generator, dtype=torch.float64)
    return (-torch.log1p(-uniform) if draw.law == "exponential" else uniform).to(dtype)
