"""Policies cloned from an MPC expert, as a loss to study optimizers on."""

from collections.abc import Sequence

import torch

from imitation.demonstrate import demonstrate
from imitation.objective import Cloning
from imitation.optim.contract import Params
from imitation.policies.configs import Mlp
from imitation.population import initial, stacked
from imitation.samples import Samples, samples
from mpc.barrier import BarrierExpert
from mpc.catalogue import double_integrator
from mpc.seeds import integer_seed


def cloned_policies(
    reps: Sequence[int],
    policy: Mlp,
    *,
    episodes: int = 20,
    eta: float = 0.1,
    dtype: torch.dtype = torch.float64,
) -> tuple[Cloning, Params]:
    """The cloning loss of one policy for each repetition, and the policies' initial weights.

    Demonstrations are closed loops of 20 steps of barrier MPC on the double integrator, each repetition's
    own.
    """
    problem = double_integrator()
    expert = BarrierExpert(problem, eta=eta)
    data = [
        samples(demonstrate(problem, expert, "double_integrator", rep, episodes, 20).rollouts) for rep in reps
    ]
    return population(reps, policy, data, dtype)


def population(
    reps: Sequence[int], network: Mlp, data: Sequence[Samples], dtype: torch.dtype
) -> tuple[Cloning, Params]:
    """The loss of one network for each repetition on its own samples, and initial weights."""
    n, m = data[0].x.shape[1], data[0].u.shape[1]
    networks = [initial(network, n, m, one.x, rep, dtype) for rep, one in zip(reps, data, strict=True)]
    params, buffers = stacked(networks)
    return Cloning.of(networks[0], buffers, data, dtype), params


def minibatch_places(cloning: Cloning, reps: Sequence[int], steps: int, batch: int) -> torch.Tensor:
    """Places ``(steps, K, batch)``, drawn with replacement from each repetition's own generator."""
    draws = [torch.Generator().manual_seed(integer_seed("batches", rep)) for rep in reps]
    sizes = cloning.sizes.tolist()
    return torch.stack(
        [torch.randint(n, (steps, batch), generator=g) for n, g in zip(sizes, draws, strict=True)], dim=1
    )


def whole_set(cloning: Cloning) -> torch.Tensor:
    """The places of all samples ``(K, S)``, for full-batch descent; all members must have equally many."""
    sizes = cloning.sizes
    if not bool((sizes == sizes[0]).all()):
        raise ValueError(f"members must have equally many samples, got {sizes.tolist()}")
    return torch.arange(int(sizes[0])).expand(len(sizes), -1)
