"""What the training of populations asks of a policy."""

from typing import Protocol

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
"""Named weights and buffers; with a leading member axis for a population."""


class Policy(Protocol):
    """An ``nn.Module`` ``(B, n) -> (B, m)`` whose initial weights and input scaling are explicit.

    ``__call__`` in ``eval()`` mode is the deployed policy (its action clipped where the config says so),
    in ``train()`` mode the raw one. The module is one model; populations hold the tensors of many.
    """

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial weights in place."""
        ...

    def fit_inputs(self, x: Tensor) -> None:
        """Set the normalisation buffers from the training observations ``x (S, n)``."""
        ...

    def forward(self, x: Tensor) -> Tensor: ...

    def population(self, tensors: Tensors, x: Tensor) -> Tensor:
        """Raw actions ``(K, B, m)`` of K members whose tensors carry a leading axis, at ``x (K, B, n)``.

        Never touches the module's own tensors. A policy may leave this to ``imitation.population.mapped``.
        """
        ...
