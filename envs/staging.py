"""Minari datasets that appear whole or not at all: built in a hidden folder, read back, renamed."""

import os
import shutil
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gymnasium.envs.registration import EnvSpec
from minari import MinariDataset
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_dataset import parse_dataset_id
from minari.dataset.minari_storage import MinariStorage
from minari.namespace import create_namespace, list_local_namespaces
from minari.storage import get_dataset_path

from envs.setting import Setting


def vacant_path(dataset_id: str) -> Path:
    """Where ``minari.load_dataset(dataset_id)`` will look, in the folder of ``MINARI_DATASETS_PATH``.

    Raises:
        ValueError: if the id is malformed or a dataset of that id exists.
    """
    try:
        parse_dataset_id(dataset_id)
    except TypeError as error:  # Minari's pattern lets an id without version through to int(None)
        raise ValueError(
            f"the Minari dataset id {dataset_id!r} has no version; write namespace/name-v0"
        ) from error
    path = get_dataset_path(dataset_id)
    if path.exists():
        raise ValueError(
            f"a Minari dataset {dataset_id!r} exists at {path}; choose another name or version, or delete it "
            f"with `minari delete {dataset_id}`"
        )
    return path


def write_dataset(
    dataset_id: str,
    episodes: list[EpisodeBuffer],
    setting: Setting,
    spec: EnvSpec,
    metadata: dict[str, Any],
) -> Path:
    """Write a new Minari dataset of episodes of equal length; the rename at the end is the commit.

    Args:
        setting: gives the spaces.
        spec: specification of the environment, kept with the data.
        metadata: Minari's descriptive fields.

    Raises:
        ValueError: if the id is malformed or taken.
    """
    path = vacant_path(dataset_id)
    staging = get_dataset_path() / f".staging-{uuid.uuid4().hex}"
    staging.mkdir()
    try:
        storage = MinariStorage.new(
            staging / "data",
            observation_space=setting.observation_space,
            action_space=setting.action_space,
            env_spec=spec,
            data_format="hdf5",
        )
        storage.update_metadata({"dataset_id": dataset_id, "minari_version": version("minari"), **metadata})
        storage.update_episodes(episodes)
        _verify(staging / "data", len(episodes), len(episodes[-1]))
        _flush(staging)
        _publish(staging, path, dataset_id)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return path


def _verify(data: Path, episodes: int, steps: int) -> None:
    """Read the staged dataset back: as many episodes and steps as were meant, the last one whole."""
    staged = MinariDataset(data)
    found = (staged.total_episodes, staged.total_steps, len(staged[-1].rewards))
    if found != (episodes, episodes * steps, steps):
        raise RuntimeError(
            f"the staged Minari dataset holds {found[0]} episodes and {found[1]} steps, the last episode "
            f"{found[2]}, instead of {episodes}, {episodes * steps} and {steps}; nothing was published"
        )


def _flush(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())


def _publish(staging: Path, path: Path, dataset_id: str) -> None:
    namespace, _, _ = parse_dataset_id(dataset_id)
    if namespace is not None and namespace not in list_local_namespaces():
        create_namespace(namespace)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(staging, path)
    except OSError:
        vacant_path(dataset_id)  # another writer was first
        raise
