"""Configs of the policies: frozen, without torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from imitation.policies.mlp import MlpPolicy
    from mpc.arrays import Array


@dataclass(frozen=True)
class Mlp:
    """Multilayer perceptron from state to action (the paper's: 4 layers, GELU)."""

    width: int = 64
    """Units of each hidden layer."""
    depth: int = 4
    """Number of linear layers, the output layer included."""
    activation: Literal["gelu", "relu", "tanh"] = "gelu"
    """Non-linearity between the layers."""
    normalise: bool = True
    """Centre and scale each state to the mean and deviation of the training observations."""
    clip: bool = False
    """Clip the deployed action onto the bounding box of U (training is never clipped)."""

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("depth", self.depth)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.activation not in ("gelu", "relu", "tanh"):
            raise ValueError(f"activation must be 'gelu', 'relu' or 'tanh', got {self.activation!r}")

    @property
    def architecture(self) -> str:
        """What the seed of the initial weights depends on.

        Options that leave the shapes alone keep the weights, so that comparisons between them are paired.
        """
        return f"mlp-{self.width}x{self.depth}"

    def build(self, n: int, m: int, bounds: "tuple[Array, Array] | None" = None) -> "MlpPolicy":
        """The network for ``n`` states and ``m`` inputs; its weights are yet to be drawn or loaded.

        ``bounds``: lower and upper bounds of the inputs, ``problem.U.bounds``; None for no bounds.
        """
        from imitation.policies.mlp import MlpPolicy

        return MlpPolicy(self, n, m, bounds)


PolicyConfig = Mlp
"""What the command line and a learner see."""
