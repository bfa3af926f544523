"""Shards: the kept episodes of a range of attempts as one safetensors file, with the account of the rest."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mpc.demonstrations import Demonstrations


def shard_name(index: int) -> str:
    return f"shard-{index:05d}.safetensors"


def commit_shard(partial: Path, index: int, block: Demonstrations) -> dict[str, Any]:
    """Write one shard; the rename is the commit."""
    arrays = {**block.rollouts.arrays(), "episode": block.episodes, "seed": block.seeds}
    account = {
        "attempts": block.attempts,
        "discarded": [
            {"episode": int(episode), "seed": int(seed)}
            for episode, seed in zip(block.discarded, block.discarded_seeds, strict=True)
        ],
        "queries": block.queries,
        "statuses": block.statuses,
    }
    data = save(
        {name: np.ascontiguousarray(value) for name, value in arrays.items()},
        metadata={"account": json.dumps(account)},
    )
    write_atomically(partial / shard_name(index), data)
    return shard_record(partial / shard_name(index))


def shard_record(file: Path) -> dict[str, Any]:
    """What the manifest says of a shard, from the file alone."""
    data = file.read_bytes()
    with _opened(file) as shard:
        account = json.loads(shard.metadata()["account"])
        episodes = shard.get_slice("episode").get_shape()[0]
    checksum = hashlib.sha256(data).hexdigest()
    return {"file": file.name, "episodes": episodes, **account, "bytes": len(data), "sha256": checksum}


def read_shard(file: Path, count: int, names: tuple[str, ...] | None) -> dict[str, np.ndarray]:
    """The first ``count`` episodes of a shard, mapped into memory and copied from there."""
    with _opened(file) as shard:
        stored = list(shard.keys())
        unknown = [name for name in names or () if name not in stored]
        if unknown:
            raise ValueError(f"{file} holds no array {unknown[0]!r}; it holds {sorted(stored)}")
        return {name: shard.get_slice(name)[:count] for name in names or stored}


def require_shards(path: Path, shards: list[dict[str, Any]]) -> None:
    """Every shard is a file of the dataset and has its full length."""
    for shard in shards:
        file = path / shard["file"]
        if Path(shard["file"]).name != shard["file"] or not file.is_file():
            raise ValueError(f"the dataset {path} is incomplete: {shard['file']} is missing; copy it again")
        if file.stat().st_size != shard["bytes"]:
            raise ValueError(
                f"{file} is corrupt: it has {file.stat().st_size} bytes, the manifest says {shard['bytes']}; "
                f"copy the dataset again"
            )


def write_atomically(file: Path, data: bytes) -> None:
    """Write beside the file, flush to the disk, rename."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def _opened(file: Path) -> Any:
    try:
        return safe_open(file, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{file} is not a readable shard ({error}); copy or generate the dataset again"
        ) from error
