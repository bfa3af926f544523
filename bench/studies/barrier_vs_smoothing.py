"""Is MPC smoothed by a log-barrier easier to imitate than MPC smoothed by random shifts?

The experiment of Pfrommer et al., "On the Sample Complexity of Imitation Learning for Smoothed Model
Predictive Control" (arXiv 2306.01914), section 5, and of "Improved Sample Complexity of Imitation
Learning for Barrier MPC" (arXiv 2410.00859).

Taken from the paper: the double integrator with |x_i| <= 10, |u| <= 1, N = 10; episodes of 20 steps;
20 and 50 demonstrations; a GELU network of 4 layers, AdamW, learning rate 3e-4, weight decay 1e-3;
eta from 1e-4 to 1e3, sigma from 1e-4 to 20. Not stated there and chosen here:

- initial states: uniform on the feasible part of |x_i| <= 10, the same for every expert;
- network: width 64, inputs normalised, output not clipped; minibatches of 256;
- gradient steps: 3000 with a cosine schedule, whatever the number of demonstrations (quick: 800, and
  there the learning rate is 2e-3, or the network would not be trained);
- random shifts: standard normal, 32 pairs w, -w shared by all states; where a shifted state
  has no plan, MPC with the input constraints only;
- tests: 100 initial states (quick: 40).

Two experts are equally smooth when the largest operator norms of their Hessians over 0.8 of the feasible set
are equal (``bench.smoothness``; Stein's identity for the random one). The etas and sigmas tried do not
land on equal norms, so at the norm of each randomly smoothed expert the barrier's log error is
interpolated, linearly in the log of the norm, between its two neighbours, for each repetition by
itself. Norms outside the range of the etas tried are not compared and never extrapolated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import log, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.experiment import Experiment
from bench.statistics import Claim, Interval, claim_all, difference, rank_correlation, verdict
from imitation.learners.configs import BehaviourCloning
from imitation.optim.configs import AdamW
from mpc.arrays import Array
from mpc.catalogue import SystemSpec
from mpc.configs import Barrier, ExpertConfig, Online, Smoothed

if TYPE_CHECKING:
    import pandas as pd

STUDY = "barrier_vs_smoothing"
ERROR = "imitation_error_mean"
CLAIMED = (20, 50)
"""Numbers of demonstrations that the paper's claims are about."""


@dataclass(frozen=True)
class Size:
    """How much of the study is run."""

    etas: tuple[float, ...]
    sigmas: tuple[float, ...]
    demonstrations: tuple[int, ...]
    repetitions: int
    learner: BehaviourCloning
    test_episodes: int


_LEARNER = BehaviourCloning(
    optimizer=AdamW(lr=3e-4, weight_decay=1e-3), steps=3000, batch=256, schedule="cosine"
)
_QUICK = BehaviourCloning(
    optimizer=AdamW(lr=2e-3, weight_decay=1e-3), steps=800, batch=256, schedule="cosine"
)
SIZES: Mapping[str, Size] = {
    "quick": Size((0.01, 1.0, 100.0), (0.5, 5.0), (5, 20, 50), 4, _QUICK, 40),
    "default": Size(
        tuple(10.0**k for k in range(-4, 4)),
        (0.02, 0.1, 0.2, 0.5, 1.0, 5.0, 20.0),
        CLAIMED,
        12,
        _LEARNER,
        100,
    ),
    "full": Size(
        tuple(10.0**k for k in range(-4, 4)),
        (1e-4, 1e-3, 1e-2, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0),
        (5, 10, 20, 50, 100),
        20,
        _LEARNER,
        100,
    ),
}


