"""Microseconds of a step of behaviour cloning with HumanCompatibleAI's package ``imitation``.

A script for the interpreter of an environment that has it, not of this project's: the import names collide.

    python imitation_peer.py SAMPLES BATCH
"""

import sys
import time


def main() -> None:
    samples, batch = int(sys.argv[1]), int(sys.argv[2])
    sys.path.pop(0)  # this folder
    import gymnasium as gym
    import numpy as np
    import torch
    from imitation.algorithms import bc  # type: ignore[import-not-found]
    from imitation.data.types import Transitions  # type: ignore[import-not-found]
    from imitation.util import logger  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x, u = (rng.normal(size=(samples, k)).astype(np.float32) for k in (2, 1))
    infos, dones = np.array([{}] * samples), np.zeros(samples, bool)
    data = Transitions(obs=x, acts=u, infos=infos, next_obs=x, dones=dones)
    box = gym.spaces.Box
    cloning = bc.BC(
        observation_space=box(-np.inf, np.inf, (2,)),
        action_space=box(-10.0, 10.0, (1,)),
        demonstrations=data,
        batch_size=batch,
        rng=rng,
        custom_logger=logger.configure(format_strs=[]),
    )
    cloning.train(n_batches=50, progress_bar=False)
    start, batches = time.perf_counter(), 1000
    cloning.train(n_batches=batches, progress_bar=False)
    print(1e6 * (time.perf_counter() - start) / batches)


main()
