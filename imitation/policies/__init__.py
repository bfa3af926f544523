"""Policy networks: configs without torch, one module per architecture."""

from imitation.policies.configs import (
    BeliefState,
    GatedMlp,
    Mlp,
    PolicyConfig,
    ResidualMlp,
    StateSpace,
    Transformer,
)

__all__ = ["BeliefState", "GatedMlp", "Mlp", "PolicyConfig", "ResidualMlp", "StateSpace", "Transformer"]
