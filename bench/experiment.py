"""The question of a sweep, frozen: an experiment, its key, and the chunks that a study divides into."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from imitation.learners.configs import LearnerConfig
from imitation.optim import Foreign
from mpc.catalogue import SystemSpec
from mpc.configs import Barrier, ExpertConfig, Explicit, Linear, Lqr, Online, Smoothed
from mpc.problem import ControlProblem
from mpc.record import key_of, to_record

LARGEST_CHUNK = 64
"""Most members of a population: what is trained together, and what an interruption can cost."""
KEY_VERSION = 2
"""Raise when the meaning of a stored number changes, so that old rows are run again."""


@dataclass(frozen=True)
class Experiment:
    """Clone ``expert`` on ``system`` from the first ``demonstrations`` episodes of repetition ``rep``."""

    study: str
    """The study that asks."""
    system: SystemSpec | ControlProblem
    """Name and arguments of a system, or a problem of one's own (keyed by its arrays)."""
    expert: ExpertConfig
    """The controller to clone."""
    learner: LearnerConfig
    """How it is cloned."""
    demonstrations: int
    """Number of demonstrations; one is one episode."""
    steps: int
    """Length of an episode, in demonstrations and tests."""
    rep: int = 0
    """Repetition: names the seeds of initial states, weights and minibatches, and so pairs experiments."""
    test_episodes: int = 100
    """Closed loops it is tested on, the same for everything on this system."""

    def __post_init__(self) -> None:
        for name, least in (("demonstrations", 1), ("steps", 1), ("rep", 0), ("test_episodes", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")

    @property
    def system_name(self) -> str:
        """What stands in the table and names the seeds: the spec, or the problem's name and key."""
        if isinstance(self.system, SystemSpec):
            return str(self.system)
        return f"{self.system.name}-{self.system.key[:12]}"

    def problem(self) -> ControlProblem:
        """The control problem."""
        return built(self.system)

    def record(self) -> dict[str, Any]:
        """JSON-able form; a system from a file or from arrays is identified by its content."""
        named = {field.name: to_record(getattr(self, field.name)) for field in fields(self)}
        if isinstance(self.system, ControlProblem) or self.system.name.endswith(".json"):
            named["system"] = {"type": "ControlProblem", "name": self.system_name, "key": self.problem().key}
        return {"type": "Experiment", "version": KEY_VERSION, **named}

    def key(self) -> str:
        """sha256 of the record: what identifies the experiment on disk."""
        return key_of(self)


@lru_cache(maxsize=32)
def built(system: SystemSpec | ControlProblem) -> ControlProblem:
    """The control problem of a system; a spec is built once."""
    return system.build() if isinstance(system, SystemSpec) else system


@dataclass(frozen=True)
class Chunk:
    """The unit of work: a population that shares system, expert, learner and episode length."""

    name: str
    """16 hexadecimal digits from the keys of its members."""
    members: tuple[Experiment, ...]
    """At most ``LARGEST_CHUNK`` experiments, ordered by repetition and number of demonstrations."""


def divide(experiments: Iterable[Experiment]) -> tuple[Chunk, ...]:
    """The chunks of a study: a pure function of its full list of experiments.

    Neither workers, memory nor what is already stored matters, so that a member always trains in the
    same company. Experiments that occur twice are one.
    """
    groups: dict[str, dict[str, Experiment]] = {}
    for experiment in experiments:
        record = {**experiment.record(), "demonstrations": None, "rep": None}
        groups.setdefault(key_of(record), {})[experiment.key()] = experiment
    chunks = []
    for group in groups.values():
        ordered = sorted(group.items(), key=lambda item: (item[1].rep, item[1].demonstrations))
        for start in range(0, len(ordered), LARGEST_CHUNK):
            part = ordered[start : start + LARGEST_CHUNK]
            digest = hashlib.sha256("".join(key for key, _ in part).encode()).hexdigest()
            chunks.append(Chunk(digest[:16], tuple(experiment for _, experiment in part)))
    return tuple(chunks)


def expert_label(config: ExpertConfig) -> str:
    """Short name of an expert in tables and legends, such as 'barrier eta=0.1'."""
    match config:
        case Barrier(eta=eta):
            return f"barrier eta={eta:g}"
        case Smoothed(sigma=sigma):
            return f"smoothed sigma={sigma:g}" + _differences(config, Smoothed(sigma))
        case Online(soft=None):
            return "online" + _differences(config, Online())
        case Online(soft=soft):
            return f"online soft={soft:g}" + _differences(config, Online(soft=soft))
        case Linear():
            return f"linear {key_of(config)[:6]}"
        case Explicit() | Lqr():
            return expert_kind(config) + _differences(config, type(config)())


def learner_label(learner: LearnerConfig) -> str:
    """Short name of a learner in tables and legends: class, optimizer, and a digest of all its options."""
    optimizer = learner.base.optimizer
    name = optimizer.cls.__name__ if isinstance(optimizer, Foreign) else type(optimizer).__name__
    return f"{type(learner).__name__} {name} {key_of(learner)[:6]}"


def expert_kind(config: ExpertConfig) -> str:
    """'online', 'explicit', 'barrier', 'smoothed', 'lqr' or 'linear'."""
    return type(config).__name__.lower()


def expert_smoothing(config: ExpertConfig) -> float:
    """The smoothing parameter: eta of a barrier, sigma of randomised smoothing, NaN of the others."""
    match config:
        case Barrier(eta=eta):
            return float(eta)
        case Smoothed(sigma=sigma):
            return float(sigma)
        case _:
            return float("nan")


def _differences(config: Any, usual: Any) -> str:
    """`` name=value`` for each further field that is not at its default."""
    changed = [f.name for f in fields(config) if getattr(config, f.name) != getattr(usual, f.name)]
    return "".join(f" {name}={getattr(config, name)}" for name in changed)
