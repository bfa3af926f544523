"""Compiled kernels on disk: made once, announced, never of another processor, wherever one can write."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numba
import numpy as np
import pytest

from mpc.kernels import compilation

ROOT = Path(compilation.__file__).parents[2]
pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")

TINY = """
from mpc.kernels.compilation import cache_folder, kernel

@kernel("f8(f8)")
def tiny(x):
    return x + 1.0

print(tiny(2.0), cache_folder(), sum(tiny.stats.cache_hits.values()))
"""

LABEL = """
import sys
import numpy as np
from mpc import BarrierExpert, catalogue

control = BarrierExpert(catalogue.double_integrator(), 0.1)(np.array([[1.0, 0.0], [9.0, 9.0]]))
np.savez(sys.argv[1], **control.arrays())
"""


def start(code: str, *arguments: str, **env: str) -> subprocess.Popen:
    """A Python process that runs a script with changes to the environment."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **env}
    return subprocess.Popen(
        [sys.executable, *([code] if code.endswith(".py") else ["-c", code]), *arguments],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen) -> tuple[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out, err


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """A script with a kernel of its own, for Numba keeps nothing of code that has no file."""
    file = tmp_path / "tiny.py"
    file.write_text(TINY)
    return str(file)


def test_a_kernel_is_compiled_once_and_says_so(tiny, tmp_path):
    cache = str(tmp_path / "cache")
    out, err = finish(start(tiny, CENTRALPATH_CACHE=cache))
    assert err == "centralpath: compiling __main__.tiny (once, some seconds) ...\n"
    value, folder, hits = out.split()
    assert (value, hits) == ("3.0", "0")
    assert folder.startswith(cache)
    assert finish(start(tiny, CENTRALPATH_CACHE=cache)) == (f"3.0 {folder} 1\n", "")


def test_processes_that_compile_at_once_get_the_same_answer(tiny, tmp_path):
    together = [start(tiny, CENTRALPATH_CACHE=str(tmp_path / "cache")) for _ in range(2)]
    assert {finish(process)[0].split()[0] for process in together} == {"3.0"}
    assert finish(start(tiny, CENTRALPATH_CACHE=str(tmp_path / "cache")))[0].split()[2] == "1"


def test_where_no_cache_can_be_written_the_temporary_folder_serves(tiny, tmp_path):
    """A path below a file can be written by nobody, not even by root."""
    blocked, temporary = tmp_path / "file", tmp_path / "tmp"
    blocked.touch()
    temporary.mkdir()
    env = {"CENTRALPATH_CACHE": str(blocked), "XDG_CACHE_HOME": str(blocked), "TMPDIR": str(temporary)}
    out, _ = finish(start(tiny, **env))
    assert out.split()[1].startswith(f"{temporary}/{os.getuid()}/centralpath/kernels/")


@pytest.fixture
def only_temporary(tmp_path, monkeypatch) -> Path:
    """The user's folders cannot be written, and the temporary one is empty."""
    blocked, temporary = tmp_path / "file", tmp_path / "tmp"
    blocked.touch()
    temporary.mkdir()
    monkeypatch.setattr(compilation.tempfile, "gettempdir", lambda: str(temporary))
    for name in ("CENTRALPATH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(blocked))
    return temporary


def test_no_folder_at_all_is_said(only_temporary):
    (only_temporary / str(os.getuid())).touch()
    with pytest.raises(OSError, match="no folder to cache compiled kernels in: set CENTRALPATH_CACHE to a"):
        compilation.cache_folder.__wrapped__()


def test_code_of_another_owner_in_the_temporary_folder_is_not_loaded(only_temporary, monkeypatch):
    assert only_temporary in compilation.cache_folder.__wrapped__().parents
    theirs = os.getuid() + 1
    monkeypatch.setattr(compilation.os, "getuid", lambda: theirs)
    with pytest.raises(OSError, match="no folder to cache compiled kernels in"):
        compilation.cache_folder.__wrapped__()


def test_folders_without_a_start_for_long_go_when_a_new_one_is_made(only_temporary):
    folder = compilation.cache_folder.__wrapped__
    own = folder()
    old, used, other = (own.parent / name for name in ("0" * 16, "1" * 16, "notes"))
    long_ago = time.time() - 100 * 24 * 3600
    for path in (old, used, other):
        path.mkdir()
        (path / "kernel").touch()
        os.utime(path, (long_ago, long_ago))
    os.utime(used)
    os.utime(own, (long_ago, long_ago))
    folder()  # a start marks its own folder as used, and looks no further
    assert old.exists()
    own.rmdir()
    assert folder() == own
    assert not old.exists()
    assert (used / "kernel").exists()
    assert (other / "kernel").exists()


def test_every_width_processor_and_source_has_a_folder_of_its_own(only_temporary, monkeypatch):
    """The name of this very processor in NUMBA_CPU_NAME changes the width but nothing that Numba looks at."""
    folder = compilation.cache_folder.__wrapped__
    folders = [folder(), folder()]
    assert folders[0] == folders[1]
    with monkeypatch.context() as other:
        other.setattr(compilation, "WIDTH", 2 * compilation.WIDTH)
        folders.append(folder())
    with monkeypatch.context() as other:
        other.setattr(numba.config, "CPU_NAME", "generic")
        folders.append(folder())
    copy = only_temporary / "compilation.py"
    shutil.copy2(compilation.__file__, copy)
    with monkeypatch.context() as other:
        other.setattr(compilation, "__file__", str(copy))
        folders.append(folder())
        os.utime(copy, ns=(1, 1))
        folders.append(folder())
    assert len(set(folders)) == len(folders) - 1


@pytest.mark.full
def test_two_first_starts_at_once_label_alike_and_the_install_is_only_read(tmp_path):
    """Both compile everything that a barrier expert takes; nothing is written beside the sources."""
    before = {file: file.stat().st_mtime_ns for file in (ROOT / "mpc").rglob("*")}
    files = [str(tmp_path / f"{i}.npz") for i in range(2)]
    together = [start(LABEL, file, CENTRALPATH_CACHE=str(tmp_path / "cache")) for file in files]
    for process in together:
        assert "compiling mpc.kernels.barrier.label_states" in finish(process)[1]
    assert finish(start(LABEL, str(tmp_path / "2.npz"), CENTRALPATH_CACHE=str(tmp_path / "cache")))[1] == ""
    answers = [dict(np.load(tmp_path / f"{i}.npz")) for i in range(3)]
    assert answers[0]["status"].tolist() == [2, -1]
    for name, value in answers[0].items():
        for other in answers[1:]:
            np.testing.assert_array_equal(value, other[name], err_msg=name)
    assert {file: file.stat().st_mtime_ns for file in (ROOT / "mpc").rglob("*")} == before


@pytest.mark.full
@pytest.mark.parametrize(
    "env",
    [{"NUMBA_CPU_NAME": "haswell"}, {"NUMBA_CPU_NAME": "generic"}, {"NUMBA_ENABLE_AVX": "0"}],
    ids=lambda env: "-".join(env.values()),
)
def test_labels_hold_when_compiled_for_another_processor(env, tmp_path):
    """To rounding: where there is no fused multiply-add the last bits differ."""
    env = {**env, "CENTRALPATH_LANES": "", "CENTRALPATH_CACHE": str(tmp_path)}
    other, here = tmp_path / "other.npz", tmp_path / "here.npz"
    finish(start(LABEL, str(other), **env))
    finish(start(LABEL, str(here)))
    there = np.load(other)
    for name, value in np.load(here).items():
        np.testing.assert_allclose(there[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
