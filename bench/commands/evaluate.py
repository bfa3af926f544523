"""``centralpath evaluate``: closed-loop metrics of a policy."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from mpc.configs import ExpertConfig, Online

if TYPE_CHECKING:
    from torch import nn

    from bench.measure import Reference
    from mpc.problem import ControlProblem


@dataclass(frozen=True)
class Evaluate:
    """Test a policy in closed loop, paired with the expert it cloned and with exact MPC."""

    policy: Positional[Path]
    """Checkpoint that `centralpath train` wrote."""
    dataset: Path | None = None
    """Dataset that it was trained on: names the system and the expert."""
    system: str | None = None
    """In place of a dataset: catalogue name, name:argument=value,..., or a problem's .json record."""
    episodes: int = 100
    """Number of test initial states."""
    steps: int = 20
    """Length of a closed loop, in steps of the plant."""
    json: Path | None = None
    """Also write the metrics to this file as JSON."""
    expert: ExpertConfig | None = None
    """With --system: the expert that was cloned (default: online)."""

    def run(self) -> int:
        """Print the table of metrics."""
        if (self.dataset is None) == (self.system is None):
            raise ValueError("pass one of --dataset DIR and --system NAME, to say what to test on")
        if self.dataset is not None and self.expert is not None:
            raise ValueError("--dataset names the expert already; leave out expert:..., or pass --system")
        from imitation.checkpoint import load_policy, read_checkpoint

        name, problem, config = self._setting()
        content = read_checkpoint(self.policy)
        _require_sizes(content, problem)
        if content["problem_key"] != problem.key:
            print(f"note: {self.policy} was trained on another problem ({content['problem']})")
        module, _ = load_policy(self.policy)
        from bench.measure import Reference

        reference = Reference.of(problem, config.build(problem), name, self.episodes, self.steps)
        _show(_metrics(reference, module), self.json)
        return 0

    def _setting(self) -> "tuple[str, ControlProblem, ExpertConfig]":
        """Name of the system, problem, and config of the expert."""
        from mpc.catalogue import SystemSpec
        from mpc.dataset import open_dataset

        if self.dataset is not None:
            dataset = open_dataset(self.dataset)
            return dataset.system, dataset.problem, dataset.expert
        spec = SystemSpec.parse(str(self.system))
        return str(spec), spec.build(), self.expert or Online()


def _require_sizes(content: dict[str, Any], problem: "ControlProblem") -> None:
    if (content["n"], content["m"]) != (problem.n, problem.m):
        raise ValueError(
            f"the policy maps {content['n']} states to {content['m']} inputs, the problem has {problem.n} "
            f"and {problem.m}; pass the system that it was trained on"
        )


def _metrics(reference: "Reference", module: "nn.Module") -> dict[str, Any]:
    from bench.measure import measure
    from imitation.trained import policy_controller
    from mpc.closed_loop import simulate
    from mpc.controllers import replay

    cloned = reference.cloned
    policy = policy_controller(module)
    learned = simulate(reference.problem, policy, reference.x0, cloned.steps)
    return measure(reference, learned, replay(policy, cloned.x[:, :-1]))


def _show(metrics: dict[str, Any], file: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4g}")
    Console(highlight=False).print(table)
    if file is not None:
        finite = {name: value if abs(value) < float("inf") else None for name, value in metrics.items()}
        file.write_text(json.dumps(finite, indent=1, allow_nan=False) + "\n")
