"""Policies cloned from an MPC expert, as a loss to study optimizers on."""

from collections.abc import Sequence

import torch

from imitation.demonstrate import demonstrate
from imitation.objective import Cloning
from imitation.optim.contract import Params
from imitation.policies.configs import Mlp
from imitation.population import forward, stacked
from imitation.samples import samples
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
    policies = []
    for rep, one in zip(reps, data, strict=True):
        module = policy.build(problem.n, problem.m, problem.U.bounds)
        module.draw(torch.Generator().manual_seed(integer_seed("weights", policy.architecture, rep)))
        module.fit_inputs(torch.from_numpy(one.x))
        policies.append(module.to(dtype))
    params, buffers = stacked(policies)
    return Cloning.of(forward(policies[0]), buffers, data, dtype), params


def whole_set(cloning: Cloning) -> torch.Tensor:
    """The places of all samples ``(K, S)``, for full-batch descent; all members must have equally many."""
    sizes = cloning.sizes
    if not bool((sizes == sizes[0]).all()):
        raise ValueError(f"members must have equally many samples, got {sizes.tolist()}")
    return torch.arange(int(sizes[0])).expand(len(sizes), -1)
