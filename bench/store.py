"""The store of a sweep: two files for each finished chunk, and a manifest of what was asked.

``<chunk>.safetensors`` holds arrays, named ``<experiment key>/<name>``, and then ``<chunk>.parquet``
holds one row for each experiment with the sha256 of the first. The row file is the commit: a chunk
without one was never finished. Both are written to a temporary name, flushed and renamed, so an
interruption at any moment leaves a store that can be read and resumed. Reports are made from the
store alone. ``results.parquet`` is all rows once more, in one file.
"""

import hashlib
import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "centralpath-sweep/2"
MANIFEST = "sweep.json"
RESULTS = "results.parquet"

COLUMNS: dict[str, type] = {
    "study": str,
    "chunk": str,
    "key": str,
    "system": str,
    "expert": str,
    "expert_kind": str,
    "smoothing": float,
    "learner": str,
    "demonstrations": int,
    "expert_queries": int,
    "discarded": int,
    "steps": int,
    "rep": int,
    "test_episodes": int,
    "status": str,
    "error": str,
    "loss_train": float,
    "loss_validation": float,
    "loss_on_expert": float,
    "imitation_error_mean": float,
    "imitation_error_median": float,
    "imitation_error_q90": float,
    "imitation_left_out": int,
    "growth_rate": float,
    "cost_ratio_mean": float,
    "cost_ratio_median": float,
    "cost_ratio_left_out": int,
    "own_cost_ratio_mean": float,
    "expert_cost_ratio_mean": float,
    "success_rate": float,
    "success_certificate": float,
    "expert_success_rate": float,
    "violation_rate": float,
    "violation_max": float,
    "expert_violation_rate": float,
    "action_error_ratio": float,
    "unusable_share": float,
    "j_traj": float,
    "j_demo": float,
    "jacobian_max": float,
    "hessian_max": float,
    "seconds_learn": float,
    "seconds_evaluate": float,
    "versions": str,
    "checksum": str,
}
"""The tidy table: one row for each experiment; ``checksum`` is that of the chunk's arrays.

Where an experiment failed, ``status`` is 'failed', ``error`` says why and its numbers are missing.
"""
TIMINGS = ("seconds_learn", "seconds_evaluate")
"""The columns that differ from run to run; everything else is a function of the experiment."""


_MISSING: dict[type, Any] = {str: "", int: 0, float: float("nan")}


@dataclass(frozen=True)
class Store:
    """A directory that holds one sweep."""

    path: Path

    def rows(self, chunk: str) -> Path:
        return self.path / f"{chunk}.parquet"

    def tensors(self, chunk: str) -> Path:
        return self.path / f"{chunk}.safetensors"

    @property
    def manifest(self) -> dict[str, Any]:
        """What the sweep was asked: study, experiments by key, division into chunks, versions."""
        return json.loads((self.path / MANIFEST).read_text())


def open_store(path: str | os.PathLike[str], manifest: Mapping[str, Any]) -> Store:
    """Make the store of a sweep, or open the unfinished one that holds the same sweep.

    Raises:
        ValueError: if ``path`` holds something else, or a sweep over other experiments.
    """
    store = Store(Path(path))
    asked = {"schema": SCHEMA, **manifest}
    if store.path.exists() and not store.path.is_dir():
        raise ValueError(f"out={str(path)!r} is a file; pass a directory that does not exist yet")
    if (store.path / MANIFEST).is_file():
        found = existing_store(path).manifest
        if found["chunks"] != asked["chunks"]:
            raise ValueError(
                f"out={str(path)!r} holds a sweep over other experiments (study {found['study']!r}); "
                f"pass another directory, or the same options as before to resume it (repetitions and sizes "
                f"cannot be added: which experiments train together depends on all of them)"
            )
        return store
    if store.path.exists() and any(store.path.iterdir()):
        raise ValueError(
            f"out={str(path)!r} exists and holds something that is not a sweep; "
            f"pass a directory that does not exist yet, or empty this one"
        )
    store.path.mkdir(parents=True, exist_ok=True)
    _write_atomically(store.path / MANIFEST, json.dumps(asked, indent=1).encode())
    return store


