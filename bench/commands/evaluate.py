"""``centralpath evaluate``: closed-loop metrics of a policy."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from mpc.configs import ExpertConfig, Online

if TYPE_CHECKING:
    from bench.conditions import Conditions
    from bench.measure import Reference
    from mpc.controllers import Law
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
    disturbance: float = 0.0
    """Also test with uniform disturbances: half-width in parts of that of the initial set."""
    mismatch: float = 0.0
    """Also test on another plant: each entry of A and B off by this part of it, up or down."""
    feasible: bool = False
    """Also test from states of all of X that have a plan, not only from the law of initial states."""
    filter: Literal["none", "project", "plan"] = "none"
    """Bring inputs to the nearest in U ('project'), or to the nearest from whose next state a plan exists
    ('plan', for few states); the share of steps at which that changed them is a metric."""
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
        for option, count in (("--episodes", self.episodes), ("--steps", self.steps)):
            if count < 1:
                raise ValueError(f"{option} must be at least 1, got {count}")
        if self.json is not None and not self.json.parent.is_dir():
            raise ValueError(f"--json {self.json} lies in a folder that does not exist; make it first")
        from imitation.checkpoint import load_controller, read_checkpoint

        name, problem, config = self._setting()
        content = read_checkpoint(self.policy)
        _require_sizes(content, problem)
        if content["problem_key"] != problem.key:
            print(f"note: {self.policy} was trained on another problem ({content['problem']})")
        policy = load_controller(self.policy)
        from bench.measure import Reference

        expert, law, columns = config.build(problem), _filtered(policy, problem, self.filter), {}
        for title, conditions in self._conditions().items():
            reference = Reference.of(problem, expert, name, self.episodes, self.steps, conditions)
            columns[title] = _metrics(reference, policy, law)
        _show(columns, self.json)
        return 0

    def _conditions(self) -> "dict[str, Conditions]":
        """What is tested under, by the title of its column."""
        from bench.conditions import NOMINAL, Conditions

        found = {"value": NOMINAL}
        if self.disturbance:
            found[f"disturbance {self.disturbance:g}"] = Conditions(disturbance=self.disturbance)
        if self.mismatch:
            found[f"mismatch {self.mismatch:g}"] = Conditions(mismatch=self.mismatch)
        if self.feasible:
            found["feasible set"] = Conditions(feasible=True)
        return found

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


def _filtered(policy: "Law", problem: "ControlProblem", by: str) -> "Law":
    """The policy within its filter, which knows the plant as it was thought to be."""
    from mpc.filters import Projected, SafetyFilter

    if by == "none":
        return policy
    return Projected(policy, problem.U) if by == "project" else SafetyFilter.of(policy, problem)


def _metrics(reference: "Reference", policy: "Law", law: "Law") -> dict[str, Any]:
    """The metrics of a policy, as it is or within a filter: then ``law`` is another one."""
    from bench.measure import measure
    from mpc.closed_loop import simulate
    from mpc.controllers import replay
    from mpc.filters import interventions

    cloned = reference.cloned
    learned = simulate(reference.problem, law, reference.x0, cloned.steps, disturbance=reference.w)
    found = measure(reference, learned, replay(law, cloned.x[:, :-1]))
    if law is not policy:
        found["intervention_rate"] = float(interventions(learned, policy).sum() / learned.length.sum())
    return found


def _show(columns: dict[str, dict[str, Any]], file: Path | None) -> None:
    """Print the metrics of each condition; in the file the first ones' stand alone, the others' by title."""
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", *columns)
    first, *others = columns.values()
    for name in first:
        table.add_row(name, *(f"{column[name]:.4g}" for column in columns.values()))
    Console(highlight=False).print(table)
    if file is not None:
        told = [
            {name: value if abs(value) < float("inf") else None for name, value in column.items()}
            for column in (first, *others)
        ]
        named = dict(zip(list(columns)[1:], told[1:], strict=True))
        file.write_text(json.dumps(told[0] | named, indent=1, allow_nan=False) + "\n")
