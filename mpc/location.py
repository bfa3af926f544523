"""From a partition to an atlas: the search tree over its facets, and the piece of the law of each region."""

import numpy as np

from mpc.arrays import Array
from mpc.atlas import Atlas
from mpc.kernels.charting import ABOVE, BELOW, make_pieces, sides_of
from mpc.neighbours import neighbours
from mpc.partition import Partition

_LEAF = 8  # regions that are told apart by their facets rather than by a node or a walk
_GAIN = 0.8  # a node is made where its fuller side has at most this share of the regions
_CANDIDATES, _FINALISTS, _MORE = 200, 2, 5  # facets looked at for a node: at a glance, closely, and so where
_SMALL = 1000  # it has at most so many regions, which are harder to divide


def chart(partition: Partition) -> Atlas:
    """The atlas of a partition."""
    tree = _Tree(partition)
    tree.grow(np.arange(len(partition)))
    return Atlas(
        np.ascontiguousarray(partition.A),
        partition.b,
        partition.first,
        partition.margin,
        np.array(tree.normals).reshape(-1, len(partition.reach)) / partition.reach,
        np.array(tree.offsets),
        np.array(tree.child),
        np.array(tree.leaf),
        np.array(tree.listed, np.int64),
        np.array(tree.start),
        neighbours(partition) if max(tree.start) >= 0 else np.full(len(partition.b), -1),
        partition.sides,
        *_pieces(partition),
    )


def _pieces(partition: Partition) -> tuple[np.ndarray, ...]:
    ready = partition.ready
    slabs, R, (m, n) = ready.slabs, len(partition), ready.K.shape
    first = np.append(0, np.cumsum(np.count_nonzero(partition.sides, axis=1)))
    Y, laws, shifts = np.empty((first[-1], n + 1 + m)), np.empty((R, m, n)), np.empty((R, m))
    curvatures = np.empty((R, m, m))
    make_pieces(
        partition.sides, slabs.gram, slabs.M, ready.ET, slabs.low, slabs.high, slabs.stage, ready.K, ready.T,
        ready.L, first, Y, laws, shifts, curvatures,
    )  # fmt: skip
    return first, Y, laws, shifts, curvatures


class _Tree:
    """A search tree as it grows, in states divided by ``reach``."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.A = np.ascontiguousarray(partition.A * partition.reach)
        self.centre = np.ascontiguousarray(partition.centre / partition.reach)
        self.normals: list[Array] = []
        self.offsets: list[float] = []
        self.child: list[list[int]] = []
        self.leaf: list[list[int]] = []
        self.listed: list[int] = []
        self.start: list[int] = []

    def grow(self, regions: np.ndarray) -> None:
        """Nodes for ``regions``, breadth first."""
        waiting = [regions]
        for node, here in enumerate(waiting):
            split = self._split(here) if len(here) > _LEAF else None
            self.start.append(self._amid(here) if split is None and len(here) > _LEAF else -1)
            self.leaf.append([len(self.listed), len(self.listed)])
            if split is None:
                self.listed += here.tolist()
                self.leaf[node][1] = len(self.listed)
                split = np.zeros(len(self.partition.reach)), 0.0, None, None
            normal, offset, below, above = split
            self.normals.append(normal)
            self.offsets.append(offset)
            if below is None or above is None:
                self.child.append([-1, -1])
            else:
                self.child.append([len(waiting), len(waiting) + 1])
                waiting += [below, above]

    def _amid(self, regions: np.ndarray) -> int:
        """The region nearest to the middle of all, large ones counted more."""
        centres = self.centre[regions]
        middle = np.average(centres, axis=0, weights=self.partition.radius[regions])
        return int(regions[np.argmin(np.linalg.norm(centres - middle, axis=1))])

    def _split(self, regions: np.ndarray) -> tuple[Array, float, np.ndarray, np.ndarray] | None:
        """The facet that leaves the fewest regions on its fuller side; None where all leave too many."""
        first, b = self.partition.first, self.partition.b
        facets = np.concatenate([range(first[r], first[r + 1]) for r in regions])
        facets = self._promising(regions, facets[np.linspace(0, len(facets) - 1, _CANDIDATES).astype(int)])
        normals, offsets = self.A[facets], b[facets]
        side = np.empty((len(regions), len(facets)), np.int8)
        sides_of(self.A, b, first, self.centre, self.partition.radius, regions, normals, offsets, side)
        below, above = side != ABOVE, side != BELOW
        fuller = np.maximum(below.sum(axis=0), above.sum(axis=0))
        best = int(np.argmin(fuller))
        if fuller[best] > _GAIN * len(regions):
            return None
        return normals[best], float(offsets[best]), regions[below[:, best]], regions[above[:, best]]

    def _promising(self, regions: np.ndarray, facets: np.ndarray) -> np.ndarray:
        """The facets that divide the regions best as far as their largest balls tell."""
        height = self.centre[regions] @ self.A[facets].T - self.partition.b[facets]
        radius = self.partition.radius[regions, None]
        fuller = np.maximum((height < radius).sum(axis=0), (height > -radius).sum(axis=0))
        few = _MORE if len(regions) <= _SMALL else _FINALISTS
        return facets[np.argsort(fuller, kind="stable")[:few]]
