"""Datasets on disk: a manifest beside shards of stacked episodes, written so that nothing is ever half there.

::

    path/manifest.json             what it is: problem, expert, seeds, versions, counts, checksums
    path/shard-00000.safetensors   Rollouts.arrays() stacked over episodes, with episode (E,), seed (E,)

A shard holds the kept ones of a fixed range of attempted episodes. While it grows the dataset is
``<path>.partial`` with a plan file; each shard is committed by one rename, and the directory by
another. Reading and writing need NumPy and safetensors only; nothing is pickled.
"""

import hashlib
import json
import os
import platform
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np

from mpc.configs import ExpertConfig
from mpc.demonstrations import MakeBlock, Progress, collect, require_yield, total
from mpc.problem import ControlProblem
from mpc.record import from_record, to_record
from mpc.rollouts import Rollouts
from mpc.shards import commit_shard, read_shard, require_shards, shard_name, shard_record, write_atomically

FORMAT = "centralpath-dataset"
SCHEMA = 1
_MANIFEST, _PLAN = "manifest.json", "plan.json"
_FIELDS = {"problem", "problem_key", "expert", "system", "rep", "episodes", "steps", "shards"}
_LIBRARIES = ("numpy", "numba", "scipy", "safetensors", "centralpath")


@dataclass(frozen=True, eq=False)
class Plan:
    """All that the content of a dataset is a function of, the versions of the libraries apart.

    Args:
        problem, system: the problem, and its spec as text, which names the seeds.
        expert: config of the expert.
        rep: repetition, which names the seeds too.
        episodes, steps: episodes to keep, each of this many steps.
        shard_size: attempted episodes in a shard.
        disturbance: whether disturbances from ``problem.W`` act.
        accept: name of the worst status of a label that is kept.
    """

    problem: ControlProblem
    system: str
    expert: ExpertConfig
    rep: int
    episodes: int
    steps: int
    shard_size: int = 1024
    disturbance: bool = False
    accept: str = "optimal"

    def record(self) -> dict[str, Any]:
        """The head of the manifest; two runs may share a partial directory if theirs are equal."""
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "system": self.system,
            "problem_key": self.problem.key,
            "problem": self.problem.record(),
            "expert": to_record(self.expert),
            "rep": int(self.rep),
            "episodes": int(self.episodes),
            "steps": int(self.steps),
            "shard_size": int(self.shard_size),
            "disturbance": bool(self.disturbance),
            "accept": self.accept,
            "versions": versions(),
        }


