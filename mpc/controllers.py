"""Controllers made of others: noise, mixtures, plans executed in parts, windows of the past, switches.

Each is frozen; what a loop remembers is handed from step to step (``mpc.closed_loop.Controller``). What is
random is drawn beforehand and given as an array, an episode a row, so that a loop depends neither on the
others nor on their number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array
from mpc.closed_loop import Controller, Labelled, as_controller, unlabelled
from mpc.expert import Control, Expert

Law = Controller | Callable[[Array], Control | ArrayLike]
"""A controller, or a plain callable, which has no memory."""


@dataclass(frozen=True, eq=False)
class Noisy:
    """``u_t = pi*(x_t) + e_t`` with the given ``e (E, T, m)``; the label is the expert's, without noise.

    The noise is added as it is: an input may leave U.
    """

    expert: Expert
    noise: Array

    def start(self, E: int, rng: np.random.Generator | None) -> None:
        return _require_episodes("noise", self.noise, E)

    def act(self, memory: None, t: int, x: Array) -> tuple[Labelled, None]:
        label = self.expert(x)
        return Labelled(label.u + self.noise[:, t], label), memory


@dataclass(frozen=True, eq=False)
class Mixture:
    """The expert's input where ``takes (E, T)`` says so, else the learner's; the label is the expert's.

    With ``takes`` drawn as Bernoulli(beta) these are the loops of DAgger (Ross, Gordon, Bagnell 2011); with
    ``takes`` all False they are the learner's own, labelled.
    """

    expert: Expert
    learner: Law
    takes: np.ndarray

    def start(self, E: int, rng: np.random.Generator | None) -> Any:
        _require_episodes("takes", self.takes, E)
        return as_controller(self.learner).start(E, rng)

    def act(self, memory: Any, t: int, x: Array) -> tuple[Labelled, Any]:
        own, memory = as_controller(self.learner).act(memory, t, x)
        label = self.expert(x)
        return Labelled(np.where(self.takes[:, t, None], label.u, own.u), label), memory


@dataclass(frozen=True, eq=False)
class Blend:
    """``sum_i weights_i pi_i(x)``: a convex combination of actions, where ``Mixture`` draws one of them."""

    laws: Sequence[Law]
    weights: Sequence[float]

    def start(self, E: int, rng: np.random.Generator | None) -> tuple[Any, ...]:
        return tuple(as_controller(law).start(E, rng) for law in self.laws)

    def act(self, memory: tuple[Any, ...], t: int, x: Array) -> tuple[Control, tuple[Any, ...]]:
        steps = [as_controller(law).act(own, t, x) for law, own in zip(self.laws, memory, strict=True)]
        u = sum(weight * answer.u for weight, (answer, _) in zip(self.weights, steps, strict=True))
        return unlabelled(np.asarray(u)), tuple(after for _, after in steps)


@dataclass(frozen=True, eq=False)
class Planner:
    """A law of the last ``history`` states that plans ``chunk`` inputs and executes them open loop.

    ``plan`` maps windows ``(E, history n)``, oldest state first, to plans ``(E, chunk m)``. Before the first
    state there were others like it: the window is filled with x_0. A plan is made at t = 0, chunk,
    2 chunk, ...; in between the states are only remembered.
    """

    plan: Callable[[Array], ArrayLike]
    history: int = 1
    chunk: int = 1

    def start(self, E: int, rng: np.random.Generator | None) -> None:
        return None

    def act(self, memory: tuple[Array, Array] | None, t: int, x: Array) -> tuple[Control, Any]:
        window = np.repeat(x[:, None], self.history, axis=1)
        if memory is not None:
            window = np.concatenate([memory[0][:, 1:], x[:, None]], axis=1)
        if memory is None or t % self.chunk == 0:
            plan = np.asarray(self.plan(window.reshape(len(x), -1)), float).reshape(len(x), self.chunk, -1)
        else:
            plan = memory[1]
        return unlabelled(plan[:, t % self.chunk]), (window, plan)


@dataclass(frozen=True, eq=False)
class Staged:
    """The law of each time: ``laws[t]``, from the last one's time on always that; none remembers anything."""

    laws: Sequence[Callable[[Array], Control | ArrayLike]]

    def start(self, E: int, rng: np.random.Generator | None) -> None:
        return None

    def act(self, memory: None, t: int, x: Array) -> tuple[Control, None]:
        answer, _ = as_controller(self.laws[min(t, len(self.laws) - 1)]).act(None, t, x)
        return unlabelled(answer.u), memory


@dataclass(frozen=True, eq=False)
class Parallel:
    """Several controllers at once: the first ``counts[0]`` loops are the first one's, and so on."""

    controllers: Sequence[Law]
    counts: Sequence[int]

    def start(self, E: int, rng: np.random.Generator | None) -> tuple[Any, ...]:
        if sum(self.counts) != E:
            raise ValueError(f"counts must add up to the number of loops, {E}, got {list(self.counts)}")
        pairs = zip(self.controllers, self.counts, strict=True)
        return tuple(as_controller(one).start(count, rng) for one, count in pairs)

    def act(self, memory: tuple[Any, ...], t: int, x: Array) -> tuple[Control, tuple[Any, ...]]:
        rows = np.split(x, np.cumsum(self.counts)[:-1])
        steps = [
            as_controller(one).act(own, t, part)
            for one, own, part in zip(self.controllers, memory, rows, strict=True)
        ]
        u = np.concatenate([answer.u for answer, _ in steps])
        return unlabelled(u), tuple(after for _, after in steps)


def replay(law: Law, x: Array) -> Array:
    """What a law does along loops that are not its own: ``u (E, T, m)`` at the states ``x (E, T, n)``.

    A chunk is planned from the states given and carried out while they go their own way; NaN where a state
    is not finite and no plan is under way.
    """
    controller = as_controller(law)
    memory, inputs = controller.start(len(x), None), []
    for t in range(x.shape[1]):
        answer, memory = controller.act(memory, t, x[:, t])
        inputs.append(answer.u)
    return np.stack(inputs, axis=1)


def _require_episodes(name: str, array: np.ndarray, E: int) -> None:
    if len(array) != E:
        raise ValueError(f"{name} must have one row for each of the {E} loops, got {len(array)}")
