"""A control problem as a natively vectorised Gymnasium environment: all of them in one matrix product."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.regulation import DEFAULT_STEPS, RegulationEnv, check_render_mode
from envs.setting import Disturbance, Problem, Setting, check_options
from envs.transition import Info, advance, checked_inputs, first_info, require_finite
from mpc.arrays import Array
from mpc.problem import ControlProblem


class VectorRegulationEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """``num_envs`` independent ``RegulationEnv``s, stepped together; each row has the bits it has alone.

    ``reset(seed=s)`` gives environment ``i`` the generator of seed ``s + i``, as Gymnasium's own
    ``SyncVectorEnv`` does, and what follows is equal to it too, infos included.

    Args:
        problem, steps, disturbance, arguments: as for ``RegulationEnv``.
        num_envs: number of environments.
        render_mode: None or 'rgb_array' (``render`` then gives one image an environment).
        autoreset_mode: what happens to an environment whose episode is over. NEXT_STEP (the default):
            its next step ignores the action, resets it and has reward 0. SAME_STEP: it is reset within
            the same step, and ``infos["final_obs"]`` and ``["final_info"]`` hold the end of the episode.
            DISABLED: ``reset(options={"reset_mask": ...})`` it yourself.

    Raises:
        ValueError: for wrong arguments, with the remedy.
    """

    metadata = {**RegulationEnv.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        problem: Problem,
        num_envs: int = 1,
        *,
        steps: int = DEFAULT_STEPS,
        disturbance: Disturbance = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **arguments: Any,
    ) -> None:
        if isinstance(num_envs, bool) or int(num_envs) != num_envs or num_envs < 1:
            raise ValueError(f"num_envs must be a whole number of at least 1, got {num_envs!r}")
        check_render_mode(render_mode)
        self.setting = Setting.of(problem, steps, disturbance, arguments)
        self.num_envs, self.render_mode = int(num_envs), render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = self.setting.observation_space
        self.single_action_space = self.setting.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.generators = [seeding.np_random()[0] for _ in range(self.num_envs)]
        self._allocate()

    def _allocate(self) -> None:
        """The state of the loops: rows ``t`` count steps, ``over`` marks ended episodes."""
        E, T, problem = self.num_envs, self.setting.steps, self.problem
        self._begun = np.zeros(E, dtype=bool)
        self._over = np.zeros(E, dtype=bool)
        self._t = np.zeros(E, dtype=np.int64)
        self._x = np.zeros((E, problem.n))
        self._w = np.zeros((E, T, problem.n))
        kept = T if self.render_mode else 0
        self._past_x = np.full((E, kept + 1, problem.n), np.nan)
        self._past_u = np.full((E, kept, problem.m), np.nan)

    @property
    def problem(self) -> ControlProblem:
        """The problem that the environments are made of."""
        return self.setting.problem

    def reset(  # type: ignore[override]
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in every environment, or in those of ``options["reset_mask"]``.

        Args:
            seed: environment ``i`` gets ``seed + i``, or its own entry of a sequence.
            options: ``"x0"``: states ``(num_envs, n)`` to start from; ``"allow_infeasible": True`` lets
                them be ones without a plan within the constraints; ``"reset_mask"``: booleans
                ``(num_envs,)``, the others go on.

        Raises:
            ValueError: for an unknown option, one of wrong shape, or an x0 as ``RegulationEnv`` refuses;
                nothing has changed then.
        """
        known = check_options(options, ("x0", "allow_infeasible", "reset_mask"))
        rows = self._rows(known.get("reset_mask"))
        x0 = self._given(known, rows)
        seeds = _seeds(seed, self.num_envs)
        for row in rows:
            if seeds[row] is not None:
                self.generators[row] = seeding.np_random(seeds[row])[0]
        info = self._begin(rows, x0)
        return self._x.copy(), self._spread(rows, info)

    def _given(self, options: Mapping[str, Any], rows: np.ndarray) -> Array | None:
        x0 = options.get("x0")
        if x0 is None:
            return None
        if np.shape(x0) != (self.num_envs, self.problem.n):
            raise ValueError(
                f"options['x0'] must have shape ({self.num_envs}, {self.problem.n}), got {np.shape(x0)}"
            )
        return self.setting.given(x0, rows, allow_infeasible=bool(options.get("allow_infeasible")))

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Apply the inputs ``actions (num_envs, m)`` for one sampling time.

        Raises:
            ValueError: if the actions have the wrong shape or are not finite.
            gymnasium.error.ResetNeeded: before the first reset; in DISABLED mode also after an end.
        """
        disabled = self.autoreset_mode is AutoresetMode.DISABLED
        if not self._begun.all() or (disabled and self._over.any()):
            raise ResetNeeded("an episode is over or has not begun; call reset() before step()")
        u = checked_inputs(self.problem, actions, self.num_envs)
        running, ended = np.flatnonzero(~self._over), np.flatnonzero(self._over)
        require_finite(u[running])
        rewards, terminations = np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=bool)
        infos: dict[str, Any] = {}
        if running.size:
            rewards[running], terminations[running], info = self._advance(running, u[running])
            infos = self._spread(running, info)
        if ended.size:
            infos = _merged(infos, self._spread(ended, self._begin(ended, None)), ended)
        truncations = self._t == self.setting.steps
        self._over = terminations | truncations
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._over.any():
            infos = self._restart(np.flatnonzero(self._over), infos)
        return self._x.copy(), rewards, terminations, truncations, infos

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        """An image of each environment's episode so far; None without a render mode.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self.render_mode is None:
            return None
        if not self._begun.all():
            raise ResetNeeded("nothing to render yet; call reset() before render()")
        from envs.render import frame

        return tuple(
            frame(self.problem, self._past_x[i, : t + 1], self._past_u[i, :t], self.setting.steps)
            for i, t in enumerate(self._t)
        )

    def _advance(self, rows: np.ndarray, u: Array) -> tuple[Array, np.ndarray, Info]:
        w = None if self.setting.disturbed is None else self._w[rows, self._t[rows]]
        result = advance(self.problem, self._x[rows], u, w)
        if self.render_mode:
            self._past_u[rows, self._t[rows]] = u
            self._past_x[rows, self._t[rows] + 1] = result.x
        self._x[rows] = result.x
        self._t[rows] += 1
        return result.reward, result.diverged, result.info

    def _begin(self, rows: np.ndarray, x0: Array | None) -> Info:
        """New episodes in ``rows``; their info."""
        x, self._w[rows] = self.setting.start([self.generators[row] for row in rows], x0)
        self._x[rows], self._t[rows] = x, 0
        self._over[rows], self._begun[rows] = False, True
        self._past_x[rows, 0] = x
        return first_info(self.problem, x, self.setting.disturbed is not None)

    def _restart(self, rows: np.ndarray, infos: dict[str, Any]) -> dict[str, Any]:
        """SAME_STEP: keep the end of the episodes of ``rows`` in the infos and begin new ones."""
        last = np.full(self.num_envs, None, dtype=object)
        for row in rows:
            last[row] = self._x[row].copy()
        ends = self._spread(rows, {name: value[rows] for name, value in infos.items() if name[0] != "_"})
        restarted = np.isin(np.arange(self.num_envs), rows)
        infos = _merged(infos, self._spread(rows, self._begin(rows, None)), rows)
        infos |= {"final_obs": last, "_final_obs": restarted}
        return infos | {"final_info": ends, "_final_info": restarted.copy()}

    def _spread(self, rows: np.ndarray, info: Info) -> dict[str, np.ndarray]:
        """Gymnasium's form of vector infos: zeros outside ``rows``, and the mask of ``rows`` as ``_name``."""
        spread: dict[str, np.ndarray] = {}
        for name, values in info.items():
            spread[name] = np.zeros((self.num_envs, *values.shape[1:]), values.dtype)
            spread[name][rows] = values
            spread[f"_{name}"] = np.isin(np.arange(self.num_envs), rows)
        return spread

    def _rows(self, mask: Any) -> np.ndarray:
        if mask is None:
            return np.arange(self.num_envs)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must hold {self.num_envs} booleans, at least one True, got {mask}"
            )
        return np.flatnonzero(mask)


def _seeds(seed: int | Sequence[int | None] | None, count: int) -> list[int | None]:
    if seed is None:
        return [None] * count
    if isinstance(seed, int | np.integer):
        return [int(seed) + i for i in range(count)]
    if len(seed) != count:
        raise ValueError(
            f"seed must be an integer or one seed for each of {count} environments, got {len(seed)}"
        )
    return list(seed)


def _merged(infos: dict[str, Any], others: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """The infos with those of ``rows`` taken from ``others`` (both of the same keys, or the first empty)."""
    if not infos:
        return others
    merged = {name: value.copy() for name, value in infos.items()}
    for name, value in others.items():
        merged[name][rows] = value[rows]
    return merged
