"""What every config of the suite offers, and how it refuses wrong values."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from imitation.optim.contract import Objective, Rule


class Config(Protocol):
    """A frozen config: hyper-parameters without torch, the rule that they make, and its torch face."""

    @property
    def lr(self) -> float:
        """Learning rate."""
        ...

    def rule(self) -> "Rule":
        """The update rule on tensors with a leading member axis."""
        ...

    def build(
        self, params: "Iterable[torch.Tensor]", objective: "Objective | None" = None, seed: int = 0
    ) -> "torch.optim.Optimizer":
        """The rule as a ``torch.optim.Optimizer``, see ``Buildable.build``."""
        ...


class Buildable:
    """Gives a config its torch face."""

    def build(
        self: "Config", params: "Iterable[torch.Tensor]", objective: "Objective | None" = None, seed: int = 0
    ) -> "torch.optim.Optimizer":
        """The same rule as a ``torch.optim.Optimizer`` over the parameters of one model.

        Args:
            objective: for rules that need more than gradients.
            seed: of the random numbers of rules that ask for some.
        """
        from imitation.optim.torch_face import TorchFace

        return TorchFace(params, self.rule(), self.lr, objective, seed)


def require(name: str, value: float, holds: bool, what: str) -> None:
    """Raise ValueError, naming argument and value, unless ``holds``."""
    if not holds:
        raise ValueError(f"{name} {what}, got {value}")


def positive(**values: float) -> None:
    """All must be above 0."""
    for name, value in values.items():
        require(name, value, value > 0, "must be positive")


def not_negative(**values: float) -> None:
    """All must be 0 or more."""
    for name, value in values.items():
        require(name, value, value >= 0, "must not be negative")


def discounts(**values: float) -> None:
    """All must lie in [0, 1)."""
    for name, value in values.items():
        require(name, value, 0 <= value < 1, "must lie in [0, 1)")


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ValueError unless ``value`` is allowed."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
