"""One thread a process for torch and BLAS: pytest-xdist and the sweeps under test bring more processes."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def one_torch_thread():
    """torch runs one thread while the tests of a module run."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def problem():
    """The double integrator that policies are trained on."""
    from mpc import ControlProblem, LinearSystem, Polytope  # numpy reads the number of threads as it loads

    return ControlProblem(
        LinearSystem([[1, 1], [0, 1]], [[0], [1]]),
        X=Polytope.box([-10, -10], [10, 10]),
        U=Polytope.box([-1], [1]),
        R=[[0.01]],
        name="double integrator",
    )
