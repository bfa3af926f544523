"""Configs of the optimizers: frozen, without torch, so that ``--help`` is quick.

Adding a rule adds one class here, one member of the union and one module beside this one.
"""

import hashlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from imitation.optim.contract import Objective, Rule
    from imitation.optim.foreign import ForeignRule


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101, algorithm 2)."""

    lr: float = 3e-4
    """Learning rate: about the largest change of a weight in one step."""
    beta1: float = 0.9
    """Discount of the gradient's running mean, in [0, 1)."""
    beta2: float = 0.999
    """Discount of the squared gradient's running mean, in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the second moment, in the units of a gradient."""
    weight_decay: float = 1e-3
    """Decoupled decay: each step multiplies the weights by 1 - lr * weight_decay."""

    def __post_init__(self) -> None:
        _require("lr", self.lr, self.lr > 0, "must be positive")
        _require("beta1", self.beta1, 0 <= self.beta1 < 1, "must lie in [0, 1)")
        _require("beta2", self.beta2, 0 <= self.beta2 < 1, "must lie in [0, 1)")
        _require("eps", self.eps, self.eps >= 0, "must not be negative")
        _require("weight_decay", self.weight_decay, self.weight_decay >= 0, "must not be negative")

    def rule(self) -> "Rule":
        """The update rule on tensors with a leading member axis."""
        from imitation.optim.adamw import AdamWRule

        return AdamWRule(self.beta1, self.beta2, self.eps, self.weight_decay)

    def build(
        self, params: "Iterable[torch.Tensor]", objective: "Objective | None" = None
    ) -> "torch.optim.Optimizer":
        """The same rule as a ``torch.optim.Optimizer`` over the parameters of one model."""
        from imitation.optim.torch_face import TorchFace

        return TorchFace(params, self.rule(), self.lr, objective)


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
        """1: a schedule multiplies the rates that the class was given, or has by default."""
        return 1.0

    def rule(self) -> "ForeignRule":
        """The class behind the interface of a rule (``vectorises`` is False)."""
        from imitation.optim.foreign import ForeignRule

        return ForeignRule(self.cls, self.arguments)

    def build(
        self, params: "Iterable[torch.Tensor]", objective: "Objective | None" = None
    ) -> "torch.optim.Optimizer":
        """``cls(params, **arguments)``; an objective is not used."""
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


OptimizerConfig = AdamW
"""The suite: what the command line offers."""

if TYPE_CHECKING:
    AnyOptimizer = OptimizerConfig | Foreign
else:
    AnyOptimizer = OptimizerConfig  # the command line reads annotations at run time: the suite only


def _require(name: str, value: float, holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{name} {what}, got {value}")


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
