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
    from imitation.trained import Trained
    from mpc.dataset import Dataset


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
        from imitation.trained import Trained
        from mpc.dataset import open_dataset

        dataset = open_dataset(self.dataset)
        with counting("gradient steps") as advance:
            learned, episodes, queries = self._train(dataset, advance)
        save_policy(self.out, learned, 0)
        history = learned.history if isinstance(learned, Trained) else learned.last.history
        print(
            f"{self.out}: loss {history.loss[0, -1]:.3g}, held out {history.validation[0, -1]:.3g} "
            f"after {history.steps[0, -1]} steps on {episodes} episodes, {queries} labels"
        )
        return 0

    def _train(self, dataset: "Dataset", progress: "Progress") -> "tuple[Trained | Learned, int, int]":
        """What was learned, the number of episodes, and the number of labels asked for."""
        from imitation.task import Pupil, Task
        from imitation.train import Member, train

        rollouts = dataset.rollouts(self.demonstrations)
        expert = dataset.expert.build(dataset.problem)
        if isinstance(self.learner, BehaviourCloning):
            members = [Member(rollouts, self.seed)]
            trained = train(dataset.problem, self.learner, members, progress, expert=expert)
            return trained, rollouts.episodes, rollouts.episodes * rollouts.steps
        task = Task(dataset.problem, expert, dataset.system, rollouts.steps)
        learned = self.learner.learn(task, [Pupil(self.seed, rollouts.episodes)], progress)
        return learned, rollouts.episodes, learned.accounts[0].queries