def existing_store(path: str | os.PathLike[str]) -> Store:
    """The store at ``path``.

    Raises:
        ValueError: if there is none, or its schema is of another version.
    """
    store = Store(Path(path))
    if not (store.path / MANIFEST).is_file():
        raise ValueError(
            f"{str(path)!r} is not a sweep's store (no {MANIFEST}); make one with `centralpath sweep`"
        )
    try:
        schema = store.manifest.get("schema")
    except (json.JSONDecodeError, AttributeError) as error:
        raise ValueError(
            f"{str(path)!r}: {MANIFEST} is not readable ({error}); run the sweep anew"
        ) from error
    if schema != SCHEMA:
        raise ValueError(
            f"{str(path)!r} has schema {schema!r}, this version reads {SCHEMA!r}; run the sweep anew"
        )
    return store


def commit(
    store: Store,
    chunk: str,
    rows: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
) -> None:
    """Write one chunk: its arrays first, then its rows, each atomically. Replaces a failed attempt."""
    from safetensors.numpy import save

    checksum = ""
    if arrays:
        data = save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}, dict(metadata))
        data = _canonical(data)
        checksum = hashlib.sha256(data).hexdigest()
        _write_atomically(store.tensors(chunk), data)
    _write_atomically(store.rows(chunk), _parquet([{**row, "checksum": checksum} for row in rows]))


def is_done(store: Store, chunk: str) -> bool:
    """Whether every experiment of the chunk is stored and sound; a failure is never done."""
    if not store.rows(chunk).is_file():
        return False
    table = _read_rows(store.rows(chunk))
    if set(table["status"]) != {"ok"}:
        return False
    tensors = store.tensors(chunk)
    return tensors.is_file() and hashlib.sha256(tensors.read_bytes()).hexdigest() == table["checksum"].iloc[0]


def read_table(path: str | os.PathLike[str]) -> "pd.DataFrame":
    """All rows of a store as one tidy table, in the order of the manifest's experiments.

    Raises:
        ValueError: if ``path`` is no store.
    """
    import pandas as pd

    store = existing_store(path)
    manifest = store.manifest
    parts = [_read_rows(store.rows(chunk)) for chunk in manifest["chunks"] if store.rows(chunk).is_file()]
    if not parts:
        return _read_rows(None)
    table = pd.concat(parts, ignore_index=True)
    order = {key: place for place, key in enumerate(manifest["experiments"])}
    return table.sort_values("key", key=lambda keys: keys.map(order), ignore_index=True)


def write_results(store: Store) -> Path:
    """All rows as one Parquet file beside the chunks, for pandas, DuckDB and the like; a copy, never read."""
    import io

    sink = io.BytesIO()
    read_table(store.path).to_parquet(sink, index=False)
    _write_atomically(store.path / RESULTS, sink.getvalue())
    return store.path / RESULTS


def read_arrays(path: str | os.PathLike[str], chunk: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of one chunk.

    Raises:
        ValueError: if the chunk has no arrays (it failed or was not run).
    """
    from safetensors import safe_open

    file = Store(Path(path)).tensors(chunk)
    if not file.is_file():
        raise ValueError(f"chunk {chunk} of {str(path)!r} has no arrays: it failed or was not run yet")
    with safe_open(file, framework="numpy") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, dict(opened.metadata() or {})  # noqa: SIM118


def _canonical(data: bytes) -> bytes:
    """The same safetensors file with its header's keys sorted: the library orders metadata at random."""
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def _parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, arrow[kind]) for name, kind in COLUMNS.items()])
    columns = {name: [row.get(name, _MISSING[kind]) for row in rows] for name, kind in COLUMNS.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=schema), sink)
    return sink.getvalue().to_pybytes()


def _read_rows(file: Path | None) -> "pd.DataFrame":
    import pandas as pd

    return (
        pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})
        if file is None
        else pd.read_parquet(file)
    )


def _write_atomically(path: Path, data: bytes) -> None:
    """Temporary name beside the target, flush, fsync, rename: readers see the old file or the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
