"""``centralpath generate``: a dataset of an expert's demonstrations."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mpc.arrays import whole_number
from mpc.configs import ExpertConfig, Online


@dataclass(frozen=True)
class Generate:
    """Generate a dataset: closed loops of an expert from seeded initial states, with all its labels.

    An interrupted run is resumed by the same command.
    """

    out: Path
    """Directory to write; it must not exist."""
    system: str = "double_integrator"
    """Catalogue name, name:argument=value,..., or the path of a problem's .json record."""
    episodes: int = 100
    """Number of complete episodes to keep."""
    steps: int = 20
    """Length of an episode, in steps of the plant."""
    seed: int = 0
    """Repetition: names the seeds of the initial states and disturbances."""
    disturbance: bool = False
    """Add uniform disturbances from the problem's set W."""
    accept: Literal["optimal", "optimal_inaccurate"] = "optimal"
    """Worst label a kept episode may hold; softened constraints give optimal_inaccurate ones."""
    shard_size: int = 1024
    """Attempted episodes in a shard of the dataset; what an interruption can cost."""
    to: Literal["native", "minari"] = "native"
    """'minari' also exports the dataset to Minari's store."""
    minari_id: str | None = None
    """Id of the Minari dataset, as in name/expert-v0; needed with --to minari."""
    expert: ExpertConfig = field(default_factory=Online)
    """The controller that demonstrates."""

    def run(self) -> int:
        """Write the dataset, and export it where asked."""
        if (self.to == "minari") != (self.minari_id is not None):
            raise ValueError("--to minari and --minari-id ID belong together; give both or neither")
        whole_number("seed", self.seed, 0)
        from time import perf_counter

        from rich.console import Console

        from bench.commands.progress import counting
        from imitation.demonstrate import generate
        from mpc.catalogue import SystemSpec
        from mpc.status import Status

        spec = SystemSpec.parse(self.system)
        if self.minari_id is not None:
            from envs.staging import vacant_path

            vacant_path(self.minari_id)  # an id that will not do is refused before the work
        began, resumed = perf_counter(), Path(f"{self.out}.partial").exists()
        with counting("episodes") as advance:
            dataset = generate(
                self.out,
                spec.build(),
                self.expert,
                str(spec),
                self.seed,
                self.episodes,
                self.steps,
                shard_size=self.shard_size,
                progress=advance,
                disturbance=self.disturbance,
                accept=Status[self.accept],
            )
        discarded = len(dataset.manifest["discarded"])
        Console(highlight=False, soft_wrap=True).print(
            f"{dataset.episodes} episodes of {dataset.steps} steps in {self.out} "
            f"({discarded} attempts discarded, {dataset.manifest['queries']} expert queries)"
        )
        if not resumed:
            labels, seconds = dataset.episodes * dataset.steps, perf_counter() - began
            print(f"{labels} labels in {seconds:.1f} s: {labels / seconds:.0f} a second, files included")
        return self._export() if self.minari_id else 0

    def _export(self) -> int:
        from bench.experiment import expert_label
        from envs.datasets import to_minari
        from mpc.catalogue import SystemSpec
        from mpc.dataset import open_dataset

        dataset = open_dataset(self.out)
        spec = SystemSpec.parse(self.system)
        export = to_minari(
            dataset.rollouts(),
            dataset.problem if spec.name.endswith(".json") else spec,
            str(self.minari_id),
            disturbance="uniform" if self.disturbance else None,
            seeds=dataset.arrays(names=("seed",))["seed"].tolist(),
            algorithm_name=expert_label(self.expert),
        )
        print(f"exported {export.episodes} episodes to Minari as {export.dataset_id} ({export.path})")
        return 0
