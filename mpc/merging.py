"""Where the first move of exact MPC is one affine function: regions that share it, merged.

Many active sets differ in later inputs only. Two regions with the same first move become one polytope where
their union is convex (Bemporad, Morari, Dua, Pistikopoulos, Automatica 38, 2002, section 4.4). Pairs are
taken greedily, so the number that is left is small, not the smallest.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from mpc.arrays import Array
from mpc.atlas import Atlas
from mpc.kernels.unions import unite
from mpc.partition import Partition

_SAME_LAW = 1e-9  # of the largest entry, gains in units of the domain
_SAME_SIDE = 1e-7  # two facets this close are two sides of one
_TOLERANCE = 1e-9  # of the domain: how far a union may differ from a polytope


@dataclass(frozen=True, eq=False)
class FirstMoves:
    """The first move as polytopes with disjoint interiors, each with its law ``u_0 = K x + k``.

    Args:
        A, b, first: facets ``A x <= b`` of polytope p in the rows ``first[p]:first[p + 1]``, as in
            ``Partition``.
        law: which law holds on each polytope ``(P,)``.
        K, k: the distinct laws ``(L, m, n)`` and ``(L, m)``.
        piece: the polytope that each region became part of ``(R,)``.
    """

    A: Array
    b: Array
    first: np.ndarray
    law: np.ndarray
    K: Array
    k: Array
    piece: np.ndarray

    def __len__(self) -> int:
        return len(self.law)


@dataclass(frozen=True, eq=False)
class _Part:
    """A polytope on the way: rows of norm 1 in scaled states, a point inside, and the regions in it."""

    A: Array
    b: Array
    centre: Array
    members: tuple[int, ...]


def first_moves(regions: Partition, atlas: Atlas) -> FirstMoves:
    """Merge the regions of a partition that have the same first move.

    Args:
        atlas: of the same regions, for their laws.
    """
    law = _distinct(regions, atlas)
    parts, owner = [], []
    for which in range(law.max() + 1):
        merged = _merge([_part(regions, int(r)) for r in np.flatnonzero(law == which)])
        parts += merged
        owner += [which] * len(merged)
    piece = np.empty(len(regions), np.int64)
    for place, part in enumerate(parts):
        piece[list(part.members)] = place
    some = np.unique(law, return_index=True)[1]
    return FirstMoves(
        A=np.concatenate([part.A for part in parts]) / regions.reach,
        b=np.concatenate([part.b for part in parts]),
        first=np.cumsum([0, *(len(part.b) for part in parts)]),
        law=np.array(owner),
        K=atlas.laws[some],
        k=atlas.shifts[some],
        piece=piece,
    )


def _distinct(regions: Partition, atlas: Atlas) -> np.ndarray:
    """The number of each region's law among the distinct ones ``(R,)``, in the order they appear."""
    R = len(regions)
    numbers = np.column_stack([(atlas.laws * regions.reach).reshape(R, -1), atlas.shifts])
    pairs = KDTree(numbers).query_pairs(_SAME_LAW * np.abs(numbers).max(), output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(R, R))
    label = connected_components(links, directed=False)[1]
    _, place, number = np.unique(label, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(place))[number]


def _part(regions: Partition, r: int) -> _Part:
    rows = slice(regions.first[r], regions.first[r + 1])
    A = np.ascontiguousarray(regions.A[rows] * regions.reach)
    return _Part(A, regions.b[rows].copy(), regions.centre[r] / regions.reach, (r,))


def _merge(parts: list[_Part]) -> list[_Part]:
    """Merge pairs until none is left; each pass takes neighbours in the order of their places."""
    while True:
        gone: set[int] = set()
        made = []
        for i, j in _neighbours(parts):
            if i in gone or j in gone:
                continue
            united = _united(parts[i], parts[j])
            if united is not None:
                gone |= {i, j}
                made.append(united)
        if not made:
            return parts
        parts = [part for i, part in enumerate(parts) if i not in gone] + made


def _neighbours(parts: list[_Part]) -> list[tuple[int, int]]:
    """Pairs of parts on two sides of one hyperplane."""
    of = np.repeat(np.arange(len(parts)), [len(part.b) for part in parts])
    rows = np.column_stack([np.concatenate([part.A for part in parts]), np.concatenate([p.b for p in parts])])
    near = KDTree(rows).query_ball_point(-rows, _SAME_SIDE)
    pairs = {(int(of[f]), int(of[g])) for f, others in enumerate(near) for g in others if of[f] < of[g]}
    return sorted(pairs)


def _united(one: _Part, two: _Part) -> _Part | None:
    most = len(one.b) + len(two.b) + 2
    A, b = np.empty((most, len(one.centre))), np.empty(most)
    count = unite(one.A, one.b, one.centre, two.A, two.b, two.centre, _TOLERANCE, A, b)
    if count < 0:
        return None
    middle = (one.centre + two.centre) / 2
    return _Part(A[:count].copy(), b[:count].copy(), middle, one.members + two.members)
