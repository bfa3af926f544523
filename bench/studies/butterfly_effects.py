"""Does minibatch noise that hardly moves the loss make the closed loop swing, and do averages cure it?

After "Butterfly Effects of SGD Noise" (Block et al., arXiv 2310.11428), on the unstable system with d = 5
(``triangular``, exact MPC with N = 20, 30 steps, 20 test states): a policy of three hidden layers of 50 ReLU
is cloned from 200 episodes, minibatches of 64, rate 3e-3 (at 1e-3 it is still learning after 8000 steps, and
what swings is the trend). Compared on the same data, initial weights and minibatches: raw weights of Adam,
their moving average with a constant share of 0.005 and with one that falls with time
((gamma + 1)/(t + gamma), gamma = 16), and Adam with a rate that falls linearly to zero.

Oscillation: the standard deviation of log10(mean J / mean J*) over the last ten of 20 checkpoints; a diverged
loop counts as 10^4. Amplification: the oscillation of J over that of the cloning loss of held-out episodes,
in the same logarithms. And the closed loop along a minibatch's gradient, from the last raw weights.

Claims: J swings more than the loss, log(amplification) > 0; each average and the falling rate swing less
than raw weights, log(oscillation raw / other) > 0; averages of a constant rate cost no more than a falling
rate without, log10(J falling / J average) + 0.1 > 0 for the medians over those checkpoints.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from bench.classroom import Classroom, pupils
from bench.figures.palette import BLUE, GREEN, GREY, ORANGE
from bench.figures.spec import Figure, Panel, Style, reference
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, median_interval
from imitation.learned import Learned
from imitation.learners.configs import BehaviourCloning
from imitation.objective import Cloning
from imitation.optim import Adam, Ema
from imitation.optim.algebra import norm, plus
from imitation.policies.configs import Mlp
from imitation.samples import minibatches, split
from mpc.arrays import Array
from mpc.configs import Online

_LAST = 10
_MOST = 1e4
_EPISODES = 200
_RATE = 3e-3
_RAW, _FALLING = "raw weights", "falling rate"
_STYLES = {
    _RAW: Style(GREY),
    "constant average": Style(BLUE),
    "falling average": Style(GREEN),
    _FALLING: Style(ORANGE),
}


@dataclass(frozen=True)
class _Scale:
    repetitions: int
    steps: int
    tests: int = 20


_SIZES = {"quick": _Scale(8, 400), "default": _Scale(24, 8000), "full": _Scale(48, 30_000)}


@dataclass(frozen=True, eq=False)
class _Course:
    """At the checkpoints: steps ``(points,)``, log10 J/J* and log10 of the held-out loss ``(R, points)``."""

    steps: Array
    cost: Array
    loss: Array

    @property
    def swing(self) -> Array:
        """Oscillation of the cost ``(R,)``, at least that of one part in a million."""
        return np.maximum(self.cost[:, -_LAST:].std(axis=1), 1e-6)

    @property
    def amplification(self) -> Array:
        """Of the loss's oscillation by the closed loop ``(R,)``."""
        return self.swing / self.loss[:, -_LAST:].std(axis=1)

    @property
    def level(self) -> Array:
        """Median of log10 J/J* ``(R,)``."""
        return np.median(self.cost[:, -_LAST:], axis=1)


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """Four ways to take the weights, and the closed loop along a gradient."""
    scale = _SIZES[size]
    room = Classroom.of("triangular:d=5", Online(), 30, scale.tests)
    class_ = pupils(seed, scale.repetitions, _EPISODES)
    courses: dict[str, _Course] = {}
    along: tuple[Array, Array, Array] | None = None
    for name, learner in _learners(scale.steps).items():
        notify(len(courses), len(_STYLES) + 1)
        learned = learner.learn(room.task, class_, observe=lambda fit: room.cost_ratio(room.loops(fit)))
        history = learned.last.history
        assert history.observed is not None
        cost = np.log10(np.minimum(history.observed, _MOST))
        courses[name] = _Course(history.steps[0].astype(float), cost, np.log10(history.validation))
        if name == _RAW:
            along = _along_a_gradient(room, learner, learned, [pupil.rep for pupil in class_])
    notify(len(_STYLES) + 1, len(_STYLES) + 1)
    assert along is not None
    return Findings(
        f"{scale.repetitions} policies, {scale.steps} steps; the last {_LAST} of 20 checkpoints.",
        list(_table(courses)),
        _claims(courses),
        (_course_figure(courses), _gradient_figure(*along)),
    )


def _learners(steps: int) -> dict[str, BehaviourCloning]:
    raw = BehaviourCloning(
        policy=Mlp(width=50, depth=4, activation="relu"), optimizer=Adam(lr=_RATE), steps=steps, batch=64
    )
    learners = (
        raw,
        replace(raw, optimizer=Ema(Adam(lr=_RATE), decay=0.995)),
        replace(raw, optimizer=Ema(Adam(lr=_RATE), law="polynomial", gamma=16.0)),
        replace(raw, schedule="linear"),
    )
    return dict(zip(_STYLES, learners, strict=True))


