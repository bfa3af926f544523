"""A control problem as a Gymnasium environment."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from envs.setting import Disturbance, Problem, Setting, check_options
from envs.transition import Info, advance, checked_inputs, first_info, require_finite
from mpc.arrays import Array
from mpc.problem import ControlProblem

DEFAULT_STEPS = 50


class RegulationEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """Regulate a constrained linear system to the origin: ``x_{t+1} = A x_t + B u_t + w_t``.

    The observation is the state, the action the input, applied as given (never clipped). The reward is
    minus the stage cost, ``-(x_{t+1}'Q x_{t+1} + u_t'R u_t)``, so a return is ``-J``. An episode is
    *terminated* when the state has diverged (``||x||_inf`` above ``problem.divergence_limit``) and
    *truncated* after ``steps`` steps; leaving the constraints ends nothing, ``info`` reports by how much
    (``state_violation``, ``input_violation``, and ``mixed_violation``, ``terminal_violation`` where the
    problem has such constraints), as well as the ``disturbance`` where there is one. For the same initial
    state, inputs and disturbances, states equal those of ``mpc.simulate`` to the bit.

    Args:
        problem: a ``ControlProblem``, its ``record()``, or the name of a catalogue system.
        steps: length of an episode, 50 by default.
        disturbance: law of w_t, independent in time: None for none, 'uniform' on ``problem.W``, or
            uniform on a given ``Polytope`` or box of half-widths ``(n,)``, in the states' units.
        render_mode: None or 'rgb_array'.
        arguments: arguments of the catalogue function, such as ``N=20``.

    Raises:
        ValueError: for wrong arguments, with the remedy.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (Gymnasium's convention)

    def __init__(
        self,
        problem: Problem,
        steps: int = DEFAULT_STEPS,
        *,
        disturbance: Disturbance = None,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        check_render_mode(render_mode)
        self.setting = Setting.of(problem, steps, disturbance, arguments)
        self.observation_space = self.setting.observation_space
        self.action_space = self.setting.action_space
        self.render_mode = render_mode
        self._t = 0
        self._over = True

    @property
    def problem(self) -> ControlProblem:
        """The problem that the environment is made of."""
        return self.setting.problem

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode from a state drawn uniformly from the feasible part of ``problem.initial_set``.

        Args:
            seed: makes the episode, disturbances included, a function of the seed.
            options: ``"x0"``: the state ``(n,)`` to start from instead; ``"allow_infeasible": True`` lets
                it be one without a plan within the constraints.

        Raises:
            ValueError: for an unknown option, or an x0 that has the wrong shape, is not finite, lies beyond
                the divergence limit or has no plan; nothing has changed then.
        """
        given = self._given(check_options(options, ("x0", "allow_infeasible")))
        super().reset(seed=seed)
        x, w = self.setting.start([self.np_random], given)
        steps, n, m = self.setting.steps, self.problem.n, self.problem.m
        self._t, self._over, self._w = 0, False, w[0]
        self._x, self._u = np.full((steps + 1, n), np.nan), np.full((steps, m), np.nan)
        self._x[0] = x[0]
        return x[0], _single(first_info(self.problem, x, self.setting.disturbed is not None))

    def _given(self, options: Mapping[str, Any]) -> Array | None:
        if options.get("x0") is None:
            return None
        row = np.asarray(options["x0"], dtype=np.float64)[None]
        allowed = bool(options.get("allow_infeasible"))
        return self.setting.given(row, np.arange(1), allow_infeasible=allowed)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Apply the input ``action (m,)`` for one sampling time.

        Raises:
            ValueError: if the action has the wrong shape or is not finite.
            gymnasium.error.ResetNeeded: before the first reset and after the end of an episode.
        """
        if self._over:
            raise ResetNeeded("the episode is over or has not begun; call reset() before step()")
        u = checked_inputs(self.problem, np.asarray(action)[None], 1)
        require_finite(u)
        w = None if self.setting.disturbed is None else self._w[None, self._t]
        result = advance(self.problem, self._x[None, self._t], u, w)
        self._u[self._t], self._x[self._t + 1] = u[0], result.x[0]
        self._t += 1
        terminated, truncated = bool(result.diverged[0]), self._t == self.setting.steps
        self._over = terminated or truncated
        return result.x[0], float(result.reward[0]), terminated, truncated, _single(result.info)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The episode so far as an image ``(height, width, 3)`` in uint8; None without a render mode.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self.render_mode is None:
            return None
        if not hasattr(self, "_x"):
            raise ResetNeeded("nothing to render yet; call reset() before render()")
        from envs.render import frame

        return frame(self.problem, self._x[: self._t + 1], self._u[: self._t], self.setting.steps)


def check_render_mode(render_mode: str | None) -> None:
    """Raises: ValueError for a render mode that the environments do not have."""
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")


def _single(info: Info) -> dict[str, float | Array]:
    """The info of the only row: floats for numbers, arrays of their own for vectors."""
    return {name: float(rows[0]) if rows.ndim == 1 else np.array(rows[0]) for name, rows in info.items()}
