"""Colours that tell experts apart, also for colour-blind readers, and stay the same in every figure.

The kind of an expert is a hue (blue against orange is safe for every common colour deficiency) and a
marker; within a kind, darker is less smoothing, that is, closer to the exact controller.
"""

import numpy as np
import pandas as pd

from bench.figures.spec import Style

KINDS = ("online", "explicit", "barrier", "smoothed", "lqr", "linear")
DASHES = ("solid", "dash", "dot")
BLUE, ORANGE, GREEN, PURPLE, BLACK = "#1f78c8", "#e06a0b", "#00795a", "#a03070", "#1b1f24"
"""For lines that are no experts, in this order."""
INK, GREY, PALE = "#1b1f24", "#8a9099", "#d6dae0"

# Dark to light, interpolated over the smoothing parameters of the study.
_RAMPS = {
    "online": ("#000000", "#000000"),
    "explicit": ("#4d4d4d", "#4d4d4d"),
    "barrier": ("#08306b", "#1f78c8", "#7cc0ee"),
    "smoothed": ("#7f2704", "#e06a0b", "#fdb863"),
    "lqr": ("#00795a", "#00795a"),
    "linear": ("#a03070", "#a03070"),
}
_OTHER = ("#5b4a9b", "#a99be0")
_MARKERS = {"online": "star", "explicit": "star", "barrier": "circle", "smoothed": "square", "lqr": "diamond"}

# Blue, white, red: symmetric about zero action.
DIVERGING = ("#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b")

# Pale to dark, for what cannot be negative.
SEQUENTIAL = ("#f7fbff", "#d0e1f2", "#94c4df", "#4a98c9", "#1764ab", "#08306b")


def ordered_experts(table: pd.DataFrame) -> list[str]:
    """Labels of the experts: by kind (exact first), then by smoothing parameter, then by label."""
    columns = (table[name] for name in ("expert", "expert_kind", "smoothing"))
    rows = {row[0]: row for row in zip(*columns, strict=True)}

    def place(row: tuple[str, str, float]) -> tuple[int, float, str]:
        label, kind, smoothing = row
        rank = KINDS.index(kind) if kind in KINDS else len(KINDS)
        return rank, -1.0 if np.isnan(smoothing) else float(smoothing), label

    return [row[0] for row in sorted(rows.values(), key=place)]


def expert_styles(table: pd.DataFrame) -> dict[str, Style]:
    """One style for each expert of the whole study, in the order of ``ordered_experts``."""
    kinds = dict(zip(table["expert"], table["expert_kind"], strict=True))
    order = ordered_experts(table)
    styles = {}
    for label in order:
        siblings = [other for other in order if kinds[other] == kinds[label]]
        place = siblings.index(label) / max(1, len(siblings) - 1) if len(siblings) > 1 else 0.5
        styles[label] = Style(ramp(kinds[label], place), marker=_MARKERS.get(kinds[label], "cross"))
    return styles


def ramp(kind: str, place: float) -> str:
    """Colour of a kind at ``place`` in [0, 1], from dark (exact) to light (smooth)."""
    stops = np.array([rgb(color) for color in _RAMPS.get(kind, _OTHER)], float)
    at = np.linspace(0.0, 1.0, len(stops))
    mixed = [round(float(np.interp(place, at, channel))) for channel in stops.T]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def rgb(color: str) -> tuple[int, int, int]:
    """'#rrggbb' as three numbers from 0 to 255."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
