"""``centralpath sweep``: run a study, or what is missing of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True)
class Sweep:
    """Run a study in worker processes; run again, it does only what is missing or failed."""

    study: Positional[str]
    """Name of a study: a file of bench/studies."""
    out: Path | None = None
    """Directory of the store (default: results/STUDY-SIZE)."""
    size: Literal["quick", "default", "full"] = "default"
    """How many experiments: a miniature, one that gives verdicts, or the paper's whole grids."""
    seed: int = 0
    """Shifts every repetition's seeds."""
    workers: int | None = None
    """Worker processes of one thread each (default: one for each CPU)."""

    def run(self) -> int:
        """Run the study, print its table and verdicts; 1 if an experiment failed."""
        from bench.commands.studying import run_study

        out = self.out or Path("results") / f"{self.study}-{self.size}"
        command = f"centralpath sweep {self.study} --size {self.size} --seed {self.seed} --out {out}"
        return run_study(self.study, self.size, self.seed, out, workers=self.workers, command=command)
