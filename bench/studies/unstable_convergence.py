"""What holds gradient descent together where the rate is larger than the curvature allows?

Ahn, Zhang, Sra, "Understanding the unstable convergence of gradient descent" (arXiv 2204.01050): at a large
rate, full-batch descent is not stable and yet lowers the loss. With g the gradient, L(d) the mean curvature
along a step d (``imitation.optim.diagnostics``):

- sharpness (the Hessian's largest eigenvalue) times lr/2 goes to 1 and stays near it;
- directional smoothness ``L(-lr g)`` times lr/2 goes to 1;
- relative progress ``(f(w - lr g) - f(w)) / (lr ||g||^2)`` goes to 0; at a small rate it is -1, and the two
  others
  are far below 1.

The settings are chosen here: handwritten digits (300 pictures, raw pixels, tanh network 64-32-32-10, mean
squared error) at rates 2 and 0.2, and the project's own, a policy cloned from barrier MPC (tanh, width 16,
depth 3) at rates 0.5 and 0.05. Means over the second half of the descent.

Claims: at the large rate, sharpness is within 0.2 of 2/lr (in its units), directional smoothness within 0.1,
and relative progress within 0.1 of 0; at the small one it is within 0.05 of -1, directional smoothness below
0.05.
"""

from dataclasses import dataclass

import numpy as np
import torch

from bench.cloned import cloned_policies, whole_set
from bench.descent import descend
from bench.digits import digit_classifiers
from bench.figures.palette import BLUE, ORANGE
from bench.figures.spec import Figure, Panel, Style, reference
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, median_interval
from imitation.optim import Sgd, diagnostics
from imitation.optim.algebra import times
from imitation.optim.batches import BatchObjective
from imitation.optim.contract import Params
from imitation.policies.configs import Mlp
from mpc.arrays import Array
from mpc.seeds import integer_seed

_POINTS = 40
QUANTITIES = "sharpness x lr/2", "directional smoothness x lr/2", "relative progress"


@dataclass(frozen=True)
class _Scale:
    repetitions: int
    steps: int


_SIZES = {"quick": _Scale(8, 400), "default": _Scale(8, 1500), "full": _Scale(32, 10_000)}


@dataclass(frozen=True, eq=False)
class _Path:
    """Steps, and each quantity there ``(points, R)``."""

    at: list[int]
    values: dict[str, list[Array]]

    def later(self, name: str) -> Array:
        """Mean over the second half ``(R,)``."""
        return np.mean(self.values[name][len(self.at) // 2 :], axis=0)


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """Descent at two rates in two settings."""
    scale = _SIZES[size]
    reps = [1000 * seed + rep for rep in range(scale.repetitions)]
    network = Mlp(width=32, depth=3, activation="tanh", normalise=False)
    digits = digit_classifiers(reps, network, count=300)
    policies = cloned_policies(reps, Mlp(width=16, depth=3, activation="tanh"))
    paths: dict[tuple[str, float], _Path] = {}
    for name, (cloning, params), rates in (
        ("digits", digits, (2.0, 0.2)),
        ("a cloned policy", policies, (0.5, 0.05)),
    ):
        objective = cloning.objective(whole_set(cloning))
        for lr in rates:
            notify(len(paths), 4)
            paths[name, lr] = _descended(objective, params, lr, scale.steps, reps)
    notify(4, 4)
    return Findings(
        f"{scale.repetitions} networks of each kind, {scale.steps} steps; means over the second half.",
        [
            {"setting": setting, "rate": lr, "quantity": name}
            | {"value": median.estimate, "low": median.low, "high": median.high}
            for (setting, lr), path in paths.items()
            for name in path.values
            for median in [median_interval(path.later(name))]
        ],
        _claims(paths),
        (_figure(paths),),
    )


def _descended(objective: BatchObjective, params: Params, lr: float, steps: int, reps: list[int]) -> _Path:
    path = _Path([], {name: [] for name in ("loss", *QUANTITIES)})

    def watch(step: int, at: Params, info: dict[str, torch.Tensor]) -> None:
        if step % max(1, steps // _POINTS):
            return
        loss, grads = objective.loss_and_grad(at)
        generators = [torch.Generator().manual_seed(integer_seed("lanczos", rep)) for rep in reps]
        found = (
            loss,
            diagnostics.sharpness(objective, at, generators, steps=20) * lr / 2,
            diagnostics.directional_smoothness(objective, at, times(-lr, grads)) * lr / 2,
            diagnostics.relative_progress(objective, at, lr),
        )
        path.at.append(step)
        for name, value in zip(path.values, found, strict=True):
            path.values[name].append(value.numpy())

    descend(Sgd(lr=lr), params, lambda step: objective, steps, reps, watch=watch)
    return path


def _claims(paths: dict[tuple[str, float], _Path]) -> tuple[Claim, ...]:
    large = {setting: max(lr for s, lr in paths if s == setting) for setting, _ in paths}
    sharp, along, progress = QUANTITIES

    def within(name: str, target: float, tolerance: float, at_large: bool) -> dict[str, Array]:
        return {
            f"{name}, {setting}": tolerance - abs(path.later(name) - target)
            for (setting, lr), path in paths.items()
            if (lr == large[setting]) == at_large
        }

    return (
        claim_all("large rate: 0.2 - |sharpness x lr/2 - 1|", within(sharp, 1, 0.2, True)),
        claim_all("large rate: 0.1 - |directional smoothness x lr/2 - 1|", within(along, 1, 0.1, True)),
        claim_all("large rate: 0.1 - |relative progress|", within(progress, 0, 0.1, True)),
        claim_all(
            "small rate: 0.05 - |relative progress + 1| and 0.05 - directional smoothness x lr/2",
            within(progress, -1, 0.05, False) | within(along, 0, 0.05, False),
        ),
    )


def _figure(paths: dict[tuple[str, float], _Path]) -> Figure:
    panels = []
    for setting in dict.fromkeys(setting for setting, _ in paths):
        mine = [(lr, path) for (s, lr), path in paths.items() if s == setting]
        for name in ("loss", *QUANTITIES):
            lines = [
                median_line(path.at, path.values[name], Style(color), f"{label} rate")
                for (lr, path), color, label in zip(mine, (ORANGE, BLUE), ("large", "small"), strict=True)
            ]
            if name != "loss":
                lines.append(reference(float(name != QUANTITIES[2]), mine[0][1].at, ""))
            y_label = "training loss" if name == "loss" else name
            panels.append(Panel(f"{setting}: {name}", "steps", y_label, tuple(lines), log_y=name == "loss"))
    caption = (
        "Full-batch descent; medians over networks with their 95 % intervals. Large and small rates: "
        + "; ".join(
            f"{setting} {', '.join(f'{lr:g}' for s, lr in paths if s == setting)}"
            for setting in dict.fromkeys(setting for setting, _ in paths)
        )
        + "."
    )
    return Figure(
        "descent", "Descent at the edge of stability, and well inside", caption, tuple(panels), columns=4
    )
