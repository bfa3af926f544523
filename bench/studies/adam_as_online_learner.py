"""Does discounted follow-the-leader need both its discount and its momentum to follow a moving target?

The online learner behind Adam, b-FTRL (Ahn, Zhang, Kook, Dai, "Understanding Adam optimizer via online
learning of updates: Adam is FTRL in disguise", arXiv 2402.01567): ``d = -D m / sqrt(v)`` with
``m = sum b^(t-s) g_s`` and ``v = sum b^(2(t-s)) g_s^2``. Not stated there and chosen here:

- d is clipped to [-D, D], D = 1 (arXiv 2405.18199);
- losses ``<g_t, d>`` with ``g_t = s_t + 2 xi_t``, xi standard normal; the sign s_t flips
  every tau steps;
- dynamic regret against ``-D s_t``, which knows the sign: mean of ``s_t d_t + D``. Never moving has 1.

Claims: regret is U-shaped in b; and without a discount (b = 1), or without momentum (``m = g_t``, v with
Adam's b^2 = 0.999), it is within a tenth of never moving. Without momentum the verdict depends on v: the
figure has other b too.
"""

from dataclasses import dataclass

import numpy as np
import torch

from bench.descent import descend
from bench.figures.palette import ramp
from bench.figures.spec import Figure, Panel, Style, reference
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, median_interval
from imitation.optim import Adam, ClippedAdam, Config
from imitation.optim.contract import GradientObjective, Params
from mpc.arrays import Array
from mpc.seeds import seed_for

DISCOUNTS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.998, 0.999, 0.9999)
ADAMS = 0.999**0.5
LEAST_DISCOUNT = 1 - 1e-7
"""Stands for b = 1: over these losses b^t stays above 0.99."""


@dataclass(frozen=True)
class _Scale:
    taus: tuple[int, ...]
    steps: int
    repetitions: int


_SIZES = {
    "quick": _Scale((64,), 1024, 8),
    "default": _Scale((32, 128, 512), 8192, 16),
    "full": _Scale((16, 32, 64, 128, 256, 512, 1024), 32768, 32),
}


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """Dynamic regret over b, with momentum and without."""
    scale = _SIZES[size]
    reps = [1000 * seed + rep for rep in range(scale.repetitions)]
    regrets: dict[tuple[int, str, float], Array] = {}
    learners = [
        *(("b-FTRL", b, ClippedAdam(lr=1.0, discount=b)) for b in (*DISCOUNTS, LEAST_DISCOUNT)),
        *(("no momentum", b, _without_momentum(b)) for b in (*DISCOUNTS[1:], ADAMS)),
    ]
    total = len(scale.taus) * len(learners)
    for tau in scale.taus:
        signs, g = losses(tau, scale.steps, reps)
        for name, b, config in learners:
            notify(len(regrets), total)
            regrets[tau, name, b] = dynamic_regret(config, signs, g)
    notify(total, total)
    return Findings(
        f"{scale.repetitions} sequences of {scale.steps} losses for each tau; regret is a mean over steps.",
        [
            {
                "tau": tau,
                "learner": name,
                "b": b,
                "regret": median.estimate,
                "low": median.low,
                "high": median.high,
            }
            for (tau, name, b), values in regrets.items()
            for median in [median_interval(values)]
        ],
        _claims(regrets, scale.taus),
        (_figure(regrets, scale.taus),),
    )


def _without_momentum(b: float) -> Config:
    """``-D g_t / sqrt(v)``: Adam's v is (1 - b^2)/(1 - b^(2t)) of ours."""
    return Adam(lr=float(np.sqrt(1 - b * b)), beta1=0.0, beta2=b * b, eps=0.0)


def losses(tau: int, steps: int, reps: list[int]) -> tuple[Array, Array]:
    """Signs ``(T,)`` and slopes ``(T, K)``."""
    signs = np.where(np.arange(steps) // tau % 2, -1.0, 1.0)
    noise = [np.random.default_rng(seed_for("losses", tau, rep)).normal(size=steps) for rep in reps]
    return signs, signs[:, None] + 2.0 * np.stack(noise, axis=1)


def dynamic_regret(config: Config, signs: Array, g: Array) -> Array:
    """Mean over steps of ``s_t (d_t + s_t)`` for each sequence ``(K,)``; d_t is the step before g_t."""
    slopes = torch.from_numpy(g)[..., None]
    K = g.shape[1]
    seen: list[torch.Tensor] = [torch.zeros(K, 1, dtype=torch.float64)]

    def objective(step: int) -> GradientObjective:
        def gradient(params: Params) -> tuple[torch.Tensor, Params]:
            return torch.zeros(K), {"w": slopes[step]}

        return GradientObjective("linear losses", gradient)

    start = {"w": torch.zeros(K, 1, dtype=torch.float64)}
    descend(config, start, objective, len(g), range(K), watch=lambda step, w, info: seen.append(w["w"]))
    d = torch.diff(torch.stack(seen)[..., 0], dim=0, prepend=torch.zeros(1, K, dtype=torch.float64)).numpy()
    gaps: Array = signs[:, None] * d[:-1] + 1
    return gaps.mean(axis=0)


def _middle(tau: int) -> float:
    """The discount of the grid whose horizon 1/(1 - b) is nearest to a quarter of tau, chosen beforehand."""
    return min(DISCOUNTS, key=lambda b: abs(np.log((1 - b) * tau / 4)))


def _claims(regrets: dict[tuple[int, str, float], Array], taus: tuple[int, ...]) -> tuple[Claim, ...]:
    ends = {
        f"tau={tau}, b={'0' if end == 0 else '1'}": regrets[tau, "b-FTRL", end]
        - regrets[tau, "b-FTRL", _middle(tau)]
        for tau in taus
        for end in (0.0, LEAST_DISCOUNT)
    }
    still = {
        f"tau={tau}, {name}": 0.1 - abs(1 - regrets[tau, learner, b])
        for tau in taus
        for name, learner, b in (
            ("no discount", "b-FTRL", LEAST_DISCOUNT),
            ("no momentum", "no momentum", ADAMS),
        )
    }
    return (
        claim_all("regret is U-shaped in b: regret at an end minus regret at b = 1 - 4/tau", ends),
        claim_all(
            "without discount or without momentum it is as bad as never moving: 0.1 - |1 - regret|", still
        ),
    )


def _figure(regrets: dict[tuple[int, str, float], Array], taus: tuple[int, ...]) -> Figure:
    lines = []
    for place, tau in enumerate(taus):
        for kind, name, dash in (("barrier", "b-FTRL", "solid"), ("smoothed", "no momentum", "dash")):
            mine = sorted(b for t, n, b in regrets if (t, n) == (tau, name))
            style = Style(ramp(kind, place / max(1, len(taus) - 1)), dash=dash, marker="circle", size=4.0)
            horizons = [1 / (1 - b) for b in mine]
            values = [regrets[tau, name, b] for b in mine]
            lines.append(median_line(horizons, values, style, f"{name}, flips every {tau}"))
    x = np.array([1.0, 1 / (1 - LEAST_DISCOUNT)])
    panel = Panel(
        "noisy slopes whose sign flips",
        "horizon of the discount, 1/(1 - b), in steps",
        "dynamic regret a step, in D",
        (*lines, reference(1.0, x, "never moving")),
        log_x=True,
    )
    caption = "Medians over sequences with their 95 % intervals; the last point stands for b = 1."
    return Figure("regret", "A follower must forget, and must remember", caption, (panel,), columns=1)
