"""A policy as a robot sees it: an observation in, an action out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.core.parts import Part, require_part
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import RowStreams, derive
from steadyhand.correction.remedy import TrainedPolicy
from steadyhand.envs.base import BatchEnv
from steadyhand.face.asked import path_of, seed_of
from steadyhand.face.folders import Folder
from steadyhand.face.observation import read_observation
from steadyhand.policies.artifact import load_policy, save_policy
from steadyhand.policies.devices import chosen_device
from steadyhand.policies.policy import PolicyModule as Network
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.recipes.policies import check_fits, policy_folder
from steadyhand.recipes.train import TrainOutcome
from steadyhand.rollout.executors.base import PolicyExecutor
from steadyhand.rollout.executors.config import ExecutorConfig, Receding


@dataclass(kw_only=True, eq=False)
class _Drive:
    """What drives between two resets: the executor with its memory, and the random streams of its rows."""

    executor: PolicyExecutor
    streams: RowStreams
    is_batch: bool

    @property
    def num_rows(self) -> int:
        return len(self.streams)


class Policy:
    """A policy that answers step by step and keeps its own memory: history, chunks and random streams.

        policy = sh.load("runs/clone")
        policy.reset()                              # before every episode
        while True:                                 # once every policy.spec.control_dt seconds
            robot.move(policy(robot.observe()))

    It keeps no time: the loop has to hold the control rate, `spec.control_dt` [s], that the data had. Actions
    are clipped to the bounds of the action space as far as the data named any (`spec.action.low`, `.high`);
    speed limits, work space and an emergency stop are the robot's own business.

    Args:
        network: The network with its normaliser; see `policies.policy`.
        name: Name for tables.
        executor: How its chunks become one action a step; a receding horizon if None.
        deterministic: Answer with the mode (True) or a sample (False); None takes the default of its head.
        num_threads: Threads of torch while it predicts.
        folder: Folder of the run that made it, if it has one.
        origin: The training or correction that made it, if this process did.

    Attributes:
        network: The network, a torch module.
        name: Name for tables.
        executor: How its chunks become one action a step.
        deterministic: Whether it answers with the mode (True) or a sample (False); None does what its head
            does by default.
        origin: What `train` or `correct` left behind beside it: losses, errors on held-out episodes, rounds,
            what the labels cost; None for a policy that was loaded.
    """

    def __init__(
        self,
        network: Network,
        *,
        name: str = "policy",
        executor: ExecutorConfig | None = None,
        deterministic: bool | None = None,
        num_threads: int = 1,
        folder: Folder | None = None,
        origin: TrainOutcome | TrainedPolicy | None = None,
    ) -> None:
        if deterministic not in (True, False, None):
            raise ConfigError(
                "deterministic is a choice between the mode and a sample.",
                got=deterministic,
                expected="True, False or None",
            )
        self.network = network.eval()
        self.name = name
        self.executor = _executor(executor)
        self.deterministic = deterministic
        self._num_threads = num_threads
        self._folder = folder
        self.origin = origin
        self._seed = 0
        self._drive: _Drive | None = None

    @property
    def spec(self) -> PolicySpec:
        """What goes in and out: features, action, and the time between two actions [s]."""
        return self.network.spec

    @property
    def config(self) -> PolicyConfig:
        """Settings of its encoder and head, and its numbers of steps."""
        return self.network.config

    @property
    def folder(self) -> Path | None:
        """Folder of the run that made it; a temporary one lives as long as the policy."""
        return None if self._folder is None else self._folder.path

    def __call__(self, observation: Mapping[str, Any] | Any) -> Shaped[np.ndarray, "..."]:
        """Return the action for an observation, or for each of a batch of B.

        Args:
            observation: Feature -> array, of one observation or of a batch. Names are those of the training
                data or their short forms ("state", the name of a camera); other entries are ignored. A policy
                that reads a single feature also takes its array alone. Arrays may have any dtype of real
                numbers; pictures are uint8, or floats from 0 to 1.

        Returns:
            (A,) for one observation and (B, A) for a batch, within the bounds. A discrete action is a whole
            number: an array without axes for one observation, (B,) for a batch.

        Raises:
            SpecError: A feature is missing, has another shape or is not finite, the size of the batch has
                changed since the last `reset`, or the answer is not finite: no robot may execute that.
        """
        window, is_batch = read_observation(observation, self.spec.observation)
        drive = self._at(len(next(iter(window.values()))), is_batch=is_batch)
        rows = np.arange(drive.num_rows)
        decision = drive.executor.act(window, {}, rows, drive.streams)
        drive.streams.advance()
        self.spec.action.check(decision.action, name=f"The action of the policy {self.name}")
        action = self.spec.action.clipped(decision.action)
        if self.spec.action.kind == "discrete":
            action = action[:, 0]
        return action if is_batch else np.asarray(action[0])

    def reset(self, *, seed: int = 0) -> None:
        """Begin an episode: forget history and chunks, and restart the random streams.

        Args:
            seed: Seed of what the policy draws; the same seed and observations give the same actions.
        """
        self._seed, self._drive = seed_of(seed), None

    def controller(
        self, env: BatchEnv, *, executor: ExecutorConfig | None = None, n_action_steps: int | None = None
    ) -> Controller:
        """Return the policy as a controller of the rows of an env, with a memory of its own.

        Args:
            env: The env.
            executor: Takes the place of the policy's own.
            n_action_steps: Steps from one prediction to the next, in the receding horizon.

        Raises:
            SpecError: It does not fit the env.
        """
        check_fits(self.network, env.spec, name=f"The policy {self.name}")
        chosen = (
            _executor(executor or self.executor)
            if n_action_steps is None
            else Receding(n_action_steps=n_action_steps)
        )
        return self._built(chosen, env.num_rows)

    def save(self, folder: str | Path) -> Path:
        """Write the policy to a folder that `steadyhand.load` reads, and return that folder.

        Raises:
            ArtifactError: Other files than those of a policy lie there.
        """
        place = path_of("folder", folder)
        save_policy(self.network, place)
        return place

    def __repr__(self) -> str:
        config, spec = self.config, self.spec
        sees = ", ".join(f"{name} {list(one.shape)}" for name, one in spec.observation.items())
        rate = f"every {spec.control_dt:g} s"
        parts = f"{type(config.encoder).__name__} -> {type(config.head).__name__}"
        return f"<Policy {self.name}: {sees} -> {parts} -> action {list(spec.action.shape)} {rate}>"

    def _repr_html_(self) -> str:
        config, spec = self.config, self.spec
        steps = f"{config.n_obs_steps} observed, {config.horizon} predicted, {config.n_action_steps} executed"
        number = sum(parameter.numel() for parameter in self.network.parameters())
        rows = {
            **{name: one.describe() for name, one in spec.observation.items()},
            "action": f"{spec.action.describe()}, every {spec.control_dt:g} s",
            "encoder": type(config.encoder).__name__,
            "head": f"{type(config.head).__name__}; {number:,} parameters in all",
            "steps": f"{steps}; {self.executor}",
            "folder": str(self.folder or "none"),
        }
        cells = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows.items()
        )
        return f"<table><caption>Policy {escape(self.name)}</caption>{cells}</table>"

    def _built(self, executor: ExecutorConfig, num_rows: int) -> PolicyExecutor:
        return executor.build(
            self.network,
            num_rows=num_rows,
            deterministic=self.deterministic,
            num_threads=self._num_threads,
        )

    def _at(self, num_rows: int, *, is_batch: bool) -> _Drive:
        """Return the drive that is going on, or begin one."""
        if self._drive is None:
            keys = [derive(self._seed, "start", number) for number in range(num_rows)]
            self._drive = _Drive(
                executor=self._built(self.executor, num_rows),
                streams=RowStreams(np.array(keys, dtype=np.uint64)),
                is_batch=is_batch,
            )
            self._drive.executor.begin(np.arange(num_rows))
        if (self._drive.num_rows, self._drive.is_batch) != (num_rows, is_batch):
            raise SpecError(
                "The policy is in the middle of other episodes.",
                got=f"a batch of {num_rows}" if is_batch else "one observation",
                expected=f"a batch of {self._drive.num_rows}" if self._drive.is_batch else "one observation",
                hint="call policy.reset() before an episode",
            )
        return self._drive


def _executor(given: ExecutorConfig | None) -> ExecutorConfig:
    executor = Receding() if given is None else given
    require_part(ExecutorConfig, executor)
    return executor


def _device(given: torch.device | str) -> torch.device:
    """Return a device that is there, with its number if it has one.

    Raises:
        ConfigError: There is none of that name here.
    """
    there = chosen_device(str(given).partition(":")[0])
    return torch.device(given) if ":" in str(given) else there


def load(
    path: str | Path,
    *,
    executor: ExecutorConfig | None = None,
    deterministic: bool | None = None,
    device: torch.device | str = "cpu",
    parts: Iterable[type[Part]] = (),
) -> Policy:
    """Load a policy.

    Args:
        path: Folder of the policy, or of the run around it.
        executor: How its chunks become one action a step; None plays its own number of steps of each chunk.
        deterministic: Answer with the mode (True) or a sample (False); None takes the default of its head.
        device: Where its tensors are put.
        parts: Classes of encoders and heads of your own that it may be made of; those of modules that are
            imported, and of installed packages, need not be named.

    Raises:
        ArtifactError: There is no policy, or a damaged one.
    """
    folder = policy_folder(path_of("path", path))
    home = folder.parent if folder.name == "policy" else folder
    return Policy(
        load_policy(folder, device=_device(device), parts=parts),
        name=home.name,
        executor=executor,
        deterministic=deterministic,
        folder=Folder(home),
    )
