"""Policy networks: configs without torch, one module per architecture."""

from imitation.policies.configs import GatedMlp, Mlp, PolicyConfig, ResidualMlp, StateSpace, Transformer

__all__ = ["GatedMlp", "Mlp", "PolicyConfig", "ResidualMlp", "StateSpace", "Transformer"]
