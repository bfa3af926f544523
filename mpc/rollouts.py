"""Closed loops as stacked arrays."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mpc.arrays import Array
from mpc.expert import Control


@dataclass(frozen=True, eq=False)
class Rollouts:
    """``E`` closed loops of at most ``T`` steps; beyond ``length`` entries are NaN and status unset.

    Args:
        x: states ``(E, T+1, n)``.
        u: inputs applied ``(E, T, m)``, so that ``x[t+1] = A x[t] + B u[t] + w[t]``.
        length: steps taken ``(E,)``; less than T where the loop was cut short (no usable action, or
            diverged).
        w: disturbances ``(E, T, n)``, or None for none.
        labels: the controller's ``Control`` with leading axes ``(E, T)``, or None.

    Raises:
        ValueError: if the shapes disagree, x lacking its last state above all.
    """

    x: Array
    u: Array
    length: np.ndarray
    w: Array | None = None
    labels: Control | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 3 or self.u.ndim != 3:
            raise ValueError(f"x and u must be (E, T+1, n) and (E, T, m), got {self.x.shape}, {self.u.shape}")
        E, T = self.u.shape[:2]
        if self.x.shape[:2] != (E, T + 1):
            raise ValueError(
                f"x must hold one state more than there are inputs: u is {self.u.shape}, so x must be "
                f"({E}, {T + 1}, n), got {self.x.shape}"
            )
        if self.length.shape != (E,):
            raise ValueError(f"length must have shape ({E},), got {self.length.shape}")
        if self.w is not None and self.w.shape != (E, T, self.x.shape[2]):
            raise ValueError(f"w must have shape ({E}, {T}, {self.x.shape[2]}), got {self.w.shape}")
        if self.labels is not None:
            for name, value in self.labels.arrays().items():
                if value.shape[:2] != (E, T):
                    raise ValueError(f"labels.{name} must start with ({E}, {T}), got {value.shape}")

    @property
    def episodes(self) -> int:
        return self.u.shape[0]

    @property
    def steps(self) -> int:
        return self.u.shape[1]

    @property
    def complete(self) -> np.ndarray:
        """Boolean ``(E,)``: the loop ran all its steps."""
        return self.length == self.steps

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by its name on disk; labels carry the prefix ``label.``."""
        named: dict[str, np.ndarray] = {"x": self.x, "u": self.u, "length": self.length}
        if self.w is not None:
            named["w"] = self.w
        if self.labels is not None:
            named |= {f"label.{name}": value for name, value in self.labels.arrays().items()}
        return named

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Rollouts":
        """Inverse of ``arrays``."""
        labels = {name[6:]: value for name, value in arrays.items() if name.startswith("label.")}
        plain = {name: value for name, value in arrays.items() if not name.startswith("label.")}
        return cls(**plain, labels=Control(**labels) if labels else None)

    def __getitem__(self, index: Any) -> "Rollouts":
        """Some of the episodes."""
        return Rollouts.from_arrays({name: value[index] for name, value in self.arrays().items()})

    @staticmethod
    def concatenate(parts: "list[Rollouts]") -> "Rollouts":
        """Episodes of several rollouts with the same arrays, one after the other."""
        if not parts:
            raise ValueError("parts must hold at least one Rollouts")
        names = [part.arrays().keys() for part in parts]
        if any(name != names[0] for name in names):
            raise ValueError("only rollouts that hold the same arrays can be concatenated")
        stacked = {
            name: np.concatenate([part.arrays()[name] for part in parts]) for name in parts[0].arrays()
        }
        return Rollouts.from_arrays(stacked)

    def without_labels(self) -> "Rollouts":
        return replace(self, labels=None)
