"""Policies as ONNX and as C: the same actions as in PyTorch."""

import shutil
import subprocess

import numpy as np
import pytest
import torch

from imitation.export import to_c, to_onnx
from imitation.policies.configs import BeliefState, GatedMlp, Mlp, ResidualMlp, StateSpace, Transformer
from mpc.polytope import Polytope

CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
CONFIGS = [
    Mlp(width=16, depth=3),
    Mlp(width=8, depth=2, activation="relu", clip=True),
    Mlp(width=8, depth=4, activation="tanh", normalise=False),
    Mlp(depth=1, clip=True),
]
by_config = pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.activation}-{c.depth}")


def states(count, dtype):
    return 3 + 2 * torch.randn(count, 3, dtype=dtype, generator=torch.Generator().manual_seed(count))


def drawn(config, dtype=torch.float32):
    policy = config.build(3, 2, Polytope.box([-0.1, -0.2], [0.1, 0.3]))
    policy.draw(torch.Generator().manual_seed(0))
    policy.fit_inputs(states(50, torch.float64).repeat(1, config.history))
    return policy.to(dtype).eval()


@pytest.mark.parametrize(
    "config",
    [
        *CONFIGS[:2],
        Mlp(width=8, depth=3, norm="layer"),
        GatedMlp(width=8, depth=3),
        ResidualMlp(width=8, blocks=1, clip=True),
        Transformer(width=8, heads=2, blocks=1, history=3, chunk=2),
        Transformer(width=8, heads=2, blocks=1, history=3, attention="linear"),
        StateSpace(width=8, blocks=1, states=4, history=3),
        BeliefState(width=8, bins=6, history=2, goal=(1.0, 0.0, 2.0)),
    ],
    ids=lambda c: c.architecture,
)
def test_onnx_has_the_same_actions(config):
    runtime = pytest.importorskip(
        "onnxruntime", reason="onnxruntime is not installed: pip install onnxruntime"
    )
    policy = drawn(config, torch.float64)
    session = runtime.InferenceSession(to_onnx(policy), providers=["CPUExecutionProvider"])
    assert policy.shift.dtype == torch.float64
    x = states(40, torch.float64).repeat(1, config.history)
    (u,) = session.run(["u"], {"x": x.to(torch.float32).numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(u, policy(x).numpy(), atol=1e-5)
    assert session.run(["u"], {"x": x[:1].to(torch.float32).numpy()})[0].shape == (1, 2 * config.chunk)
    if config.clip:
        low, high = np.float32([-0.1, -0.2]), np.float32([0.1, 0.3])
        assert ((low <= u) & (u <= high)).all()
        assert (u == high).any()


def test_what_is_not_exported_is_refused():
    triangle = Polytope([[1, 0], [0, 1], [-1, -1]], [1, 1, 1])
    for export in (to_c, to_onnx):
        with pytest.raises(ValueError, match="projects onto a U that is no box"):
            export(Mlp(clip=True).build(3, 2, triangle))
    for policy in (GatedMlp().build(3, 2), Mlp(norm="layer").build(3, 2)):
        with pytest.raises(ValueError, match="must be an Mlp without norm layers to be written as C"):
            to_c(policy)


@pytest.mark.skipif(CC is None, reason="no C compiler (cc, gcc or clang) is installed")
@by_config
def test_c_has_the_same_actions_and_tests_itself(config, tmp_path):
    texts = to_c(drawn(config), "pilot", states=60)
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-O2"]
    command = [CC, *strict, "pilot.c", "pilot_test.c", "-lm", "-o", "check"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    checked = subprocess.run([tmp_path / "check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0
    assert "pilot: 60 of 60 states as expected, largest error " in checked.stdout
    (tmp_path / "pilot.c").write_text(
        texts["pilot.c"].replace("out[i] = bias[i];", "out[i] = 0.9 * bias[i];")
    )
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "check"], capture_output=True, check=False).returncode == 1


def test_a_missing_package_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        ValueError, match=r"needs the package onnxscript: pip install 'centralpath\[export\]'"
    ):
        to_onnx(drawn(CONFIGS[0]))


def test_names_that_are_no_identifiers_are_refused():
    with pytest.raises(ValueError, match="name must be a C identifier"):
        to_c(drawn(CONFIGS[0]), "no good")
