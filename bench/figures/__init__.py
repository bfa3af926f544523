"""The figures of a report: each computed once from results, rendered by plotly and by matplotlib."""

from dataclasses import replace

from bench.figures.demonstrations import imitation_error, performance
from bench.figures.landscape import cut, landscape
from bench.figures.over_time import error_over_time
from bench.figures.regions import regions, regions_error, regions_value
from bench.figures.results import Results
from bench.figures.smoothness import smoothness
from bench.figures.spec import Figure
from bench.figures.training import training
from bench.figures.trajectories import trajectories

FIGURES = (
    landscape, cut, regions, regions_error, regions_value, imitation_error, error_over_time, trajectories,
    performance, training, smoothness,
)  # fmt: skip


def figures_of(results: Results) -> tuple[Figure, ...]:
    """Every figure that the results hold data for, in the order of the report, without empty panels."""
    drawn = (make(results) for make in FIGURES)
    kept = [
        replace(figure, panels=tuple(panel for panel in figure.panels if panel.holds_data))
        for figure in drawn
        if figure is not None
    ]
    return tuple(figure for figure in kept if figure.panels)


__all__ = ["FIGURES", "Figure", "Results", "figures_of"]