def _along_a_gradient(
    room: Classroom, learner: BehaviourCloning, learned: Learned, reps: list[int]
) -> tuple[Array, Array, Array]:
    """Steps in parts of the weights' norm ``(S,)``, and there log10 J/J* and log10 loss ``(S, R)``.

    Each member moves along the gradient of one minibatch of its own, scaled to the norm of its weights.
    """
    trained = learned.last
    training = [split(rollouts, learner.validation)[0] for rollouts in learned.rollouts]
    dtype = next(iter(trained.params.values())).dtype
    cloning = Cloning.of(trained.policies[0], trained.buffers, training, dtype, loss=learner.loss)
    sizes = [len(one) for one in training]
    places = next(minibatches(sizes, reps, learner.batch, epochs=False))[0]
    _, grads = cloning.objective(torch.from_numpy(places)).loss_and_grad(trained.params)
    whole = cloning.objective(torch.arange(min(sizes)).expand(len(sizes), -1)).batch
    scale = norm(trained.params) / norm(grads)
    steps = 0.01 * np.linspace(-1, 1, 21)
    costs, losses = [], []
    for step in steps.tolist():
        moved = plus(trained.params, -step * scale, grads)
        loops = room.loops(replace(trained, params=moved))
        costs.append(np.log10(np.minimum(room.cost_ratio(loops), _MOST)))
        losses.append(np.log10(whole.loss(moved).numpy()))
    return steps, np.array(costs), np.array(losses)


def _table(courses: dict[str, _Course]) -> Iterator[dict[str, Any]]:
    for name, course in courses.items():
        row: dict[str, Any] = {"method": name}
        for what, values in (
            ("oscillation of log10 J/J*", course.swing),
            ("amplification", course.amplification),
            ("log10 J/J*", course.level),
            ("log10 loss", np.median(course.loss[:, -_LAST:], axis=1)),
        ):
            median = median_interval(values)
            row |= {what: median.estimate, f"{what} low": median.low, f"{what} high": median.high}
        yield row


def _claims(courses: dict[str, _Course]) -> tuple[Claim, ...]:
    raw, falling = courses[_RAW], courses[_FALLING]
    averages = {name: course for name, course in courses.items() if name not in (_RAW, _FALLING)}
    others = {name: course for name, course in courses.items() if name != _RAW}
    return (
        claim_all(
            "raw weights: the closed loop swings more than the loss: log(amplification)",
            {"": np.log(raw.amplification)},
        ),
        *(
            claim_all(
                f"{name}: swings less than raw weights: log(oscillation raw / {name})",
                {"": np.log(raw.swing) - np.log(course.swing)},
            )
            for name, course in others.items()
        ),
        claim_all(
            "averages cost no more than a falling rate: log10(J falling / J average) + 0.1",
            {name: falling.level - course.level + 0.1 for name, course in averages.items()},
        ),
    )


def _course_figure(courses: dict[str, _Course]) -> Figure:
    costs, losses = (
        tuple(
            median_line(course.steps, list((10 ** getattr(course, field)).T), _STYLES[name], name)
            for name, course in courses.items()
        )
        for field in ("cost", "loss")
    )
    one = {name: 10 ** course.cost[0] for name, course in courses.items()}
    single = tuple(
        median_line(courses[name].steps, [np.array([value]) for value in values], _STYLES[name], "")
        for name, values in one.items()
    )
    steps = courses[_RAW].steps
    panels = (
        Panel("held-out demonstrations", "steps", "cloning loss", losses, log_y=True),
        Panel("closed loop", "steps", "mean J / mean J*", (*costs, reference(1.0, steps, "")), log_y=True),
        Panel("closed loop of the first repetition", "steps", "mean J / mean J*", single, log_y=True),
    )
    caption = "Policies as deployed at each checkpoint; medians over repetitions with their 95 % intervals."
    return Figure("course", "What the loss does not show, the closed loop does", caption, panels, 3)


def _gradient_figure(steps: Array, costs: Array, losses: Array) -> Figure:
    label = "step along a gradient [% of the weights' norm]"
    panels = tuple(
        Panel(
            title,
            label,
            y_label,
            (median_line(100 * steps, list(10**values), style, ""),),
            log_y=True,
        )
        for title, y_label, values, style in (
            ("training set", "cloning loss", losses, Style(BLUE)),
            ("closed loop", "mean J / mean J*", costs, Style(ORANGE)),
        )
    )
    caption = (
        "From the last raw weights (0) along a minibatch's gradient; medians over repetitions with their "
        "95 % intervals."
    )
    return Figure("along-a-gradient", "A step of a minibatch, in loss and in cost", caption, panels)
