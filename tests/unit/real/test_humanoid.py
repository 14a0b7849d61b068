"""A policy on 100 teleoperated episodes of a humanoid: read, train for a moment, compare."""

from pathlib import Path

import numpy as np

from steadyhand.analysis.offline import offline_errors
from steadyhand.core.specs import STATE
from steadyhand.data.dataset import open_dataset
from steadyhand.data.stats import split_episodes
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit


def test_fifty_steps_learn_from_robot_data(shared_data: Path) -> None:
    frames = open_dataset(shared_data / "lerobot-v21-unitree-g1").frames((STATE,))
    assert (frames.num_episodes, len(frames), frames.control_dt) == (100, 35_965, 1 / 30)
    kept, held = split_episodes(frames.num_episodes, 0.1, 0)
    config = PolicyConfig(horizon=16, action_representation="relative", normalisation={"action": "z_score"})
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames))
    train = WindowSource(frames, policy.window, steps=frames.steps_of(kept))
    policy.fit_statistics(frames, train.steps)
    settings = TrainConfig(num_steps=50, warmup_steps=5, log_every=10)
    losses = [line["loss"] for line in fit(policy, train, config=settings).history]
    assert losses[-1] < 0.85 * losses[0]

    errors = {error.name: error for error in offline_errors(policy, frames, frames.steps_of(held))}
    last = np.concatenate([frames.action[:1], frames.action[:-1]])
    inner = np.setdiff1d(frames.steps_of(held), frames.episode_starts)
    by_hand = np.abs(last[inner] - frames.action[inner]).mean()
    assert np.isclose(errors["repeat last command"].by_step[0], by_hand)
    assert errors["policy"].mean < 0.5 * errors["mean action"].mean
