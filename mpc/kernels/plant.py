"""Closed loops inside a kernel that labels states.

Such a kernel takes ``plant = (steps, A, B, w, bound)``. Where steps > 1, every stretch of that many rows of
its states is a closed loop: the first row is given, and each labelled state is followed by the one that
its input and ``w`` (as many rows as there are states, or none) lead to, until a state has no usable label
or leaves ``|x_i| <= bound``.
"""

from mpc.kernels.compilation import part

PLANT = "Tuple((int64, f8[:,::1], f8[:,::1], f8[:,::1], float64))"
"""Its type in a kernel's signature."""


@part
def finite(x, s):
    """Whether all entries of the state ``x[s]`` are finite."""
    total = 0.0
    for a in range(x.shape[1]):
        total += 0.0 * x[s, a]
    return total == 0.0


@part
def follow(t, x, u, A, B, w, bound):
    """Put ``x[t+1] = A x[t] + B u[t] + w[t]``, summed as ``LinearSystem.step`` does; True if in bounds."""
    inside = True
    for i in range(x.shape[1]):
        free, forced = 0.0, 0.0
        for j in range(x.shape[1]):
            free += x[t, j] * A[i, j]
        for j in range(u.shape[1]):
            forced += u[t, j] * B[i, j]
        following = free + forced
        if w.shape[0] > 0:
            following += w[t, i]
        x[t + 1, i] = following
        inside = inside and abs(following) <= bound
    return inside
