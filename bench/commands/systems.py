"""``centralpath systems``: what the catalogue holds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Systems:
    """List the systems of the catalogue, or say all about one of them."""

    system: str | None = None
    """Describe this one: NAME, NAME:argument=value,..., or the path of a problem's .json record."""

    def run(self) -> int:
        """Print the list or the description."""
        from rich.console import Console

        console = Console(highlight=False)
        if self.system is None:
            _list(console)
        else:
            _describe(console, self.system)
        return 0


def _list(console: "Console") -> None:
    import inspect

    from mpc.catalogue import SYSTEMS

    width = max(len(function.__name__) for function in SYSTEMS)
    console.print(f"{'system':{width}}   n  m    N  what it is", markup=False)
    for function in SYSTEMS:
        problem = function()
        summary = (inspect.getdoc(function) or "").splitlines()[0].replace("``", "")
        sizes = f"{problem.n:3d}{problem.m:3d}{problem.N:5d}"
        line = f"{function.__name__:{width}} {sizes}  {summary}"
        console.print(line, markup=False, no_wrap=True, overflow="ellipsis")
    console.print("n states, m inputs, horizon N. More: centralpath systems --system NAME")


def _describe(console: "Console", text: str) -> None:
    import inspect

    from mpc.catalogue import SYSTEMS, SystemSpec

    spec = SystemSpec.parse(text)
    problem = spec.build()
    for function in SYSTEMS:
        if function.__name__ == spec.name:
            console.print(inspect.getdoc(function), markup=False)
    console.print(f"\nstates  {', '.join(problem.state_labels)}", markup=False)
    console.print(f"inputs  {', '.join(problem.input_labels)}", markup=False)
    console.print(f"horizon {problem.N}, sampling time {problem.system.dt:g} s", markup=False)
    for name in ("A", "B"):
        console.print(f"{name} =\n{getattr(problem.system, name)}", markup=False)
    for name in ("Q", "R", "Qf"):
        console.print(f"{name} =\n{getattr(problem, name)}", markup=False)
    for name in ("X", "U", "XU", "Xf"):
        polytope = getattr(problem, name)
        if polytope is not None:
            console.print(f"{name}: {len(polytope.h)} rows G z <= h", markup=False)
