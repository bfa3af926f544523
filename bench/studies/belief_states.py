"""Does a belief state, told the future while it learns, solve a task that next-token training cannot?

Hu et al., "The Belief State Transformer" (arXiv 2410.23506): a forward encoder gives ``f_t`` of the tokens up
to t, a backward encoder ``b_s`` of those from s on; from ``(f_t, b_s)`` with s > t + 1 heads say token t + 1
and token s - 1. With s beyond the end (an empty suffix) and the first head alone it is next-token training.
The task is the star graph G(d, l): d paths of l nodes from one centre, their edges shuffled, then centre and
goal; the answer is the path to the goal. There, six layers of width 768 on a large GPU: next-token training
stays at 1/d, the belief state solves it.

Chosen here, for two cores: three layers of width 32 with one head of attention; labels permuted for each
graph, as many as nodes; both losses on the tokens of the answer only; Adam, rate 1e-3, 32 graphs a minibatch.
Paths are decoded with the empty suffix; an answer counts when all its tokens are right, each given the right
ones before.

Claims: on G(2, 3), the belief state needs fewer iterations to 99 %, ``log(next-token / belief)`` > 0 (who
does not get there counts with the last iteration); on G(2, 4), next-token training stays below 0.6; and the
belief state is ahead of it by more than 0.1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.descent import descend
from bench.figures.palette import BLUE, ORANGE
from bench.figures.spec import Figure, Panel, Style, reference
from bench.findings import Findings, Notify, Size, median_line
from bench.statistics import Claim, claim_all, median_interval
from imitation.optim import Adam
from imitation.optim.batches import Batch, BatchObjective
from imitation.optim.contract import Params
from mpc.arrays import Array
from mpc.seeds import integer_seed, seed_for

WIDTH, LAYERS, BATCH = 32, 3, 32
_TEST, _POINTS = 256, 25


@dataclass(frozen=True)
class Star:
    """``paths`` of ``length`` nodes from one centre, which belongs to each of them."""

    paths: int
    length: int

    @property
    def nodes(self) -> int:
        return self.paths * (self.length - 1) + 1

    @property
    def start(self) -> int:
        """The token that says where a sequence begins; the next one says that the answer follows."""
        return self.nodes

    @property
    def prompt(self) -> int:
        """Tokens before the answer: edges, centre, goal, and the sign that the answer follows."""
        return 2 * self.paths * (self.length - 1) + 3

    @property
    def tokens(self) -> int:
        return self.prompt + self.length - 1

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """Token sequences ``(count, tokens)``: the answer is the path after the centre."""
        arm = self.length - 1
        label = rng.permuted(np.tile(np.arange(self.nodes), (count, 1)), axis=1)
        path = np.concatenate(
            [np.zeros((self.paths, 1), int), 1 + np.arange(self.nodes - 1).reshape(self.paths, arm)], axis=1
        )
        edges = np.stack([path[:, :-1].ravel(), path[:, 1:].ravel()], axis=1)
        order = rng.permuted(np.tile(np.arange(len(edges)), (count, 1)), axis=1)
        shuffled = edges[order].reshape(count, -1)
        goal = path[rng.integers(self.paths, size=count)]
        rows = np.arange(count)[:, None]
        sign = np.full((count, 1), self.start + 1)
        return np.concatenate(
            [label[rows, shuffled], label[:, :1], label[rows, goal[:, -1:]], sign, label[rows, goal[:, 1:]]],
            axis=1,
        )


@dataclass(frozen=True)
class _Scale:
    repetitions: int
    easy: int
    hard: int


_SIZES = {"quick": _Scale(8, 50, 50), "default": _Scale(8, 2500, 2500), "full": _Scale(8, 20_000, 40_000)}
_STYLES = {"next token": Style(ORANGE), "belief state": Style(BLUE)}


@dataclass(frozen=True, eq=False)
class _Path:
    """Iterations, and the share of right answers there ``(R,)``."""

    at: list[int]
    right: list[Array]

    def reached(self, level: float) -> Array:
        """The first iteration with so many right answers, the last one where there is none ``(R,)``."""
        met = np.array(self.right) >= level
        met[-1] = True
        return np.array(self.at, float)[met.argmax(axis=0)]


def study(size: Size, seed: int, notify: Notify) -> Findings:
    """Both objectives on both graphs."""
    scale = _SIZES[size]
    reps = [1000 * seed + rep for rep in range(scale.repetitions)]
    paths: dict[tuple[str, str], _Path] = {}
    for star, steps in ((Star(2, 3), scale.easy), (Star(2, 4), scale.hard)):
        for name in _STYLES:
            notify(len(paths), 4)
            paths[f"G({star.paths}, {star.length})", name] = _path(star, name, steps, reps)
    notify(4, 4)
    return Findings(
        f"{scale.repetitions} initial weights, {scale.easy} and {scale.hard} iterations.",
        [
            {
                "graph": graph,
                "objective": name,
                "right at the end": end.estimate,
                "low": end.low,
                "high": end.high,
            }
            | {"iterations to 99 %": float(np.median(path.reached(0.99))), "of": path.at[-1]}
            for (graph, name), path in paths.items()
            for end in [median_interval(path.right[-1])]
        ],
        _claims(paths),
        (_figure(paths),),
    )


def initial(star: Star, reps: list[int]) -> Params:
    """Weights of one network for each repetition: two encoders, and a head for each direction."""
    d, vocabulary = WIDTH, star.nodes + 2

    def one(rep: int) -> dict[str, Tensor]:
        g = torch.Generator().manual_seed(integer_seed("weights", "belief state", rep))

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=g) / sqrt(shape[-2])

        encoder = {
            "embed": (vocabulary, d), "place": (star.tokens + 1, d), "qkv": (LAYERS, d, 3 * d),
            "out": (LAYERS, d, d), "up": (LAYERS, d, 4 * d), "down": (LAYERS, 4 * d, d),
        }  # fmt: skip
        heads = {
            "mix.f": (d, 2 * d),
            "mix.b": (d, 2 * d),
            "next": (2 * d, vocabulary),
            "last": (2 * d, vocabulary),
        }
        both = {f"{side}.{name}": normal(*shape) for side in "fb" for name, shape in encoder.items()}
        return both | {name: normal(*shape) for name, shape in heads.items()}

    networks = [one(rep) for rep in reps]
    return {name: torch.stack([network[name] for network in networks]) for name in networks[0]}


def encode(p: Params, side: str, tokens: Tensor, start: int) -> Tensor:
    """States ``(K, B, T + 1, d)`` of tokens ``(K, B, T)``: state t has seen the first t of them."""
    K, B, T = tokens.shape
    begun = torch.cat([tokens.new_full((K, B, 1), start), tokens], dim=2)
    one_hot = F.one_hot(begun, p[f"{side}.embed"].shape[1]).to(p[f"{side}.embed"].dtype)
    h = applied(p[f"{side}.embed"], one_hot) + p[f"{side}.place"][:, None, : T + 1]
    hidden = torch.ones(T + 1, T + 1).triu(1).bool()
    for layer in range(LAYERS):
        q, k, v = applied(p[f"{side}.qkv"][:, layer], _normed(h)).chunk(3, dim=-1)
        scores = (q @ k.mT / sqrt(WIDTH)).masked_fill(hidden, -torch.inf)
        h = h + applied(p[f"{side}.out"][:, layer], scores.softmax(dim=-1) @ v)
        wide = F.gelu(applied(p[f"{side}.up"][:, layer], _normed(h)))
        h = h + applied(p[f"{side}.down"][:, layer], wide)
    return _normed(h)


def applied(W: Tensor, h: Tensor) -> Tensor:
    """``h (K, ..., d)`` times ``W (K, d, e)``, one product a member."""
    return (h.flatten(1, -2) @ W).unflatten(1, h.shape[1:-1])


def _normed(h: Tensor) -> Tensor:
    return h / (h.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()


def beliefs(p: Params, star: Star, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """``f_t`` for t from the prompt's end to T, and ``b_s`` for s from there to T + 1, the empty suffix.

    ``f_t`` is the first result at t - prompt, ``b_s`` the second at s - prompt - 1.
    """
    ahead = encode(p, "f", tokens, star.start)[:, :, star.prompt :]
    return ahead, encode(p, "b", tokens[:, :, star.prompt :].flip(2), star.start).flip(2)


def logits(p: Params, f: Tensor, b: Tensor, head: str) -> Tensor:
    """What a head says of the token after f's, or before b's."""
    return applied(p[head], F.gelu(applied(p["mix.f"], f) + applied(p["mix.b"], b)))


def next_token_losses(p: Params, star: Star, tokens: Tensor) -> Tensor:
    """Mean cross-entropy of the answer's tokens ``(K, B, 1)``, with the empty suffix."""
    f, b = beliefs(p, star, tokens)
    said = logits(p, f[:, :, :-1], b[:, :, -1:].expand_as(f[:, :, :-1]), "next")
    return _entropy(said, tokens[:, :, star.prompt :]).mean(dim=-1, keepdim=True)


