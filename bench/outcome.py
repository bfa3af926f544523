"""What comes back from a chunk: one flat row for each experiment, and the arrays behind them."""

import json
import platform
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from bench.experiment import (
    Chunk,
    Experiment,
    expert_kind,
    expert_label,
    expert_smoothing,
    learner_label,
)

_RECORDED = ("centralpath", "numpy", "scipy", "numba", "torch", "safetensors")


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Rows and arrays of one chunk, as ``bench.store`` keeps them."""

    rows: Sequence[Mapping[str, Any]]
    arrays: Mapping[str, np.ndarray]
    metadata: Mapping[str, str]

    @property
    def failed(self) -> int:
        """Number of experiments that have no result."""
        return sum(row["status"] != "ok" for row in self.rows)


def identity(experiment: Experiment, chunk: str) -> dict[str, Any]:
    """The columns of a row that are known before anything has run."""
    return {
        "study": experiment.study,
        "chunk": chunk,
        "key": experiment.key(),
        "system": experiment.system_name,
        "expert": expert_label(experiment.expert),
        "expert_kind": expert_kind(experiment.expert),
        "smoothing": expert_smoothing(experiment.expert),
        "learner": learner_label(experiment.learner),
        "demonstrations": experiment.demonstrations,
        "steps": experiment.steps,
        "rep": experiment.rep,
        "test_episodes": experiment.test_episodes,
        "status": "ok",
        "error": "",
        "versions": versions(),
    }


def failure(chunk: Chunk, error: str) -> Outcomes:
    """A chunk that did not work: a row for each experiment, with the reason."""
    rows = [{**identity(member, chunk.name), "status": "failed", "error": error} for member in chunk.members]
    return Outcomes(rows, {}, {})


def describe(error: BaseException) -> str:
    """Class, message and the place an exception came from, on one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


@cache
def versions() -> str:
    """Versions that the numbers may depend on, as JSON."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return json.dumps(found)
