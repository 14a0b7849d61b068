"""Human demonstrations whose state holds 38 entries that hardly move or never do."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.data.frames import Frames
from steadyhand.data.stats import array_stats, hardly_moving
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.choices import Mode
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit

TREMBLE = list(range(9, 17))
"""Eight entries with standard deviations of 3e-5 and 3e-4; entries 30 to 59 never change."""


@pytest.fixture(scope="module")
def frames(shared_data: Path) -> Frames:
    with np.load(shared_data / "ibc-d4rl-human" / "kitchen_complete_v0.npz", allow_pickle=False) as arrays:
        state, action, kind = (arrays[name] for name in ("observation", "action", "step_type"))
    ends = np.append(np.flatnonzero(kind == 0)[1:], len(state)).astype(np.int64)
    return Frames(
        observation_spec={STATE: FeatureSpec(shape=(60,))},
        action_spec=FeatureSpec(shape=(9,)),
        control_dt=0.1,
        observation={STATE: state},
        action=action,
        expert_action=action,
        weight=np.ones(len(state), dtype=np.float32),
        episode_ends=ends,
        branch=np.full((len(ends), 2), -1),
    )


def test_they_are_named(frames: Frames) -> None:
    stats = {STATE: array_stats(frames.observation[STATE])}
    found = hardly_moving({STATE: frames.observation_spec[STATE]}, stats)
    assert [one.place for one in found] == [*TREMBLE, *range(30, 60)]
    assert_array_equal([one.std == 0.0 for one in found], [False] * 8 + [True] * 30)
    assert str(found[0]) == "observation.state[9] hardly moves: spread 0.00029, floor 0.001"


@pytest.mark.parametrize("mode", ["min_max", "z_score", "quantile"])
def test_moving_them_by_a_thousandth_moves_no_action(frames: Frames, mode: Mode) -> None:
    """At most 0.05 of the action's spread, at every step of the data; all of them, and each on its own."""
    config = PolicyConfig(normalisation={STATE: mode})
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames), seed=0)
    policy.fit_statistics(frames)
    fit(policy, WindowSource(frames, policy.window), config=TrainConfig(num_steps=300, batch_size=64))
    state, spread = frames.observation[STATE], frames.expert_action.std(0)
    before = policy.predict_chunk({STATE: state[:, None]})[:, 0].numpy()
    assert np.abs(before - frames.expert_action).mean() < 0.5 * spread.mean(), "it has learnt something"
    still = [one.place for one in policy.hardly_moving()]
    signs = np.sign(np.random.default_rng(0).standard_normal(60)).astype(np.float32)
    for places in (still, *([place] for place in still)):
        moved = state.copy()
        moved[:, places] += 1e-3 * signs[places]
        after = policy.predict_chunk({STATE: moved[:, None]})[:, 0].numpy()
        assert (np.abs(after - before) / spread).max() < 0.05
