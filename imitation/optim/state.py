"""States of rules as plain nested dicts and back: what a ``state_dict`` holds.

A state is a frozen dataclass whose fields are numbers, tensors, dicts of tensors, or states of wrapped
rules. Its plain form loads with ``weights_only=True``.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor


def plain(state: Any) -> Any:
    """The state as nested dicts of tensors and numbers."""
    if is_dataclass(state):
        return {field.name: plain(getattr(state, field.name)) for field in fields(state)}
    if isinstance(state, dict):
        return {name: plain(value) for name, value in state.items()}
    return state


def restored(template: Any, record: Any) -> Any:
    """Inverse of ``plain``; ``template`` is a fresh state of the same rule over the same weights.

    Raises:
        ValueError: if names or shapes differ from the template's.
    """
    if is_dataclass(template) and not isinstance(template, type):
        names = [field.name for field in fields(template)]
        _same("state", names, record)
        return replace(template, **{name: restored(getattr(template, name), record[name]) for name in names})
    if isinstance(template, dict):
        _same("weights", list(template), record)
        return {name: restored(value, record[name]) for name, value in template.items()}
    if isinstance(template, Tensor) and template.shape != getattr(record, "shape", ()):
        got = tuple(getattr(record, "shape", ()))
        raise ValueError(
            f"the saved state has a tensor of shape {got} where this rule over these weights "
            f"has {tuple(template.shape)}; load it into the same optimizer over the same model"
        )
    return record


def bytes_of(state: Any) -> int:
    """Bytes of all tensors in a state."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(plain(state)))


def _same(what: str, names: list[str], record: Any) -> None:
    if not isinstance(record, dict) or set(record) != set(names):
        got = sorted(record) if isinstance(record, dict) else record
        raise ValueError(f"the saved {what} must have the names {sorted(names)}, got {got}")


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
