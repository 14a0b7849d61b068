"""Cloning rollouts that another library recorded, with one observation more than actions, holds the pole."""

from pathlib import Path

import numpy as np

from steadyhand.data.formats.arrays import open_npz
from steadyhand.envs.catalogue import make
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.rollout.evaluate import evaluate
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit


def test_clone_reaches_475(shared_data: Path) -> None:
    path = shared_data / "imitation-rollouts" / "cartpole.npz"
    dataset = open_npz(path, control_dt=0.02, classes=(0, 1))
    frames = dataset.frames(("observation.state",))
    with np.load(path, allow_pickle=False) as arrays:
        assert len(frames) == len(arrays["acts"]) == len(arrays["obs"]) - frames.num_episodes
    policy = PolicyModule.build(PolicyConfig(head=Categorical()), PolicySpec.of_frames(frames))
    source = WindowSource(frames, policy.window)
    policy.fit_statistics(frames)
    fit(policy, source, config=TrainConfig(num_steps=1500, batch_size=64))

    env = make("CartPole-v1", num_rows=20)
    starts = env.starts("test", 20)
    driven = evaluate(env, RecedingHorizon(policy, num_rows=20), starts, name="clone", seed=0)
    assert driven.returns.mean() >= 475
