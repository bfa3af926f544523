"""The config of a ``torch.optim.Optimizer`` class that is not of the suite."""

import hashlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from imitation.optim.contract import Objective
    from imitation.optim.foreign import ForeignRule


@dataclass(frozen=True)
class Foreign:
    """Any ``torch.optim.Optimizer`` class, run as it is, one model at a time.

    Args:
        cls: the class, defined at the top level of an importable module.
        arguments: its keyword arguments as pairs, e.g. ``(("lr", 1e-2), ("momentum", 0.9))``.

    Raises:
        ValueError: for a lambda or anything else that is not a class, for a class defined inside a
            function (neither a worker process nor a later reader could find it), and for arguments
            that are not numbers, text, None or tuples of these.
    """

    cls: type
    arguments: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.cls, type):
            raise ValueError(
                f"cls must be a torch.optim.Optimizer class, got {self.cls!r}; lambdas and functions have no "
                f"lasting name: pass the class and its arguments=((name, value), ...)"
            )
        if "<locals>" in self.cls.__qualname__:
            raise ValueError(
                f"cls must be defined at the top level of a module, got {self.cls.__qualname__}; "
                f"move the class out of the function"
            )
        for pair in self.arguments:
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
                raise ValueError(f"arguments must be pairs (name, value), got {pair!r}")
            _canonical(*pair)

    @property
    def lr(self) -> float:
        """The argument ``lr``, or the default that the class has for it; 1 where it has none.

        Another rate, a schedule's or a member's, multiplies the rates of all groups of parameters alike.
        """
        known = inspect.signature(self.cls).parameters.get("lr")
        lr = dict(self.arguments).get("lr", None if known is None else known.default)
        return float(lr) if isinstance(lr, int | float) and lr > 0 else 1.0

    def rule(self) -> "ForeignRule":
        """The class behind the interface of a rule (``vectorises`` is False)."""
        from imitation.optim.foreign import ForeignRule

        return ForeignRule(self.cls, self.arguments, self.lr)

    def build(
        self, params: "Iterable[torch.Tensor]", objective: "Objective | None" = None, seed: int = 0
    ) -> "torch.optim.Optimizer":
        """``cls(params, **arguments)``; objective and seed are not used."""
        return self.cls(params, **dict(self.arguments))

    def record(self) -> dict[str, Any]:
        """What identifies it: module, qualified name, version or source hash, and arguments."""
        return {
            "type": "Foreign",
            "module": self.cls.__module__,
            "name": self.cls.__qualname__,
            **_provenance(self.cls),
            "arguments": {name: _canonical(name, value) for name, value in self.arguments},
        }


def _provenance(cls: type) -> dict[str, str]:
    """The version of the distribution that holds ``cls``, or the hash of its source."""
    owners = packages_distributions().get(cls.__module__.split(".")[0], [])
    if owners:
        return {"version": f"{owners[0]} {version(owners[0])}"}
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError) as error:
        raise ValueError(
            f"cls {cls.__qualname__} has neither a version nor a source to identify it by; "
            f"define it in a file that can be imported"
        ) from error
    return {"source": hashlib.sha256(source.encode()).hexdigest()}


def _canonical(name: str, value: Any) -> Any:
    """A JSON-able form of an argument."""
    if isinstance(value, tuple | list):
        return [_canonical(name, item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(
        f"arguments[{name!r}] must be a number, text, None or a tuple of these, got {value!r}; "
        f"it is part of the run's identity"
    )
