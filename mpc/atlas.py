"""The known regions of exact MPC as the kernels take them: a search tree, and the piece of each region."""

from dataclasses import dataclass

import numpy as np

from mpc.arrays import Array


@dataclass(frozen=True, eq=False)
class Atlas:
    """What looking a state up needs; ``arrays`` is what the kernels take.

    Args:
        A, b, first, margin: facets of the regions, as in ``Partition``.
        normals, offsets: hyperplane of each node of the tree.
        child: nodes on its two sides ``(nodes, 2)``, -1 for a leaf.
        leaf: where its regions stand in ``listed`` ``(nodes, 2)``.
        listed: regions by leaves.
        start: where a walk begins in each leaf ``(nodes,)``, -1 where its few regions are looked through.
        across: the region across each facet ``(facets,)``, -1 where none is known.
        sides: active set of each region, as in ``Partition``.
        pieces, Y: the pieces of the regions stacked, region r in the rows ``pieces[r]:pieces[r + 1]``.
        laws, shifts: ``u = laws[r] x + shifts[r]``, ``(R, m, n)`` and ``(R, m)``.
        curvatures: ``(R, m, m)``.
    """

    A: Array
    b: Array
    first: np.ndarray
    margin: Array
    normals: Array
    offsets: Array
    child: np.ndarray
    leaf: np.ndarray
    listed: np.ndarray
    start: np.ndarray
    across: np.ndarray
    sides: np.ndarray
    pieces: np.ndarray
    Y: Array
    laws: Array
    shifts: Array
    curvatures: Array

    def __len__(self) -> int:
        return len(self.sides)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return tuple(vars(self).values())

    @property
    def depth(self) -> int:
        """Nodes above the deepest leaf."""
        return int(self._depths().max())

    @property
    def longest(self) -> int:
        """Half-spaces looked at on the longest way: nodes, and all facets of the regions in a leaf."""
        facets = np.append(0, np.cumsum(np.diff(self.first)[self.listed]))
        return int((self._depths() + facets[self.leaf[:, 1]] - facets[self.leaf[:, 0]]).max())

    def _depths(self) -> np.ndarray:
        depth = np.zeros(len(self.child), np.int64)
        for node, children in enumerate(self.child):  # children stand behind their parent
            depth[children[children >= 0]] = depth[node] + 1
        return depth

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays)


def empty_atlas(n: int, m: int) -> Atlas:
    """An atlas without regions: every state is for the solver."""
    none, start = np.zeros(0, np.int64), np.zeros(1, np.int64)
    facets = {"A": np.empty((0, n)), "b": np.empty(0), "first": start, "margin": np.empty(0)}
    tree = {
        "normals": np.empty((1, n)),
        "offsets": np.empty(1),
        "child": np.full((1, 2), -1),
        "leaf": np.zeros((1, 2), np.int64),
        "listed": none,
        "start": np.full(1, -1),
        "across": none,
    }
    laws = {"laws": np.empty((0, m, n)), "shifts": np.empty((0, m)), "curvatures": np.empty((0, m, m))}
    pieces = {"sides": np.empty((0, 0), np.int8), "pieces": start, "Y": np.empty((0, n + 1 + m))}
    return Atlas(**facets, **tree, **pieces, **laws)
