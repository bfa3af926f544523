"""Does a policy for each time, fitted where those before it lead, stay optimal where cloning fails?

Open-loop unstable systems with d = 3 and d = 5 states and one bounded input (Ahn et al., arXiv 2210.09206),
exact MPC with N = 20 as the expert, episodes of 30 steps, 20 test states shared by all. Policies are those of
the paper (three hidden layers of 50 ReLU, Adam 1e-3). Cloning sees 900 labels (30 episodes), forward training
900 (d = 3) or 450 (d = 5): 30 or 15 at each time, from fresh initial states; for d = 5 also 900 and 1800.

What the paper leaves open decides the outcome, so it is made explicit: whether states are normalised, whether
actions are clipped to the bounds, the loss (its text has the mean of ``||pi - pi*||``, 'l1'; or 'l2'), and
whether the rate falls to zero. Cloning is run in all 16 settings, forward training in the plain one of the
paper's text (l1, nothing else) and with each of the four choices changed.

Claims: forward training costs at most 1.2 times exact MPC (d = 3) and 1.13 times (d = 5), cloning at least 40
times (d = 3) and 240 times (d = 5), all in the plain setting; forward training is ahead of cloning in each
setting that both ran in; and, for cloning, each of the four choices lowers the cost,
``log(J without / J with)``, the median over the eight settings of the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from bench.classroom import Classroom, pupils
from bench.figures.palette import BLACK, BLUE, GREEN, ORANGE
from bench.figures.spec import Figure, Line, Panel, Style
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, difference, median_interval
from imitation.learners.configs import BehaviourCloning, Forward, LearnerConfig
from imitation.optim import Adam
from imitation.policies.configs import Mlp
from mpc.arrays import Array
from mpc.configs import Online

_STEPS = 30
_TARGETS = {3: (1.2, 40.0), 5: (1.13, 240.0)}
_LABELS = {3: (30,), 5: (15, 30, 60)}  # at each time; the first of them in every setting
_CHOICES = ("normalised states", "clipped actions", "loss l1", "rate to zero")


class Setting(NamedTuple):
    """The four choices, in the order of ``_CHOICES``."""

    normalise: bool
    clip: bool
    l1: bool
    falling: bool

    def __str__(self) -> str:
        on = [name for name, chosen in zip(_CHOICES, self, strict=True) if chosen]
        return ", ".join(on) or "none"

    def learner(self, steps: int, batch: int) -> BehaviourCloning:
        """Cloning with these choices."""
        return BehaviourCloning(
            policy=Mlp(width=50, depth=4, activation="relu", normalise=self.normalise, clip=self.clip),
            optimizer=Adam(lr=1e-3),
            loss="l1" if self.l1 else "l2",
            schedule="linear" if self.falling else "constant",
            steps=steps,
            batch=batch,
        )


_PLAIN = Setting(False, False, True, False)
_NORMALISED = _PLAIN._replace(normalise=True)
_CHANGED = tuple(_PLAIN._replace(**{name: not getattr(_PLAIN, name)}) for name in Setting._fields)


@dataclass(frozen=True)
class _Scale:
    repetitions: int
    cloning: int
    forward: int
    tests: int = 20


_SIZES = {"quick": _Scale(8, 200, 40), "default": _Scale(12, 2000, 500), "full": _Scale(32, 5000, 1000)}


@dataclass(frozen=True, eq=False)
class _Outcome:
    """J/J* ``(R,)``, error over time ``(R, T+1)``, squared error on the expert's states ``(R,)``."""

    ratio: Array
    error: Array
    on_expert: Array


_Key = tuple[int, str, Setting]
"""d, 'cloning', 'forward' or, with more labels, 'forward, 30 a time', and the choices."""
_Outcomes = dict[_Key, _Outcome]


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """Forward training beside cloning, and what decides about cloning."""
    scale = _SIZES[size]
    outcomes: _Outcomes = {}
    rooms: dict[int, Classroom] = {}
    asked = list(_asked(scale))
    for place, (key, n, learner) in enumerate(asked):
        notify(place, len(asked))
        d = key[0]
        room = rooms[d] = rooms.get(d) or Classroom.of(f"triangular:d={d}", Online(), _STEPS, scale.tests)
        learned = learner.learn(room.task, pupils(seed, scale.repetitions, n))
        loops = room.loops(learned)
        outcomes[key] = _Outcome(
            room.cost_ratio(loops), room.error_over_time(loops), room.action_error(learned)
        )
    notify(len(asked), len(asked))
    return Findings(
        f"{scale.repetitions} repetitions; {scale.cloning} steps of cloning, {scale.forward} at each time; "
        f"J from {scale.tests} test states.",
        list(_table(outcomes)),
        _claims(outcomes),
        (_over_time(outcomes), _told_by_the_loss(outcomes)),
    )


_EVERY = tuple(Setting(*choice) for choice in product((False, True), repeat=4))


