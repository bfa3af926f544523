"""Rollouts as Minari datasets and back: for exchange, not for storage (one HDF5 group an episode)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from envs import DISTRIBUTION
from envs.registration import ENTRY_POINT, OWN_PROBLEM, VECTOR_ENTRY_POINT, environment_id
from envs.setting import Disturbance, Setting
from mpc.arrays import Array
from mpc.catalogue import SystemSpec
from mpc.expert import Control
from mpc.polytope import Polytope
from mpc.problem import ControlProblem, stage_cost
from mpc.rollouts import Rollouts
from mpc.status import Status

if TYPE_CHECKING:
    from minari import MinariDataset
    from minari.data_collector import EpisodeBuffer


@dataclass(frozen=True)
class Export:
    """What ``to_minari`` wrote.

    Args:
        dataset_id: for ``minari.load_dataset``.
        path: the dataset's folder.
        episodes, steps: how many of either it holds.
        discarded: rollouts that were cut short and so left out.
    """

    dataset_id: str
    path: Path
    episodes: int
    steps: int
    discarded: int


def to_minari(
    rollouts: Rollouts,
    problem: ControlProblem | SystemSpec,
    dataset_id: str,
    *,
    disturbance: Disturbance = None,
    seeds: Sequence[int] | None = None,
    algorithm_name: str | None = None,
    author: str | None = None,
    author_email: str | None = None,
    code_permalink: str | None = None,
    description: str | None = None,
) -> Export:
    """Write the complete rollouts as a Minari dataset, one episode each.

    An episode has observations ``x_0 .. x_T``, actions ``u_0 .. u_{T-1}``, rewards ``-(x_{t+1}'Q x_{t+1} +
    u_t'R u_t)``, a last entry that is truncated, and terminated if the last state has diverged. Its infos
    have ``T + 1`` entries: ``label`` holds the expert's labels of the observation at the same index (the
    last state has none: NaN and status unset), ``disturbance`` at index ``t + 1`` the ``w_t`` that led
    there (zero at index 0), as in the infos of the environment. The environment travels with the data as
    a specification, from which ``dataset.recover_environment()`` makes it in a process that has imported
    nothing but minari.

    The dataset is built in a hidden folder beside its place (Minari's folder, which
    ``MINARI_DATASETS_PATH`` moves), its counts are read back and compared, and it is renamed as the last
    act: a crash leaves no dataset rather than a broken one.

    Args:
        problem: the problem, or its name in the catalogue, which makes a shorter specification.
        dataset_id: Minari's form, such as ``"centralpath/double-integrator/online-v0"``.
        disturbance: the law of the rollouts' disturbances, for the environment; see ``RegulationEnv``.
        seeds: one for each rollout, kept with its episode.
        algorithm_name, author, author_email, code_permalink, description: kept as Minari's metadata.

    Raises:
        ValueError: if the id is malformed or taken, no rollout is complete, or shapes do not fit.
    """
    from envs.staging import vacant_path, write_dataset

    built = problem.build() if isinstance(problem, SystemSpec) else problem
    _check(rollouts, built, seeds)
    path = vacant_path(dataset_id)
    setting = Setting.of(built, rollouts.steps, disturbance, {})
    described = {
        "algorithm_name": algorithm_name,
        "author": None if author is None else {author},
        "author_email": None if author_email is None else {author_email},
        "code_permalink": code_permalink,
        "description": description,
        "requirements": _requirements(),
    }
    metadata = {name: value for name, value in described.items() if value is not None}
    kept = np.flatnonzero(rollouts.complete)
    write_dataset(
        dataset_id,
        list(_episodes(rollouts, built, kept, seeds)),
        setting,
        _environment_spec(problem, rollouts.steps, disturbance),
        metadata,
    )
    discarded = rollouts.episodes - kept.size
    return Export(dataset_id, path, int(kept.size), int(kept.size * rollouts.steps), int(discarded))


def from_minari(dataset: "MinariDataset") -> Rollouts:
    """The episodes of a Minari dataset of states and inputs as ``Rollouts``: the inverse of ``to_minari``.

    Episodes of unequal length are padded with NaN (status: unset) to the longest. Labels and disturbances
    come back where ``to_minari`` wrote them; a dataset of another maker has none.

    Raises:
        ValueError: if the dataset is empty, or observations or actions are not plain vectors.
    """
    if not dataset.total_episodes:
        raise ValueError(f"the Minari dataset {dataset.id!r} holds no episodes")
    for name, space in (("observations", dataset.observation_space), ("actions", dataset.action_space)):
        if len(space.shape or ()) != 1 or not np.issubdtype(space.dtype, np.floating):
            raise ValueError(f"the {name} of {dataset.id!r} must be vectors of real numbers, got {space}")
    episodes = list(dataset.iterate_episodes())
    length = np.array([len(episode.rewards) for episode in episodes], dtype=np.int64)
    T = int(length.max())
    infos = [episode.infos or {} for episode in episodes]
    w = labels = None
    if all("disturbance" in info for info in infos):
        w = _padded([info["disturbance"][1:] for info in infos], T)
    if all("label" in info for info in infos):
        names = sorted(infos[0]["label"])
        labels = Control(**{name: _padded([i["label"][name][:-1] for i in infos], T) for name in names})
    x = _padded([episode.observations for episode in episodes], T + 1)
    return Rollouts(x, _padded([episode.actions for episode in episodes], T), length, w, labels)


def _check(rollouts: Rollouts, problem: ControlProblem, seeds: Sequence[int] | None) -> None:
    n, m = rollouts.x.shape[2], rollouts.u.shape[2]
    if (n, m) != (problem.n, problem.m):
        raise ValueError(
            f"the rollouts have n={n} states and m={m} inputs, the problem {problem.name!r} has "
            f"n={problem.n} and m={problem.m}; pass the problem they were made with"
        )
    if seeds is not None and len(seeds) != rollouts.episodes:
        raise ValueError(f"seeds must hold one for each of {rollouts.episodes} rollouts, got {len(seeds)}")
    if not rollouts.complete.any():
        raise ValueError(
            f"none of the {rollouts.episodes} rollouts is complete ({rollouts.steps} steps), so there is "
            f"nothing to export; see their labels' status"
        )


def _requirements() -> list[str] | None:
    try:
        return [f"{DISTRIBUTION}>={version(DISTRIBUTION)}"]
    except PackageNotFoundError:  # run from a source tree that was never installed
        return None


def _environment_spec(problem: ControlProblem | SystemSpec, steps: int, disturbance: Disturbance) -> EnvSpec:
    """A specification in plain JSON types that makes the environment without any registration."""
    arguments: dict[str, Any] = {"steps": int(steps)}
    if isinstance(problem, SystemSpec) and not problem.name.endswith(".json"):
        name = environment_id(problem.name)
        arguments |= {"problem": problem.name, **dict(problem.arguments)}
    else:
        built = problem.build() if isinstance(problem, SystemSpec) else problem
        name = OWN_PROBLEM
        arguments["problem"] = built.record()
    if disturbance is not None:
        arguments["disturbance"] = _plain(disturbance)
    return EnvSpec(name, entry_point=ENTRY_POINT, vector_entry_point=VECTOR_ENTRY_POINT, kwargs=arguments)


def _plain(disturbance: Disturbance) -> Any:
    if isinstance(disturbance, str):
        return disturbance
    if isinstance(disturbance, Polytope):
        return {"G": disturbance.G.tolist(), "h": disturbance.h.tolist()}
    if isinstance(disturbance, Mapping):
        return {name: np.asarray(value).tolist() for name, value in disturbance.items()}
    return np.asarray(disturbance, dtype=float).tolist()


def _episodes(
    rollouts: Rollouts, problem: ControlProblem, kept: np.ndarray, seeds: Sequence[int] | None
) -> "Iterator[EpisodeBuffer]":
    from minari.data_collector import EpisodeBuffer

    x, u = rollouts.x[kept], rollouts.u[kept]
    rewards = -stage_cost(problem, x[:, 1:], u)
    diverged = (np.abs(x[:, -1]) > problem.divergence_limit).any(axis=1)
    truncations = np.arange(rollouts.steps) == rollouts.steps - 1
    infos = _infos(rollouts[kept])
    for i, rollout in enumerate(kept):
        yield EpisodeBuffer(
            id=i,
            seed=None if seeds is None else int(seeds[rollout]),
            observations=x[i],  # type: ignore[arg-type]  (Minari takes arrays as well as lists)
            actions=u[i],  # type: ignore[arg-type]
            rewards=rewards[i],  # type: ignore[arg-type]
            terminations=truncations & diverged[i],  # type: ignore[arg-type]
            truncations=truncations,  # type: ignore[arg-type]
            infos=_episode_infos(infos, i),
        )


def _infos(rollouts: Rollouts) -> dict[str, Any]:
    """Labels and disturbances with ``T + 1`` entries along axis 1."""
    infos: dict[str, Any] = {}
    if rollouts.w is not None:
        infos["disturbance"] = np.concatenate([np.zeros_like(rollouts.w[:, :1]), rollouts.w], axis=1)
    if rollouts.labels is not None:
        infos["label"] = {
            name: np.concatenate([value, np.full_like(value[:, :1], _blank(value))], axis=1)
            for name, value in rollouts.labels.arrays().items()
        }
    return infos


def _episode_infos(infos: dict[str, Any], episode: int) -> dict[str, Any] | None:
    chosen = {
        name: _episode_infos(value, episode) if isinstance(value, dict) else value[episode]
        for name, value in infos.items()
    }
    return chosen or None


def _blank(array: np.ndarray) -> float | int:
    return np.nan if np.issubdtype(array.dtype, np.floating) else int(Status.unset)


def _padded(arrays: Sequence[Array], length: int) -> np.ndarray:
    """Arrays stacked on a leading axis, each filled up to ``length`` rows."""
    first = np.asarray(arrays[0])
    out = np.full((len(arrays), length, *first.shape[1:]), _blank(first), dtype=first.dtype)
    for row, array in zip(out, arrays, strict=True):
        row[: len(array)] = array
    return out
