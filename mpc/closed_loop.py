"""The one closed loop of the project."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array, frozen, whole_number
from mpc.expert import Control, Expert
from mpc.problem import ControlProblem
from mpc.rollouts import Rollouts
from mpc.status import Status


@dataclass(frozen=True, eq=False)
class Labelled:
    """An input to apply that is not the label: what an expert says of the states is kept beside it.

    A loop goes on past a state without a usable label, as long as the input is finite.
    """

    u: Array
    label: Control

    def __getitem__(self, index: Any) -> "Labelled":
        """Some of the rows."""
        return Labelled(self.u[index], self.label[index])


class Controller(Protocol):
    """A controller with memory; ``mpc.controllers`` has mixtures, chunks, histories, noise and switches."""

    def start(self, E: int, rng: np.random.Generator | None) -> Any:
        """The memory of ``E`` fresh loops."""
        ...

    def act(self, memory: Any, t: int, x: Array) -> tuple[Control | Labelled, Any]:
        """Actions for the states ``x (E, n)`` at time ``t``, and the new memory."""
        ...


@runtime_checkable
class RollsOut(Protocol):
    """An expert that runs whole loops of its problem's plant by itself, with the bits of step by step."""

    @property
    def problem(self) -> ControlProblem: ...

    def roll_out(self, x0: Array, steps: int, w: Array | None) -> tuple[Array, Control] | None:
        """States ``(E, steps, n)`` and labels ``(E, steps)`` up to where each loop ends; None: cannot now."""
        ...


@dataclass(frozen=True)
class Memoryless:
    """A plain callable ``x -> u`` or ``x -> Control`` as a controller."""

    function: Callable[[Array], Control | ArrayLike]

    def start(self, E: int, rng: np.random.Generator | None) -> None:
        return None

    def act(self, memory: None, t: int, x: Array) -> tuple[Control, None]:
        answer = self.function(x)
        if isinstance(answer, Control):
            return answer, memory
        return unlabelled(answer), memory


def unlabelled(u: ArrayLike) -> Control:
    """The inputs ``u (E, m)`` of something that is no expert: their status is ``unset``."""
    u = np.asarray(u, float)
    return Control(u=u, status=np.zeros(len(u), np.int8))


def as_controller(law: Controller | Callable[[Array], Control | ArrayLike]) -> Controller:
    """A controller as it is, a plain callable as one without memory."""
    return law if hasattr(law, "act") else Memoryless(law)  # type: ignore[arg-type, return-value]


