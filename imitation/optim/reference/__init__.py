"""Naive twins of the update rules: one model, plain arrays, the papers' lines.

Each yields the weights after step 1, 2, ... with what the rule's state holds then, by the state's names. They
are for reading, and for tests; nothing else uses them.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Gradient = Callable[[Vector], Vector]
Path = Iterator[tuple[Vector, dict[str, Vector]]]
