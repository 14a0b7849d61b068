"""Train policies in an env by any remedy, on equal terms."""

import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from steadyhand.core.codec import read_json, write_json
from steadyhand.core.lock import working_in
from steadyhand.core.names import file_name
from steadyhand.core.protocol import Controller
from steadyhand.correction.record import RoundRecord
from steadyhand.correction.remedy import Remedy, Task, TrainedPolicy
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.config import EnvConfig
from steadyhand.experts.config import ExpertConfig
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """What all remedies share: env, expert, learner, where to write, and the seed.

    Attributes:
        env: Env for collection and validation.
        expert: The expert that labels.
        learner: The learner, which fits policies.
        folder: Each remedy gets a folder of its own in it.
        seed: Seed of everything; the first starts are the same for all remedies.
    """

    env: BatchEnv
    expert: Controller
    learner: PolicyLearner
    folder: Path
    seed: int

    def teach(
        self,
        remedy: Remedy,
        *,
        key: str = "",
        name: str = "",
        initial: tuple[Episode, ...] = (),
        fits: int = 1,
        on_round: Callable[[RoundRecord], None] | None = None,
    ) -> TrainedPolicy:
        """Teach one policy; what is already in its folder is not done again.

        Args:
            remedy: How.
            key: Names its folder and its random streams; the remedy's own if empty. Two settings of one
                remedy need keys of their own.
            name: Name for tables; likewise.
            initial: Demonstrations to start from; only for interactive remedies.
            fits: How often the labels of an offline remedy are fitted, from other initial weights each time.
            on_round: Called after each round of an interactive remedy.

        Raises:
            SteadyhandError: Env, policy class and remedy do not fit together; or its folder holds the answer
                to another question, such as other settings of the same remedy.
        """
        began = time.perf_counter()
        self.check(remedy, initial=initial)
        folder = self.folder / file_name(key or remedy.key, what="The name of a remedy's folder")
        task = Task(
            env=self.env,
            expert=self.expert,
            learner=self.learner,
            folder=folder,
            seed=self.seed,
            key=key or remedy.seeds or remedy.key,
            initial=initial,
            fits=fits,
            on_round=on_round,
        )
        with working_in(folder):
            trained = remedy.teach(task)
            wall_s = _wall(folder, began)
        return replace(trained, name=name or trained.name, updates=self.learner.updates, wall_s=wall_s)

    def check(self, remedy: Remedy, *, initial: tuple[Episode, ...] = ()) -> None:
        """Refuse what does not fit before anything is collected; the rest shows when collecting begins.

        Raises:
            SteadyhandError: Env, policy class and remedy do not fit together.
        """
        remedy.check(self.env, self.expert, self.learner, initial=initial)


@contextmanager
def trying_out(
    env: EnvConfig,
    expert: ExpertConfig,
    *,
    policy: PolicyConfig,
    training: TrainConfig,
    num_rows: int,
    seed: int,
) -> Generator[Trainer]:
    """Give a trainer whose env is closed and whose folder is gone after the block, as cells need one.

    Args:
        env: The env.
        expert: The expert that labels.
        policy: The policy.
        training: Training of each fit.
        num_rows: Rows of the env.
        seed: Seed of everything.
    """
    built = env.build(num_rows)
    with closing(built), tempfile.TemporaryDirectory() as folder:
        yield Trainer(
            env=built,
            expert=expert.build(built),
            learner=PolicyLearner(built.spec, policy=policy, training=training),
            folder=Path(folder),
            seed=seed,
        )


def _wall(folder: Path, began: float) -> float:
    """Return the time that a remedy took, kept from the first time that it came to its end [s]."""
    path = folder / "wall.json"
    if not path.is_file():
        write_json(path, {"wall_s": time.perf_counter() - began})
    return float(read_json(path)["wall_s"])
