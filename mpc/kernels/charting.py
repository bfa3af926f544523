"""Atlases: the sides of hyperplanes that regions lie on, the piece of each region, the regions of states."""

import numpy as np

from mpc.kernels.compilation import kernel
from mpc.kernels.linear_programs import OPTIMAL, maximise
from mpc.kernels.location import ATLAS, locate
from mpc.kernels.pieces import WELL_APART, affine_law, assemble, factorise, held_curvature

BELOW, ABOVE, BOTH = -1, 1, 0


@kernel("void(f8[:,::1], f8[::1], i8[::1], f8[:,::1], f8[::1], i8[::1], f8[:,::1], f8[::1], i1[:,::1])")
def sides_of(A, b, first, centre, radius, regions, normals, offsets, side):
    """``side[r, k]``: where region ``regions[r]`` lies of the hyperplane ``normals[k]'x = offsets[k]``.

    ``centre`` and ``radius`` are those of a ball in each region, which often tells that it lies on both.
    """
    n = centre.shape[1]
    most = 0
    for r in regions:
        most = max(most, first[r + 1] - first[r])
    rows, c, x = np.empty(most, np.int64), np.empty(n), np.empty(n)
    W, basis, R = np.empty(n, np.int64), np.empty((n, n)), np.empty((n, n))
    d, multiplier = np.empty(n), np.empty(n)
    for place in range(regions.shape[0]):
        r = regions[place]
        count = first[r + 1] - first[r]
        for k in range(count):
            rows[k] = first[r] + k
        for k in range(normals.shape[0]):
            height = -offsets[k]
            for a in range(n):
                height += normals[k, a] * centre[r, a]
            if abs(height) < 0.99 * radius[r]:
                side[place, k] = BOTH
                continue
            sign = 1.0 if height < 0.0 else -1.0
            for a in range(n):
                x[a], c[a] = centre[r, a], sign * normals[k, a]
            ended = maximise(A, b, rows, count, c, x, W, basis, R, d, multiplier)
            reach = -sign * offsets[k]
            for a in range(n):
                reach += c[a] * x[a]
            if ended == OPTIMAL and reach <= 1e-9 * abs(height):
                side[place, k] = BELOW if sign > 0 else ABOVE
            else:
                side[place, k] = BOTH


@kernel(
    "void(i1[:,::1], f8[:,::1], f8[:,::1], f8[:,::1], f8[::1], f8[::1], i8[::1], f8[:,::1], f8[:,::1],"
    " f8[:,::1], i8[::1], f8[:,::1], f8[:,:,::1], f8[:,::1], f8[:,:,::1])"
)
def make_pieces(sides, gram, M, ET, low, high, stage, K0, T0, L0, first, Y, dudx, offset, curvature):
    """The piece of the law for each active set, in the order of operations of ``label_states``."""
    p, n, m, g = M.shape[1], ET.shape[0], K0.shape[0], M.shape[0]
    order, bound, R, basis = np.empty(g, np.int64), np.empty(p), np.empty((p, p)), np.empty((p, p))
    rows, inner = np.empty((p, p + n + 1)), np.empty((m, n + 1))
    square, half = np.empty((m, m)), np.empty((m, m))
    for r in range(sides.shape[0]):
        q = 0
        for i in range(g - 1, -1, -1):
            if sides[r, i] != 0:
                order[q] = i
                bound[q] = high[i] if sides[r, i] > 0 else low[i]
                q += 1
        well = factorise(gram, order, q, R) >= WELL_APART
        piece = Y[first[r] : first[r + 1]]
        assemble(M, ET, bound, order, q, m, well, R, rows, piece)
        affine_law(piece, q, n, K0, T0, inner, dudx, r, offset, r)
        held_curvature(M, stage, order, q, m, n, L0, piece, square, half, basis, rows, curvature, r)


@kernel(f"void(f8[:,::1], {ATLAS}, i8[::1])")
def regions_of(x, atlas, region):
    """The region that each state is inside of by its margin, -1 for none; see ``locate``."""
    A, b, first, margin, normals, offsets, child, leaf, listed, start, across = atlas[:11]
    for s in range(x.shape[0]):
        region[s] = locate(x, s, A, b, first, margin, normals, offsets, child, leaf, listed, start, across)
