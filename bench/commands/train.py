"""``centralpath train``: a policy from a dataset."""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import Positional

from imitation.learners.configs import BehaviourCloning
from mpc.arrays import whole_number


@dataclass(frozen=True)
class Train:
    """Train a policy on a dataset by behaviour cloning."""

    dataset: Positional[Path]
    """Directory that `centralpath generate` wrote."""
    out: Path = Path("policy.pt")
    """Checkpoint to write; it must not exist."""
    demonstrations: int | None = None
    """Use only the first so many episodes (default: all)."""
    seed: int = 0
    """Repetition: names the seeds of weights and minibatches."""
    learner: BehaviourCloning = field(default_factory=BehaviourCloning)
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
        from imitation.train import Member, train
        from mpc.dataset import open_dataset

        dataset = open_dataset(self.dataset)
        members = [Member(dataset.rollouts(self.demonstrations), self.seed)]
        with counting("gradient steps") as advance:
            trained = train(dataset.problem, self.learner, members, advance)
        save_policy(self.out, trained, 0)
        history = trained.history
        print(
            f"{self.out}: loss {history.loss[0, -1]:.3g}, held out {history.validation[0, -1]:.3g} "
            f"after {history.steps[0, -1]} steps on {members[0].rollouts.episodes} episodes"
        )
        return 0
