"""Handwritten digits, as a loss to study optimizers on: 1797 pictures of 8 x 8 pixels, ten classes."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import torch

from bench.cloned import population
from imitation.objective import Cloning
from imitation.optim.contract import Params
from imitation.policies.configs import Mlp
from imitation.samples import Samples
from mpc.seeds import seed_for


def digit_classifiers(
    reps: Sequence[int], network: Mlp, *, count: int = 1797, dtype: torch.dtype = torch.float64
) -> tuple[Cloning, Params]:
    """Mean squared error to one-hot labels, of one network for each repetition, and initial weights.

    Inputs are pixels from 0 to 1, not standardised; each repetition draws its own ``count`` pictures.

    Raises:
        ValueError: where scikit-learn, which brings the pictures, is not installed.
    """
    if find_spec("sklearn") is None:
        raise ValueError("the digits come with scikit-learn: pip install 'centralpath[studies]'")
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    pixels, labels = load_digits(return_X_y=True)
    x, y = np.asarray(pixels) / 16, np.eye(10)[np.asarray(labels)]
    data = []
    for rep in reps:
        rows = np.random.default_rng(seed_for("digits", rep)).permutation(len(x))[:count]
        data.append(Samples(x[rows], y[rows]))
    return population(reps, network, data, dtype)
