"""Any rule in turned coordinates: Haar rotations that are fixed for the run, or the gradient's SVD bases.

The base sees the weights ``R w``, the gradient ``R g`` and, where it asks, ``R H R'``; what it does to them
is turned back: ``w + R' (moved - R w)``. Under any R, SGD does what it did before; Adam does not
("Understanding Adam requires better rotation dependent assumptions", arXiv 2410.19964).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from imitation.optim.algebra import Scalar, minus, plus
from imitation.optim.contract import Draw, Draws, Objective, Params, Rule
from imitation.optim.draws import of_base
from imitation.optim.flat import Layout
from imitation.optim.matrices import divided
from imitation.optim.wrapper import Wrapper

Turn = Callable[[Params], Params]


@dataclass(frozen=True, eq=False)
class RotatedState:
    """The blocks of the rotation, and the base's state."""

    turns: Params
    base: Any


@dataclass(frozen=True)
class RotatedRule(Wrapper):
    """The base in coordinates turned by Haar rotations, each member by its own.

    d weights are cut into q blocks of nearly equal size: block j turns the weights j, j + q, j + 2q, ...
    among themselves, so that each mixes weights from all over its scope.

    Args:
        scope: among which weights rotations act: all of a model; those of a tensor; those of a matrix that
            enter one output neuron, or leave one input neuron, the same rotation for each neuron. The last
            two leave alone what is no matrix.
        block: the largest size of a block.
    """

    base: Rule
    scope: Literal["global", "layer", "output", "input"]
    block: int

    @property
    def elementwise(self) -> bool:
        return self.scope == "global" and self.base.elementwise

    def asks_first(self, params: Params) -> dict[str, Draw]:
        own = {}
        for name, rows in self._rows(Layout.of(params), params).items():
            long, short, length = self._cut(rows.shape[-1])
            own[f"turn.{name}.long"] = Draw("normal", (long, length + 1, length + 1))
            own[f"turn.{name}.short"] = Draw("normal", (short, length, length))
        return own | super().asks_first(params)

    def init(self, params: Params, draws: Draws) -> RotatedState:
        turns = {name.removeprefix("turn."): haar(a) for name, a in draws.items() if name.startswith("turn.")}
        return RotatedState(turns, self.base.init(self._turn(turns, params)(params), of_base(draws)))

    def update(
        self, state: RotatedState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, RotatedState, dict[str, Tensor]]:
        view = Turned.of(objective, params, self._turn(state.turns, params), self._back(state.turns, params))
        here, base, info = self.base.update(state.base, view.here, view, lr, of_base(draws))
        return view.place(here), RotatedState(state.turns, base), info

    def deployed(self, state: RotatedState, params: Params) -> Params:
        turn, back = self._turn(state.turns, params), self._back(state.turns, params)
        return _deployed(self.base, state.base, params, turn, back)

    def state_bytes(self, params: Params) -> int:
        first = next(iter(params.values()))
        own = 0
        for rows in self._rows(Layout.of(params), params).values():
            long, short, length = self._cut(rows.shape[-1])
            own += long * (length + 1) ** 2 + short * length**2
        return first.shape[0] * own * first.element_size() + self.base.state_bytes(params)

    def _cut(self, d: int) -> tuple[int, int, int]:
        """Blocks that hold one weight more, the others, and how many weights those hold."""
        blocks = -(-d // self.block)
        length, long = divmod(d, blocks)
        return long, blocks - long, length

    def _turn(self, turns: Params, like: Params) -> Turn:
        layout = Layout.of(like)

        def turn(a: Params) -> Params:
            rows = {
                name: _in_blocks(row, turns[f"{name}.long"], turns[f"{name}.short"])
                for name, row in self._rows(layout, a).items()
            }
            match self.scope:
                case "global":
                    return layout.views({name: row.squeeze(-2) for name, row in rows.items()})
                case "layer":
                    return {name: row.reshape(a[name].shape) for name, row in rows.items()}
                case "output":
                    return a | rows
                case "input":
                    return a | {name: row.mT for name, row in rows.items()}

        return turn

    def _back(self, turns: Params, like: Params) -> Turn:
        return self._turn({name: turn.mT for name, turn in turns.items()}, like)

    def _rows(self, layout: Layout, a: Params) -> Params:
        """What is turned, as rows ``(..., K, rows, d)`` whose d weights are turned among themselves."""
        match self.scope:
            case "global":
                return {name: row.unsqueeze(-2) for name, row in layout.pack(a).items()}
            case "layer":
                shapes = dict(zip(layout.names, layout.shapes, strict=True))
                return {n: p.reshape(*p.shape[: p.dim() - len(shapes[n])], 1, -1) for n, p in a.items()}
            case _:
                shapes = zip(layout.names, layout.shapes, strict=True)
                matrices = {name: a[name] for name, shape in shapes if len(shape) == 2}
                return matrices if self.scope == "output" else {n: p.mT for n, p in matrices.items()}


def haar(normal: Tensor) -> Tensor:
    """Independent standard normals ``(..., d, d)`` to Haar rotations (Mezzadri, arXiv math-ph/0609050)."""
    Q, R = torch.linalg.qr(normal)
    return Q * R.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]