def _asked(scale: _Scale) -> Iterator[tuple[_Key, int, LearnerConfig]]:
    """What is run: its key, demonstrations (labels of each time), learner."""
    for d, labels in _LABELS.items():
        for setting in _EVERY:
            yield (d, "cloning", setting), 30, setting.learner(scale.cloning, 64)
        for n in labels:
            for setting in (_PLAIN, *_CHANGED) if n == labels[0] else (_PLAIN,):
                name = "forward" if n == labels[0] else f"forward, {n} a time"
                base = replace(setting.learner(scale.forward, 32), validation=0.0)
                yield (d, name, setting), n, Forward(base)


def _table(outcomes: _Outcomes) -> Iterator[dict[str, Any]]:
    for (d, learner, setting), outcome in outcomes.items():
        median = median_interval(outcome.ratio)
        yield {
            "d": d,
            "learner": learner,
            "on": str(setting),
            "J/J*": median.estimate,
            "low": median.low,
            "high": median.high,
            "diverged": int(np.isinf(outcome.ratio).sum()),
            "error on expert states": float(np.median(outcome.on_expert)),
        }


def _claims(outcomes: _Outcomes) -> tuple[Claim, ...]:
    logs = {key: np.log(outcome.ratio) for key, outcome in outcomes.items()}
    forward, cloning = ("forward", _PLAIN), ("cloning", _PLAIN)
    return (
        *(
            claim_all(
                f"d = {d}: forward training costs at most {most:g} times exact MPC: log({most:g} J* / J)",
                {"": np.log(most) - logs[d, *forward]},
            )
            for d, (most, _) in _TARGETS.items()
        ),
        *(
            claim_all(
                f"d = {d}: plain cloning costs at least {least:g} times exact MPC: log(J / {least:g} J*)",
                {"": logs[d, *cloning] - np.log(least)},
            )
            for d, (_, least) in _TARGETS.items()
        ),
        *(
            claim_all(
                f"d = {d}: forward training is ahead of cloning in every setting: log(J cloning / J forward)",
                {
                    str(setting): difference(logs[d, "cloning", setting], logs[d, "forward", setting])
                    for setting in (_PLAIN, *_CHANGED)
                },
            )
            for d in _TARGETS
        ),
        *(
            claim_all(
                f"cloning is better with {choice}: log(J without / J with)",
                {f"d = {d}": _effect(logs, d, place) for d in _TARGETS},
            )
            for place, choice in enumerate(_CHOICES)
        ),
    )


def _effect(logs: dict[tuple[int, str, Setting], Array], d: int, place: int) -> Array:
    """Median over the settings of the other choices of ``log(J without / J with)`` ``(R,)``."""
    changes = []
    for setting in _EVERY:
        if setting[place]:
            without = Setting(*(chosen and i != place for i, chosen in enumerate(setting)))
            changes.append(difference(logs[d, "cloning", without], logs[d, "cloning", setting]))
    return np.median(changes, axis=0)


def _over_time(outcomes: _Outcomes) -> Figure:
    laws = {
        ("cloning", _PLAIN): (Style(ORANGE), "cloning"),
        ("cloning", _NORMALISED): (Style(BLUE), "cloning, normalised states"),
        ("forward", _PLAIN): (Style(BLACK), "forward training"),
        ("forward", _NORMALISED): (Style(GREEN), "forward training, normalised states"),
    }
    t = np.arange(1, _STEPS + 1)
    panels = tuple(
        Panel(
            f"d = {d}",
            "t [steps]",
            "||x*_t - x_t||",
            tuple(
                median_line(t, list(outcomes[d, *law].error[:, 1:].T), style, label)
                for law, (style, label) in laws.items()
            ),
            log_y=True,
        )
        for d in _TARGETS
    )
    caption = "Median over test states, then over repetitions with its 95 % interval."
    return Figure("over-time", "Errors compound where a policy leaves the states it saw", caption, panels)


def _told_by_the_loss(outcomes: _Outcomes) -> Figure:
    styles = {
        ("cloning", False): (Style(ORANGE, "none", "circle"), "cloning"),
        ("cloning", True): (Style(BLUE, "none", "circle"), "cloning, normalised states"),
        ("forward", False): (Style(BLACK, "none", "triangle"), "forward training"),
        ("forward", True): (Style(GREEN, "none", "triangle"), "forward training, normalised states"),
    }
    panels = []
    for d in _TARGETS:
        lines = []
        for (learner, normalise), (style, label) in styles.items():
            chosen = {
                setting: outcome
                for (size, name, setting), outcome in outcomes.items()
                if (size, name, setting.normalise) == (d, learner, normalise)
            }
            x, y = (
                np.array([np.median(getattr(outcome, field)) for outcome in chosen.values()])
                for field in ("on_expert", "ratio")
            )
            lines.append(Line(x, y, style, label, hover=tuple(map(str, chosen))))
        labels = "mean ||u - u*||^2 at the expert's states", "mean J / mean J*"
        panels.append(Panel(f"d = {d}", *labels, tuple(lines), log_x=True, log_y=True))
    caption = (
        "One point for each setting: medians over repetitions. A smaller error does not mean a cheaper loop."
    )
    return Figure("loss-and-cost", "What imitation error says of the closed loop", caption, tuple(panels))
