"""The control law over a 2-D state space: exact, smoothed and learned, whole and along a cut."""

from dataclasses import replace

import numpy as np

from bench.figures.palette import INK, ordered_experts
from bench.figures.results import Results, left_out, selection
from bench.figures.spec import Figure, Heat, Line, Panel, Style
from mpc.arrays import Array

_EXPERTS, _LEARNED = 6, 3
EXACT = "online"
# Half-width, in grid cells, of the cut's close-up around the kink.
_CLOSE_UP = 9


def landscape(results: Results) -> Figure | None:
    """First input over the state plane for the experts, and for the policies that learned from some."""
    grids = law_grids(results)
    if not grids:
        return None
    experts, learned = _selection(results, grids)
    drawn = [(label, grids[label]) for label in (*experts, *learned)]
    limit = _limit(results, [z for _, (_, _, z) in drawn])
    labels = results.problem.state_labels if results.problem else ("x1", "x2")
    panels = tuple(
        Panel(label, labels[0], labels[1], heat=Heat(x, y, z, limit, _input_label(results)))
        for label, (x, y, z) in drawn
    )
    total = sum(not learned_from(label) for label in grids)
    caption = (
        "First input as a function of the two states. Blank: no admissible plan exists. "
        f"'learned' is the policy of the first repetition with the most demonstrations "
        f"({results.sizes[-1]})." + left_out(len(experts), total, "experts")
    )
    return Figure("landscape", "Control laws over the state plane", caption, panels, 3)


def cut(results: Results) -> Figure | None:
    """The same laws along the line x2 = const through the exact law's sharpest kink near x2 = 0."""
    grids = law_grids(results)
    if not grids:
        return None
    experts, learned = _selection(results, grids)
    base = grids.get(EXACT, grids[experts[0]])
    column = int(np.argmin(np.abs(base[1])))
    kink = sharpest_kink(base[2][:, column])
    lines = []
    for label in (*experts, *learned):
        x, _, z = grids[label]
        lines.append(Line(x, z[:, column], _law_style(results, label), label))
    labels = results.problem.state_labels if results.problem else ("x1", "x2")
    x = base[0]
    near = slice(max(0, kink - _CLOSE_UP), kink + _CLOSE_UP + 1)
    close = [replace(line, x=line.x[near], y=line.y[near]) for line in lines if len(line.x) == len(x)]
    markers = [replace(line, style=replace(line.style, marker="circle", size=4.0)) for line in close]
    axis = (labels[0], _input_label(results))
    caption = (
        f"First input along {labels[0]} at {labels[1]} = {base[1][column]:.3g}; right: around the "
        "exact law's sharpest kink, one marker for each computed state. Dashed: learned policies."
    )
    panels = (
        Panel("whole cut", *axis, tuple(lines)),
        Panel(f"close-up of the kink at {x[kink]:.3g}", *axis, tuple(markers)),
    )
    return Figure("landscape-cut", "Control laws along a cut", caption, panels)


def law_grids(results: Results) -> dict[str, tuple[Array, Array, Array]]:
    """Axes and first input ``z (len(x), len(y))`` by label: the experts, then 'learned from ..'."""
    grids, learned = {}, {}
    for expert in ordered_experts(results.table):
        row = results.representative(results.table.loc[results.table["expert"] == expert])
        axes, imitated = results.array(row, "landscape.axes"), results.array(row, "landscape.learned")
        if axes is None:
            continue
        stored = results.arrays(str(row["chunk"]))
        for label in (EXACT, expert):
            if f"landscape/{label}" in stored:
                grids.setdefault(label, (axes[0], axes[1], first_input(stored[f"landscape/{label}"])))
        if imitated is not None:
            learned[f"learned from {expert}"] = (axes[0], axes[1], first_input(imitated))
    return grids | learned


def sharpest_kink(values: Array) -> int:
    """Index of the largest second difference of ``values`` (NaN beside a blank is ignored)."""
    bend = np.abs(np.diff(values, 2))
    return int(np.nanargmax(bend)) + 1 if np.isfinite(bend).any() else len(values) // 2


def first_input(grid: Array) -> Array:
    """The first input of a grid ``(..., m)`` or ``(len(x), len(y))``."""
    return np.asarray(grid[..., 0] if grid.ndim == 3 else grid, float)


def learned_from(label: str) -> str:
    """The expert that a policy of this label learned from; empty where it is none."""
    return label.removeprefix("learned from ") if label.startswith("learned from ") else ""


def _selection(results: Results, grids: dict[str, tuple[Array, Array, Array]]) -> tuple[list[str], list[str]]:
    known = [label for label in (EXACT, *ordered_experts(results.table)) if label in grids]
    experts = selection({label: results.kind(label) for label in known}, _EXPERTS)
    imitated = {label: results.kind(label) for label in experts if f"learned from {label}" in grids}
    return experts, [f"learned from {label}" for label in selection(imitated, _LEARNED)]


def _law_style(results: Results, label: str) -> Style:
    source = label.removeprefix("learned from ")
    style = results.styles.get(source, Style(INK))
    return replace(style, marker="", dash="dash" if learned_from(label) else "solid")


def _limit(results: Results, grids: list[Array]) -> float:
    """The input's bound where there is one, else the largest action drawn."""
    if results.problem is not None:
        low, high = results.problem.U.bounds
        if np.isfinite([low[0], high[0]]).all():
            return float(max(abs(low[0]), abs(high[0])))
    return float(np.nanmax(np.abs(np.concatenate([z.ravel() for z in grids]))))


def _input_label(results: Results) -> str:
    return results.problem.input_labels[0] if results.problem is not None else "u1"