@dataclass(frozen=True, eq=False)
class Dataset:
    """A finished dataset, opened; arrays are read when asked for.

    Args:
        path: its directory.
        manifest: the manifest as read.
        problem: the control problem, from its record.
    """

    path: Path
    manifest: dict[str, Any]
    problem: ControlProblem

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return self.manifest["episodes"]

    @property
    def steps(self) -> int:
        """Steps of every episode."""
        return self.manifest["steps"]

    @property
    def system(self) -> str:
        """The system's spec as text."""
        return self.manifest["system"]

    @property
    def rep(self) -> int:
        """The repetition, which names the seeds with the system."""
        return self.manifest["rep"]

    @property
    def expert_record(self) -> dict[str, Any]:
        """Canonical form of the expert's config."""
        return self.manifest["expert"]

    @cached_property
    def expert(self) -> ExpertConfig:
        """The expert's config.

        Raises:
            ValueError: if it was of a class that this version does not know.
        """
        return from_record(self.expert_record, get_args(ExpertConfig))

    def arrays(self, first: int | None = None, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
        """Arrays of the first ``first`` episodes (None: all) by name, read from the shards that hold them.

        Args:
            names: which, such as ``("x", "label.u", "episode", "seed")``; None for every one.

        Raises:
            ValueError: if there are fewer episodes, no array of a name, or a shard is unreadable.
        """
        wanted = self.episodes if first is None else first
        if not 1 <= wanted <= self.episodes:
            raise ValueError(
                f"first must be from 1 to {self.episodes}, the episodes of {self.path}, got {first}"
            )
        parts = []
        for shard in self.manifest["shards"]:
            if wanted > 0 and shard["episodes"]:
                parts.append(read_shard(self.path / shard["file"], min(wanted, shard["episodes"]), names))
                wanted -= shard["episodes"]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def rollouts(self, first: int | None = None) -> Rollouts:
        """The first ``first`` episodes (None: all), bit for bit as they were generated.

        Raises:
            ValueError: if there are fewer episodes, or a shard is unreadable.
        """
        arrays = self.arrays(first)
        return Rollouts.from_arrays({k: v for k, v in arrays.items() if k not in ("episode", "seed")})

    def verify(self) -> None:
        """Read every shard and compare its checksum with the manifest's.

        Raises:
            ValueError: names the first shard that differs.
        """
        for shard in self.manifest["shards"]:
            found = hashlib.sha256((self.path / shard["file"]).read_bytes()).hexdigest()
            if found != shard["sha256"]:
                raise ValueError(
                    f"{self.path / shard['file']} is corrupt: its sha256 is {found}, the manifest says "
                    f"{shard['sha256']}; generate the dataset again, or copy it again"
                )


def open_dataset(path: str | Path) -> Dataset:
    """Open a finished dataset; checks the manifest and that every shard is there at full length.

    Raises:
        ValueError: if there is no dataset, it is unfinished, foreign, corrupt, or of a newer schema.
    """
    path = Path(path)
    if not path.exists():
        unfinished = "; its generation was interrupted: run the same command again to finish it"
        hint = unfinished if _partial(path).exists() else "; make one with `centralpath generate`"
        raise ValueError(f"there is no dataset at {path}{hint}")
    manifest = _read_manifest(path)
    try:
        problem = ControlProblem.from_record(manifest["problem"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path / _MANIFEST} is corrupt: its problem cannot be read ({error})") from error
    if problem.key != manifest["problem_key"]:
        raise ValueError(f"{path / _MANIFEST} was altered: its problem does not have the key it states")
    require_shards(path, manifest["shards"])
    return Dataset(path, manifest, problem)


def require_vacant(path: str | Path) -> None:
    """Refuse an output path that exists.

    Raises:
        ValueError: if it does.
    """
    if os.path.lexists(path):
        raise ValueError(f"the output path {path} exists; choose another, or remove it first")


def write_dataset(
    path: str | Path, plan: Plan, make_block: MakeBlock, progress: Progress | None = None
) -> Dataset:
    """Carry out a plan: shard after shard until ``plan.episodes`` are kept, then the manifest.

    An interruption leaves the committed shards in ``<path>.partial``, from which the same plan goes on.

    Args:
        make_block: attempts a range of episodes; must be a function of the range alone.
        progress: called with (kept, wanted) episodes.

    Raises:
        ValueError: if ``path`` exists, if another plan made the partial directory, or if more than 90%
            of at least 200 attempts fail.
    """
    path = Path(path)
    require_vacant(path)
    partial, head = _partial(path), plan.record()
    shards = _committed(partial, head)
    kept = sum(shard["episodes"] for shard in shards)
    while kept < plan.episodes:
        report = None if progress is None else lambda more, done=kept: progress(done + more, plan.episodes)
        first = len(shards) * plan.shard_size
        block = collect(make_block, plan.episodes - kept, first, first + plan.shard_size, report)
        _write_head(partial, head)
        shards.append(commit_shard(partial, len(shards), block))
        kept += block.kept
        require_yield(kept, sum(s["attempts"] for s in shards), total(s["statuses"] for s in shards))
    _finish(path, partial, head, shards)
    return open_dataset(path)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that the numbers come from."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _committed(partial: Path, head: dict[str, Any]) -> list[dict[str, Any]]:
    """Records of the shards that an interrupted run of the same plan left."""
    if not partial.exists():
        return []
    plan = partial / _PLAN
    try:
        found = json.loads(plan.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{partial} is in the way and holds no plan; remove it, or choose another path"
        ) from error
    different = [name for name in head if found.get(name) != head[name]]
    if different:
        raise ValueError(
            f"{partial} was begun with another plan (different: {', '.join(different)}); "
            f"finish that one with its own options, remove the directory, or choose another path"
        )
    shards = []
    while (file := partial / shard_name(len(shards))).exists():
        shards.append(shard_record(file))
    return shards


def _write_head(partial: Path, head: dict[str, Any]) -> None:
    """Make the partial directory with its plan; only once there is a shard to put in it."""
    if not (partial / _PLAN).exists():
        partial.mkdir(parents=True, exist_ok=True)
        write_atomically(partial / _PLAN, _json(head))


def _finish(path: Path, partial: Path, head: dict[str, Any], shards: list[dict[str, Any]]) -> None:
    """Write the manifest, then give the directory its name; the second rename is the commit."""
    manifest = {
        **head,
        "discarded": [entry for shard in shards for entry in shard["discarded"]],
        "queries": sum(shard["queries"] for shard in shards),
        "statuses": total(shard["statuses"] for shard in shards),
        "shards": [
            {name: shard[name] for name in ("file", "episodes", "attempts", "bytes", "sha256")}
            for shard in shards
        ],
    }
    write_atomically(partial / _MANIFEST, _json(manifest))
    for leftover in partial.glob("*.tmp"):
        leftover.unlink()
    require_vacant(path)
    partial.rename(path)
    (path / _PLAN).unlink()


def _json(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, allow_nan=False) + "\n").encode()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
    except OSError as error:
        raise ValueError(f"{path} is not a centralpath dataset: it holds no readable {_MANIFEST}") from error
    except ValueError as error:
        raise ValueError(f"{path / _MANIFEST} is corrupt: it is not JSON ({error}); copy it again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path} is not a centralpath dataset: its {_MANIFEST} is of another format")
    if manifest.get("schema") != SCHEMA:
        raise ValueError(
            f"{path} has schema {manifest.get('schema')}, this version reads {SCHEMA}; upgrade centralpath"
        )
    missing = _FIELDS - set(manifest)
    if missing:
        raise ValueError(f"{path / _MANIFEST} is corrupt: it lacks {sorted(missing)}; copy it again")
    return manifest
