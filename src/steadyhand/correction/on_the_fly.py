"""ALVINN trained on the fly (Pomerleau, 1991): a net learns from the driver while the driver drives.

Every two seconds or so one picture and 14 displaced views of it take the places of 15 patterns in a buffer of
200, so that the mean steering in it stays straight ahead, and the net sees the whole buffer once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int64, Shaped

from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller, Decision, Observation, Wrapper
from steadyhand.core.seeding import RowStreams, derive, generator
from steadyhand.core.settings import Count, Positive, Settings
from steadyhand.core.specs import EnvSpec, FeatureSpec
from steadyhand.correction.pattern_buffer import Eviction, PatternBuffer
from steadyhand.correction.view_config import AlvinnViews, SideCameras, ViewConfig
from steadyhand.correction.views import Views, take_views
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.policies.batch import Batch
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.policies.threads import use_threads
from steadyhand.rollout.session import Session
from steadyhand.training.config import TrainConfig
from steadyhand.training.optim import adamw
from steadyhand.training.source import StepNoise


@dataclass(frozen=True, kw_only=True)
class OnTheFlyConfig(Settings):
    """How the net learns while somebody drives.

    Attributes:
        seconds: How long is driven [s]; 2 to 5 minutes are the published times.
        cycle_seconds: Time between two looks at the road [s].
        capacity: Patterns in the buffer.
        views: Displaced views of each real one.
        eviction: Whose place a new pattern takes; see `PatternBuffer`.
        candidates: Old patterns of which one is evicted by "balanced"; see there.
        epochs_per_cycle: Times that the whole buffer is seen in each cycle.
        batch_size: Patterns in a gradient step.
        learning_rate: Learning rate of Adam.
        num_threads: Threads of torch.
    """

    seconds: Positive = 300.0
    cycle_seconds: Positive = 2.0
    capacity: Count = 200
    views: AlvinnViews | SideCameras = field(default_factory=AlvinnViews)
    eviction: Eviction = "balanced"
    candidates: Count = 10
    epochs_per_cycle: Count = 1
    batch_size: Count = 10
    learning_rate: Positive = 3e-3
    num_threads: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.capacity <= self.views.per_step:
            raise ConfigError(
                "The buffer is smaller than one real pattern and its views.",
                got=self.capacity,
                expected=f"> {self.views.per_step}",
            )


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """What one cycle did.

    Attributes:
        step: Control steps driven before it.
        loss: Mean loss over the buffer while it was learnt.
        patterns: Patterns in the buffer.
        mean: Mean steering in the buffer.
        deviation: Standard deviation of the steering in the buffer.
    """

    step: int
    loss: float
    patterns: int
    mean: float
    deviation: float


@dataclass(frozen=True, kw_only=True, eq=False)
class OnTheFlyResult:
    """A trained policy and how it came about.

    Attributes:
        policy: In evaluation mode.
        cycles: One record for each cycle.
        labels: Driver's actions that were learnt from: one a cycle, views not counted.
        driven_steps: Control steps that the driver drove.
        buffer: The buffer at the end.
    """

    policy: PolicyModule
    cycles: tuple[Cycle, ...]
    labels: int
    driven_steps: int
    buffer: PatternBuffer


def learn_on_the_fly(
    env: BatchEnv,
    driver: Controller,
    *,
    policy: PolicyConfig,
    config: OnTheFlyConfig,
    starts: Sequence[Start],
    seed: int,
) -> OnTheFlyResult:
    """Let the driver drive one row of the env, and teach a policy meanwhile.

    Args:
        env: An env with displaced views.
        driver: Drives all the time; its label is learnt.
        policy: One observed step, one predicted; for ALVINN `FlatImage(hidden=(4,))` with `GaussianHill()`.
        config: Settings.
        starts: Driven one after the other until the time is over.
        seed: Seed of the net's initial parameters, the displacements and the order of patterns.

    Raises:
        CapabilityError: The env has no displaced views.
        ConfigError: The policy looks at more than one step, the action has no bounds, or the starts were used
            up before the time was.
    """
    learner = _Learner(env.spec, policy, config, seed)
    watched = _Watched(
        env, driver, config.views, every=max(1, round(config.cycle_seconds / env.spec.control_dt))
    )
    session = Session(env, watched, starts, seed=seed, num_rows=1)
    wanted = round(config.seconds / env.spec.control_dt)
    with use_threads(config.num_threads):
        while session.num_steps < wanted:
            if session.step() is None:
                raise ConfigError(
                    "The starts were used up before the drive was over.",
                    got=f"{session.num_steps} steps from {len(starts)} starts",
                    expected=f"{wanted} steps",
                    hint="give more starts or a shorter drive",
                )
            if (look := watched.taken()) is not None:
                learner.cycle(*look, step=session.num_steps)
    return OnTheFlyResult(
        policy=learner.policy.eval(),
        cycles=tuple(learner.cycles),
        labels=len(learner.cycles),
        driven_steps=session.num_steps,
        buffer=learner.buffer,
    )


class _Watched(Wrapper):
    """The driver; every so many steps what it sees and does is kept, with views."""

    def __init__(self, env: BatchEnv, driver: Controller, views: ViewConfig, *, every: int) -> None:
        super().__init__(driver)
        self._env, self._config, self._every = env, views, every
        self._steps = 0
        self._look: tuple[Observation, np.ndarray, Views] | None = None

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        decision = self._inner.act(observation, privileged, rows, generator)
        if self._steps % self._every == 0 and decision.label_valid.all():
            streams = generator.fork("displaced views")
            views = take_views(self._env, self._config, rows, decision.label, streams)
            self._look = observation, decision.label, views.of(0)
        self._steps += 1
        return decision

    def taken(self) -> tuple[Observation, np.ndarray, Views] | None:
        """Return what was kept since the last call."""
        look, self._look = self._look, None
        return look


class _Learner:
    """The net, the buffer and the optimiser."""

    def __init__(self, spec: EnvSpec, policy: PolicyConfig, config: OnTheFlyConfig, seed: int) -> None:
        self.policy = PolicyModule.build(policy, PolicySpec.of_env(spec), seed=derive(seed, "weights"))
        if policy.window.obs_offsets != (0,) or policy.window.action_offsets != (0,):
            raise ConfigError(
                "Learning on the fly takes one picture and one action at a time.",
                got=f"n_obs_steps={policy.n_obs_steps}, horizon={policy.horizon}",
                expected="1 and 1",
            )
        self.policy.fit_statistics(_range(self.policy))
        self.buffer = PatternBuffer(
            config.capacity,
            eviction=config.eviction,
            generator=generator(seed, "eviction"),
            candidates=config.candidates,
        )
        self.cycles: list[Cycle] = []
        self._config, self._seed = config, seed
        training = TrainConfig(learning_rate=config.learning_rate, weight_decay=0.0)
        self._optimizer = adamw(self.policy, training)
        self._noise = StepNoise(seed, "noise", device=self.policy.device)
        self._updates = 0

    def cycle(self, observation: Observation, label: np.ndarray, views: Views, *, step: int) -> None:
        """Take in one real pattern and its views, and see the whole buffer `epochs_per_cycle` times."""
        features = self.policy.features
        self.buffer.add({name: observation[name] for name in features}, label)
        self.buffer.add({name: views.observation[name] for name in features}, views.label)
        losses: list[float] = []
        for epoch in range(self._config.epochs_per_cycle):
            order = self.buffer.order(generator(self._seed, "order", len(self.cycles), epoch))
            size = self._config.batch_size
            losses += [self._update(order[first : first + size]) for first in range(0, len(order), size)]
        steering = self.buffer.steering
        self.cycles.append(
            Cycle(
                step=step,
                loss=float(np.mean(losses)),
                patterns=len(self.buffer),
                mean=float(steering.mean()),
                deviation=float(steering.std()),
            )
        )

    def _update(self, chosen: np.ndarray) -> float:
        batch = as_batch(self.buffer.observation, self.buffer.label, chosen)
        loss = self.policy.loss_rows(batch, self._noise.at(self._updates)).mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._updates += 1
        return float(loss.detach())


def as_batch(
    observation: Mapping[str, np.ndarray], label: Shaped[np.ndarray, "N A"], chosen: Int64[np.ndarray, " B"]
) -> Batch:
    """Return some patterns as training windows of one step."""
    inside = torch.zeros(len(chosen), 1, dtype=torch.bool)
    return Batch(
        observation={name: torch.from_numpy(value[chosen])[:, None] for name, value in observation.items()},
        obs_is_pad=inside,
        actions=torch.from_numpy(label[chosen])[:, None],
        action_is_pad=inside,
        weight=torch.ones(len(chosen), 1),
    )


def _range(policy: PolicyModule) -> Frames:
    """Return two made-up steps at both ends of every range: statistics are needed before there are data."""
    ends = {
        name: _ends(name, spec, policy)
        for name, spec in {**policy.spec.observation, "action": policy.spec.action}.items()
    }
    action = ends.pop("action")
    return Frames.from_episodes(
        [demonstration(ends, action, control_dt=policy.spec.control_dt)],
        observation_spec=policy.spec.observation,
        action_spec=policy.spec.action,
    )


def _ends(name: str, spec: FeatureSpec, policy: PolicyModule) -> Shaped[np.ndarray, "2 ..."]:
    if spec.num_classes is not None:
        return np.full((2, *spec.shape), spec.start, dtype=spec.dtype)  # classes have no statistics
    if spec.low is not None and spec.high is not None and np.isfinite([spec.low, spec.high]).all():
        return np.array([spec.low, spec.high], dtype=spec.dtype).reshape(2, *spec.shape)
    if spec.kind == "continuous" and policy.config.normalisation.get(name) != "identity":
        raise ConfigError(
            "Learning on the fly must know the range of a feature before the drive.",
            got=f"{name} has no bounds",
            hint=f"set normalisation of {name} to 'identity', or use pictures",
        )
    return np.stack([np.zeros(spec.shape), np.ones(spec.shape)]).astype(spec.dtype)