def belief_losses(p: Params, star: Star, tokens: Tensor) -> Tensor:
    """Mean cross-entropy of both heads over all pairs within the answer ``(K, B, 1)``."""
    f, b = beliefs(p, star, tokens)
    answer = tokens[:, :, star.prompt :]
    pairs = [(t, s) for t in range(star.length - 1) for s in range(t + 1, star.length)]
    left, right = torch.tensor([t for t, _ in pairs]), torch.tensor([s for _, s in pairs])
    ahead, behind = f[:, :, left], b[:, :, right]
    forward = _entropy(logits(p, ahead, behind, "next"), answer[:, :, left])
    backward = _entropy(logits(p, ahead, behind, "last"), answer[:, :, right - 1])
    return (forward + backward).mean(dim=-1, keepdim=True) / 2


def _entropy(said: Tensor, truth: Tensor) -> Tensor:
    return -said.log_softmax(dim=-1).gather(-1, truth[..., None])[..., 0]


_LOSSES: dict[str, Callable[[Params, Star, Tensor], Tensor]] = {
    "next token": next_token_losses,
    "belief state": belief_losses,
}


def right_answers(p: Params, star: Star, tokens: Tensor) -> Tensor:
    """The share of sequences whose answer is right, token for token ``(K,)``."""
    f, b = beliefs(p, star, tokens)
    ahead = f[:, :, :-1]
    said = logits(p, ahead, b[:, :, -1:].expand_as(ahead), "next").argmax(dim=-1)
    return (said == tokens[:, :, star.prompt :]).all(dim=-1).double().mean(dim=-1)


