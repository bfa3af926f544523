"""How many labels does each way to learn need on an unstable system?

Triangular, d = 3, exact MPC with N = 20, 30 steps, 20 test states; policies of three hidden layers of 50
ReLU, normalised states, Adam at rate 1e-3 falling to zero. Every learner asks for 30 n labels: n episodes of
the expert, of its mixtures with the learner, or n states at each of 30 times. All numbers n and repetitions
of a learner are one population.

Compared: cloning (l1); with the Jacobian's loss (TaSIL of order 1); with noise of radius 1 in half of the
episodes, clean labels; DAgger, DART and CMILe in five rounds; forward training.

Measured: J_traj (the sum over time of squared errors against the expert's loop, each step capped at 1) and
J/J*. Claims, for n = 20: each of the six has a lower J_traj than cloning, ``log(J_traj cloning / J_traj)``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.classroom import Classroom, pupils
from bench.figures.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE
from bench.figures.spec import Figure, Line, Panel, Style, reference
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, difference, median_interval
from imitation.learners.configs import (
    BehaviourCloning,
    Cmile,
    Dagger,
    Dart,
    Forward,
    LearnerConfig,
    NoiseInjection,
)
from imitation.optim import Adam
from imitation.policies.configs import Mlp
from mpc.arrays import Array
from mpc.configs import Online

_STEPS, _CLAIMED, _CLONING = 30, 20, "cloning"
_STYLES = {
    _CLONING: Style(ORANGE, marker="circle"),
    "TaSIL": Style(PURPLE, marker="square"),
    "noise": Style(GREY, marker="diamond"),
    "DAgger": Style(BLUE, marker="circle"),
    "DART": Style(BLUE, "dash", "square"),
    "CMILe": Style(GREEN, "dash", "diamond"),
    "forward training": Style(BLACK, marker="triangle"),
}


@dataclass(frozen=True)
class _Scale:
    repetitions: int
    steps: int
    forward: int
    sizes: tuple[int, ...] = (5, 10, 20, 40)
    tests: int = 20


_SIZES = {
    "quick": _Scale(8, 500, 100, (5, 20)),
    "default": _Scale(12, 2000, 500),
    "full": _Scale(16, 8000, 1000),
}


@dataclass(frozen=True, eq=False)
class _Course:
    """J_traj and J/J* by number of demonstrations ``(sizes, R)``, and labels asked for ``(sizes,)``."""

    j_traj: Array
    ratio: Array
    labels: Array


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """Seven learners at four numbers of demonstrations."""
    scale = _SIZES[size]
    room = Classroom.of("triangular:d=3", Online(), _STEPS, scale.tests)
    everyone = [pupil for n in scale.sizes for pupil in pupils(seed, scale.repetitions, n)]
    courses: dict[str, _Course] = {}
    for name, learner in _learners(scale).items():
        notify(len(courses), len(_STYLES))
        learned = learner.learn(room.task, everyone)
        loops = room.loops(learned)
        j_traj, ratio, labels = (
            np.asarray(values, float).reshape(len(scale.sizes), -1)
            for values in (room.j_traj(loops), room.cost_ratio(loops), learned.queries)
        )
        courses[name] = _Course(j_traj, ratio, np.median(labels, axis=1))
    notify(len(courses), len(courses))
    return Findings(
        f"{scale.repetitions} repetitions; {scale.steps} steps of each fit, {scale.forward} at each time.",
        list(_table(scale, courses)),
        _claims(scale, courses),
        (_figure(scale, courses),),
    )


def _learners(scale: _Scale) -> dict[str, LearnerConfig]:
    cloning = BehaviourCloning(
        policy=Mlp(width=50, depth=4, activation="relu"),
        optimizer=Adam(lr=1e-3),
        loss="l1",
        schedule="linear",
        steps=scale.steps,
        batch=64,
    )
    at_a_time = replace(cloning, steps=scale.forward, batch=32, validation=0.0)
    learners: tuple[LearnerConfig, ...] = (
        cloning,
        replace(cloning, jacobian=1.0),
        NoiseInjection(cloning, scale=1.0),
        Dagger(cloning, rounds=5),
        Dart(cloning, rounds=5),
        Cmile(replace(cloning, stability=1.0), rounds=5),
        Forward(at_a_time),
    )
    return dict(zip(_STYLES, learners, strict=True))


def _table(scale: _Scale, courses: dict[str, _Course]) -> Iterator[dict[str, Any]]:
    for name, course in courses.items():
        for place, n in enumerate(scale.sizes):
            row: dict[str, Any] = {"learner": name, "n": n, "labels": course.labels[place]}
            for what, values in (("J_traj", course.j_traj[place]), ("J/J*", course.ratio[place])):
                median = median_interval(values)
                row |= {what: median.estimate, f"{what} low": median.low, f"{what} high": median.high}
            yield row | {"diverged": int(np.isinf(course.ratio[place]).sum())}


def _claims(scale: _Scale, courses: dict[str, _Course]) -> tuple[Claim, ...]:
    place = scale.sizes.index(_CLAIMED)
    logs = {name: np.log(course.j_traj[place]) for name, course in courses.items()}
    return tuple(
        claim_all(
            f"n = {_CLAIMED}: {name} is nearer to the expert than cloning: log(J_traj cloning / {name})",
            {"": difference(logs[_CLONING], logs[name])},
        )
        for name in courses
        if name != _CLONING
    )


def _figure(scale: _Scale, courses: dict[str, _Course]) -> Figure:
    n = np.array(scale.sizes, float)

    def lines(field: str) -> tuple[Line, ...]:
        return tuple(
            median_line(n, list(getattr(course, field)), _STYLES[name], name)
            for name, course in courses.items()
        )

    label = f"demonstrations n ({_STEPS} n labels)"
    panels = (
        Panel("nearness to the expert", label, "J_traj", lines("j_traj"), log_x=True, log_y=True),
        Panel(
            "closed-loop cost (dotted: exact MPC)",
            label,
            "mean J / mean J*",
            (*lines("ratio"), reference(1.0, n, "")),
            log_x=True,
            log_y=True,
        ),
    )
    caption = "Medians over repetitions with their 95 % intervals; every learner asks for as many labels."
    return Figure("labels", "What each way to learn makes of its labels (triangular, d = 3)", caption, panels)
