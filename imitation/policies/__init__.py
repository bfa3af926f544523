"""Policy networks: configs without torch, one module per architecture."""

from imitation.policies.configs import GatedMlp, Mlp, PolicyConfig, ResidualMlp

__all__ = ["GatedMlp", "Mlp", "PolicyConfig", "ResidualMlp"]
