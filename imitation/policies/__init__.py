"""Policy networks: configs without torch, one module per architecture."""

from imitation.policies.configs import Mlp, PolicyConfig

__all__ = ["Mlp", "PolicyConfig"]
