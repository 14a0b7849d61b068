"""The second scene of the tour: two right ways round a tree, and what their average does."""

from dataclasses import dataclass, field, replace

import numpy as np

from steadyhand.analysis.results import Paths, Scene
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.correction.collect import collect
from steadyhand.data.frames import Frames
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.experts.config import ForksExpert
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.learner import fitted
from steadyhand.rollout.evaluate import Evaluation, evaluate
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.training.config import EmaConfig, TrainConfig

_CHUNKS = PolicyConfig(horizon=16, n_action_steps=8)


@dataclass(frozen=True, kw_only=True)
class ForkScene:
    """Settings of the scene.

    Attributes:
        env: The fork.
        expert: The demonstrator, who passes on either side.
        demonstrations: Number of demonstrations.
        regression: The policy that answers with the mean.
        flow: The policy that draws a sample.
        regression_training: Training of the first.
        flow_training: Training of the second.
        num_starts: Rollouts of each.
        seed: Seed of everything: data, weights, samples.
    """

    env: ForksConfig = field(default_factory=ForksConfig)
    expert: ForksExpert = field(default_factory=ForksExpert)
    demonstrations: int = 100
    regression: PolicyConfig = field(
        default_factory=lambda: replace(_CHUNKS, encoder=StateMLP(hidden=(256, 256)), head=Regression())
    )
    flow: PolicyConfig = field(
        default_factory=lambda: replace(
            _CHUNKS, encoder=StateMLP(hidden=()), head=Flow(net=UNet(channels=(32, 64), time_width=64))
        )
    )
    regression_training: TrainConfig = field(
        default_factory=lambda: TrainConfig(num_steps=500, batch_size=64)
    )
    flow_training: TrainConfig = field(
        default_factory=lambda: TrainConfig(num_steps=500, batch_size=64, ema=EmaConfig())
    )
    num_starts: int = 64
    seed: int = 0


def fork_scene(run: ForkScene) -> Scene:
    """Demonstrate, clone with a mean and with a flow, drive, and return the picture."""
    env = run.env.build(max(run.num_starts, run.demonstrations))
    expert = run.expert.build(env)
    starts = env.starts("train", run.demonstrations, seed=run.seed)
    demos = collect(env, expert, starts, source="demonstration", seed=derive(run.seed, "fork", "demonstrate"))
    spec = env.spec
    frames = Frames.from_episodes(demos, observation_spec=spec.observation, action_spec=spec.action)
    mean, flow = (
        fitted(
            frames, policy, replace(training, seed=run.seed), weights_seed=derive(run.seed, "fork", "weights")
        )[0]
        for policy, training in ((run.regression, run.regression_training), (run.flow, run.flow_training))
    )
    drivers: dict[str, Controller] = {
        "expert": expert,
        "regression": RecedingHorizon(mean, num_rows=env.num_rows),
        "flow matching": RecedingHorizon(flow, num_rows=env.num_rows),
    }
    panels = tuple(_drive(env, run, name, driver) for name, driver in drivers.items())
    config = run.env
    return Scene(
        title="Second scene: two right ways",
        text="The demonstrator passes the tree on either side. Squared error learns the average of both "
        "ways, which leads into the tree; a bigger network would learn that average better. A policy that is "
        "a distribution draws one of the ways and keeps to it.",
        discs=((config.disc_x, 0.0, config.radius),),
        extent=(-0.1, config.goal_x + 0.1, -0.75, 0.75),
        panels=panels,
        note=f"{run.demonstrations} demonstrations, {run.num_starts} rollouts each from the same start; "
        "docs/results/policies.md compares every policy class, over seeds.",
    )


def _drive(env: BatchEnv, run: ForkScene, name: str, driver: Controller) -> Paths:
    starts = env.starts("test", run.num_starts, seed=0)
    driven = evaluate(env, driver, starts, name=name, seed=derive(run.seed, "fork", "drive"))
    assert driven.positions is not None
    return Paths(
        name=name,
        outcome=_outcome(driven),
        lines=tuple(
            tuple((round(float(x), 3), round(float(y), 3)) for x, y in np.vstack([[[0.0, 0.0]], path]))
            for path in driven.positions
        ),
        failed=tuple(bool(not success) for success in driven.told),
    )


def _outcome(driven: Evaluation) -> str:
    assert driven.modes is not None
    left = int((driven.told & (driven.modes == 0)).sum())
    right = int((driven.told & (driven.modes == 1)).sum())
    return f"{left} pass on the left, {right} on the right, {int((~driven.told).sum())} do not pass"
