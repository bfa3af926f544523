"""tanh in float32, 3 to 4 times as fast as torch's on one core: it is a fifth of a step of small networks."""

import torch
from torch import Tensor

from mpc.kernels.compilation import kernel

# v P(v^2) / Q(v^2) with least relative error on |v| <= 9.1: 1.5e-9. Beyond, tanh is 1 in float32.
_EDGE = 9.1
_P = (
    0.999999998558, 0.136761396347, 0.00386359652904,
    2.79120024659e-05, 3.03556615657e-08, -1.20337138178e-11,
)  # fmt: skip
_Q = 0.470094715731, 0.027228524252, 0.000393028933457, 1.28069898374e-06


@kernel("void(f4[::1])")
def _tanh(x):
    for i in range(x.shape[0]):
        v = float(x[i])
        v = _EDGE if v > _EDGE else -_EDGE if v < -_EDGE else v
        t = v * v
        p = _P[0] + t * (_P[1] + t * (_P[2] + t * (_P[3] + t * (_P[4] + t * _P[5]))))
        x[i] = v * p / (1.0 + t * (_Q[0] + t * (_Q[1] + t * (_Q[2] + t * _Q[3]))))


def tanh_(x: Tensor) -> Tensor:
    """tanh in place: of CPU tensors of float32 to 0.53 units in the last place, of others torch's."""
    if x.dtype != torch.float32 or not (x.is_cpu and x.is_contiguous()):
        return x.tanh_()
    _tanh(x.view(-1).numpy())
    return x
