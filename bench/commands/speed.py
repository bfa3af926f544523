"""``centralpath speed``: measure a claim about speed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from rich.table import Table

    from bench.speed import explicit, optimizers, populations, solvers


@dataclass(frozen=True)
class Speed:
    """Measure our experts' speed beside that of other software, and print a table.

    solvers: labels, at matched accuracy. explicit: listing the regions of exact MPC and looking states up.
    optimizers: a step of each rule, alone and in populations. populations: cloning beside a plain loop.
    Peers come with pip install 'centralpath[speed]'; one that is not installed is a row that says so.
    """

    name: Positional[Literal["solvers", "explicit", "optimizers", "populations"]]
    """Script of bench/speed."""
    problems: tuple[str, ...] = ()
    """Systems as in random_system:n=6,m=2,N=20; for solvers also the letters a, b, e, d, c10, c30 (default:
    those of the script)."""
    peers: tuple[str, ...] = ()
    """Names of peers, or their beginnings, as in daqp piqp (default: all); solvers only."""
    rules: tuple[str, ...] = ()
    """Names of optimizers, or their beginnings, as in AdamW Sam (default: all); optimizers only."""
    states: int | None = None
    """States of each problem (default: 2000, explicit 5000); slow peers label fewer, as the table says.
    Optimizers and populations: of a minibatch (256; 32 and 256)."""
    rounds: int = 5
    """How often all contestants are timed in turn."""
    budget: float | None = None
    """Seconds of one turn of a slow peer (default: 0.5), or for its list of regions (explicit, 60)."""
    peer_python: Path | None = None
    """Interpreter of an environment with the package imitation, whose cloning populations then times too."""
    quick: bool = False
    """A sketch in a minute or two: few problems and states, short turns."""
    out: Path = Path("results/speed")
    """Folder for the table as .md, .csv and .parquet; written after every problem."""

    def run(self) -> int:
        """Measure, print the table and write it; 1 if a peer that is installed failed."""
        match self.name:
            case "explicit":
                from bench.speed import explicit

                return self._plain(explicit, self._explicit_settings())
            case "optimizers":
                from bench.speed import optimizers

                return self._plain(optimizers, self._optimizer_settings())
            case "populations":
                from bench.speed import populations

                return self._plain(populations, self._population_settings())
            case "solvers":
                return self._solvers()

    def _plain(self, script: Any, settings: Any) -> int:
        """Run a script whose rows are the lines of one table."""
        from bench.speed.table import machine, plain_table

        rows = []
        for row in script.run(settings, _progress):
            rows.append(row)
            script.write(rows, self.out, self._command())
        table = plain_table(script.HEADS, [script.cells(row) for row in rows])
        self._show(table, f"{script.LEGEND}\n{machine()}")
        return 0

    def _solvers(self) -> int:
        from bench.speed.solvers import run
        from bench.speed.table import LEGEND, machine, rich_table, write

        rows = []
        for more in run(self._settings(), _progress):
            rows += more
            write(rows, self.out, self._command())
        self._show(rich_table(rows), f"{LEGEND}\n{machine()}")
        return 1 if any(row.note.startswith("failed") for row in rows) else 0

    def _settings(self) -> "solvers.Settings":
        from bench.speed.solvers import QUICK, Settings

        settings = (
            QUICK if self.quick else replace(Settings(rounds=self.rounds), **self._given("states", "budget"))
        )
        return replace(settings, **self._given("problems", "peers"))

    def _explicit_settings(self) -> "explicit.Settings":
        from bench.speed.explicit import QUICK, Settings

        settings = (
            QUICK if self.quick else replace(Settings(rounds=self.rounds), **self._given("states", "budget"))
        )
        return replace(settings, **self._given("problems"))

    def _optimizer_settings(self) -> "optimizers.Settings":
        from bench.speed.optimizers import QUICK, Settings

        settings = QUICK if self.quick else Settings(rounds=self.rounds)
        batch = settings.batch if self.states is None else self.states
        return replace(settings, batch=batch, **self._given("rules"))

    def _population_settings(self) -> "populations.Settings":
        from bench.speed.populations import QUICK, Settings

        settings = QUICK if self.quick else Settings(rounds=self.rounds)
        batches = settings.batches if self.states is None else (self.states,)
        return replace(settings, batches=batches, peer=self.peer_python)

    def _given(self, *names: str) -> dict[str, Any]:
        """The options that were set."""
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None and value != ()}

    def _show(self, table: "Table", legend: str) -> None:
        import sys

        from rich.console import Console

        console = Console(highlight=False, width=None if sys.stdout.isatty() else 220)
        console.print(table)
        console.print(f"{legend}\ntables: {self.out.resolve()}", markup=False, soft_wrap=True)

    def _command(self) -> str:
        """The command line that repeats this run."""
        words = ["centralpath", "speed", self.name]
        for name, value in self._given("problems", "peers", "rules").items():
            words += [f"--{name}", *value]
        if self.peer_python is not None:
            words += ["--peer-python", str(self.peer_python)]
        numbers = [f"--{name} {value:g}" for name, value in self._given("states", "rounds", "budget").items()]
        return " ".join(words + (["--quick"] if self.quick else numbers))


def _progress(text: str) -> None:
    import sys

    print(text, file=sys.stderr, flush=True)