def experiments(
    size: Literal["quick", "default", "full"] = "default", seed: int = 0
) -> tuple[Experiment, ...]:
    """All experiments of the study: the same demonstrations, weights and minibatches for every expert.

    Args:
        seed: shifts the repetitions to ``1000 seed, 1000 seed + 1, ...``.

    Raises:
        ValueError: for an unknown size or a negative seed.
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    chosen = SIZES[size]
    experts: tuple[ExpertConfig, ...] = (
        Online(),
        *(Barrier(eta=eta) for eta in chosen.etas),
        *(Smoothed(sigma=sigma) for sigma in chosen.sigmas),
    )
    return tuple(
        Experiment(
            study=STUDY,
            system=SystemSpec("double_integrator"),
            expert=expert,
            learner=chosen.learner,
            demonstrations=demonstrations,
            steps=20,
            rep=1000 * seed + rep,
            test_episodes=chosen.test_episodes,
        )
        for expert, rep, demonstrations in product(experts, range(chosen.repetitions), chosen.demonstrations)
    )


def verdicts(table: "pd.DataFrame") -> list[Claim]:
    """The paper's three claims, the first two for 20 and for 50 demonstrations."""
    good = table.query("status == 'ok'")
    claims = []
    for n in CLAIMED:
        rows = good.query("demonstrations == @n")
        claims.append(
            claim_all(
                f"barrier beats randomised smoothing at every smoothness level, n = {n}: "
                "log(error smoothed / error barrier)",
                equal_smoothness(rows),
            )
        )
        claims.append(
            claim_all(
                f"the barrier is easier to imitate the more smoothing, n = {n}: "
                "minus rank correlation of error and eta",
                _barrier_trend(rows),
            )
        )
    return [*claims, _destabilised(good)]


def equal_smoothness(rows: "pd.DataFrame") -> dict[str, Array]:
    """``log(error smoothed / error barrier)`` for each repetition at the Hessian norm of each sigma."""
    barrier, smoothed = (_errors(rows, kind) for kind in ("barrier", "smoothed"))
    norms = {kind: _norms(rows, kind) for kind in ("barrier", "smoothed")}
    order = sorted(barrier, key=lambda eta: norms["barrier"][eta])
    if len(order) < 2:
        return {}
    x = np.log([norms["barrier"][eta] for eta in order])
    logs = np.log(np.stack([barrier[eta] for eta in order]))
    out = {}
    for sigma, errors in smoothed.items():
        level = np.log(norms["smoothed"][sigma])
        if x[0] <= level <= x[-1] and errors.shape == logs[0].shape:
            matched = np.array([np.interp(level, x, column) for column in logs.T])
            out[f"sigma={sigma:g}"] = difference(np.log(errors), matched)
    return out


def _barrier_trend(rows: "pd.DataFrame") -> dict[str, Array]:
    """Minus Kendall's tau of error and eta for each repetition."""
    errors = _errors(rows, "barrier")
    if len(errors) < 2:
        return {}
    return {"minus tau": -rank_correlation(list(errors), np.stack(list(errors.values()), axis=1))}


def _errors(rows: "pd.DataFrame", kind: str) -> dict[float, Array]:
    """Imitation errors (R,) by smoothing parameter, over the repetitions that every expert has."""
    errors = rows.pivot_table(
        index="rep", columns=["expert_kind", "smoothing"], values=ERROR, aggfunc="first"
    )
    complete = errors.dropna()
    found = {name: complete[name].to_numpy(float) for name in complete.columns if name[0] == kind}
    return {float(name[1]): values for name, values in sorted(found.items()) if values.size}


def _norms(rows: "pd.DataFrame", kind: str) -> dict[float, float]:
    """Largest Hessian norm by smoothing parameter."""
    mine = rows.query("expert_kind == @kind")
    return dict(zip(mine["smoothing"].to_numpy(float), mine["hessian_max"].to_numpy(float), strict=True))


def _destabilised(table: "pd.DataFrame") -> Claim:
    """Exact MPC's own success rate minus that of MPC smoothed with the largest sigma.

    A loop succeeds when it keeps the constraints and ends where exact MPC ends (``bench.measure``). The
    interval is Hoeffding's for the mean of a paired difference in [-1, 1] over the E test states.
    """
    claim = "smoothing with the largest sigma destabilises: success of exact MPC minus that of smoothed MPC"
    exact = table.query("expert_kind == 'online'")["expert_success_rate"].to_numpy(float)
    smoothed = table.query("expert_kind == 'smoothed'").groupby("smoothing").first()
    if not (len(exact) and len(smoothed)):
        return claim_all(claim, {})
    E = int(smoothed["test_episodes"].to_numpy(int).min())
    half = sqrt(2 * log(2 / 0.05) / E)
    numbers = {}
    for sigma, rate in smoothed["expert_success_rate"].items():
        gap = float(exact[0] - rate)
        numbers[f"sigma={sigma:g}"] = Interval(gap, max(-1.0, gap - half), min(1.0, gap + half), E)
    largest = list(numbers.values())[-1]
    return Claim(claim, verdict(largest), largest, numbers)
