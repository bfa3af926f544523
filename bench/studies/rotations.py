"""How much does Adam owe to the axes of its weights?

"Understanding Adam requires better rotation dependent assumptions" (arXiv 2410.19964): Adam in randomly
turned coordinates is worse the wider the scope of the rotation, and hardly worse where only the weights into
each output neuron are turned among themselves. The settings are chosen here:

- handwritten digits (raw pixels, tanh network 64-32-32-10, mean squared error), minibatches of 50;
- the project's own: a policy cloned from barrier MPC (GELU, width 32, depth 4), minibatches of 64.

Adam at a constant rate, for each scope the best of five rates, by the median over repetitions; Haar blocks
of 64 (full: 256). The loss is that of the whole training set, the geometric mean over the last quarter of the
steps.

Claims: globally turned, the loss is higher, ``log(global / none) > 0``; turned by outputs it is not, to a
tenth: ``log(none / output) + 0.1 > 0``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from bench.cloned import cloned_policies, minibatch_places
from bench.descent import descend
from bench.digits import digit_classifiers
from bench.figures.palette import BLACK, BLUE, GREEN, ORANGE, PURPLE
from bench.figures.spec import Figure, Panel, Style
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, median_interval
from imitation.objective import Cloning
from imitation.optim import Adam, Config, Rotated, SvdRotated
from imitation.optim.contract import Params
from imitation.policies.configs import Mlp
from mpc.arrays import Array

RATES = 1e-3, 3e-3, 1e-2, 3e-2, 1e-1
_POINTS = 20


@dataclass(frozen=True)
class _Scale:
    repetitions: int
    steps: int
    block: int


_SIZES = {"quick": _Scale(8, 60, 16), "default": _Scale(12, 1000, 64), "full": _Scale(24, 5000, 256)}
_STYLES = {
    "none": Style(BLACK),
    "output": Style(BLUE),
    "input": Style(GREEN),
    "layer": Style(PURPLE),
    "global": Style(ORANGE),
    "svd": Style(BLUE, dash="dash"),
}


@dataclass(frozen=True, eq=False)
class _Path:
    """Of the best rate: the steps, the log of the loss there ``(R,)``, and each rate's median at the end."""

    at: list[int]
    logs: list[Array]
    by_rate: dict[float, float]
    rate: float

    @property
    def last(self) -> Array:
        return _last(self.logs)


def _last(logs: list[Array]) -> Array:
    return np.mean(logs[-len(logs) // 4 :], axis=0)


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """All scopes in both settings."""
    scale = _SIZES[size]
    reps = [1000 * seed + rep for rep in range(scale.repetitions)]
    digits = Mlp(width=32, depth=3, activation="tanh", normalise=False)
    settings: dict[str, tuple[Callable[[list[int]], tuple[Cloning, Params]], int]] = {
        "digits": (lambda reps: digit_classifiers(reps, digits, dtype=torch.float32), 50),
        "a cloned policy": (lambda reps: cloned_policies(reps, Mlp(width=32), dtype=torch.float32), 64),
    }
    paths: dict[tuple[str, str], _Path] = {}
    for setting, (build, batch) in settings.items():
        cloning, params = build(reps * len(RATES))
        for scope, config in _scopes(scale.block).items():
            notify(len(paths), len(settings) * len(_STYLES))
            paths[setting, scope] = _path(cloning, params, config, scale.steps, batch, reps)
    notify(len(paths), len(paths))
    return Findings(
        f"{scale.repetitions} networks of each kind, {scale.steps} steps, blocks of {scale.block}.",
        [
            {"setting": setting, "scope": scope, "rate": path.rate}
            | {"loss": np.exp(median.estimate), "low": np.exp(median.low), "high": np.exp(median.high)}
            | {f"loss at {rate:g}": loss for rate, loss in path.by_rate.items()}
            for (setting, scope), path in paths.items()
            for median in [median_interval(path.last)]
        ],
        _claims(paths),
        (_figure(paths),),
    )


def _scopes(block: int) -> dict[str, Config]:
    base = Adam()
    turned = {
        scope: Rotated(base, scope=scope, block=block) for scope in ("output", "input", "layer", "global")
    }
    return {"none": base, **turned, "svd": SvdRotated(base)}


def _path(cloning: Cloning, params: Params, config: Config, steps: int, batch: int, reps: list[int]) -> _Path:
    """All rates as one population, rate by rate."""
    members = reps * len(RATES)
    places = minibatch_places(cloning, members, steps, batch)
    at, logs = [], []

    def watch(step: int, weights: Params, info: dict[str, torch.Tensor]) -> None:
        if step % max(1, steps // _POINTS) == 0:
            at.append(step)
            logs.append(cloning.objective(places[0]).full_loss_and_grad(weights)[0].log().numpy())

    rates = torch.tensor(RATES).repeat_interleave(len(reps))
    descend(
        config, params, lambda step: cloning.objective(places[step]), steps, members, lr=rates, watch=watch
    )
    split = {
        rate: [values[i * len(reps) : (i + 1) * len(reps)] for values in logs] for i, rate in enumerate(RATES)
    }
    medians = {rate: float(np.exp(np.median(_last(mine)))) for rate, mine in split.items()}
    best = min(medians, key=lambda rate: medians[rate])
    return _Path(at, split[best], medians, best)


def _claims(paths: dict[tuple[str, str], _Path]) -> tuple[Claim, ...]:
    settings = dict.fromkeys(setting for setting, _ in paths)
    last = {name: path.last for name, path in paths.items()}
    return (
        claim_all(
            "a global rotation makes Adam worse: log(loss global / none)",
            {s: last[s, "global"] - last[s, "none"] for s in settings},
        ),
        claim_all(
            "rotations of each output's weights do not, to a tenth: log(loss none / output) + 0.1",
            {s: last[s, "none"] - last[s, "output"] + 0.1 for s in settings},
        ),
    )


def _figure(paths: dict[tuple[str, str], _Path]) -> Figure:
    panels = [
        Panel(
            setting,
            "steps",
            "training loss",
            tuple(
                median_line(path.at, [np.exp(logs) for logs in path.logs], _STYLES[scope], f"turned: {scope}")
                for (s, scope), path in paths.items()
                if s == setting
            ),
            log_y=True,
        )
        for setting in dict.fromkeys(setting for setting, _ in paths)
    ]
    caption = "Each scope at the best of five rates; medians over networks with their 95 % intervals."
    return Figure("loss", "Adam in turned coordinates", caption, tuple(panels))
