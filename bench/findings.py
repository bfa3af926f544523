"""What a small study finds: a table, figures and claims with their verdicts, written to a folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from bench.figures.spec import Figure, Line, Style
from bench.statistics import Claim, median_interval
from mpc.arrays import Array

Size = Literal["quick", "default", "full"]
"""A sketch in seconds, a size that gives verdicts in minutes on two cores, or more of it."""

Notify = Callable[[int, int], object]
"""``notify(parts done, parts in all)``."""


@dataclass(frozen=True, eq=False)
class Findings:
    """The result of a study.

    Args:
        setting: one sentence: what was run, how many times.
        table: rows with the same columns, numbers or text.
        claims: each with its verdict and the interval that it rests on.
        figures: in order.
    """

    setting: str
    table: Sequence[Mapping[str, Any]]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...]

    def write(self, out: Path, command: str) -> None:
        """``table.csv``, ``table.parquet``, ``verdicts.json``, ``README.md`` and figures as PNG files."""
        import pandas as pd

        from bench.figures.matplotlib_render import to_png
        from bench.speed.table import grid, machine

        out.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame(self.table)
        table.to_csv(out / "table.csv", index=False)
        table.to_parquet(out / "table.parquet", index=False)
        told = [_record(claim) for claim in self.claims]
        (out / "verdicts.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        lines = [f"`{command}` on {machine()}.", "", self.setting, "", *map(verdict_line, self.claims), ""]
        for figure in self.figures:
            to_png(figure, out / f"{figure.name}.png")
            lines += [f"![{figure.title}]({figure.name}.png)", "", figure.caption, ""]
        lines += grid(list(table.columns), [[_cell(value) for value in row] for row in table.to_numpy()])
        (out / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def median_line(x: ArrayLike, values: Sequence[Array], style: Style, label: str) -> Line:
    """Medians over repetitions, ``values[i] (R,)`` at ``x[i]``, with their 95 % intervals as a band."""
    medians = [median_interval(each) for each in values]
    middle, low, high = (
        np.array([getattr(median, name) for median in medians]) for name in ("estimate", "low", "high")
    )
    return Line(np.asarray(x, float), middle, style, label, low, high)


def verdict_line(claim: Claim) -> str:
    """The claim, its verdict, and the interval with the number of repetitions."""
    return f"- {claim.claim}: **{claim.verdict}**, {claim.interval}, {claim.interval.samples} repetitions."


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _record(claim: Claim) -> dict[str, Any]:
    found = claim.interval
    return {
        "claim": claim.claim,
        "verdict": claim.verdict,
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "repetitions": found.samples,
        "confidence": found.confidence,
        "numbers": {name: str(interval) for name, interval in claim.numbers.items()},
    }
