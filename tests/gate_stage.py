"""A round of teaching on a line, from which gates can be built: a policy, drives, and what is held out."""

from pathlib import Path

from point_env import Halving, PointEnv
from steadyhand.correction.collect import collect
from steadyhand.correction.contract import Stage
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.training.config import TrainConfig

SHORT = TrainConfig(num_steps=30, batch_size=16)


def learner_of(env: PointEnv, *, head=None, n_obs_steps: int = 2) -> PolicyLearner:
    policy = PolicyConfig(
        encoder=StateMLP(hidden=(8,)), head=Gaussian() if head is None else head, n_obs_steps=n_obs_steps
    )
    return PolicyLearner(env.spec, policy=policy, training=SHORT)


def stage_in(folder: Path, **options) -> Stage:
    env = PointEnv(4, max_episode_steps=12, drift=0.1)
    learner = learner_of(env, **options)
    demos = collect(env, Halving(), env.starts("train", 5), source="demonstration", seed=0)
    learner.fit(demos[:3], folder=folder / "iterate", seed=0, warm_start=None)
    return Stage(
        env=env,
        expert=Halving(),
        learner=learner,
        round=2,
        seed=3,
        folder=folder,
        iterate=folder / "iterate",
        policy=learner.controller(folder / "iterate", num_rows=4),
        training=demos[:3],
        held_out=demos[3:],
        family="train",
        num_rows=4,
    )
