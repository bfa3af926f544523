"""``centralpath speed``: measure a claim about speed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from bench.speed.solvers import Settings


@dataclass(frozen=True)
class Speed:
    """Measure our experts' speed beside that of other solvers, at matched accuracy, and print a table.

    Peers come with pip install 'centralpath[speed]'; one that is not installed is a row that says so.
    """

    name: Positional[Literal["solvers"]]
    """Script of bench/speed."""
    problems: tuple[str, ...] = ()
    """Letters a, b, e, d, c10, c30, or systems as in random_system:n=6,m=2,N=20 (default: all six, and
    random systems of growing size)."""
    peers: tuple[str, ...] = ()
    """Names of peers, or their beginnings, as in daqp piqp (default: all)."""
    states: int = 2000
    """States of each problem; peers that are slow label fewer, and the table says how many."""
    rounds: int = 5
    """How often all solvers are timed in turn."""
    budget: float = 0.5
    """Seconds of one turn of a slow peer."""
    quick: bool = False
    """A sketch in a minute or two: problems a and c10, 200 states, 3 rounds, short turns."""
    out: Path = Path("results/speed")
    """Folder for solvers.md, solvers.csv and solvers.parquet; written after every problem."""

    def run(self) -> int:
        """Measure, print the table and write it; 1 if a peer that is installed failed."""
        import sys

        from rich.console import Console

        from bench.speed.solvers import run
        from bench.speed.table import LEGEND, machine, rich_table, write

        def progress(text: str) -> None:
            print(text, file=sys.stderr, flush=True)

        rows = []
        for more in run(self._settings(), progress):
            rows += more
            write(rows, self.out, self._command())
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 220)
        console.print(rich_table(rows))
        console.print(f"{LEGEND}\n{machine()}\ntables: {self.out.resolve()}", markup=False, soft_wrap=True)
        return 1 if any(row.note.startswith("failed") for row in rows) else 0

    def _settings(self) -> "Settings":
        from bench.speed.solvers import QUICK, Settings

        settings = (
            QUICK if self.quick else Settings(states=self.states, rounds=self.rounds, budget=self.budget)
        )
        return replace(settings, problems=self.problems or settings.problems, peers=self.peers)

    def _command(self) -> str:
        """The command line that repeats this run."""
        words = ["centralpath", "speed", self.name]
        for name in ("problems", "peers"):
            if getattr(self, name):
                words += [f"--{name}", *getattr(self, name)]
        numbers = [f"--{name} {getattr(self, name):g}" for name in ("states", "rounds", "budget")]
        return " ".join(words + (["--quick"] if self.quick else numbers))
