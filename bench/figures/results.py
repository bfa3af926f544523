"""What a figure is drawn from: the finished rows of one setting of a study, and their arrays."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bench.figures.palette import DASHES, ordered_experts
from bench.figures.spec import Line, Style
from bench.statistics import bootstrap
from mpc.arrays import Array
from mpc.problem import ControlProblem

BAND = "line: median over repetitions (seeds); band: its 95 % percentile bootstrap interval"
_RESAMPLES = 500


@dataclass(frozen=True, eq=False)
class Results:
    """Rows with status 'ok' that share a system and an episode length, and what belongs to them.

    Args:
        table: the rows.
        arrays: maps a chunk's name to its arrays, named ``<key>/<array>`` or ``landscape/<expert>``.
        problem: the control problem of the rows, or None where the store does not hold it.
        styles: the style of each expert, the same for the whole study.
        regions: whether the regions of exact MPC are listed where they are few.
    """

    table: pd.DataFrame
    arrays: Callable[[str], Mapping[str, Array]]
    problem: ControlProblem | None
    styles: Mapping[str, Style]
    regions: bool = True

    def array(self, row: pd.Series, name: str) -> Array | None:
        """An array of one experiment, or None where the experiment did not store it."""
        return self.arrays(str(row["chunk"])).get(f"{row['key']}/{name}")

    def kind(self, expert: str) -> str:
        """Kind of an expert by its label; a label that is not among the rows is its own kind."""
        found = self.table.loc[self.table["expert"] == expert, "expert_kind"]
        return str(found.iloc[0]) if len(found) else expert

    @property
    def sizes(self) -> list[int]:
        """Numbers of demonstrations, increasing."""
        return sorted(int(n) for n in self.table["demonstrations"].unique())

    def series(self) -> Iterator[tuple[str, Style, pd.DataFrame]]:
        """Label, style and rows of each expert; where there are several learners, of each pair."""
        learners = sorted(self.table["learner"].unique())
        for expert in ordered_experts(self.table):
            for place, learner in enumerate(learners):
                mine = self.table["expert"].eq(expert) & self.table["learner"].eq(learner)
                label = expert if len(learners) == 1 else f"{expert}, {learner}"
                dash = DASHES[place % len(DASHES)]
                if np.any(mine):
                    yield label, replace(self.styles[expert], dash=dash), self.table.loc[mine]

    def few_series(self, limit: int) -> tuple[list[tuple[str, Style, pd.DataFrame]], str]:
        """At most ``limit`` of the series, every kind in turn, and what a caption says of the others."""
        everything = list(self.series())
        kinds = {label: str(rows["expert_kind"].iloc[0]) for label, _, rows in everything}
        chosen = selection(kinds, limit)
        return [one for one in everything if one[0] in chosen], left_out(len(chosen), len(kinds), "experts")

    def representative(self, rows: pd.DataFrame) -> pd.Series:
        """The row of ``rows`` that arrays are drawn from: most demonstrations, first repetition."""
        return rows.sort_values(["demonstrations", "rep"], ascending=[False, True]).iloc[0]


def curve(label: str, style: Style, rows: pd.DataFrame, x: str, y: str) -> Line:
    """Median and bootstrap band over repetitions of column ``y`` at each value of column ``x``.

    A repetition whose value is infinite counts as infinitely bad; one whose value is NaN (not
    measured) is left out, and so is an ``x`` at which nothing was measured.
    """
    measured = rows.loc[rows[y].notna() & rows[x].notna()]
    at = np.unique(measured[x].to_numpy(float))
    intervals = [bootstrap(measured.loc[measured[x] == v, y], resamples=_RESAMPLES) for v in at]
    hover = tuple(
        f"<b>{label}</b><br>{interval} over {interval.samples} repetitions" for interval in intervals
    )
    return Line(
        at,
        np.array([interval.estimate for interval in intervals]),
        style,
        label,
        low=np.array([interval.low for interval in intervals]),
        high=np.array([interval.high for interval in intervals]),
        hover=hover,
    )


def selection(kinds: Mapping[str, str], limit: int) -> list[str]:
    """At most ``limit`` of the labels, in their order: every kind in turn gives one more.

    Args:
        kinds: the kind of each label. Of a kind, the least and the most smoothed are kept first; where
            it gives only one, that is the one in the middle.
    """
    groups: dict[str, list[str]] = {}
    for label, kind in kinds.items():
        groups.setdefault(kind, []).append(label)
    quota = dict.fromkeys(groups, 0)
    while sum(quota.values()) < min(limit, len(kinds)):
        for kind, members in groups.items():
            if quota[kind] < len(members) and sum(quota.values()) < limit:
                quota[kind] += 1
    kept = {label for kind, members in groups.items() for label in _spread(members, quota[kind])}
    return [label for label in kinds if label in kept]


def _spread(items: list[str], count: int) -> list[str]:
    """``count`` of the items, evenly spaced with both ends; the middle one where it is one."""
    if count == 1:
        return [items[len(items) // 2]]
    return [items[place] for place in np.linspace(0, len(items) - 1, count).round().astype(int)]


def left_out(shown: int, of: int, what: str) -> str:
    """A sentence for a caption when not everything is drawn, else nothing."""
    return f" {shown} of {of} {what} are drawn." if shown < of else ""
