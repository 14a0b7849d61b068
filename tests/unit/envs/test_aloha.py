"""ALOHA's two arms: the same numbers as gym-aloha gives, and an expert that answers anywhere."""

from importlib.util import find_spec

import numpy as np
import pytest

from steadyhand.envs import make
from steadyhand.envs.base import Start
from steadyhand.experts.config import AlohaExpert

pytestmark = pytest.mark.skipif(find_spec("gym_aloha") is None, reason="gym-aloha is not installed")
ONE = np.arange(1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("task", "theirs_name", "kind"),
    [
        ("transfer-cube", "transfer_cube", "TransferCubeTask"),
        ("insertion", "insertion", "InsertionTask"),
    ],
)
def test_each_step_equals_gym_aloha_s_bit_for_bit(task, theirs_name, kind):
    control = pytest.importorskip("dm_control.rl.control", reason="dm_control is not installed")
    from dm_control.mujoco.engine import Physics
    from gym_aloha import utils
    from gym_aloha.constants import ASSETS_DIR
    from gym_aloha.tasks import sim

    theirs = getattr(sim, kind)()
    theirs.get_observation = lambda physics: {"qpos": theirs.get_qpos(physics)}  # without its pictures
    physics = Physics.from_xml_path(str(ASSETS_DIR / f"bimanual_viperx_{theirs_name}.xml"))
    reference = control.Environment(physics, theirs, float("inf"), control_timestep=0.02)
    env = make("aloha", num_rows=1, task=task, observation=("state", "velocity"))
    expert = AlohaExpert().build(env)
    poses = utils.sample_box_pose if task == "transfer-cube" else utils.sample_insertion_pose
    sim.BOX_POSE[0] = np.ravel(poses(7))
    reference.reset()
    env.reset([Start(family="test", seed=7)], ONE)
    rewards = set()
    for _ in range(60):
        action = expert.action({}, env.privileged(ONE))
        step = reference.step(action[0].astype(np.float64))
        ours = env.step(action, ONE)
        seen = env.observe(ONE)
        np.testing.assert_array_equal(
            theirs.get_qpos(physics).astype(np.float32), seen["observation.state"][0]
        )
        np.testing.assert_array_equal(
            theirs.get_qvel(physics).astype(np.float32), seen["observation.velocity"][0]
        )
        np.testing.assert_array_equal(
            physics.data.qpos[16:].astype(np.float32), env.privileged(ONE)["privileged.objects"][0]
        )
        assert step.reward == ours.reward[0]
        rewards.add(step.reward)
    assert len(rewards) > 1


def test_a_start_is_where_its_seed_says_whatever_happened_before():
    env = make("aloha", num_rows=2, task="insertion")
    rows = np.arange(2)
    starts = env.starts("test", 2)
    env.reset(starts, rows)
    first = env.privileged(rows)["privileged.objects"]
    assert not np.array_equal(first[0], first[1])
    for _ in range(5):
        env.step(np.zeros((2, 14)), rows)
    env.reset(starts[::-1], rows)
    np.testing.assert_array_equal(env.privileged(rows)["privileged.objects"], first[::-1])


@pytest.mark.parametrize("task", ["transfer-cube", "insertion"])
def test_the_expert_succeeds_and_a_snapshot_of_its_way_goes_on_bit_for_bit(task):
    env, other = make("aloha", num_rows=1, task=task), make("aloha", num_rows=1, task=task)
    expert = AlohaExpert().build(env)
    env.reset(env.starts("test", 1), ONE)
    trace = []
    for step in range(400):
        if step == 35:
            snapshot = env.state(ONE)
        result = env.step(expert.action({}, env.privileged(ONE)), ONE)
        trace.append(env.privileged(ONE))
        if result.terminated[0]:
            break
    assert result.success[0]
    assert result.reward[0] == 4
    other.restore(snapshot, ONE)
    for expected in trace[35:50]:
        other.step(expert.action({}, other.privileged(ONE)), ONE)
        for name, value in other.privileged(ONE).items():
            np.testing.assert_array_equal(value, expected[name])


def test_the_expert_starts_again_from_where_learners_may_leave_the_arms():
    env = make("aloha", num_rows=1)
    expert = AlohaExpert().build(env)
    env.reset(env.starts("validation", 2)[1:], ONE)
    low, high = (np.array(bound, dtype=np.float32) for bound in (env.spec.action.low, env.spec.action.high))
    twisted = np.clip(env.observe(ONE)["observation.state"] - np.float32(0.4), low, high)
    for _ in range(25):
        env.step(twisted, ONE)
    for _ in range(375):
        action = expert.action({}, env.privileged(ONE))
        assert ((action >= low) & (action <= high)).all()
        result = env.step(action, ONE)
        if result.terminated[0]:
            break
    assert result.success[0]