def simulate(
    problem: ControlProblem,
    controller: Controller | Callable[[Array], Control | ArrayLike],
    x0: ArrayLike,
    steps: int,
    disturbance: ArrayLike | None = None,
    rng: np.random.Generator | None = None,
) -> Rollouts:
    """Roll out ``x_{t+1} = A x_t + B u_t + w_t`` from each row of ``x0 (E, n)`` for ``steps`` steps.

    A loop stops, and its ``length`` says where, when an expert has no usable action, when a controller
    returns a non-finite input, or when ``||x||_inf`` passes ``problem.divergence_limit``
    (the state that passed it is kept). Labels are kept where the controller is an expert: a plain
    callable that returns inputs has none. Inputs are applied as given, never clipped.

    A controller that returns ``Labelled`` applies one input and keeps another as the label.

    Other controllers answer for every loop at every step, also for those that have ended; experts, whose
    labels are functions of one state, are asked for the others only.

    A state from which no plan exists raises nothing: it is recorded as the status of its label, and its
    loop ends there. ``rollouts.labels[:, 0].or_raise(x0)`` raises if an expert had no usable action in one
    of the initial states.

    Args:
        problem: the plant; an expert may have been built for another one.
        controller: an expert, a callable ``x (E, n) -> u (E, m)`` or a ``Controller``.
        disturbance: ``w (E, steps, n)``, or None for none.
        rng: handed to ``controller.start`` for controllers that draw.

    Raises:
        ValueError: if x0, steps, disturbance or the controller's inputs have the wrong shape, or x0 or
            disturbance are not finite.
    """
    x = np.array(frozen("x0", x0, (None, problem.n)))
    E, T, n = len(x), whole_number("steps", steps, 1), problem.n
    w = None if disturbance is None else frozen("disturbance", disturbance, (E, T, n))
    if isinstance(controller, RollsOut) and _same_plant(problem, controller.problem):
        rolled = controller.roll_out(x, T, w)
        if rolled is not None:
            return _completed(problem, *rolled, w)
    loop = as_controller(controller)  # type: ignore[arg-type]  # RollsOut narrows the callable away
    xs = np.full((E, T + 1, n), np.nan)
    us = np.full((E, T, problem.m), np.nan)
    length = np.zeros(E, dtype=np.int64)
    alive = np.ones(E, dtype=bool)
    labels: dict[str, np.ndarray] | None = None
    xs[:, 0] = x
    memory = loop.start(E, rng)
    of_states = isinstance(loop, Memoryless) and isinstance(controller, Expert)
    for t in range(T):
        asked = np.flatnonzero(alive) if of_states else np.arange(E)
        answer, memory = loop.act(memory, t, x[asked])
        if answer.u.shape != (expected := (len(asked), problem.m)):
            raise ValueError(f"the controller must give one input a row, {expected}, got {answer.u.shape}")
        answer, rows = answer[alive[asked]], asked[alive[asked]]
        label = answer.label if isinstance(answer, Labelled) else answer
        labels = _keep(labels, label, t, T, E, rows)
        acts = np.isfinite(answer.u).all(axis=1) & (isinstance(answer, Labelled) | (label.status >= 0))
        rows, u = rows[acts], answer.u[acts]
        us[rows, t] = u
        following = problem.system.step(x[rows], u)
        x[rows] = following if w is None else following + w[rows, t]
        xs[rows, t + 1] = x[rows]
        length[rows] = t + 1
        alive[:] = False
        alive[rows] = (np.abs(x[rows]) <= problem.divergence_limit).all(axis=1)
        if not alive.any():
            break
    return Rollouts(xs, us, length, None if w is None else np.array(w), Control(**labels) if labels else None)


def _same_plant(one: ControlProblem, other: ControlProblem) -> bool:
    """Whether loops of the two are the same loops: an expert may be asked about a plant it does not know."""
    return one is other or (
        np.array_equal(one.system.A, other.system.A)
        and np.array_equal(one.system.B, other.system.B)
        and one.divergence_limit == other.divergence_limit
    )


def _completed(problem: ControlProblem, x: Array, labels: Control, w: Array | None) -> Rollouts:
    """Rollouts from the states and labels of ``RollsOut``: the state after the last action is added."""
    length = (labels.status > 0).cumprod(axis=1).sum(axis=1)
    xs = np.concatenate([x, np.full_like(x[:, :1], np.nan)], axis=1)
    row, last = np.flatnonzero(length), length[length > 0] - 1
    following = problem.system.step(xs[row, last], labels.u[row, last])
    xs[row, last + 1] = following if w is None else following + w[row, last]
    return Rollouts(xs, labels.u.copy(), length, None if w is None else np.array(w), labels)


def _keep(
    labels: dict[str, np.ndarray] | None, control: Control, t: int, T: int, E: int, rows: np.ndarray
) -> dict[str, np.ndarray] | None:
    """Write the labels of time ``t`` of the loops ``rows``, still running; None for a controller without."""
    if t == 0:
        if not (control.status != Status.unset).any():
            return None
        labels = {
            name: np.full(
                (E, T, *value.shape[1:]),
                Status.unset if name == "status" else np.nan,
                value.dtype,
            )
            for name, value in control.arrays().items()
        }
    if labels is not None:
        for name, value in control.arrays().items():
            labels[name][rows, t] = value
    return labels
