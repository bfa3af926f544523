"""Which region of a partition a state lies in, and the label that belongs to it.

A binary tree over hyperplanes leads to a leaf with a few regions (Tondel, Johansen, Bemporad, "Evaluation of
piecewise affine control via binary search tree", Automatica 39, 2003); their facets decide. Where thin
regions leave more than a few in a leaf, a walk begins at one of them and crosses the facet that the state is
farthest beyond, again and again; if it gets lost, all of the leaf are looked through. A state that is not
inside by a margin belongs to none: the solver settles it.
"""

import numpy as np

from mpc.kernels.compilation import NONE, inlined
from mpc.kernels.pieces import evaluate

_STEPS = 50  # of a walk; of 13 problems of the speed benchmark the longest took 28

ATLAS = (
    "Tuple((f8[:,::1], f8[::1], i8[::1], f8[::1], f8[:,::1], f8[::1], i8[:,::1], i8[:,::1], i8[::1],"
    " i8[::1], i8[::1], i1[:,::1], i8[::1], f8[:,::1], f8[:,:,::1], f8[:,::1], f8[:,:,::1]))"
)
"""Numba's type of ``mpc.atlas.Atlas.arrays``."""


@inlined
def _inside(x, s, A, b, start, stop, margin):
    for i in range(start, stop):
        room = b[i] - margin
        for a in range(x.shape[1]):
            room -= A[i, a] * x[s, a]
        if not room > 0.0:
            return False
    return True


@inlined
def _walk(x, s, A, b, first, margin, across, r):
    """The region that ``x[s]`` is inside of, walking from region r; NONE where the walk is lost."""
    for _ in range(_STEPS):
        worst, facet = np.inf, NONE
        for i in range(first[r], first[r + 1]):
            room = b[i]
            for a in range(x.shape[1]):
                room -= A[i, a] * x[s, a]
            if room < worst:
                worst, facet = room, i
        if worst > margin[r]:
            return r
        if not worst <= 0.0 or across[facet] < 0:
            return NONE
        r = across[facet]
    return NONE


@inlined
def locate(x, s, A, b, first, margin, normals, offsets, child, leaf, listed, start, across):
    """The region that the state ``x[s]`` is inside of, -1 for none."""
    node = 0
    while child[node, 0] >= 0:
        height = -offsets[node]
        for a in range(x.shape[1]):
            height += normals[node, a] * x[s, a]
        node = child[node, 1 if height > 0.0 else 0]
    if start[node] >= 0:
        r = _walk(x, s, A, b, first, margin, across, start[node])
        if r >= 0:
            return r
    for k in range(leaf[node, 0], leaf[node, 1]):
        r = listed[k]
        if _inside(x, s, A, b, first[r], first[r + 1], margin[r]):
            return r
    return NONE


@inlined
def label_inside(r, x, s, P0, pieces, Y, laws, shifts, curvatures, y, u, dudx, gradient, curvature):
    """Label the state ``x[s]`` in region r; returns its value."""
    m = u.shape[1]
    for i in range(m):
        for a in range(x.shape[1]):
            dudx[s, i, a] = laws[r, i, a]
        for j in range(m):
            curvature[s, i, j] = curvatures[r, i, j]
    return evaluate(x, s, Y, pieces[r], pieces[r + 1], P0, dudx, shifts, r, y, u, gradient)
