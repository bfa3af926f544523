"""``centralpath train``: a policy from a dataset."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from imitation.learners.configs import BehaviourCloning, LearnerConfig
from mpc.arrays import whole_number

if TYPE_CHECKING:
    from imitation.learned import Learned
    from imitation.train import Progress
    from mpc.dataset import Dataset
    from mpc.rollouts import Rollouts


@dataclass(frozen=True)
class Train:
    """Train a policy on a dataset by behaviour cloning, or by a learner that asks its expert anew."""

    dataset: Positional[Path]
    """Directory that `centralpath generate` wrote."""
    out: Path = Path("policy.pt")
    """Checkpoint to write; it must not exist."""
    demonstrations: int | None = None
    """Use only the first so many episodes (default: all)."""
    seed: int = 0
    """Repetition: names the seeds of weights and minibatches."""
    learner: LearnerConfig = field(default_factory=BehaviourCloning)
    """How the policy is trained."""

    def run(self) -> int:
        """Train, save, and print the losses."""
        whole_number("seed", self.seed, 0)
        if self.out.exists():
            raise ValueError(f"--out {self.out} exists; pass another path, or remove the file")
        if not self.out.resolve().parent.is_dir():
            raise ValueError(f"--out {self.out} lies in a folder that does not exist; make it first")
        from bench.commands.progress import counting
        from imitation.checkpoint import save_policy
        from mpc.dataset import open_dataset

        dataset = open_dataset(self.dataset)
        rollouts = dataset.rollouts(self.demonstrations)
        with counting("gradient steps") as advance:
            learned = self._learn(dataset, rollouts, advance)
        history = learned.last.history
        if not all(bool(weights.isfinite().all()) for weights in learned.last.params.values()):
            raise ValueError(
                f"training diverged: weights are not finite after {history.steps[0, -1]} steps, and nothing "
                f"was written; lower the learning rate (--learner.optimizer.lr), or clip gradients "
                f"(learner.optimizer:clipped)"
            )
        save_policy(self.out, learned, 0)
        print(
            f"{self.out}: loss {history.loss[0, -1]:.3g}, held out {history.validation[0, -1]:.3g} "
            f"after {history.steps[0, -1]} steps on {rollouts.episodes} episodes, {learned.queries[0]} labels"
        )
        return 0

    def _learn(self, dataset: "Dataset", rollouts: "Rollouts", progress: "Progress") -> "Learned":
        """Cloning takes the dataset as it is; every other learner asks its expert anew."""
        from imitation.learned import Account, Learned
        from imitation.task import Pupil, Task
        from imitation.train import Member, train

        cloning = isinstance(self.learner, BehaviourCloning)
        asks = not cloning or self.learner.base.hessian > 0
        expert = dataset.expert.build(dataset.problem) if asks else None  # an explicit one takes long
        if cloning or expert is None:
            members = [Member(rollouts, self.seed)]
            trained = train(dataset.problem, self.learner.base, members, progress, expert=expert)
            return Learned.policies(trained, [Account(rollouts.episodes * rollouts.steps)], [rollouts])
        task = Task(dataset.problem, expert, dataset.system, rollouts.steps)
        return self.learner.learn(task, [Pupil(self.seed, rollouts.episodes)], progress)
