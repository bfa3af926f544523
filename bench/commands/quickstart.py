"""``centralpath quickstart``: the main experiment in miniature."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Quickstart:
    """Clone exact, barrier-smoothed and randomly smoothed MPC on the double integrator, in miniature.

    Prints a table and the path of an HTML report; takes under three minutes on two cores. The pictures of
    the regions of exact MPC, whose kernels compile first, come with centralpath report.
    """

    out: Path = Path("centralpath-quickstart")
    """Directory of results; an unfinished one of the same run is resumed."""
    seed: int = 0
    """Shifts every repetition's seeds."""
    workers: int | None = None
    """Worker processes of one thread each (default: one for each CPU)."""

    def run(self) -> int:
        """Run the miniature study and write its report; 1 if an experiment failed."""
        from bench.commands.studying import run_study

        command = f"centralpath quickstart --seed {self.seed} --out {self.out}"
        return run_study(
            "barrier_vs_smoothing", "quick", self.seed, self.out, workers=self.workers, command=command
        )
