"""What a learner is given: whom to imitate, on what, and with how many demonstrations. Free of torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from imitation.demonstrate import EpisodeLaw, demonstrate
from mpc.arrays import Array
from mpc.demonstrations import Demonstrations
from mpc.expert import Expert
from mpc.initial import draw_initial_states, episode_generators
from mpc.problem import ControlProblem
from mpc.seeds import seed_for


@dataclass(frozen=True, eq=False)
class Task:
    """An expert on a system, in episodes of ``steps`` steps.

    Args:
        system: its spec as text; it names the seeds.
    """

    problem: ControlProblem
    expert: Expert
    system: str
    steps: int

    def demonstrations(
        self, pupils: "Sequence[Pupil]", law: Callable[[int], EpisodeLaw] | None = None
    ) -> list[Demonstrations]:
        """Those of each pupil: its first episodes, shared between pupils of one repetition.

        Args:
            law: of a repetition: who acts in its episodes, as in ``demonstrate``; None: the expert.
        """
        found: dict[tuple[int, int], Demonstrations] = {}
        for rep in sorted({pupil.rep for pupil in pupils}):
            parts: list[Demonstrations] = []
            for size in sorted({pupil.demonstrations for pupil in pupils if pupil.rep == rep}):
                have, tried = sum(part.kept for part in parts), sum(part.attempts for part in parts)
                parts.append(self.demonstrate(rep, size - have, tried, law and law(rep)))
                found[rep, size] = Demonstrations.concatenate(parts)
        return [found[pupil.rep, pupil.demonstrations] for pupil in pupils]

    def demonstrate(
        self, rep: int, episodes: int, first: int, law: EpisodeLaw | None = None
    ) -> Demonstrations:
        """Complete episodes from the attempt ``first`` on."""
        return demonstrate(
            self.problem, self.expert, self.system, rep, episodes, self.steps, first_episode=first, law=law
        )

    def initial_states(self, rep: int, first: int, count: int) -> Array:
        """Where the episodes ``first .. first + count - 1`` of a repetition begin ``(count, n)``."""
        return draw_initial_states(self.problem, episode_generators(self.system, rep, first, count))

    def generators(self, name: str, rep: int, episodes: np.ndarray) -> list[np.random.Generator]:
        """One generator an episode for what ``name`` draws, ``seed_for(name, system, rep, episode)``."""
        seeds = [seed_for(name, self.system, rep, int(episode)) for episode in episodes]
        return [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]


@dataclass(frozen=True)
class Pupil:
    """One model to teach: its repetition, which names its seeds, and how many episodes it may see."""

    rep: int
    demonstrations: int

    def __post_init__(self) -> None:
        if self.demonstrations < 1:
            raise ValueError(f"demonstrations must be at least 1, got {self.demonstrations}")
