"""Do perturbed gradients lead away from a sharp minimum, along the minima, to flatter ones?

The two rules of Ahn, Jadbabaie, Sra, "How to escape sharp minima with random perturbations" (arXiv
2305.15659), from a minimum where gradient descent stays. The setting is chosen here:

- a diagonal linear network ``y = sum_j u_j v_j x_j`` on 40 samples of 10 standard normal inputs with noise of
  0.1; u and v are those of the least-squares fit, u larger and v smaller by a factor of 4 than where they
  balance: an exact minimum, and among those that fit as well a sharp one. The Hessian's trace is ``mean_i
  sum_j x_ij^2 (u_j^2 + v_j^2)``; the flattest has ``|u_j| = |v_j|``;
- the project's own: a policy cloned from barrier MPC (width 8, depth 2, tanh), brought to a minimum by
  Gauss-Newton steps, on the whole training set; the trace is exact.

The rate is 0.5 over the trace at the start, at which every direction is stable; rho is 0.3 and 0.1.

Claims: descent without perturbation changes the trace by less than 1 %; each rule lowers it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.cloned import cloned_policies, whole_set
from bench.descent import descend
from bench.figures.palette import BLUE, GREY, ORANGE
from bench.figures.spec import Figure, Panel, Style
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, median_interval
from imitation.optim import Config, Escape, GaussNewton, Sgd
from imitation.optim.batches import Batch, BatchObjective
from imitation.optim.contract import Objective, Params
from imitation.optim.eigenspace import hessian
from imitation.policies.configs import Mlp
from mpc.arrays import Array
from mpc.seeds import seed_for

SAMPLES, INPUTS, IMBALANCE = 40, 10, 4.0


@dataclass(frozen=True)
class _Scale:
    steps: int
    cloned_steps: int
    newton: int  # Gauss-Newton steps to the cloned policy's minimum
    repetitions: int


_SIZES = {
    "quick": _Scale(600, 200, 200, 8),
    "default": _Scale(6_000, 3_000, 200, 16),
    "full": _Scale(60_000, 20_000, 400, 32),
}
_POINTS = 20


@dataclass(frozen=True, eq=False)
class _Setting:
    """Minima to start from, the rules' radius, and the trace of the Hessian."""

    name: str
    objective: Objective
    params: Params
    rho: float
    trace: Callable[[Params], Tensor]


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """The trace of the Hessian along three descents in two settings."""
    scale = _SIZES[size]
    reps = [1000 * seed + rep for rep in range(scale.repetitions)]
    settings = (_diagonal_network(reps), _cloned_policy(reps, scale.newton))
    paths: dict[tuple[str, str], tuple[list[int], list[Array]]] = {}
    for setting, steps in zip(settings, (scale.steps, scale.cloned_steps), strict=True):
        for name, config in _rules(setting).items():
            notify(len(paths), 2 * len(_STYLES))
            paths[setting.name, name] = _descended(setting, config, steps, reps)
    notify(len(paths), len(paths))
    return Findings(
        f"{scale.repetitions} networks of each kind, {scale.steps} and {scale.cloned_steps} steps.",
        [
            {"setting": setting, "rule": rule, "step": step}
            | {"trace / first": median.estimate, "low": median.low, "high": median.high}
            for (setting, rule), (at, ratios) in paths.items()
            for step, values in zip(at, ratios, strict=True)
            for median in [median_interval(values)]
        ],
        _claims(paths),
        (_figure(paths),),
    )


_STYLES = {
    "descent": Style(GREY, dash="dash"),
    "escape by a sphere": Style(BLUE),
    "escape by a sample": Style(ORANGE),
}


def _rules(setting: _Setting) -> dict[str, Config]:
    escapes = [Escape(Sgd(), by=by, rho=setting.rho) for by in ("sphere", "sample")]
    return dict(zip(_STYLES, (Sgd(), *escapes), strict=True))


def _descended(
    setting: _Setting, config: Config, steps: int, reps: list[int]
) -> tuple[list[int], list[Array]]:
    """Steps, and there the trace over the first one ``(R,)``."""
    first = setting.trace(setting.params)
    at, ratios = [0], [np.ones(len(reps))]

    def watch(step: int, params: Params, info: dict[str, Tensor]) -> None:
        if step % max(1, steps // _POINTS) == 0:
            at.append(step)
            ratios.append((setting.trace(params) / first).numpy())

    rate = 0.5 / first
    descend(config, setting.params, lambda step: setting.objective, steps, reps, lr=rate, watch=watch)
    return at, ratios


def _diagonal_network(reps: list[int]) -> _Setting:
    draws = [np.random.default_rng(seed_for("diagonal", rep)) for rep in reps]
    x = np.stack([rng.normal(size=(SAMPLES, INPUTS)) for rng in draws])
    truth = np.stack([rng.choice([-1, 1], INPUTS) * rng.uniform(0.5, 1.5, INPUTS) for rng in draws])
    y = np.einsum("rij,rj->ri", x, truth) + 0.1 * np.stack([rng.normal(size=SAMPLES) for rng in draws])
    fit = np.stack([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(x, y, strict=True)])
    inputs, targets, w = (torch.from_numpy(a) for a in (x, y, fit))
    u = IMBALANCE * w.abs().sqrt()
    batch = Batch(
        lambda p: inputs @ (p["u"] * p["v"])[..., None], lambda out: (out[..., 0] - targets) ** 2 / 2
    )

    def trace(p: Params) -> Tensor:
        return (inputs.square().mean(dim=1) * (p["u"] ** 2 + p["v"] ** 2)).sum(dim=1)

    return _Setting("a diagonal network", BatchObjective(batch), {"u": u, "v": w / u}, rho=0.3, trace=trace)


def _cloned_policy(reps: list[int], newton: int) -> _Setting:
    cloning, params = cloned_policies(reps, Mlp(width=8, depth=2, activation="tanh"))
    objective = cloning.objective(whole_set(cloning))
    minimum = descend(
        GaussNewton(lr=0.5, damping=1e-4, iterations=20), params, lambda step: objective, newton, reps
    )
    weights = sum(p[0].numel() for p in params.values())

    def trace(p: Params) -> Tensor:
        identity = torch.eye(weights, dtype=torch.float64).expand(len(reps), weights, weights)
        return hessian(objective, p)(identity).diagonal(dim1=1, dim2=2).sum(dim=1)

    return _Setting("a cloned policy", objective, minimum, rho=0.1, trace=trace)


def _claims(paths: dict[tuple[str, str], tuple[list[int], list[Array]]]) -> tuple[Claim, ...]:
    last = {name: np.log(ratios[-1]) for name, (_, ratios) in paths.items()}
    still = {setting: 0.01 - abs(values) for (setting, rule), values in last.items() if rule == "descent"}
    lower = {f"{rule}, {setting}": -v for (setting, rule), v in last.items() if rule != "descent"}
    return (
        claim_all("descent stays at its minimum: 0.01 - |log(trace at the end / at the start)|", still),
        claim_all("both rules go to flatter minima: log(trace at the start / at the end)", lower),
    )


def _figure(paths: dict[tuple[str, str], tuple[list[int], list[Array]]]) -> Figure:
    panels = []
    for setting in dict.fromkeys(setting for setting, _ in paths):
        lines = tuple(median_line(*paths[setting, rule], style, rule) for rule, style in _STYLES.items())
        panels.append(Panel(setting, "steps", "trace of the Hessian / at the start", lines))
    caption = "Medians over networks with their 95 % intervals; all start at a minimum of the training loss."
    return Figure("trace", "Perturbed gradients drift to flatter minima", caption, tuple(panels))
