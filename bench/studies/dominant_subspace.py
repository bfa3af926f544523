"""Does learning happen inside the dominant subspace of the Hessian, where the gradients lie, or outside it?

Song, Ahn, Yun, "Does SGD really happen in tiny subspaces?" (arXiv 2405.16002): most of a gradient lies in the
span of the k top eigenvectors of the training loss's Hessian, k the number of classes, but steps projected
onto that span do not lower the loss, and steps projected out of it do. The settings are chosen here:

- handwritten digits: 1000 of 1797 pictures, raw pixels from 0 to 1, a tanh network 64-32-32-10, mean squared
  error, minibatches of 50, k = 10;
- the project's own: a policy cloned from barrier MPC (tanh, width 16, depth 3), minibatches of 50, k = 2
  (with
  its one input as k, half of a gradient lies in the span).

Each network is trained by SGD at a constant rate first; from there on by SGD, Dom-SGD and Bulk-SGD on the
same minibatches, with the same rate, and the digits likewise with momentum, by Adam and inside SAM. A
subspace is renewed by one round of block Rayleigh-Ritz every four steps (variants: eight; quick: ten; full:
every one).

``p = log(loss at the switch / loss at the end)``, the loss of the whole training set over the last quarter of
the steps. Claims: chi, the share of a minibatch gradient's norm in the span, is above 0.7; Dom makes less
than a quarter of the progress of what it projects, ``p / 4 - p_dom > 0``; Bulk makes more than half of it,
``p_bulk - p / 2 > 0``.
"""

from dataclasses import dataclass

import numpy as np
import torch

from bench.cloned import cloned_policies, minibatch_places
from bench.descent import descend
from bench.digits import digit_classifiers
from bench.figures.palette import BLUE, GREY, ORANGE
from bench.figures.spec import Figure, Panel, Style
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, median_interval
from imitation.objective import Cloning
from imitation.optim import Adam, Config, Sam, Sgd, Subspace
from imitation.optim.batches import BatchObjective
from imitation.optim.contract import Params
from imitation.policies.configs import Mlp
from mpc.arrays import Array

BATCH = 50


@dataclass(frozen=True)
class _Scale:
    repetitions: int
    steps: int
    every: int
    variants: bool


_SIZES = {
    "quick": _Scale(8, 60, 10, False),
    "default": _Scale(8, 400, 4, True),
    "full": _Scale(16, 1000, 1, True),
}


@dataclass(frozen=True, eq=False)
class _Setting:
    """Networks that SGD has trained so far, their minibatches from there on, and rules to go on by."""

    name: str
    cloning: Cloning
    params: Params
    places: torch.Tensor
    rules: dict[str, Config]
    k: int

    def minibatch(self, step: int) -> BatchObjective:
        return self.cloning.objective(self.places[step])

    def loss(self, params: Params) -> Array:
        """Of the whole training set ``(K,)``."""
        return self.cloning.objective(self.places[0]).full_loss_and_grad(params)[0].numpy()


