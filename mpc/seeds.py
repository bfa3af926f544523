"""Seeds derived by name, so that everything which should be paired is paired.

``('x0', system, rep, episode)`` gives the same initial states to every expert, ``('test-x0', system)``
the test states, ``('weights', policy, rep)``, ``('batches', rep)`` and ``('disturbance', system, rep)``
the rest: never the expert or the optimizer.
"""

import hashlib

import numpy as np


def seed_for(name: str, *parts: str | int) -> np.random.SeedSequence:
    """The seed sequence that belongs to ``name`` and ``parts``: a pure function of their text."""
    text = "\x1f".join([name, *(f"{type(part).__name__}:{part}" for part in parts)])
    words = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype="<u4")
    return np.random.SeedSequence([int(word) for word in words])


def integer_seed(name: str, *parts: str | int) -> int:
    """The same as one unsigned 63-bit integer, for libraries that take an integer and for the record."""
    return int(seed_for(name, *parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
