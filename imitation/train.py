"""Behaviour cloning of a population: K policies of one shape in one batched program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imitation.descent import descent
from imitation.learners.configs import BehaviourCloning
from imitation.losses import loss_function
from imitation.objective import Cloning
from imitation.optim.algebra import picked
from imitation.optim.configs import AnyOptimizer
from imitation.optim.contract import Params, Rule
from imitation.optim.schedules import factor
from imitation.policies.configs import BeliefState
from imitation.policies.contract import Tensors
from imitation.population import initial, stacked
from imitation.samples import Samples, foreseen, minibatches, samples, split, with_capped_curvature
from imitation.sensitivity import with_sensitivity
from imitation.trained import History, Trained
from mpc.arrays import Array
from mpc.expert import Expert
from mpc.problem import ControlProblem
from mpc.rollouts import Rollouts

_POINTS = 20  # entries of the history

Progress = Callable[[int, int], None]
"""``progress(steps done, steps in all)``, called about a hundred times."""

Observer = Callable[[Trained], Array]
"""``(K', ...)`` of the policies of K' members that train together, as they are now; it must not keep them."""


@dataclass(frozen=True, eq=False)
class Member:
    """One model to train: its demonstrations, and the repetition that seeds its weights and minibatches.

    The targets are the labels of ``rollouts`` where it has them (only usable ones), else the inputs
    applied. Members of a population may differ in the number of samples, in the learning rate, and in the
    optimizer; those of one optimizer are one program.

    Args:
        lr: learning rate before the schedule's factor; None: the optimizer's.
        optimizer: in the place of the learner's.
    """

    rollouts: Rollouts
    rep: int
    lr: float | None = None
    optimizer: AnyOptimizer | None = None


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A member made ready: samples, drawn and fitted policy, and its number of gradient steps."""

    training: Samples
    validation: Samples
    policy: nn.Module
    rep: int
    steps: int
    optimizer: AnyOptimizer
    lr: float


def train(
    problem: ControlProblem,
    learner: BehaviourCloning,
    members: Sequence[Member],
    progress: Progress | None = None,
    observe: Observer | None = None,
    expert: Expert | None = None,
) -> Trained:
    """Clone the demonstrations of each member; member k of the result belongs to ``members[k]``.

    All members that take the same number of steps with the same optimizer are trained as one program with a
    leading axis K (an optimizer that does not vectorise: one after the other). A member's result does not
    depend on its company, to rounding, and the same call gives the same bits. Initial weights come from
    ``('weights', architecture, rep)``, minibatches from ``('batches', rep)``. A member whose training
    diverges ends with non-finite weights and does not touch the others. Runs on as many torch threads
    as the caller has set, and has glibc keep memory that it frees (``imitation.memory``).

    Args:
        observe: asked at each point of the history about the policies as they would be deployed then, for
            instance what their closed loops cost; the answers are ``history.observed``.
        expert: who made the demonstrations; asked only for Hessians (``learner.hessian``).

    Raises:
        ValueError: without members, for rollouts of other sizes than the problem's, or without a usable
            sample.
    """
    if not members:
        raise ValueError("members must hold at least one Member(rollouts, rep)")
    for member in members:
        _require_member(member, learner)
    prepared = [_prepare(problem, learner, member, expert) for member in members]
    groups = _groups(prepared)
    total = sum(prepared[group[0]].steps for group in groups)
    params, buffers, history = ([{}] * len(members) for _ in range(3))
    done = 0
    for group in groups:
        run = _Run.of(problem, learner, [prepared[k] for k in group])
        trained = run.fit(_shifted(progress, done, total), observe)
        done += run.steps
        for place, k in enumerate(group):
            params[k], buffers[k], history[k] = (_member(part, place) for part in trained)
    return Trained(learner, problem, _joined(params), _joined(buffers), History(**_joined(history)))


def _require_member(member: Member, learner: BehaviourCloning) -> None:
    """Raise ValueError where a member is none, or cannot be trained."""
    if not isinstance(member, Member):
        raise ValueError(f"members must be Member(rollouts, rep), got {_told(member)}")
    if not isinstance(member.rollouts, Rollouts):
        raise ValueError(
            f"Member(rollouts=...) must be Rollouts, got {_told(member.rollouts)}; of a Dataset pass "
            f"dataset.rollouts()"
        )
    optimizer = learner.optimizer if member.optimizer is None else member.optimizer
    if isinstance(optimizer, type) or not (hasattr(optimizer, "rule") and hasattr(optimizer, "lr")):
        raise ValueError(
            f"optimizer must be a config with lr and rule(), as those of imitation.optim, got "
            f"{_told(optimizer)}; a torch.optim.Optimizer class goes into optim.Foreign(cls, arguments)"
        )
    lr = member.lr
    if lr is not None and not (isinstance(lr, Real) and 0 < lr < float("inf")):
        raise ValueError(f"Member(lr=...) must be a positive number or None, got {_told(lr)}")


def _told(value: object) -> str:
    """A value in an error, or its type where it is large."""
    small = isinstance(value, int | float | str | type | None)
    return repr(value) if small else f"a {type(value).__name__}"


def _prepare(
    problem: ControlProblem, learner: BehaviourCloning, member: Member, expert: Expert | None
) -> _Prepared:
    n, m = member.rollouts.x.shape[2], member.rollouts.u.shape[2]
    if (n, m) != (problem.n, problem.m):
        raise ValueError(
            f"rollouts have {n} states and {m} inputs, the problem {problem.name!r} has {problem.n} and "
            f"{problem.m}; use demonstrations of this problem"
        )
    shape, rollouts = learner.policy, member.rollouts
    if learner.uses_curvature and learner.curvature_of == "loop":
        rollouts = with_sensitivity(problem, rollouts)
    seen = foreseen if isinstance(shape, BeliefState) else samples
    training, validation = split(rollouts, learner.validation, shape.history, shape.chunk, seen)
    if (learner.jacobian or learner.hessian) and training.dudx is None:
        raise ValueError(
            "rollouts hold no label.dudx, which jacobian > 0 imitates; demonstrate with an expert of mpc and "
            "keep its labels"
        )
    if learner.hessian:
        training = replace(training, d2udx2=_hessians(expert, training.x))
    if learner.uses_curvature:
        training, validation = with_capped_curvature(training, validation, learner.curvature_cap)
        present = training.x[:, -n:]
        training = replace(training, room=((present @ problem.Q) * present).sum(axis=1) / 2)
    dtype = getattr(torch, learner.dtype)
    policy = initial(learner.policy, problem.n, problem.m, training.x, member.rep, dtype, problem.U)
    steps = learner.steps
    if learner.epochs is not None:
        steps = ceil(learner.epochs * len(training) / learner.batch)
    if learner.keep == "best" and not len(validation):
        raise ValueError(
            f"keep = 'best' judges by held-out episodes, none of {member.rollouts.episodes} is held out with "
            f"validation = {learner.validation:g}; demonstrate more, or keep the last weights"
        )
    optimizer = member.optimizer or learner.optimizer
    lr = optimizer.lr if member.lr is None else member.lr
    return _Prepared(training, validation, policy, member.rep, steps, optimizer, lr)


def _hessians(expert: Expert | None, x: Array) -> Array:
    """The expert's second derivatives ``(S, m, n, n)``.

    Raises:
        ValueError: for an expert without.
    """
    if not hasattr(expert, "hessian"):
        raise ValueError(
            f"hessian > 0 imitates the second derivatives of a smooth expert, got {type(expert).__name__}; "
            f"take a BarrierExpert, and pass it as train(..., expert=...)"
        )
    return expert.hessian(x)  # type: ignore[union-attr]


def _groups(prepared: list[_Prepared]) -> list[list[int]]:
    """Members that run as one program: those of equal steps and optimizer, in order; each alone where it
    must be."""
    groups: list[list[int]] = []
    for k, one in enumerate(prepared):
        like = (
            g
            for g in groups
            if (one.steps, one.optimizer) == (prepared[g[0]].steps, prepared[g[0]].optimizer)
        )
        mine = next(like, None) if one.optimizer.rule().vectorises else None
        if mine is None:
            groups.append([k])
        else:
            mine.append(k)
    return groups


def _shifted(progress: Progress | None, done: int, total: int) -> Callable[[int], None]:
    return lambda steps: None if progress is None else progress(done + steps, total)


@dataclass(frozen=True, eq=False)
class _Run:
    """One batched program: K members, their loss, the rule over their stacked weights."""

    problem: ControlProblem
    learner: BehaviourCloning
    rule: Rule
    members: list[_Prepared]
    cloning: Cloning
    params: Params
    buffers: Tensors

    @classmethod
    def of(cls, problem: ControlProblem, learner: BehaviourCloning, members: list[_Prepared]) -> "_Run":
        params, buffers = stacked([one.policy for one in members])
        cloning = Cloning.of(
            members[0].policy, buffers, [one.training for one in members],
            getattr(torch, learner.dtype), loss=learner.loss, metric=learner.metric,
            jacobian=learner.jacobian, hessian=learner.hessian, stability=learner.stability,
        )  # fmt: skip
        rule = members[0].optimizer.rule()
        return cls(problem, learner, rule, members, cloning, params, buffers)

    @property
    def steps(self) -> int:
        return self.members[0].steps

    def objectives(self) -> Any:
        """The minibatch objective of step 0, 1, ..."""
        learner, sizes = self.learner, [len(one.training) for one in self.members]
        reps = [one.rep for one in self.members]
        for block in minibatches(sizes, reps, learner.batch, learner.epochs is not None):
            for places in torch.from_numpy(block):
                yield self.cloning.objective(places)

    def fit(
        self, notify: Callable[[int], None], observe: Observer | None
    ) -> tuple[Tensors, Tensors, dict[str, np.ndarray]]:
        """Deployed weights, buffers and history of the group."""
        steps, lr, schedule = self.steps, self.rates(), self.learner.schedule
        marks = [ceil(steps * (i + 1) / _POINTS) for i in range(_POINTS)]
        losses = np.zeros((len(self.members), steps))
        seen: dict[int, dict[str, np.ndarray]] = {}
        deployed = self.params

        def rate(step: int) -> float | Tensor:
            return lr * factor(schedule, step, steps)

        reps = [one.rep for one in self.members]
        objectives = islice(self.objectives(), steps)
        for step in descent(self.rule, self.params, objectives, rate, reps):
            losses[:, step.number - 1] = step.info["loss"]
            if step.number in marks:
                deployed, loss = self.kept(deployed, step.deployed, seen)
                seen[step.number] = {"validation": loss}
                if observe is not None:
                    so_far = _history(marks[: marks.index(step.number) + 1], losses, seen)
                    seen[step.number]["observed"] = observe(self._trained(deployed, so_far))
            if step.number % max(1, steps // 100) == 0 or step.number == steps:
                notify(step.number)
        return deployed, self.buffers, _history(marks, losses, seen)

    def rates(self) -> float | Tensor:
        """Learning rate of all members, or of each ``(K,)``."""
        rates = [one.lr for one in self.members]
        return rates[0] if len(set(rates)) == 1 else torch.tensor(rates, dtype=self.cloning.table["x"].dtype)

    def kept(
        self, before: Params, now: Params, seen: dict[int, dict[str, np.ndarray]]
    ) -> tuple[Params, np.ndarray]:
        """What to deploy at this point of the history, and its loss ``(K,)``: the weights as they are now, or
        each member's best so far, which a loss that is no number never is."""
        loss = self.validation(now)
        if self.learner.keep == "last" or not seen:
            return now, loss
        least = seen[max(seen)]["validation"]
        better = (loss < least) | np.isnan(least)
        return picked(torch.from_numpy(better), now, before), np.where(better, loss, least)

    def _trained(self, params: Params, history: dict[str, np.ndarray]) -> Trained:
        return Trained(self.learner, self.problem, params, self.buffers, History(**history))

    def validation(self, params: Params) -> np.ndarray:
        """Loss of each member's deployed actions over its own held-out samples ``(K,)``."""
        out = np.full(len(self.members), np.nan)
        for k, one in enumerate(self.members):
            if len(one.validation):
                tensors = {name: value[k] for name, value in (params | self.buffers).items()}
                one.policy.load_state_dict(tensors)
                x, u, W = (
                    None if rows is None else torch.from_numpy(rows).to(self.cloning.table["x"].dtype)
                    for rows in (one.validation.x, one.validation.u, one.validation.curvature)
                )
                with torch.no_grad():
                    error = one.policy.eval()(x) - u
                    out[k] = loss_function(self.learner.loss)(error, W).mean().item()
                one.policy.train()
        return out


def _history(
    marks: list[int], losses: np.ndarray, seen: dict[int, dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Arrays ``(K, points, ...)`` of a group; with fewer steps than points, points repeat."""
    starts = [min(a, b - 1) for a, b in zip([0, *marks[:-1]], marks, strict=True)]
    return {
        "steps": np.tile(np.array(marks, np.int64), (len(losses), 1)),
        "loss": np.stack([losses[:, a:b].mean(axis=1) for a, b in zip(starts, marks, strict=True)], axis=1),
        **{name: np.stack([seen[mark][name] for mark in marks], axis=1) for name in seen[marks[-1]]},
    }


def _member(part: dict[str, Any], k: int) -> dict[str, Any]:
    return {name: value[k] for name, value in part.items()}


def _joined(parts: list[Any]) -> dict[str, Any]:
    """Dicts of the members' tensors or arrays as one dict with a leading member axis."""
    stack: Any = torch.stack if isinstance(next(iter(parts[0].values())), Tensor) else np.stack
    return {name: stack([part[name] for part in parts]) for name in parts[0]}