@dataclass(frozen=True, eq=False)
class _Path:
    """Steps, log of the loss over that at the switch ``(R,)`` there, and mean chi ``(R,)``, NaN for none."""

    at: list[int]
    logs: list[Array]
    chi: Array

    @property
    def progress(self) -> Array:
        """p ``(R,)``: the loss at the end is the geometric mean of its last quarter, for it is noisy."""
        return -np.mean(self.logs[-len(self.logs) // 4 :], axis=0)


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """All rules in both settings."""
    scale = _SIZES[size]
    reps = [1000 * seed + rep for rep in range(scale.repetitions)]
    paths: dict[tuple[str, str, str], _Path] = {}
    settings = (_digits(reps, scale), _cloned(reps, scale))
    total = 3 * sum(len(setting.rules) for setting in settings)
    for setting in settings:
        for rule, config in setting.rules.items():
            every = scale.every if rule == "SGD" else max(8, scale.every)
            for part, projected in _parts(config, setting.k, every).items():
                notify(len(paths), total)
                paths[setting.name, rule, part] = _path(setting, projected, scale.steps, reps)
    notify(total, total)
    return Findings(
        f"{scale.repetitions} networks of each kind, {scale.steps} steps after the switch.",
        [
            {"setting": setting, "rule": rule, "part": part}
            | {"progress": median.estimate, "low": median.low, "high": median.high}
            | {"chi": float(np.median(path.chi))}
            for (setting, rule, part), path in paths.items()
            for median in [median_interval(path.progress)]
        ],
        _claims(paths),
        (_figure(paths),),
    )


_STYLES = {"all": Style(GREY), "dominant": Style(ORANGE), "bulk": Style(BLUE, dash="dash")}


def _parts(config: Config, k: int, every: int) -> dict[str, Config]:
    return {
        "all": config,
        "dominant": Subspace(config, keep="dominant", k=k, every=every, first=15),
        "bulk": Subspace(config, keep="bulk", k=k, every=every, first=15),
    }


def _path(setting: _Setting, config: Config, steps: int, reps: list[int]) -> _Path:
    first = setting.loss(setting.params)
    path = _Path([0], [np.zeros(len(reps))], np.full(len(reps), np.nan))
    chi = []

    def watch(step: int, params: Params, info: dict[str, torch.Tensor]) -> None:
        if "chi" in info:
            chi.append(info["chi"].numpy())
        if step % max(1, steps // 20) == 0:
            path.at.append(step)
            path.logs.append(np.log(setting.loss(params) / first))

    descend(config, setting.params, setting.minibatch, steps, reps, watch=watch)
    return _Path(path.at, path.logs, np.mean(chi, axis=0)) if chi else path


def _digits(reps: list[int], scale: _Scale) -> _Setting:
    network = Mlp(width=32, depth=3, activation="tanh", normalise=False)
    cloning, params = digit_classifiers(reps, network, count=1000, dtype=torch.float32)
    rules: dict[str, Config] = {"SGD": Sgd(lr=0.5)}
    if scale.variants:
        rules |= {
            "momentum": Sgd(lr=0.05, momentum=0.9),
            "Adam": Adam(lr=1e-3),
            "SAM": Sam(Sgd(lr=0.5), rho=0.02),
        }
    return _warmed("digits", cloning, params, rules, 800, 10, reps, scale)


def _cloned(reps: list[int], scale: _Scale) -> _Setting:
    cloning, params = cloned_policies(reps, Mlp(width=16, depth=3, activation="tanh"), dtype=torch.float32)
    return _warmed("a cloned policy", cloning, params, {"SGD": Sgd(lr=0.1)}, 1000, 2, reps, scale)


def _warmed(
    name: str,
    cloning: Cloning,
    params: Params,
    rules: dict[str, Config],
    before: int,
    k: int,
    reps: list[int],
    scale: _Scale,
) -> _Setting:
    places = minibatch_places(cloning, reps, before + scale.steps, BATCH)
    trained = descend(rules["SGD"], params, lambda step: cloning.objective(places[step]), before, reps)
    return _Setting(name, cloning, trained, places[before:], rules, k)


def _claims(paths: dict[tuple[str, str, str], _Path]) -> tuple[Claim, ...]:
    rules = dict.fromkeys((setting, rule) for setting, rule, _ in paths)
    return (
        claim_all(
            "gradients lie in the dominant subspace: mean chi - 0.7",
            {f"{s}, {r}": paths[s, r, "dominant"].chi - 0.7 for s, r in rules if r == "SGD"},
        ),
        *_progress_claims(paths, [key for key in rules if key[1] == "SGD"], ""),
        *_progress_claims(paths, [key for key in rules if key[1] != "SGD"], "; momentum, Adam, SAM"),
    )


def _progress_claims(
    paths: dict[tuple[str, str, str], _Path], rules: list[tuple[str, str]], of: str
) -> tuple[Claim, ...]:
    if not rules:
        return ()
    p = {name: path.progress for name, path in paths.items()}
    return (
        claim_all(
            f"inside it, learning stalls: p / 4 - p_dom{of}",
            {f"{s}, {r}": p[s, r, "all"] / 4 - p[s, r, "dominant"] for s, r in rules},
        ),
        claim_all(
            f"outside it, learning goes on: p_bulk - p / 2{of}",
            {f"{s}, {r}": p[s, r, "bulk"] - p[s, r, "all"] / 2 for s, r in rules},
        ),
    )


def _figure(paths: dict[tuple[str, str, str], _Path]) -> Figure:
    panels = []
    for setting, rule in dict.fromkeys((setting, rule) for setting, rule, _ in paths):
        lines = tuple(
            median_line(path.at, [np.exp(logs) for logs in path.logs], style, f"steps: {part}")
            for part, style in _STYLES.items()
            for path in [paths[setting, rule, part]]
        )
        panels.append(
            Panel(f"{setting}, {rule}", "steps after the switch", "training loss / at the switch", lines)
        )
    caption = (
        "Medians over networks with their 95 % intervals. From the switch on, steps are left as they are, "
        "projected onto the span of the Hessian's top eigenvectors (dominant), or out of it (bulk)."
    )
    return Figure("loss", "Gradients lie in the dominant subspace, learning does not", caption, tuple(panels))