def _in_blocks(rows: Tensor, long: Tensor, short: Tensor) -> Tensor:
    """Rows ``(..., K, rows, d)`` with the weights of each block turned among themselves."""
    q, length = long.shape[1] + short.shape[1], short.shape[-1]
    body = rows[..., : q * length].unflatten(-1, (length, q)).mT
    rest = rows[..., q * length :]
    first = torch.cat([body[..., : long.shape[1], :], rest[..., None]], dim=-1)
    first = torch.einsum("kqij,...krqj->...krqi", long, first)
    second = torch.einsum("kqij,...krqj->...krqi", short, body[..., long.shape[1] :, :])
    body = torch.cat([first[..., :length], second], dim=-2).mT.flatten(-2)
    return torch.cat([body, first[..., length]], dim=-1)


@dataclass(frozen=True, eq=False)
class SingularState:
    """Steps taken, the bases of the matrices, and the base's state."""

    step: int
    left: Params
    right: Params
    base: Any


@dataclass(frozen=True)
class SingularRule(Wrapper):
    """The base on ``U' W V`` for each matrix W, with the singular bases U, V of its gradient.

    Args:
        every: steps between renewals of the bases; the base's state stays as it is.
    """

    base: Rule
    every: int

    @property
    def elementwise(self) -> bool:
        return False

    def init(self, params: Params, draws: Draws) -> SingularState:
        matrices, _ = divided(params)
        left = {name: _identity(p, p.shape[1]) for name, p in matrices.items()}
        right = {name: _identity(p, p.shape[2]) for name, p in matrices.items()}
        return SingularState(0, left, right, self.base.init(params, of_base(draws)))

    def update(
        self, state: SingularState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, SingularState, dict[str, Tensor]]:
        first = objective.loss_and_grad(params)
        left, right = state.left, state.right
        if state.step % self.every == 0:
            bases = {name: torch.linalg.svd(g) for name, g in divided(first[1])[0].items()}
            left = {name: _aligned(basis[0], left[name]) for name, basis in bases.items()}
            right = {name: _aligned(basis[2].mT, right[name]) for name, basis in bases.items()}
        view = Turned.of(objective, params, _to_bases(left, right), _from_bases(left, right), first)
        here, base, info = self.base.update(state.base, view.here, view, lr, of_base(draws))
        return view.place(here), SingularState(state.step + 1, left, right, base), info

    def deployed(self, state: SingularState, params: Params) -> Params:
        turn, back = _to_bases(state.left, state.right), _from_bases(state.left, state.right)
        return _deployed(self.base, state.base, params, turn, back)

    def state_bytes(self, params: Params) -> int:
        matrices, _ = divided(params)
        squares = sum(
            len(p) * (p.shape[1] ** 2 + p.shape[2] ** 2) * p.element_size() for p in matrices.values()
        )
        return squares + self.base.state_bytes(params)


def _aligned(basis: Tensor, before: Tensor) -> Tensor:
    """The basis with each vector's sign, which is arbitrary, that of the vector in its place before.

    Else the base's moments, which stay as they are, would change sign by chance.
    """
    return basis * torch.where((basis * before).sum(dim=1) < 0, -1.0, 1.0).to(basis.dtype)[:, None, :]


def _identity(p: Tensor, d: int) -> Tensor:
    return torch.eye(d, dtype=p.dtype).expand(len(p), d, d)


def _to_bases(left: Params, right: Params) -> Turn:
    return lambda a: {n: left[n].mT @ p @ right[n] if n in left else p for n, p in a.items()}


def _from_bases(left: Params, right: Params) -> Turn:
    return lambda a: {n: left[n] @ p @ right[n].mT if n in left else p for n, p in a.items()}


def _deployed(base: Rule, state: Any, params: Params, turn: Turn, back: Turn) -> Params:
    here = turn(params)
    there = base.deployed(state, here)
    return params if there is here else plus(params, 1.0, back(minus(there, here)))


@dataclass(frozen=True, eq=False)
class Turned:
    """An objective seen in turned coordinates, ``here`` being where ``params`` are.

    A point is turned back by what sets it apart from ``here``, so ``here`` itself goes to ``params`` exactly.
    """

    objective: Objective
    params: Params
    here: Params
    turn: Turn
    back: Turn
    first: tuple[Tensor, Params] | None = None
    """Loss and gradient at ``params``, where they are there already."""

    @classmethod
    def of(
        cls,
        objective: Objective,
        params: Params,
        turn: Turn,
        back: Turn,
        first: tuple[Tensor, Params] | None = None,
    ) -> "Turned":
        return cls(objective, params, turn(params), turn, back, first)

    @property
    def offers(self) -> frozenset[str]:
        return self.objective.offers

    def place(self, here: Params) -> Params:
        """The weights at a point of the turned coordinates."""
        return plus(self.params, 1.0, self.back(minus(here, self.here)))

    def loss_and_grad(self, params: Params) -> tuple[Tensor, Params]:
        if self.first is not None and params is self.here:
            loss, grads = self.first
        else:
            loss, grads = self.objective.loss_and_grad(self.place(params))
        return loss, self.turn(grads)

    def hvp(self, params: Params, v: Params, full: bool = True) -> Params:
        return self.turn(self.objective.hvp(self.place(params), self.back(v), full))

    def ggn(self, params: Params, v: Params) -> Params:
        return self.turn(self.objective.ggn(self.place(params), self.back(v)))

    def sample_grad(self, params: Params, i: Tensor) -> Params:
        return self.turn(self.objective.sample_grad(self.place(params), i))
