"""What training frees stays with the process, once it has begun."""

import os
import platform
import subprocess
import sys

import pytest

CHURN = """
import resource
from ctypes import CDLL, c_size_t, c_void_p, memset
import torch
from imitation.descent import descent
from imitation.optim import Sgd
from imitation.optim.contract import GradientObjective

libc = CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = c_void_p, [c_size_t], [c_void_p]

def step():
    blocks = [libc.malloc(1 << 20) for _ in range(8)]
    for block in blocks:
        memset(block, 1, 1 << 20)
    for block in blocks:
        libc.free(block)

weights = {"a": torch.ones(1, 2)}
objective = GradientObjective("flat", lambda params: (torch.zeros(1), {"a": torch.zeros(1, 2)}))
next(descent(Sgd().rule(), weights, [objective], lambda step: 0.1, [0]))
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other settings")
@pytest.mark.parametrize(("environment", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_a_step_does_not_ask_the_system_for_what_the_last_one_freed(environment, kept):
    set_by_others = ("MALLOC_", "GLIBC_TUNABLES")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(set_by_others)}
    done = subprocess.run(
        [sys.executable, "-c", CHURN], env=clean | environment, capture_output=True, text=True, check=True
    )
    faults = int(done.stdout)
    assert faults < 20 if kept else faults > 10_000  # a fault for 4 kB, 160 MB