def _path(star: Star, name: str, steps: int, reps: list[int]) -> _Path:
    fresh = [np.random.default_rng(seed_for("graphs", star.length, rep)) for rep in reps]
    test = np.random.default_rng(seed_for("test graphs", star.length))
    held = torch.from_numpy(star.draw(_TEST, test)).expand(len(reps), -1, -1)
    path = _Path([], [])

    def objective(step: int) -> BatchObjective:
        tokens = torch.from_numpy(np.stack([star.draw(BATCH, rng) for rng in fresh]))
        return BatchObjective(Batch(lambda p: _LOSSES[name](p, star, tokens), lambda loss: loss[..., 0]))

    def watch(step: int, weights: Params, info: dict[str, Tensor]) -> None:
        if step % max(1, steps // _POINTS) == 0:
            path.at.append(step)
            path.right.append(right_answers(weights, star, held).numpy())

    descend(Adam(lr=1e-3), initial(star, reps), objective, steps, reps, watch=watch)
    return path


def _claims(paths: dict[tuple[str, str], _Path]) -> tuple[Claim, ...]:
    easy = [paths["G(2, 3)", name].reached(0.99) for name in _STYLES]
    token, belief = (paths["G(2, 4)", name].right[-1] for name in _STYLES)
    return (
        claim_all(
            "G(2, 3): the belief state needs fewer iterations to 99 %: log(next token / belief state)",
            {"G(2, 3)": np.log(easy[0] / easy[1])},
        ),
        claim_all(
            "G(2, 4): next-token training is stuck: 0.6 - share of right answers", {"G(2, 4)": 0.6 - token}
        ),
        claim_all(
            "G(2, 4): the belief state is ahead: difference of shares - 0.1",
            {"G(2, 4)": belief - token - 0.1},
        ),
    )


def _figure(paths: dict[tuple[str, str], _Path]) -> Figure:
    panels = tuple(
        Panel(
            graph,
            "iterations",
            "share of right answers",
            (
                *(
                    median_line(paths[graph, name].at, paths[graph, name].right, style, name)
                    for name, style in _STYLES.items()
                ),
                reference(0.5, paths[graph, "next token"].at, "guessing the path"),
            ),
            y_range=(0.0, 1.02),
        )
        for graph in dict.fromkeys(graph for graph, _ in paths)
    )
    caption = "Medians over initial weights with their 95 % intervals; paths decoded with an empty suffix."
    return Figure("answers", "Star graphs: next tokens and belief states", caption, panels)
