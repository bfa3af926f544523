"""``centralpath explicit``: the regions of exact MPC, counted and drawn."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.figures.regions import Plane
    from mpc.explicit import ExplicitExpert
    from mpc.problem import ControlProblem


@dataclass(frozen=True)
class Explicit:
    """List the regions of a system's exact MPC, say what its law takes, and draw it.

    The pictures show two coordinates of the state; the others are fixed.
    """

    system: str = "double_integrator"
    """Catalogue name, name:argument=value,..., or the path of a problem's .json record."""
    out: Path | None = None
    """Folder for the pictures, PNG and one HTML page; without it there are none."""
    axes: tuple[int, int] = (0, 1)
    """The two coordinates of the state that are drawn, counted from 0."""
    at: tuple[float, ...] = ()
    """The state (all coordinates) through which the slice is made; by default the origin."""
    max_regions: int = 50_000
    """Regions after which it is refused."""
    max_seconds: float | None = None
    """Seconds after which it is refused; None for no limit."""

    def run(self) -> int:
        """List, print and draw."""
        from rich.console import Console

        from mpc.catalogue import SystemSpec

        problem = SystemSpec.parse(self.system).build()
        if len(set(self.axes)) != 2 or not all(0 <= axis < problem.n for axis in self.axes):
            raise ValueError(
                f"axes must be two different coordinates from 0 to {problem.n - 1}, got {self.axes}"
            )
        if self.at and len(self.at) != problem.n:
            raise ValueError(f"at must have {problem.n} numbers, one a state, got {len(self.at)}: {self.at}")
        expert = self._listed(problem)
        console = Console(highlight=False)
        for name, number in vars(expert.complexity).items():
            console.print(f"{_WORDS[name]:42}{number:>12,}", markup=False)
        if self.out is not None:
            self._draw(expert, self.out)
            console.print(f"pictures: {(self.out / 'index.html').resolve()}", markup=False, soft_wrap=True)
        return 0

    def _listed(self, problem: "ControlProblem") -> "ExplicitExpert":
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        from mpc.explicit import ExplicitExpert

        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task("regions")

            def tell(found: int, waiting: int) -> None:
                bar.update(task, description=f"{found} regions, {waiting} sets to look at")

            return ExplicitExpert(
                problem, max_regions=self.max_regions, max_seconds=self.max_seconds, progress=tell
            )

    def _plane(self, expert: "ExplicitExpert") -> "Plane":
        import numpy as np

        from bench.figures.regions import Plane, borders_of

        low, high = expert.regions.within.bounds
        axes, at = list(self.axes), np.array(self.at or np.zeros(expert.problem.n))
        return Plane(self.axes, at, low[axes], high[axes]).around(borders_of(expert.regions))

    def _draw(self, expert: "ExplicitExpert", out: Path) -> None:
        from plotly.offline import get_plotlyjs

        from bench.figures.matplotlib_render import to_png
        from bench.figures.plotly_render import to_html
        from bench.figures.regions import law, smoothed, value

        plane = self._plane(expert)
        figures = [law(expert, plane), value(expert, plane), smoothed(expert, plane)]
        out.mkdir(parents=True, exist_ok=True)
        for figure in figures:
            to_png(figure, out / f"{figure.name}.png")
        body = "".join(f"<h2>{f.title}</h2><p>{f.caption}</p>{to_html(f)}" for f in figures)
        page = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{expert.problem.name}</title>'
            f"<script>{get_plotlyjs()}</script>"
            "<body style='font-family:sans-serif;max-width:1100px;margin:auto'>"
            f"<h1>{expert.problem.name}</h1>{body}</body></html>"
        )
        (out / "index.html").write_text(page, encoding="utf-8")


_WORDS = {
    "regions": "regions",
    "merged": "polytopes with one first move each",
    "laws": "distinct first moves",
    "facets": "half-spaces of all regions",
    "depth": "depth of the search tree",
    "bytes": "bytes",
    "operations": "operations for an input, at most",
}
