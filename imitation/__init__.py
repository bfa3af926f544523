"""Policies trained on demonstrations: learners, policy networks, optimizers, checkpoints and evaluation.

Nothing heavy is imported here; ``from imitation import optim`` loads the optimizers' configs, and
torch comes in only when something is built from them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imitation import optim as optim

DISTRIBUTION = "centralpath"
"""Marks the folder as ours: other distributions own the same import name."""

__all__ = ["DISTRIBUTION", "optim"]


def __getattr__(name: str) -> Any:
    if name == "optim":
        return import_module("imitation.optim")
    raise AttributeError(f"module 'imitation' has no attribute {name!r}")
