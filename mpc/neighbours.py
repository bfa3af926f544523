"""Which region lies across each facet of a partition."""

import numpy as np

from mpc.partition import Partition
from mpc.walk import crossed

_SAME = 1e-6  # between two facets that say the same, in states divided by ``reach``


def neighbours(partition: Partition) -> np.ndarray:
    """The region across each facet, -1 where none is known ``(facets,)``.

    Told by active sets: across a facet a row leaves the set, or joins it, or joins it in the place of another
    one. Where facets of neighbours do not coincide it is one of those that share a part of this one.
    """
    known = {side.tobytes(): r for r, side in enumerate(partition.sides)}
    across = np.full(len(partition.b), -1)
    for r, side in enumerate(partition.sides):
        for facet in range(partition.first[r], partition.first[r + 1]):
            for other in _beyond(side, int(partition.kind[facet]), known):
                if _apart(partition, facet, other):
                    across[facet] = other
                    break
    return across


def _beyond(side: np.ndarray, kind: int, known: dict[bytes, int]) -> list[int]:
    """Regions with an active set that may follow ``side`` where ``kind`` (see ``Partition``) ends it."""
    if kind >= 2 * len(side):
        return []
    other, _ = crossed(side, kind)
    found = [known.get(other.tobytes(), -1)]
    if found[0] < 0 <= kind:
        for leaving in np.flatnonzero(side):
            was, other[leaving] = other[leaving], 0
            found.append(known.get(other.tobytes(), -1))
            other[leaving] = was
    return [r for r in found if r >= 0]


def _apart(partition: Partition, facet: int, other: int) -> bool:
    """Whether region ``other`` has this facet too, seen from its other side."""
    rows = slice(partition.first[other], partition.first[other + 1])
    turned = np.abs((partition.A[rows] + partition.A[facet]) * partition.reach).sum(axis=1)
    return bool((turned + np.abs(partition.b[rows] + partition.b[facet])).min() < _SAME)
