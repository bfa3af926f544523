"""Configs of the policies: frozen, without torch."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from imitation.policies.contract import Body
    from imitation.policies.network import PolicyNetwork
    from mpc.polytope import Polytope


@dataclass(frozen=True, kw_only=True)
class Windowed:
    """What every policy has beside its architecture; its fields are passed by name."""

    normalise: bool = True
    """Centre and scale each state to the mean and deviation of the training observations."""
    clip: bool = False
    """Project the deployed action onto U, which clips it where U is a box (never in training)."""
    history: int = 1
    """Number of past states it sees, the present one included."""
    chunk: int = 1
    """Number of inputs it plans at once and executes open loop."""

    @property
    def architecture(self) -> str:
        """What the seed of the initial weights depends on.

        Options that leave the shapes alone keep the weights, so that comparisons between them are paired.
        """
        raise NotImplementedError

    def body(self, n: int, m: int, U: "Polytope | None") -> "Body":
        """The layers, which see ``history n`` numbers and plan ``chunk m``; weights are yet to be drawn."""
        raise NotImplementedError

    def build(self, n: int, m: int, U: "Polytope | None" = None) -> "PolicyNetwork":
        """The network for ``n`` states and ``m`` inputs; its weights are yet to be drawn or loaded.

        ``U``: the polytope of the inputs, ``problem.U``; None for no bounds.

        Raises:
            ValueError: where the body does not fit the system.
        """
        from imitation.policies.network import PolicyNetwork

        return PolicyNetwork(self, self.body(n, m, U), n, m, U)


@dataclass(frozen=True)
class Mlp(Windowed):
    """Multilayer perceptron from state to action (the paper's: 4 layers, GELU)."""

    width: int = 64
    """Units of each hidden layer."""
    depth: int = 4
    """Number of linear layers, the output layer included."""
    activation: Literal["gelu", "relu", "tanh"] = "gelu"
    """Non-linearity between the layers."""
    norm: Literal["none", "layer"] = "none"
    """Layer norm before each non-linearity."""

    def __post_init__(self) -> None:
        _require(self, ("width", "depth"), activation=("gelu", "relu", "tanh"), norm=("none", "layer"))

    @property
    def architecture(self) -> str:
        return f"mlp-{self.width}x{self.depth}"

    def body(self, n: int, m: int, U: "Polytope | None") -> "Body":
        from imitation.policies.mlp import MlpBody

        return MlpBody(self, self.history * n, self.chunk * m)


@dataclass(frozen=True)
class GatedMlp(Windowed):
    """Multilayer perceptron of gated hidden layers (GLU, SwiGLU, GEGLU), each with a layer norm."""

    width: int = 48
    """Units of each hidden layer, after the gate."""
    depth: int = 4
    """Number of layers, the output layer included."""
    gate: Literal["silu", "sigmoid", "gelu"] = "silu"
    """Non-linearity of the gate: silu is SwiGLU, sigmoid GLU, gelu GEGLU."""

    def __post_init__(self) -> None:
        _require(self, ("width", "depth"), gate=("silu", "sigmoid", "gelu"))

    @property
    def architecture(self) -> str:
        return f"gated-{self.width}x{self.depth}"

    def body(self, n: int, m: int, U: "Polytope | None") -> "Body":
        from imitation.policies.gated import GatedBody

        return GatedBody(self, self.history * n, self.chunk * m)


@dataclass(frozen=True)
class ResidualMlp(Windowed):
    """Multilayer perceptron of residual blocks with layer norms."""

    width: int = 48
    """Units that pass from block to block; a block has twice as many inside."""
    blocks: int = 2
    """Number of blocks."""
    activation: Literal["gelu", "relu", "tanh", "silu"] = "gelu"
    """Non-linearity inside a block."""

    def __post_init__(self) -> None:
        _require(self, ("width", "blocks"), activation=("gelu", "relu", "tanh", "silu"))

    @property
    def architecture(self) -> str:
        return f"residual-{self.width}x{self.blocks}"

    def body(self, n: int, m: int, U: "Polytope | None") -> "Body":
        from imitation.policies.residual import ResidualBody

        return ResidualBody(self, self.history * n, self.chunk * m)


@dataclass(frozen=True)
class Transformer(Windowed):
    """Causal Transformer over the last states, a token each."""

    width: int = 32
    """Entries of a token."""
    blocks: int = 2
    """Number of blocks of attention and perceptron."""
    heads: int = 2
    """Heads of attention; they divide the width."""
    attention: Literal["softmax", "linear"] = "softmax"
    """Weights of the past: softmax of products, or the products themselves over their number."""
    history: int = field(default=8, kw_only=True)
    """Number of past states it sees, the present one included."""

    def __post_init__(self) -> None:
        _require(self, ("width", "blocks", "heads"), attention=("softmax", "linear"))
        if self.width % self.heads:
            raise ValueError(f"heads must divide width = {self.width}, got {self.heads}")

    @property
    def architecture(self) -> str:
        return f"transformer-{self.width}x{self.blocks}"

    def body(self, n: int, m: int, U: "Polytope | None") -> "Body":
        from imitation.policies.transformer import TransformerBody

        return TransformerBody(self, self.history * n, self.chunk * m)


@dataclass(frozen=True)
class StateSpace(Windowed):
    """Diagonal state-space model over the last states (S4D, LRU)."""

    width: int = 32
    """Entries of a token."""
    blocks: int = 2
    """Number of blocks."""
    states: int = 16
    """Complex states of a block."""
    history: int = field(default=8, kw_only=True)
    """Number of past states it sees, the present one included."""

    def __post_init__(self) -> None:
        _require(self, ("width", "blocks", "states"))

    @property
    def architecture(self) -> str:
        return f"state-space-{self.width}x{self.blocks}"

    def body(self, n: int, m: int, U: "Polytope | None") -> "Body":
        from imitation.policies.state_space import StateSpaceBody

        return StateSpaceBody(self, self.history * n, self.chunk * m)


@dataclass(frozen=True)
class BeliefState(Windowed):
    """Belief-state Transformer over discretised trajectories, told where they end (arXiv 2410.23506).

    Trained by cross-entropy of the next inputs and of the input before a piece of the future.
    """

    width: int = 32
    """Entries of a token."""
    blocks: int = 1
    """Number of blocks of attention and perceptron, of each of its two encoders."""
    heads: int = 2
    """Heads of attention; they divide the width."""
    bins: int = 32
    """Values of each coordinate of a state, and of an input between the bounds of U."""
    goal: tuple[float, ...] = ()
    """State that a controller is told to reach and stay at; () for the origin."""
    history: int = field(default=4, kw_only=True)
    """Number of past states it sees, the present one included, and of states to come."""

    def __post_init__(self) -> None:
        _require(self, ("width", "blocks", "heads"))
        if self.width % self.heads:
            raise ValueError(f"heads must divide width = {self.width}, got {self.heads}")
        if self.bins < 2:
            raise ValueError(f"bins must be at least 2, got {self.bins}")

    @property
    def architecture(self) -> str:
        return f"belief-{self.width}x{self.blocks}"

    def body(self, n: int, m: int, U: "Polytope | None") -> "Body":
        from imitation.policies.belief import BeliefBody

        if self.goal and len(self.goal) != n:
            raise ValueError(f"goal must have {n} entries, a state's, got {self.goal}")

        return BeliefBody(self, n, m, U)


PolicyConfig = Mlp | GatedMlp | ResidualMlp | Transformer | StateSpace | BeliefState
"""What the command line and a learner see."""


def _require(config: Any, sizes: tuple[str, ...], **choices: tuple[str, ...]) -> None:
    for name in (*sizes, "history", "chunk"):
        value = getattr(config, name)
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    for name, allowed in choices.items():
        value = getattr(config, name)
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
