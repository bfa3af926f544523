"""Frozen configs as canonical JSON and back: manifests, checkpoints and keys all use this form."""

import hashlib
import inspect
import json
import sys
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

_OWN = {"mpc", "envs", "imitation", "bench"}


def to_record(config: Any) -> Any:
    """A JSON-able form of nested frozen dataclasses; each carries its class name under ``type``.

    Classes from elsewhere also carry their module and the hash of its source, so that results of a rule that
    has been changed since are not taken for its own.

    Raises:
        ValueError: for anything that has no canonical form (lambdas, open files, arbitrary objects).
    """
    if hasattr(config, "record"):
        return config.record()
    if is_dataclass(config) and not isinstance(config, type):
        named = {field.name: to_record(getattr(config, field.name)) for field in fields(config)}
        return {"type": type(config).__name__, **_origin(type(config)), **named}
    if isinstance(config, tuple | list):
        return [to_record(item) for item in config]
    if isinstance(config, dict):
        return {str(name): to_record(item) for name, item in config.items()}
    if isinstance(config, np.generic):
        return config.item()
    if config is None or isinstance(config, bool | int | float | str):
        return config
    raise ValueError(
        f"{config!r} of type {type(config).__name__} has no canonical form; "
        f"configs hold numbers, text, tuples and other frozen dataclasses"
    )


@cache
def _origin(cls: type) -> dict[str, str]:
    """Nothing for a class of the project; of others the module and the hash of its source, if it has one."""
    if cls.__module__.split(".")[0] in _OWN:
        return {}
    try:
        source = inspect.getsource(sys.modules[cls.__module__])
    except (OSError, TypeError):  # defined at a prompt: no later process can meet it
        return {"module": cls.__module__}
    return {"module": cls.__module__, "source": hashlib.sha256(source.encode()).hexdigest()}


def from_record(record: Any, types: tuple[type, ...]) -> Any:
    """Inverse of ``to_record`` for configs whose classes are among ``types``.

    Raises:
        ValueError: if a class is not among ``types`` or its fields do not fit.
    """
    if isinstance(record, list):
        return tuple(from_record(item, types) for item in record)
    if not (isinstance(record, dict) and "type" in record):
        return record
    known = {cls.__name__: cls for cls in types}
    name = record["type"]
    if name not in known:
        raise ValueError(f"unknown config type {name!r}; known here are {sorted(known)}")
    arguments = {key: from_record(value, types) for key, value in record.items() if key != "type"}
    try:
        return known[name](**arguments)
    except TypeError as error:
        raise ValueError(f"the record of {name} does not fit this version: {error}") from error


def key_of(config: Any) -> str:
    """sha256 of the canonical JSON form."""
    text = json.dumps(to_record(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
