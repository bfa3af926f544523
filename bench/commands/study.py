"""``centralpath study``: ask one question about optimizers, with a table, figures and verdicts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True)
class Study:
    """Run a small study in this process: seconds to minutes."""

    name: Positional[str]
    """Name of a study: a file of bench/studies (those with a sweep behind them run by ``sweep``)."""
    out: Path | None = None
    """Folder for table, verdicts and figures (default: results/NAME-SIZE); older ones are replaced."""
    size: Literal["quick", "default", "full"] = "default"
    """A sketch in seconds, a size that gives verdicts in minutes, or more of it."""
    seed: int = 0
    """Shifts every repetition's seeds."""

    def run(self) -> int:
        """Run the study, print its verdicts, write its folder."""
        import time

        from rich.console import Console

        from bench.commands.progress import counting
        from bench.commands.studying import small_study, verdict_table
        from mpc.arrays import whole_number

        whole_number("seed", self.seed, 0)
        study = small_study(self.name)
        out = self.out or Path("results") / f"{self.name}-{self.size}"
        start = time.perf_counter()
        with counting("parts") as advance:
            found = study(self.size, self.seed, advance)
        command = f"centralpath study {self.name} --size {self.size} --seed {self.seed}"
        found.write(out, command)
        console = Console(highlight=False)
        console.print(found.setting, soft_wrap=True)
        console.print(verdict_table(list(found.claims)))
        seconds = time.perf_counter() - start
        console.print(f"{seconds:.0f} s; table, verdicts and figures: {out.resolve()}", soft_wrap=True)
        return 0
