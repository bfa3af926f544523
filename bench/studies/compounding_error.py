"""When do errors of a cloned policy compound, and do chunks or noise cure it?

Three settings, after arXiv 2503.09722 and arXiv 2507.09061.

*A pair of stable plants* that an expert's loops on one axis cannot tell apart (``pitfall_plant``): both
closed loops and the plants themselves are stable, but the data leave the policy's slope across the axis free,
and whatever it is, on one of the two plants an error then grows by at least 1.25 a step. The policy (tanh,
width 32, depth 3) is fitted once to 20 loops on the axis, and deployed on both from states 1e-3 beside it;
chunks of 2, 4 and 8 inputs are planned at once and executed open loop. The error is that on the worse plant.

*An unstable system* (triangular, d = 3, exact MPC with N = 20, 30 steps, three hidden layers of 50 ReLU,
normalised states, 30 demonstrations): the same chunks, where open loop is not safe.

*Noise on the expert's inputs* there: uniform in a ball of radius 1 (inputs are bounded by 10) in half of the
episodes, with the expert's own inputs as labels ('clean') or those that were applied ('noisy').

Claims: on the worse plant a policy's error grows at least like 1.25^t, to 5 %; with chunks of 8 it ends
lower than without. On the unstable system chunks of 4 and of 8 are worse than none, noise with clean labels
is better than none, noise with noisy labels is worse than none: each in the sources' J_traj, the sum over
time of squared errors capped at 1, and in the cost J of the closed loop.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.classroom import Classroom, pupils
from bench.figures.palette import BLACK, BLUE, GREEN, ORANGE, PURPLE
from bench.figures.spec import Figure, Line, Panel, Style
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, difference, median_interval
from imitation.evaluate import evaluate, unfold
from imitation.learners.configs import BehaviourCloning, LearnerConfig, NoiseInjection
from imitation.optim import Adam
from imitation.policies.configs import Mlp
from imitation.train import Member, train
from mpc import metrics
from mpc.arrays import Array
from mpc.catalogue import pitfall_gain, pitfall_plant
from mpc.closed_loop import simulate
from mpc.configs import Online
from mpc.lqr import LinearExpert
from mpc.seeds import seed_for

_CHUNKS = (1, 2, 4, 8)
_STYLES = dict(zip(_CHUNKS, map(Style, (ORANGE, PURPLE, BLUE, GREEN)), strict=True))
_STEPS = 30
_BESIDE = 1e-3


@dataclass(frozen=True)
class _Scale:
    repetitions: int
    steps: int
    tests: int = 20


_SIZES = {"quick": _Scale(8, 200), "default": _Scale(16, 3000), "full": _Scale(32, 10_000)}


@dataclass(frozen=True, eq=False)
class _Found:
    """Errors over time on both plants by chunk ``(2, R, T+1)``; on the unstable system, by learner, errors
    over time ``(R, T+1)``, and by measure J/J* and J_traj ``(R,)``."""

    pair: dict[int, Array]
    error: dict[str, Array]
    unstable: dict[str, dict[str, Array]]


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """The pair, the unstable system, and the noise."""
    scale = _SIZES[size]
    learners = _learners(scale)
    total, done = len(_CHUNKS) + len(learners), 0
    found = _Found({}, {}, {"J_traj": {}, "J/J*": {}})
    for chunk in _CHUNKS:
        found.pair[chunk] = _pair(chunk, scale, seed)
        notify(done := done + 1, total)
    room = Classroom.of("triangular:d=3", Online(), _STEPS, scale.tests)
    for name, learner in learners.items():
        loops = room.loops(learner.learn(room.task, pupils(seed, scale.repetitions, 30)))
        found.error[name] = room.error_over_time(loops)
        found.unstable["J_traj"][name] = room.j_traj(loops)
        found.unstable["J/J*"][name] = room.cost_ratio(loops)
        notify(done := done + 1, total)
    return Findings(
        f"{scale.repetitions} repetitions, {scale.steps} steps of training, loops of {_STEPS} steps.",
        list(_table(found)),
        _claims(found),
        (_pair_figure(found), _unstable_figure(found)),
    )


def _pair(chunk: int, scale: _Scale, seed: int) -> Array:
    """``||x*_t - x_t||`` on both plants, medians over test states ``(2, R, T+1)``."""
    plants = [pitfall_plant(which) for which in (1, 2)]
    experts = [LinearExpert(plant, pitfall_gain(which)) for which, plant in zip((1, 2), plants, strict=True)]
    learner = BehaviourCloning(
        policy=Mlp(width=32, depth=3, activation="tanh", chunk=chunk),
        optimizer=Adam(lr=3e-3),
        steps=scale.steps,
        batch=64,
        schedule="linear",
    )
    members = []
    for pupil in pupils(seed, scale.repetitions, 20):
        rng = np.random.default_rng(seed_for("axis", pupil.rep))
        x0 = np.stack([np.zeros(20), rng.uniform(-1, 1, 20)], axis=1)
        members.append(Member(simulate(plants[0], experts[0], x0, 20), pupil.rep))
    trained = train(plants[0], learner, members)
    rng = np.random.default_rng(seed_for("axis-tests"))
    x0 = np.stack([np.full(scale.tests, _BESIDE), rng.uniform(-1, 1, scale.tests)], axis=1)
    errors = []
    for plant, expert in zip(plants, experts, strict=True):
        known = simulate(plant, expert, x0, _STEPS)
        loops = unfold(evaluate(plant, trained, x0, _STEPS), len(members))
        errors.append([np.median(metrics.error_over_time(own, known), axis=0) for own in loops])
    return np.array(errors)


def _learners(scale: _Scale) -> dict[str, LearnerConfig]:
    policy = Mlp(width=50, depth=4, activation="relu")
    plain = BehaviourCloning(policy=policy, optimizer=Adam(lr=1e-3), steps=scale.steps, batch=64)
    chunked = {f"chunk {c}": replace(plain, policy=replace(policy, chunk=c)) for c in _CHUNKS[1:]}
    noisy = {
        "noise, clean labels": NoiseInjection(plain, scale=1.0),
        "noise, noisy labels": NoiseInjection(plain, scale=1.0, labels="noisy"),
    }
    return {"cloning": plain, **chunked, **noisy}


def _worse(errors: Array) -> Array:
    """The errors ``(R, T+1)`` of each repetition on the plant where they end larger."""
    last = errors[:, :, -1]
    return np.where((last[0] >= last[1])[:, None], errors[0], errors[1])


def _growth(errors: Array) -> Array:
    """Slope of the log error over time ``(R,)``, from the second step until an error of 0.1; -inf where that
    takes fewer than three steps."""
    return np.nan_to_num(metrics.growth_rate(errors[:, 2:], ceiling=0.1), nan=-np.inf)


def _table(found: _Found) -> Iterator[dict[str, Any]]:
    for chunk, errors in found.pair.items():
        worse = _worse(errors)
        yield _row("pair of plants", f"chunk {chunk}", "error at the end", worse[:, -1])
        if chunk == 1:
            yield _row("pair of plants", "chunk 1", "growth of the error a step", np.exp(_growth(worse)))
    for measure, values in found.unstable.items():
        for name, each in values.items():
            yield _row("unstable, d = 3", name, measure, each)


def _row(setting: str, learner: str, what: str, values: Array) -> dict[str, Any]:
    median = median_interval(values)
    named = {"setting": setting, "learner": learner, "quantity": what, "median": median.estimate}
    return named | {"low": median.low, "high": median.high}


def _claims(found: _Found) -> tuple[Claim, ...]:
    worse = {chunk: _worse(errors) for chunk, errors in found.pair.items()}
    return (
        claim_all(
            "pair of plants, the worse one: growth of the error a step - 1.25 x 0.95",
            {"": np.exp(_growth(worse[1])) - 1.25 * 0.95},
        ),
        claim_all(
            "pair of plants, the worse one: chunks of 8 end lower: log(error without / with)",
            {"": difference(np.log(worse[1][:, -1]), np.log(worse[8][:, -1]))},
        ),
        *(claim for measure, values in found.unstable.items() for claim in _unstable_claims(measure, values)),
    )


def _unstable_claims(measure: str, values: dict[str, Array]) -> tuple[Claim, ...]:
    J = measure.removesuffix("/J*")

    def against_cloning(name: str) -> Array:
        return difference(np.log(values[name]), np.log(values["cloning"]))

    return (
        claim_all(
            f"unstable system: chunks are worse than none: log({J} with / without)",
            {name: against_cloning(name) for name in ("chunk 4", "chunk 8")},
        ),
        claim_all(
            f"unstable system: noise with clean labels is better than none: log({J} without / with)",
            {"": -against_cloning("noise, clean labels")},
        ),
        claim_all(
            f"unstable system: noise with noisy labels is worse than none: log({J} with / without)",
            {"": against_cloning("noise, noisy labels")},
        ),
    )


def _lines(t: Array, errors: dict[str, tuple[Style, Array]]) -> tuple[Line, ...]:
    return tuple(
        median_line(t, list(error[:, 1:].T), style, label) for label, (style, error) in errors.items()
    )


def _pair_figure(found: _Found) -> Figure:
    t = np.arange(1.0, _STEPS + 1)
    names = {chunk: "no chunks" if chunk == 1 else f"chunks of {chunk}" for chunk in _CHUNKS}
    panels = (
        *(
            Panel(
                f"plant {plant + 1}",
                "t [steps]",
                "||x*_t - x_t||",
                _lines(t, {names[c]: (_STYLES[c], found.pair[c][plant]) for c in _CHUNKS}),
                log_y=True,
            )
            for plant in (0, 1)
        ),
        Panel(
            "the worse plant of each policy",
            "t [steps]",
            "||x*_t - x_t||",
            _lines(t, {names[c]: (_STYLES[c], _worse(found.pair[c])) for c in _CHUNKS}),
            log_y=True,
        ),
    )
    caption = (
        f"From states {_BESIDE:g} beside the axis of the data; medians over repetitions, 95 % intervals."
    )
    return Figure("pair", "Two plants that demonstrations cannot tell apart", caption, panels, 3)


def _unstable_figure(found: _Found) -> Figure:
    t = np.arange(1.0, _STEPS + 1)
    shown = {
        "cloning": Style(ORANGE),
        **{f"chunk {c}": _STYLES[c] for c in _CHUNKS[1:]},
        "noise, clean labels": Style(BLACK),
        "noise, noisy labels": Style(BLACK, "dash"),
    }
    panels = tuple(
        Panel(
            title,
            "t [steps]",
            "||x*_t - x_t||",
            _lines(t, {name: (shown[name], found.error[name]) for name in names}),
            log_y=True,
        )
        for title, names in (
            ("chunks", ("cloning", "chunk 2", "chunk 4", "chunk 8")),
            ("noise", ("cloning", "noise, clean labels", "noise, noisy labels")),
        )
    )
    caption = "Median over test states, then over repetitions with its 95 % interval."
    return Figure("unstable", "Chunks and noise on an unstable system (d = 3)", caption, panels)
