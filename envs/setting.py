"""What an environment is made of: the problem, the length of an episode, the disturbance, the spaces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import ArrayLike

from mpc.arrays import Array, frozen
from mpc.catalogue import SystemSpec
from mpc.initial import draw_initial_states, plan_status
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.sampling import UniformSampler, draw_disturbance
from mpc.status import Status

Problem = ControlProblem | Mapping[str, Any] | str
"""A problem, its ``record()``, or its name in the catalogue (as in ``"triangular:d=5"``)."""
Disturbance = str | Polytope | Mapping[str, ArrayLike] | ArrayLike | None
"""None, 'uniform', a polytope (or its ``{"G": .., "h": ..}``), or half-widths ``(n,)`` of a box."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A problem with an episode length and a law of disturbances.

    Args:
        problem: what is regulated to the origin.
        steps: length of an episode.
        disturbed: the same problem with W set to the law of ``w_t``, or None for no disturbance.
    """

    problem: ControlProblem
    steps: int
    disturbed: ControlProblem | None

    @classmethod
    def of(
        cls, problem: Problem, steps: int, disturbance: Disturbance, arguments: dict[str, Any]
    ) -> "Setting":
        """Read the arguments of an environment.

        Raises:
            ValueError: names the argument, what it was and the remedy.
        """
        if isinstance(steps, bool) or int(steps) != steps or steps < 1:
            raise ValueError(f"steps, the length of an episode, must be a whole number >= 1, got {steps!r}")
        built = _problem(problem, arguments)
        W = _disturbance_set(built, disturbance)
        return cls(built, int(steps), None if W is None else built.with_(W=W))

    @cached_property
    def action_space(self) -> Box:
        """The bounding box of U, float64; infinite where U does not bound an input."""
        low, high = self.problem.U.bounds
        return Box(low, high, dtype=np.float64)

    @cached_property
    def observation_space(self) -> Box:
        """A box that holds every state an action of the action space leads to, the diverged one included.

        A running episode has ``|x_i| <= L`` (the problem's divergence limit), so the next state has
        ``|x_i| <= sum_j |A_ij| L + sum_j |B_ij| max|u_j| + max|w_i|``.
        """
        system, limit = self.problem.system, self.problem.divergence_limit
        reach = _weighted(np.abs(system.A), np.full(system.n, limit))
        reach += _weighted(np.abs(system.B), np.abs(self.problem.U.bounds).max(axis=0))
        if self.disturbed is not None and self.disturbed.W is not None:
            reach += np.abs(self.disturbed.W.bounds).max(axis=0)
        bound = np.nextafter(np.maximum(reach * (1 + 1e-12), limit), np.inf)
        return Box(-bound, bound, dtype=np.float64)

    def given(self, x0: ArrayLike, rows: np.ndarray, *, allow_infeasible: bool) -> Array:
        """The states ``(len(rows), n)`` to start from: those rows of ``options["x0"]``, checked.

        Raises:
            ValueError: if one is not finite, lies beyond the divergence limit, or has no plan within the
                constraints and ``allow_infeasible`` does not say that this is meant.
        """
        n, limit = self.problem.n, self.problem.divergence_limit
        x = np.array(frozen("options['x0']", np.asarray(x0, dtype=np.float64)[rows], (len(rows), n)))
        if (np.abs(x) > limit).any():
            raise ValueError(
                f"options['x0'] must stay within the divergence limit |x_i| <= {limit:g}, got "
                f"{np.abs(x).max():g}; an episode from there would end at once"
            )
        if not allow_infeasible:
            self._require_plans(x, rows)
        return x

    def _require_plans(self, x: Array, rows: np.ndarray) -> None:
        status = plan_status(self.problem, x)
        if (status <= 0).any():
            first = int(np.argmax(status <= 0))
            found = Status(int(status[first]))
            raise ValueError(
                f"options['x0'] = {x[first]} (row {rows[first]}) is {found.name}: {found.sentence}. To "
                f"start there all the same pass options={{'x0': ..., 'allow_infeasible': True}}"
            )

    def start(self, generators: Sequence[np.random.Generator], x0: Array | None) -> tuple[Array, Array]:
        """Initial states ``(E, n)`` and the episode's disturbances ``(E, steps, n)`` (zeros for none).

        A generator draws its initial state first (unless ``x0 (E, n)`` gives it), then its disturbances,
        so an environment's episode depends on its own generator only.
        """
        E, n = len(generators), self.problem.n
        x = draw_initial_states(self.problem, generators) if x0 is None else x0
        if self.disturbed is None:
            return x, np.zeros((E, self.steps, n))
        return x, draw_disturbance(self.disturbed, generators, self.steps)


def check_options(options: Mapping[str, Any] | None, known: tuple[str, ...]) -> Mapping[str, Any]:
    """The options of a reset.

    Raises:
        ValueError: if one is unknown, or allow_infeasible comes without the x0 that it is about.
    """
    options = options or {}
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"options {unknown} are unknown; reset takes {', '.join(known)}")
    if options.get("allow_infeasible") and options.get("x0") is None:
        raise ValueError("options['allow_infeasible'] is about options['x0'], which is not given")
    return options


def _problem(problem: Problem, arguments: dict[str, Any]) -> ControlProblem:
    if isinstance(problem, str):
        spec = SystemSpec.parse(problem)
        return SystemSpec(spec.name, (*spec.arguments, *arguments.items())).build()
    if arguments:
        raise ValueError(
            f"arguments {sorted(arguments)} are for catalogue systems; build a problem of your own with "
            f"them, as in problem.with_(N=20)"
        )
    if isinstance(problem, Mapping):
        return ControlProblem.from_record(dict(problem))
    if isinstance(problem, ControlProblem):
        return problem
    raise ValueError(
        f"problem must be a ControlProblem, its record() or a catalogue name, got {type(problem).__name__}"
    )


def _disturbance_set(problem: ControlProblem, disturbance: Disturbance) -> Polytope | None:
    if disturbance is None:
        return None
    if isinstance(disturbance, str):
        W = _own_set(problem, disturbance)
    elif isinstance(disturbance, Polytope):
        W = disturbance
    elif isinstance(disturbance, Mapping):
        W = Polytope(**disturbance)  # type: ignore[arg-type]
    else:
        widths = frozen("disturbance", disturbance, (problem.n,))
        if (widths < 0).any():
            raise ValueError(f"disturbance, the half-widths of a box, must not be negative, got {widths}")
        W = Polytope.box(-widths, widths)
    if problem.n == W.dimension:
        UniformSampler(W, "the disturbance set").bounds  # noqa: B018  an unbounded set is refused here
    return W


def _own_set(problem: ControlProblem, disturbance: str) -> Polytope:
    if disturbance != "uniform":
        raise ValueError(
            f"disturbance must be None, 'uniform' (on the problem's W), a Polytope or half-widths "
            f"({problem.n},), got {disturbance!r}"
        )
    if problem.W is None:
        raise ValueError(
            f"disturbance='uniform' needs a problem with a disturbance set, but {problem.name!r} has W=None; "
            f"pass half-widths ({problem.n},) or a Polytope, or set problem.with_(W=...)"
        )
    return problem.W


def _weighted(weights: Array, limits: Array) -> Array:
    """``weights @ limits`` where a zero weight ignores an infinite limit."""
    return np.where(weights > 0, weights * np.where(weights > 0, limits, 0.0), 0.0).sum(axis=1)
