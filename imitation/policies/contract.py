"""What the training of populations asks of a policy."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]
"""Named weights and buffers; with a leading member axis for a population."""


class Body(Protocol):
    """The network of a policy, an ``nn.Module`` that holds its layers: scaled inputs to actions.

    Its tensors are handed in by name (``body.<name>``), of one model, or with a leading member axis too where
    it is ``batched``; where not, a population maps it over its members.
    """

    batched: bool

    def run(self, tensors: Tensors, h: Tensor) -> Tensor:
        """``h (B, L n)`` to ``(B, l m)``, or ``(K, B, L n)`` to ``(K, B, l m)``."""
        ...

    def modules(self) -> Iterator[nn.Module]: ...


@runtime_checkable
class DrawsMore(Protocol):
    """A body with parameters other than those of linear layers and norms."""

    def draw_rest(self, generator: torch.Generator) -> None:
        """Draw them in place, after the others."""
        ...


@runtime_checkable
class Foresees(Protocol):
    """A body that is handed a window of the future, ``h (B, 2 L n)``, and learns more than actions."""

    def logits(self, tensors: Tensors, h: Tensor) -> Tensor:
        """What training minimises the criterion of ``(B, ...)``."""
        ...

    def criterion(self) -> Any:
        """With ``losses(logits, rows)``, as ``imitation.losses.Criterion``."""
        ...


class Policy(Protocol):
    """An ``nn.Module`` ``(B, L n) -> (B, l m)`` whose initial weights and input scaling are explicit.

    A row holds the last L states, oldest first, and l inputs ahead, the next one first (L = l = 1 unless the
    config says otherwise).

    ``__call__`` in ``eval()`` mode is the deployed policy (its action clipped where the config says so),
    in ``train()`` mode the raw one. The module is one model; populations hold the tensors of many.
    """

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial weights in place."""
        ...

    def fit_inputs(self, x: Tensor) -> None:
        """Set the normalisation buffers from the training observations ``x (S, L n)``."""
        ...

    def forward(self, x: Tensor) -> Tensor: ...

    def population(self, tensors: Tensors, x: Tensor) -> Tensor:
        """Raw actions ``(K, B, l m)`` of K members whose tensors carry a leading axis, at ``x (K, B, L n)``.

        Never touches the module's own tensors. A policy may leave this to ``imitation.population.mapped``.
        """
        ...
