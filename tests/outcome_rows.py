"""Rows of the table of results and arrays of their chunks, as tests of figures and reports make them up."""

from typing import Any

import numpy as np

from mpc.arrays import Array


def outcome_row(expert: str, kind: str, n: int, rep: int, *, steps: int, **changes: Any) -> dict[str, Any]:
    """The row of one experiment that went well: ``n`` demonstrations of ``steps`` steps, with ``changes``."""
    return {
        "system": "plant",
        "expert": expert,
        "expert_kind": kind,
        "demonstrations": n,
        "expert_queries": n * steps,
        "steps": steps,
        "rep": rep,
        "status": "ok",
        "success_rate": 1.0,
        **changes,
    }


def loop_arrays(key: str, error: Array, learned: Array, expert: Array) -> dict[str, np.ndarray]:
    """The arrays of one experiment: errors ``(episodes, T+1)`` and loops ``(episodes, T+1, n)``."""
    return {
        f"{key}/error_over_time": error,
        f"{key}/trajectories": learned,
        f"{key}/expert_trajectories": expert,
    }


def training_arrays(
    key: str, steps: list[int], loss: list[float], ratios: list[float]
) -> dict[str, np.ndarray]:
    """The arrays of one experiment along training: two test loops that cost ``ratios`` times exact MPC's."""
    exact = np.array([1.0, 3.0])
    return {
        f"{key}/history.steps": np.array(steps),
        f"{key}/history.validation": np.array(loss),
        f"{key}/history.cost": np.outer(ratios, exact),
        f"{key}/exact_cost": exact,
    }
