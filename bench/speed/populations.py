"""How many policies does a population train in a second, beside the plain loop that trains one at a time?

Cloning steps in float32 (a minibatch gathered from 6000 samples of 2 states and 1 input, loss, gradient,
AdamW) of the paper's network (four linear layers, width 64, GELU) and of two hidden layers of 64 (tanh), for
populations of 1, 8 and 64, on one thread and on two. The plain loop is what a careful user writes:
``nn.Sequential``, ``mse_loss``, ``torch.optim.AdamW`` with ``foreach=True`` or ``fused=True``, whichever is
faster. 'products' are the matrix products of such steps alone, of all members at once: forward, and backward
for weights and inputs. The cloning of HumanCompatibleAI's package ``imitation`` (SB3's network of two hidden
layers of 32, its own loss) is timed in an environment of its own.
"""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench.speed.optimizer_peers import layer_sizes, plain_network
from bench.speed.table import short, write_plain
from bench.speed.timing import Contestant, in_turn
from imitation.descent import descent
from imitation.objective import Cloning
from imitation.optim import AdamW
from imitation.policies.configs import Mlp
from imitation.population import initial, stacked
from imitation.samples import Samples, minibatches

POPULATIONS = 1, 8, 64
NETWORKS = {"4 layers of 64, GELU": Mlp(), "2 hidden of 64, tanh": Mlp(depth=3, activation="tanh")}
_SAMPLES, _STATES, _INPUTS = 6000, 2, 1
_STEPS = 20
_TRAINING = 2000  # steps that train a policy
_NAN = float("nan")


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Args:
        batches: samples of a minibatch.
        threads: of torch.
        rounds: turns of each contestant.
        turn: least seconds of a turn.
        peer: Python interpreter of an environment that has the package ``imitation``; None: left out.
    """

    batches: tuple[int, ...] = (32, 256)
    threads: tuple[int, ...] = (1, 2)
    rounds: int = 5
    turn: float = 0.3
    peer: Path | None = None


QUICK = Settings(batches=(32,), threads=(1,), rounds=2, turn=0.1)
"""A sketch in half a minute."""


@dataclass(frozen=True)
class Row:
    """One population; microseconds of a step for each member.

    Args:
        ours: a step of the population.
        plain: a step of the plain loop, one policy.
        products: the matrix products of a step alone, of the population.
    """

    network: str
    batch: int
    threads: int
    members: int
    ours: float
    plain: float
    products: float

    @property
    def policies(self) -> float:
        """Trained in a second, at 2000 steps each."""
        return 1e6 / (self.ours * _TRAINING)


def run(settings: Settings, progress: Callable[[str], object]) -> Iterator[Row]:
    """Rows of one network, batch and number of threads after the other."""
    for name, network in NETWORKS.items():
        for batch in settings.batches:
            for threads in settings.threads:
                progress(f"{name}, minibatches of {batch}, {threads} threads")
                yield from measure(name, network, batch, threads, settings)
    if settings.peer is not None:
        for batch in settings.batches:
            progress(f"imitation's cloning, minibatches of {batch}")
            yield _of_package(settings.peer, batch)


def measure(name: str, network: Mlp, batch: int, threads: int, settings: Settings) -> list[Row]:
    """All populations of one network."""
    data = _data()
    runs = [plain_steps(network, data, batch, fused) for fused in (False, True)]
    for K in POPULATIONS:
        runs += [population_steps(network, data, batch, K), product_steps(network, batch, K)]
    counts = [1, 1, *(K for K in POPULATIONS for _ in range(2))]
    contestants = [
        Contestant(_on_threads(one, threads), _STEPS * count) for one, count in zip(runs, counts, strict=True)
    ]
    found = [times.microseconds()[1] for times in in_turn(contestants, settings.rounds, settings.turn)]
    plain = min(found[:2])
    return [
        Row(name, batch, threads, K, found[2 + 2 * i], plain, found[3 + 2 * i])
        for i, K in enumerate(POPULATIONS)
    ]


def _on_threads(steps: Callable[[], object], threads: int) -> Callable[[], object]:
    def run() -> None:
        torch.set_num_threads(threads)
        steps()

    return run


def _data() -> Samples:
    rng = np.random.default_rng(0)
    return Samples(rng.normal(size=(_SAMPLES, _STATES)), rng.normal(size=(_SAMPLES, _INPUTS)))


def population_steps(network: Mlp, data: Samples, batch: int, members: int) -> Callable[[], object]:
    """Steps as ``imitation.train`` takes them."""
    reps = list(range(members))
    policies = [initial(network, _STATES, _INPUTS, data.x, rep, torch.float32) for rep in reps]
    params, buffers = stacked(policies)
    cloning = Cloning.of(policies[0], buffers, [data] * members, torch.float32)

    def objectives() -> Iterator[object]:
        for block in minibatches([_SAMPLES] * members, reps, batch, epochs=False):
            for places in torch.from_numpy(block):
                yield cloning.objective(places)

    config = AdamW(lr=1e-4)
    going = descent(config.rule(), params, objectives(), lambda step: config.lr, reps)  # type: ignore[arg-type]

    def steps() -> None:
        for _ in range(_STEPS):
            next(going)

    return steps


def plain_steps(network: Mlp, data: Samples, batch: int, fused: bool) -> Callable[[], object]:
    """Steps of one ``nn.Sequential``."""
    model = plain_network(network, _STATES, _INPUTS)
    options = {"fused": True} if fused else {"foreach": True}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, **options)  # type: ignore[arg-type]
    x, u = (torch.from_numpy(rows).float() for rows in (data.x, data.u))

    def steps() -> None:
        for _ in range(_STEPS):
            places = torch.randint(_SAMPLES, (batch,))
            loss = nn.functional.mse_loss(model(x[places]), u[places])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return steps


def product_steps(network: Mlp, batch: int, members: int) -> Callable[[], object]:
    """The matrix products of a step alone: ``H W``, ``H' D`` and ``D W'`` of each layer."""
    layers: list[tuple[Tensor, ...]] = []
    for inputs, outputs in pairwise(layer_sizes(network, _STATES, _INPUTS)):
        shapes = (members, batch, inputs), (members, inputs, outputs), (members, batch, outputs)
        h, weight, slope = (torch.randn(shape) for shape in shapes)
        few, many = sorted((h, slope), key=lambda rows: rows.shape[-1])  # the order that is quicker by far
        layers.append((h, weight, slope, few, many))

    def steps() -> None:
        for _ in range(_STEPS):
            for i, (h, weight, slope, few, many) in enumerate(layers):
                torch.bmm(h, weight)
                torch.bmm(few.mT, many)
                if i:
                    torch.bmm(slope, weight.mT)

    return steps


def _of_package(python: Path, batch: int) -> Row:
    """A step of the package's own cloning, in its environment."""
    script = Path(__file__).with_name("imitation_peer.py")
    asked = [str(python), str(script), str(_SAMPLES), str(batch)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ValueError(
            f"--peer-python {python} cannot run the cloning of the package imitation: {last[0]}; "
            f"pass the interpreter of an environment with pip install imitation"
        )
    return Row("package imitation: BC, 2 of 32", batch, 1, 1, float(done.stdout.split()[-1]), _NAN, _NAN)


HEADS = (
    "network", "batch", "threads", "K", "us / step", "policies / s", "plain us / step", "plain / ours",
    "products us / step", "ours / products",
)  # fmt: skip
LEGEND = (
    "us / step: microseconds of a training step for each member, medians over rounds; policies / s: at 2000 "
    "steps each; plain: nn.Sequential and torch's AdamW, one policy; products: the matrix products alone."
)


def cells(row: Row) -> tuple[str, ...]:
    """A row as text, in the order of ``HEADS``."""
    return (
        row.network, str(row.batch), str(row.threads), str(row.members), short(row.ours), short(row.policies),
        short(row.plain), short(row.plain / row.ours), short(row.products), short(row.ours / row.products),
    )  # fmt: skip


def write(rows: list[Row], out: Path, command: str) -> None:
    """``populations.md``, ``populations.csv`` and ``populations.parquet`` in the folder ``out``."""
    import pandas as pd

    table = pd.DataFrame([{**asdict(row), "policies": row.policies} for row in rows])
    legend = f"{LEGEND} torch {torch.__version__}."
    write_plain("populations", HEADS, [cells(row) for row in rows], legend, table, out, command)
