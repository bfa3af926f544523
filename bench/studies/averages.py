"""Does averaging the weights steady the closed loop of a cloned policy, at the same cloning loss?

Behaviour cloning at a constant rate leaves the weights jumping about; what little that adds to the cloning
loss, the closed loop multiplies. Compared on the same demonstrations, initial weights and minibatches: the
raw weights of Adam, their moving average (decay 0.99), schedule-free Adam, and Adam with a rate that falls
linearly to zero. The setting is the project's own: a policy (GELU, width 32, depth 3) cloned from 20
demonstrations of barrier MPC on the double integrator, minibatches of 64, rate 3e-3 (schedule-free: 1e-2);
J/J* is the closed-loop cost over 30 steps from 40 test states shared by all, relative to exact MPC.

Spread: the range of log(mean J / mean J*) over the last five of 20 checkpoints (the last quarter of
training).

Claims: each of the three has a smaller spread than raw weights, ``log(spread raw / spread) > 0``; and its
cloning loss over held-out demonstrations is at most that of raw weights, to a tenth.
"""

from dataclasses import dataclass, replace

import numpy as np

from bench.figures.palette import BLUE, GREEN, GREY, ORANGE
from bench.figures.spec import Figure, Panel, Style, reference
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, difference, median_interval
from imitation.demonstrate import demonstrate
from imitation.evaluate import evaluate, unfold
from imitation.learners.configs import BehaviourCloning
from imitation.optim import Adam, Ema, ScheduleFree
from imitation.policies.configs import Mlp
from imitation.train import Member, train
from imitation.trained import Trained
from mpc.arrays import Array
from mpc.barrier import BarrierExpert
from mpc.catalogue import double_integrator
from mpc.closed_loop import simulate
from mpc.initial import test_states
from mpc.metrics import episode_cost
from mpc.online import OnlineExpert

_LAST = 5


@dataclass(frozen=True)
class _Scale:
    repetitions: int
    steps: int


_SIZES = {"quick": _Scale(8, 200), "default": _Scale(16, 3000), "full": _Scale(32, 20_000)}
_STYLES = {
    "raw weights": Style(GREY),
    "moving average": Style(BLUE),
    "schedule-free": Style(GREEN),
    "linear decay": Style(ORANGE),
}


@dataclass(frozen=True, eq=False)
class _Course:
    """At the checkpoints: steps ``(points,)``, J/J* and held-out loss ``(R, points)``."""

    steps: Array
    ratio: Array
    loss: Array

    @property
    def spread(self) -> Array:
        last = np.log(self.ratio[:, -_LAST:])
        finite = np.asarray(np.isfinite(last).all(axis=1))  # a loop that diverged has no bounds
        return np.where(finite, np.ptp(np.where(finite[:, None], last, 0.0), axis=1), np.inf)

    @property
    def last_loss(self) -> Array:
        return np.log(self.loss[:, -_LAST:]).mean(axis=1)


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """Four ways to end a training."""
    scale = _SIZES[size]
    problem = double_integrator()
    expert = BarrierExpert(problem, eta=0.1)
    reps = [1000 * seed + rep for rep in range(scale.repetitions)]
    members = [
        Member(demonstrate(problem, expert, "double_integrator", rep, 20, 20).rollouts, rep) for rep in reps
    ]
    x0 = test_states(problem, "double_integrator", 40)
    best = episode_cost(problem, simulate(problem, OnlineExpert(problem), x0, 30)).mean()

    def observe(trained: Trained) -> Array:
        loops = unfold(evaluate(problem, trained, x0, 30), trained.members)
        return np.array([episode_cost(problem, one).mean() / best for one in loops])

    courses = {}
    for name, learner in _learners(scale.steps).items():
        notify(len(courses), len(_STYLES))
        history = train(problem, learner, members, observe=observe).history
        assert history.observed is not None
        courses[name] = _Course(history.steps[0].astype(float), history.observed, history.validation)
    notify(len(courses), len(courses))
    return Findings(
        f"{scale.repetitions} policies, {scale.steps} steps; spread over the last {_LAST} of 20 checkpoints.",
        [
            {"method": name, "spread": spread.estimate, "spread low": spread.low, "spread high": spread.high}
            | {
                "J/J*": float(np.median(course.ratio[:, -1])),
                "loss": float(np.exp(np.median(course.last_loss))),
            }
            for name, course in courses.items()
            for spread in [median_interval(course.spread)]
        ],
        _claims(courses),
        (_figure(courses),),
    )


def _learners(steps: int) -> dict[str, BehaviourCloning]:
    raw = BehaviourCloning(policy=Mlp(width=32, depth=3), optimizer=Adam(lr=3e-3), steps=steps, batch=64)
    free = ScheduleFree(Adam(lr=1e-2, beta1=0.0))
    learners = (
        raw,
        replace(raw, optimizer=Ema(Adam(lr=3e-3), decay=0.99)),
        replace(raw, optimizer=free),
        replace(raw, schedule="linear"),
    )
    return dict(zip(_STYLES, learners, strict=True))


def _claims(courses: dict[str, _Course]) -> tuple[Claim, ...]:
    raw, *others = courses
    return (
        claim_all(
            "the closed loop is steadier: log(spread raw / spread)",
            {name: difference(np.log(courses[raw].spread), np.log(courses[name].spread)) for name in others},
        ),
        claim_all(
            "at a cloning loss no higher, to a tenth: log(loss raw / loss) + 0.1",
            {name: courses[raw].last_loss - courses[name].last_loss + 0.1 for name in others},
        ),
    )


def _figure(courses: dict[str, _Course]) -> Figure:
    ratios, losses = (
        tuple(
            median_line(course.steps, list(getattr(course, field).T), _STYLES[name], name)
            for name, course in courses.items()
        )
        for field in ("ratio", "loss")
    )
    ratios = (*ratios, reference(1.0, courses["raw weights"].steps, ""))
    panels = (
        Panel(
            "closed loop (dotted: exact MPC)",
            "steps",
            "mean J / mean J*",
            ratios,
            log_y=True,
        ),
        Panel("held-out demonstrations", "steps", "cloning loss", losses, log_y=True),
    )
    caption = "Policies as deployed at each checkpoint; medians over repetitions with their 95 % intervals."
    return Figure("course", "Averages steady the closed loop", caption, panels)
