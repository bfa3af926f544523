"""From which learning rate on do ReLU neurons learn a threshold?

The mean model of Ahn, Bubeck, Chewi, Lee, Suarez, Zhang, "Learning threshold neurons via the edge of
stability" (arXiv 2212.07469): a network ``a sum_i relu(x_i + b)`` of a sparse signal in standard normal noise
of dimension d is, in the mean, ``s = d a g(b)`` with ``g(b) = E relu(z + b) = phi(b) + b Phi(b)``, and
descends on the symmetrised logistic loss l, ``l'(s) = tanh(s/2)/2``:

    a <- a - 2 lr l'(s) d g(b)          b <- b - lr l'(s) d a Phi(b)

Derived here: at a = 0 every b is a minimum, of curvature ``2 l''(0) d^2 g(b)^2 = d^2 g(b)^2 / 2`` along a. It
is stable below ``lr = 4 / (d g(b))^2``, which at the start b = 0 is ``8 pi / d^2``. Above, b has to move
until ``g(b) <= 2 / (d sqrt(lr))``. Started from b = 0 and 8 or more random a (0.1 to 1 times the width of the
valley).

Claims: below 0.8 of the critical rate the bias ends within 0.05 of 0; above 1.25 of it, it ends at or below
the bias where the valley becomes stable (to a hundredth), a threshold.
"""

from dataclasses import dataclass
from math import pi

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm

from bench.figures.palette import BLUE, GREY
from bench.figures.spec import Figure, Line, Panel, Style
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, median_interval
from mpc.arrays import Array
from mpc.seeds import seed_for

DIMENSION = 100
CRITICAL = 8 * pi / DIMENSION**2
BELOW, ABOVE = (0.25, 0.5, 0.75), (1.5, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class _Scale:
    multiples: tuple[float, ...]
    steps: int
    repetitions: int


_SIZES = {
    "quick": _Scale((*BELOW, *ABOVE), 4_000, 8),
    "default": _Scale((*np.geomspace(0.2, 0.79, 8), 0.9, 1.0, 1.1, *np.geomspace(1.26, 8, 10)), 40_000, 32),
    "full": _Scale((*np.geomspace(0.1, 0.79, 24), 0.9, 1.0, 1.1, *np.geomspace(1.26, 16, 40)), 400_000, 64),
}


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """Where the bias ends, over learning rates."""
    scale = _SIZES[size]
    starts = _starts([1000 * seed + rep for rep in range(scale.repetitions)])
    ends = {}
    for place, multiple in enumerate(scale.multiples):
        notify(place, len(scale.multiples))
        ends[float(multiple)] = descended(starts, multiple * CRITICAL, scale.steps)
    notify(len(ends), len(scale.multiples))
    return Findings(
        f"{scale.repetitions} starts, d = {DIMENSION}, {scale.steps} steps; rates in parts of 8 pi / d^2.",
        [
            {
                "rate": rate,
                "bias": median.estimate,
                "low": median.low,
                "high": median.high,
                "edge": edge(rate),
            }
            for rate, values in ends.items()
            for median in [median_interval(values)]
        ],
        _claims(ends),
        (_figure(ends),),
    )


def _starts(reps: list[int]) -> Array:
    """a, of a size between 0.1 and 1 times ``1 / (d g(0))``, with random signs."""
    draws = np.array([np.random.default_rng(seed_for("start", rep)).uniform(-1, 1) for rep in reps])
    return np.sign(draws) * (0.1 + 0.9 * abs(draws)) / (DIMENSION * norm.pdf(0))


def descended(a: Array, lr: float, steps: int) -> Array:
    """The bias after so many steps from b = 0 and each ``a (R,)``."""
    a, b, d = a.copy(), np.zeros_like(a), DIMENSION
    for _ in range(steps):
        below = ndtr(b)
        g = np.exp(-b * b / 2) / np.sqrt(2 * pi) + b * below
        slope = np.tanh(d * a * g / 2) / 2
        a, b = a - 2 * lr * slope * d * g, b - lr * slope * d * a * below
    return b


def edge(multiple: float) -> float:
    """The bias where ``lr d^2 g(b)^2 / 4 = 1``; 0 where the start is stable."""
    if multiple <= 1:
        return 0.0

    def gap(b: float) -> float:
        return float(norm.pdf(b) + b * norm.cdf(b)) - float(norm.pdf(0)) / multiple**0.5

    return float(brentq(gap, -10, 0))  # type: ignore[arg-type]


def _claims(ends: dict[float, Array]) -> tuple[Claim, ...]:
    return (
        claim_all(
            "below the critical rate the bias stays: 0.05 - |b|",
            {f"{m:.2g}": 0.05 - abs(b) for m, b in ends.items() if m < 0.8},
        ),
        claim_all(
            "above it the bias goes to where descent is stable: edge + 0.01 - b",
            {f"{m:.2g}": edge(m) + 0.01 - b for m, b in ends.items() if m > 1.25},
        ),
    )


def _figure(ends: dict[float, Array]) -> Figure:
    rates = np.array(sorted(ends))
    fine = np.geomspace(rates[0], rates[-1], 200)
    lines = (
        median_line(
            rates, [ends[rate] for rate in rates], Style(BLUE, marker="circle", size=4.0), "where it ends"
        ),
        Line(fine, np.array([edge(m) for m in fine]), Style(GREY, dash="dash"), "where the valley is stable"),
    )
    panel = Panel(
        "gradient descent in the mean model",
        "learning rate, in parts of the critical one",
        "bias b at the end",
        lines,
        log_x=True,
    )
    caption = (
        "Medians over starts with their 95 % intervals. Nothing in the loss asks for a bias; the rate does."
    )
    return Figure("bias", "A threshold is learnt beyond a critical rate", caption, (panel,), columns=1)
