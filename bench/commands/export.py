"""``centralpath export``: a controller as C, or a problem as arrays that other tools read."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from mpc.problem import ControlProblem


@dataclass(frozen=True)
class Export:
    """Write a controller as C99 with a self-test, a policy as ONNX, or a multi-parametric QP as arrays.

    explicit: exact MPC as a table of regions. barrier: a solver for MPC with a log-barrier. policy: a trained
    network. These are NAME.h, NAME.c and NAME_test.c, without allocation or dependencies. onnx: a trained
    network as NAME.onnx. qpbenchmark: QPs at sampled states as a test set of that program, NAME.parquet and
    NAME.py. mpqp: NAME.npz with H, F, Y, G, w, E of
    min 1/2 U'HU + x'F U + x'Y x over G U <= w + E x, and NAME.json, the problem's record.
    """

    kind: Positional[Literal["explicit", "barrier", "policy", "onnx", "mpqp", "qpbenchmark"]]
    """What to write."""
    out: Path
    """Folder to write; it must not exist."""
    system: str = "double_integrator"
    """Catalogue name, name:argument=value,..., or the path of a problem's .json record."""
    policy: Path | None = None
    """The policy's checkpoint, as train writes it; for policy and onnx."""
    name: str = "mpc"
    """Prefix of files and functions: a C identifier in lower case."""
    eta: float = 0.1
    """Weight of the barrier."""
    states: int = 200
    """States of the self-test, or QPs of the test set."""
    max_regions: int = 5000
    """Regions after which an explicit law is refused."""

    def run(self) -> int:
        """Write the files, all or none, and list them."""
        import os
        import tempfile

        from rich.console import Console

        from mpc.catalogue import SystemSpec

        if self.out.exists():
            raise ValueError(f"out={str(self.out)!r} exists; name a new folder")
        learned = self.kind in ("policy", "onnx")
        files = self._network() if learned else self._files(SystemSpec.parse(self.system).build())
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.out.parent, prefix=".export-") as scratch:
            folder = Path(scratch) / "files"
            folder.mkdir()
            for name, content in files.items():
                (folder / name).write_bytes(content)
            os.rename(folder, self.out)
        console = Console(highlight=False)
        for name, content in files.items():
            console.print(f"{self.out / name}  {len(content):,} bytes", markup=False, soft_wrap=True)
        if self.kind in ("explicit", "barrier", "policy"):
            build = f"cc -std=c99 -O2 {self.name}.c {self.name}_test.c -lm -o check"
            console.print(f"self-test: cd {self.out} && {build} && ./check", markup=False, soft_wrap=True)
        return 0

    def _network(self) -> dict[str, bytes]:
        from mpc.c_source import check

        check(self.name, self.states)
        if self.policy is None:
            raise ValueError(f"{self.kind} needs --policy FILE, a checkpoint that centralpath train wrote")
        from imitation.checkpoint import load_policy
        from imitation.export import to_c, to_onnx

        module: Any = load_policy(self.policy)[0]
        if self.kind == "onnx":
            return {f"{self.name}.onnx": to_onnx(module)}
        return {name: text.encode() for name, text in to_c(module, self.name, self.states).items()}

    def _files(self, problem: "ControlProblem") -> dict[str, bytes]:
        from mpc.barrier import BarrierExpert
        from mpc.c_source import check
        from mpc.explicit import ExplicitExpert
        from mpc.export_c import explicit_law
        from mpc.export_c_barrier import barrier_solver
        from mpc.export_qp import parametric_qp

        check(self.name, self.states)
        if self.kind == "mpqp":
            return parametric_qp(problem, self.name)
        if self.kind == "qpbenchmark":
            from bench.qp_benchmark import benchmark_set

            return benchmark_set(problem, self.states, self.name)
        if self.kind == "explicit":
            law = ExplicitExpert(problem, max_regions=self.max_regions)
            texts = explicit_law(law, self.name, self.states)
        else:
            texts = barrier_solver(BarrierExpert(problem, self.eta), self.name, self.states)
        return {name: text.encode() for name, text in texts.items()}
