"""Why is Adam ahead of SGD on Transformers? Asked of a linear one that does regression in context.

Ahn, Cheng, Song, Yun, Jadbabaie, Sra, "Linear attention is (maybe) all you need (to understand Transformer
optimization)" (arXiv 2310.01082): tokens ``(x_i, y_i)``, the last with y hidden, ``y_i = w'x_i``, a new w for
each sequence; layers ``Z <- Z + (1/n) P Z M (Z'QZ)`` with M hiding the last token; the prediction is minus
its last entry; squared error. d = 5, n = 20, three layers, x and w standard normal, heavy tails: x times
sqrt(gamma) with gamma ~ Gamma(0.1, 10), of mean 1. Fresh sequences at every step, gradients clipped to norm
1, as there. Chosen here: 256 sequences a minibatch, each rule at the best of three rates by its median loss
at the end.

And two exact answers of Ahn, Cheng, Daneshmand, Sra, "Transformers learn to implement preconditioned gradient
descent for in-context learning" (arXiv 2306.00297): the best single layer has the loss ``sum lam_i (1 - a_i
lam_i)``, ``a_i = n / ((n + 1) lam_i + tr)``, for x ~ N(0, diag lam) and w ~ N(0, I); and of three layers ``P
= [0 0; 0 1], Q_l = -[A_l 0; 0 0]`` with w ~ N(0, Sigma^-1), ``Sigma^.5 A_l Sigma^.5`` goes to a multiple of
the identity.

Claims: the loss of SGD is above that of Adam; so is the robust condition number ``max |H_ii| / median
|H_ii|`` along its path, and the directional smoothness along its steps; gradient noise has heavier tails (a
smaller index) for heavy-tailed data; a single layer is within 5 % of the best; A_l's distance to a multiple
of the identity is halved.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.descent import descend
from bench.figures.palette import BLUE, ORANGE
from bench.figures.spec import Figure, Line, Panel, Style
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, median_interval
from imitation.optim import Adam, Clipped, Config, Sgd, diagnostics
from imitation.optim.algebra import minus
from imitation.optim.batches import Batch, BatchObjective
from imitation.optim.contract import Params
from imitation.optim.eigenspace import hessian
from mpc.arrays import Array
from mpc.seeds import integer_seed

D, N, BATCH = 5, 20, 256
SPREAD = torch.tensor([1.0, 1.0, 0.5, 0.25, 0.25])
"""Eigenvalues of Sigma in the two exact settings."""
_POINTS = 8
_TESTED, _MEASURED = 4000, 64  # sequences that losses, and curvatures, are measured on
_NOISE = 1000  # sequences whose gradients tell the tails

Sequences = tuple[Tensor, Tensor]
"""``x (..., n + 1, d)`` and ``y (..., n + 1)``."""


@dataclass(frozen=True)
class _Scale:
    repetitions: int
    steps: int


_SIZES = {"quick": _Scale(8, 60), "default": _Scale(8, 1500), "full": _Scale(16, 10_000)}
_RULES: dict[str, tuple[Config, tuple[float, ...], Style]] = {
    "Adam": (Clipped(Adam()), (3e-3, 1e-2, 3e-2), Style(BLUE)),
    "SGD": (Clipped(Sgd(momentum=0.9)), (3e-3, 1e-2, 3e-2), Style(ORANGE)),
}


@dataclass(frozen=True, eq=False)
class _Path:
    """Of a rule's best rate: steps, and at each ``(R,)``: loss, condition number, directional smoothness."""

    rate: float
    at: list[int]
    loss: list[Array]
    condition: list[Array]
    smoothness: list[Array]

    def later(self, name: str) -> Array:
        """Log mean over the second half of the points."""
        values = getattr(self, name)
        return np.log(values[len(values) // 2 :]).mean(axis=0)


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """Adam beside SGD for two laws of data, and the two exact settings."""
    scale = _SIZES[size]
    reps = [1000 * seed + rep for rep in range(scale.repetitions)]
    paths: dict[tuple[str, str], _Path] = {}
    tails = {}
    for law in ("normal", "heavy-tailed"):
        for rule in _RULES:
            notify(len(paths), 6)
            paths[law, rule] = _path(rule, law, scale.steps, reps)
        tails[law] = _tail_index(_initial(3, reps), law, reps)
    notify(4, 6)
    single = _single_layer(4 * scale.steps, reps)
    notify(5, 6)
    distances = _three_layers(2 * scale.steps, reps)
    notify(6, 6)
    return Findings(
        f"{scale.repetitions} initial weights, {scale.steps} steps (exact settings: 4 and 2 times as many).",
        [
            {"law": law, "rule": rule, "rate": path.rate, "quantity": name}
            | {"value": np.exp(m.estimate), "low": np.exp(m.low), "high": np.exp(m.high)}
            for (law, rule), path in paths.items()
            for name in ("loss", "condition", "smoothness")
            for m in [median_interval(path.later(name))]
        ]
        + [
            {"law": law, "rule": "at the start", "rate": float("nan"), "quantity": "tail index"}
            | {"value": m.estimate, "low": m.low, "high": m.high}
            for law, values in tails.items()
            for m in [median_interval(values)]
        ],
        _claims(paths, tails, single, distances),
        _figures(paths, distances),
    )


def attend(Z: Tensor, P: Tensor, Q: Tensor) -> Tensor:
    """One layer on tokens as rows, ``Z (K, B, n + 1, d + 1)``; ``P, Q (K, d + 1, d + 1)``."""
    seen = Z[:, :, :-1]
    weights = _applied(Q, seen) @ Z.mT
    return Z + weights.mT @ _applied(P.mT, seen) / N


def _applied(W: Tensor, h: Tensor) -> Tensor:
    """``h (K, B, n, d)`` times ``W (K, d, e)``, one product a member."""
    return (h.flatten(1, 2) @ W).unflatten(1, h.shape[1:3])


def predict(layers: list[tuple[Tensor, Tensor]], x: Tensor, y: Tensor) -> Tensor:
    """What the layers say of the last y of each sequence ``(K, B, 1)``."""
    hidden = torch.cat([y[..., :-1], torch.zeros_like(y[..., :1])], dim=-1)
    Z = torch.cat([x, hidden[..., None]], dim=-1)
    for P, Q in layers:
        Z = attend(Z, P, Q)
    return -Z[:, :, -1, -1:]


def sequences(
    count: int, generators: list[torch.Generator], law: str = "normal", task: str = "identity"
) -> Sequences:
    """``count`` sequences for each member. Laws of x: 'normal', 'heavy-tailed', and 'spread' with Sigma.

    Args:
        task: covariance of w, the 'identity' or the 'inverse' of Sigma.
    """
    normal = torch.stack([torch.randn(count, N + 2, D, generator=g) for g in generators])
    x, w = normal[:, :, 1:], normal[:, :, 0]
    if law == "heavy-tailed":
        seeds = [int(torch.randint(2**62, (), generator=g)) for g in generators]
        draws = [np.random.default_rng(seed).gamma(0.1, 10.0, (count, N + 1, 1)) for seed in seeds]
        x = x * torch.from_numpy(np.stack(draws)).sqrt().float()
    if law == "spread":
        x = x * SPREAD.sqrt()
    if task == "inverse":
        w = w / SPREAD.sqrt()
    return x, (x @ w[..., None])[..., 0]


def objective_of(layers: Callable[[Params], list[tuple[Tensor, Tensor]]], data: Sequences) -> BatchObjective:
    """The mean squared error of the last y."""
    x, y = data
    target = y[..., -1:]
    return BatchObjective(
        Batch(lambda p: predict(layers(p), x, y), lambda u: ((u - target) ** 2).sum(dim=-1))
    )


def _free_layers(p: Params) -> list[tuple[Tensor, Tensor]]:
    return list(zip(p["P"].unbind(dim=1), p["Q"].unbind(dim=1), strict=True))


def _generators(name: str, reps: list[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(integer_seed(name, rep)) for rep in reps]


def _initial(layers: int, reps: list[int]) -> Params:
    draws = torch.stack(
        [0.02 * torch.randn(2, layers, D + 1, D + 1, generator=g) for g in _generators("weights", reps)]
    )
    return {"P": draws[:, 0].contiguous(), "Q": draws[:, 1].contiguous()}


def _path(rule: str, law: str, steps: int, reps: list[int]) -> _Path:
    """The rule at all its rates as one population; of the best, its path."""
    config, rates, _ = _RULES[rule]
    members, R = reps * len(rates), len(reps)
    fresh = _generators("sequences", members)
    shared = _shared(_TESTED, law)
    at: list[int] = []
    points: list[tuple[Params, Params, Tensor]] = []
    previous: dict[str, Params] = {}

    def objective(step: int) -> BatchObjective:
        return objective_of(_free_layers, sequences(BATCH, fresh, law))

    def watch(step: int, weights: Params, info: dict[str, Tensor]) -> None:
        gap = max(2, steps // _POINTS)
        if step % gap == 0:
            at.append(step)
            points.append((previous["weights"], weights, _tested(weights, shared)))
        previous["weights"] = weights

    lr = torch.tensor(rates).repeat_interleave(R)
    descend(config, _initial(3, members), objective, steps, members, lr=lr, watch=watch)
    ends = [_last_median([loss[i * R : (i + 1) * R] for *_, loss in points]) for i in range(len(rates))]
    best = int(np.nanargmin(ends))
    mine = slice(best * R, (best + 1) * R)

    def chosen(p: Params) -> Params:
        return {name: value[mine] for name, value in p.items()}

    x, y = (a[:, :_MEASURED].expand(R, *a[:, :_MEASURED].shape[1:]) for a in shared)
    own = objective_of(_free_layers, (x, y))
    found = [
        (
            loss[mine],
            _condition(own, chosen(weights)),
            diagnostics.directional_smoothness(
                own, chosen(before), minus(chosen(weights), chosen(before))
            ).abs(),
        )
        for before, weights, loss in points
    ]
    loss, condition, smoothness = ([f[i].double().numpy() for f in found] for i in range(3))
    return _Path(rates[best], at, loss, condition, smoothness)


def _shared(count: int, law: str) -> Sequences:
    """Sequences that everybody is measured on ``(1, count, ...)``."""
    return sequences(count, [torch.Generator().manual_seed(integer_seed("measured on", law))], law)


def _tested(weights: Params, data: Sequences) -> Tensor:
    """The mean squared error ``(K,)``, member by member."""
    losses = []
    for k in range(len(weights["P"])):
        one = {name: p[k : k + 1] for name, p in weights.items()}
        losses.append(objective_of(_free_layers, data).batch.loss(one))
    return torch.cat(losses)


def _last_median(losses: list[Tensor]) -> float:
    return float(torch.stack(losses[-3:]).log().mean(dim=0).median())


def _condition(objective: BatchObjective, weights: Params) -> Tensor:
    """The robust condition number of the exact diagonal, a few columns at a time."""
    K = len(weights["P"])
    size = sum(p[0].numel() for p in weights.values())
    H, diagonal = hessian(objective, weights), []
    for columns in torch.arange(size).split(18):
        block = torch.nn.functional.one_hot(columns, size).T.to(weights["P"].dtype).expand(K, -1, -1)
        diagonal.append((H(block) * block).sum(dim=1))
    return diagnostics.robust_condition_number(torch.cat(diagonal, dim=1))


def _tail_index(weights: Params, law: str, reps: list[int]) -> Array:
    """Hill's index of the noise of single sequences' gradients."""
    data = sequences(_NOISE, _generators("noise", reps), law)
    objective = objective_of(_free_layers, data)
    slope = torch.func.vmap(torch.func.grad(_one), in_dims=(None, 0, 0))
    norms = []
    _, mean = objective.loss_and_grad(weights)
    for k in range(len(reps)):
        own = {name: p[k] for name, p in weights.items()}
        grads = slope(own, data[0][k], data[1][k])
        squares = sum((g - mean[name][k]).flatten(1).square().sum(dim=1) for name, g in grads.items())
        norms.append(torch.as_tensor(squares).sqrt())
    return diagnostics.tail_index(torch.stack(norms), share=0.05).double().numpy()


def _one(p: Params, x: Tensor, y: Tensor) -> Tensor:
    """The loss of one sequence under the weights of one member."""
    layers = _free_layers({name: value[None] for name, value in p.items()})
    return (predict(layers, x[None, None], y[None, None])[0, 0, 0] - y[-1]) ** 2


def _single_layer(steps: int, reps: list[int]) -> Array:
    """Loss of a trained single layer over the best there is ``(R,)``."""
    fresh = _generators("single", reps)
    trained = descend(
        Clipped(Adam(lr=1e-2)), _initial(1, reps),
        lambda step: objective_of(_free_layers, sequences(BATCH, fresh, "spread")),
        steps, reps, schedule="cosine",
    )  # fmt: skip
    test = sequences(20_000, _generators("single test", reps), "spread")
    return objective_of(_free_layers, test).loss_and_grad(trained)[0].double().numpy() / best_single_layer()


def best_single_layer() -> float:
    """``sum lam_i (1 - a_i lam_i)`` with ``a_i = n / ((n + 1) lam_i + tr)``."""
    a = N / ((N + 1) * SPREAD + SPREAD.sum())
    return float((SPREAD * (1 - a * SPREAD)).sum())


def _three_layers(steps: int, reps: list[int]) -> tuple[list[int], list[Array]]:
    """Steps, and the layers' mean distance of ``Sigma^.5 A_l Sigma^.5`` to multiples of the identity."""
    fresh = _generators("three", reps)
    start = {
        "A": torch.stack(
            [0.05 * torch.randn(3, D, D, generator=g) for g in _generators("three weights", reps)]
        )
    }
    at, distances = [0], [_distance(start["A"])]

    def layers(p: Params) -> list[tuple[Tensor, Tensor]]:
        P = torch.zeros(len(p["A"]), D + 1, D + 1)
        P[:, -1, -1] = 1.0
        pad = torch.nn.functional.pad
        return [(P, -pad(A, (0, 1, 0, 1))) for A in p["A"].unbind(dim=1)]

    def watch(step: int, weights: Params, info: dict[str, Tensor]) -> None:
        if step % max(1, steps // 20) == 0:
            at.append(step)
            distances.append(_distance(weights["A"]))

    descend(
        Clipped(Adam(lr=1e-2)), start,
        lambda step: objective_of(layers, sequences(BATCH, fresh, "spread", "inverse")),
        steps, reps, schedule="cosine", watch=watch,
    )  # fmt: skip
    return at, distances


def _distance(A: Tensor) -> Array:
    """``||M - (tr M / d) I|| / ||M||``, a mean over layers ``(R,)``."""
    root = SPREAD.sqrt()
    M = root[:, None] * A * root
    middle = M.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None] * torch.eye(D)
    share = (M - middle).flatten(2).norm(dim=2) / M.flatten(2).norm(dim=2)
    return share.mean(dim=1).double().numpy()


def _claims(
    paths: dict[tuple[str, str], _Path],
    tails: dict[str, Array],
    single: Array,
    distances: tuple[list[int], list[Array]],
) -> tuple[Claim, ...]:
    laws = dict.fromkeys(law for law, _ in paths)

    def above(name: str) -> dict[str, Array]:
        return {law: paths[law, "SGD"].later(name) - paths[law, "Adam"].later(name) for law in laws}

    _, path = distances
    return (
        *(
            claim_all(f"{claim}, {law} data: log(SGD / Adam)", {law: values})
            for name, claim in (
                ("loss", "Adam's loss is lower"),
                ("condition", "Adam's path has the better condition"),
                ("smoothness", "Adam's steps are smoother"),
            )
            for law, values in above(name).items()
        ),
        claim_all(
            "heavy-tailed data, heavier tails of noise: tail index normal - heavy-tailed",
            {"at the initial weights": tails["normal"] - tails["heavy-tailed"]},
        ),
        claim_all(
            "one layer is the best one: 0.05 - |loss / best - 1|", {"one layer": 0.05 - abs(single - 1)}
        ),
        claim_all(
            "A_l goes to a multiple of the identity: log(distance at the start / at the end / 2)",
            {"three layers": np.log(path[0] / path[-1] / 2)},
        ),
    )


def _figures(
    paths: dict[tuple[str, str], _Path], distances: tuple[list[int], list[Array]]
) -> tuple[Figure, ...]:
    labels = {
        "loss": "squared error",
        "condition": "max / median of |H_ii|",
        "smoothness": "directional smoothness",
    }
    panels = [
        Panel(
            f"{law} data",
            "steps",
            label,
            tuple(
                median_line(path.at, getattr(path, name), _RULES[rule][2], rule)
                for (other, rule), path in paths.items()
                if other == law
            ),
            log_y=True,
        )
        for law in dict.fromkeys(law for law, _ in paths)
        for name, label in labels.items()
    ]
    lines: tuple[Line, ...] = (median_line(*distances, Style(BLUE), "three layers by Adam"),)
    exact = Panel(
        "tasks N(0, Sigma^-1)", "steps", "distance to a multiple of the identity", lines, log_y=True
    )
    caption = "Medians over initial weights with their 95 % intervals; each rule at the best of three rates."
    return (
        Figure("paths", "Adam and SGD on a linear Transformer", caption, tuple(panels), columns=3),
        Figure(
            "layers", "Layers learn a preconditioner", "Medians with 95 % intervals.", (exact,), columns=1
        ),
    )
