"""The page of optimizers, from their docstrings: ``python -m bench.optimizer_page > docs/optimizers.md``."""

import ast
import inspect
import re
from dataclasses import MISSING, Field, fields, is_dataclass
from itertools import pairwise
from textwrap import dedent
from typing import Any

import torch

from bench.speed.table import grid
from imitation.optim import PLAIN, SUITE, Config
from imitation.optim.contract import Params, Rule
from imitation.policies.configs import Mlp
from imitation.population import stacked

HEAD = """# Optimizers

Made by `python -m bench.optimizer_page` from the docstrings of `imitation.optim`; each rule is a frozen
config `optim.NAME(...)`, a pure rule over a population (`.rule()`) and a `torch.optim.Optimizer`
(`.build(params)`). Any wrapper takes any rule as its `base`, another wrapper too.

`g` is the stochastic gradient, `theta`, `w` or `W` are the weights, `lr` the rate. Bytes are those of the
state in float32 for each weight, on the 4-layer network of width 64; a wrapper's come on top of its base's.
Evaluations are gradients a step; a wrapper multiplies its base's. `hvp`, `ggn` and `sample_grad` are what the
objective must offer besides: products with the Hessian and with the Gauss-Newton matrix, and gradients of
single samples. `train` offers all of them; with a torch model of your own, `imitation.optim.batches` makes an
objective of any model and loss, to be given to `build(params, objective=...)`.

Where a step ends is recorded in `state_dict()` with the random numbers' place: a run that is saved and loaded
goes on bit for bit. Schedules (constant, cosine, linear, warmup, warmup_stable_decay) are options of the
learner and act on any rule. `imitation.optim.diagnostics` measures what a loss looks like around the weights.
"""


def page() -> str:
    """The whole page in Markdown."""
    lines = [HEAD, "## Rules", "", *_overview(PLAIN), "", "## Wrappers", ""]
    lines += [*_overview(tuple(config for config in SUITE if config not in PLAIN)), "", "## Each in full", ""]
    for config in SUITE:
        lines += _section(config)
    return "\n".join(lines)


def _overview(configs: tuple[type, ...]) -> list[str]:
    heads = ("rule", "what", "bytes / weight", "evaluations", "asks for", "when")
    return grid(heads, [_line(config) for config in configs])


def _line(config: type) -> tuple[str, ...]:
    what, _, when = _parts(config)
    rule, bare = config().rule(), _base(config())
    params = _network()
    weights = sum(p[0].numel() for p in params.values())
    own = rule.state_bytes(params) - (bare.state_bytes(params) if bare else 0)
    more = ", ".join(f"`{need}`" for need in sorted(rule.needs - {"grad"})) or "-"
    return (
        f"[`{config.__name__}`](#{config.__name__.lower()})",
        what,
        f"{'+' if bare else ''}{own / weights:.3g}",
        f"{'x' if bare else ''}{rule.gradients // (bare.gradients if bare else 1)}",
        more,
        when,
    )


def _base(config: Config) -> Rule | None:
    base = getattr(config, "base", None)
    return None if base is None else base.rule()


def _network() -> Params:
    policy = Mlp().build(2, 1)
    policy.draw(torch.Generator().manual_seed(0))
    return stacked([policy.to(torch.float32)])[0]


def _parts(config: type) -> tuple[str, str, str]:
    """What it is with its source, the formula, and when to use it."""
    what, formula, when = (
        re.sub(r"\s+", " ", part).strip() for part in inspect.cleandoc(config.__doc__ or "").split("\n\n")
    )
    return what, formula, when.removeprefix("When: ")


def _section(config: type) -> list[str]:
    what, formula, when = _parts(config)
    told = _told(config)
    body = [
        (f"`{field.name}`", f"`{_default(field)}`", told[field.name])
        for field in fields(config)  # type: ignore[arg-type]
    ]
    return [
        f"### {config.__name__}",
        "",
        what,
        "",
        formula,
        "",
        f"When: {when}",
        "",
        *grid(("option", "default", "meaning"), body),
        "",
    ]


def _told(config: type) -> dict[str, str]:
    """The text under each field in the class's source."""
    body = ast.parse(dedent(inspect.getsource(config))).body[0].body  # type: ignore[attr-defined]
    told = {}
    for node, after in pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(after, ast.Expr):
            name, text = ast.unparse(node.target), ast.literal_eval(after.value)
            told[name] = re.sub(r"\s+", " ", text).strip()
    return told


def _default(field: "Field[Any]") -> str:
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if not is_dataclass(value):
        return repr(value)
    plain = {f.name: f.default for f in fields(value)}
    changed = ((name, getattr(value, name)) for name in plain)
    told = ", ".join(f"{name}={one!r}" for name, one in changed if one != plain[name])
    return f"{type(value).__name__}({told})"


if __name__ == "__main__":
    print(page(), end="")
