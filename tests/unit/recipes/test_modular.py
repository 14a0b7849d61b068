"""The modular rival: the path that a lane pose stands for, and a network that learns to see it."""

from dataclasses import replace

import numpy as np
import pytest

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Actor
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE
from steadyhand.correction.collect import collect
from steadyhand.data.frames import Frames
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.car.spec import PATH_AHEAD, PREVIEW
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.recipes.modular import LANE_POSE, LanePursuit, lane_frames, path_of, teach_to_see
from steadyhand.training.config import TrainConfig

AHEAD = np.array(PATH_AHEAD)
RETINA = "observation.images.front"


def pose(lateral: float, heading_error: float, *curvature: float) -> np.ndarray:
    return np.array([[lateral, heading_error, *curvature]], dtype=np.float32)


def in_car_frame(points: np.ndarray, x: float, y: float, heading: float) -> np.ndarray:
    """Return world points (P, 2) as a car at (x, y, heading) sees them."""
    forward, left = (
        np.array([np.cos(heading), np.sin(heading)]),
        np.array([-np.sin(heading), np.cos(heading)]),
    )
    away = points - np.array([x, y])
    return np.stack([away @ forward, away @ left], axis=-1)


@pytest.mark.parametrize("lateral", [-0.2, 0.0, 0.15])
@pytest.mark.parametrize("heading_error", [-0.3, 0.0, 0.2])
@pytest.mark.parametrize("curvature", [-1.0, -0.3, 1e-6, 0.5, 1.067])
def test_on_a_circle_the_path_is_the_circle(lateral, heading_error, curvature):
    """The lane starts at the origin along x; the car stands `lateral` to its left, turned by the error."""
    turned = curvature * AHEAD
    world = np.stack([np.sin(turned), 1.0 - np.cos(turned)], axis=-1) / curvature
    expected = in_car_frame(world, 0.0, lateral, heading_error)
    found = path_of(pose(lateral, heading_error, *(curvature,) * len(PREVIEW)))[0]
    # The trapezoid rule over 0.1 m errs by at most curvature^2 h^2 s / 12 in 2.5 m.
    assert np.abs(found - expected).max() < curvature**2 * 0.1**2 * 2.5 / 12 + 1e-5


def test_on_a_straight_the_path_is_a_line():
    found = path_of(pose(0.1, 0.0, *(0.0,) * len(PREVIEW)))[0]
    assert np.allclose(found, np.stack([AHEAD, np.full_like(AHEAD, -0.1)], axis=-1), atol=1e-6)


def driven(num_rows: int = 8, steps: int = 30):
    """Return the car after some steps of its expert, with frames of the drives."""
    config = CarConfig(observation=("state", "retina"), start_lateral_std=0.05, start_heading_std=0.1)
    env = config.build(num_rows)
    demos = collect(
        env,
        PurePursuit(config),
        env.starts("train", num_rows, seed=0),
        source="demonstration",
        seed=0,
        max_steps=steps,
    )
    spec = env.spec
    return (
        config,
        env,
        Frames.from_episodes(demos, observation_spec=spec.observation, action_spec=spec.action),
    )


def test_the_path_is_the_road_of_the_car():
    """Against the points that only experts may see, up to the end of the preview, and what they steer by.

    The env counts the points from the nearest one of its map, not from the foot of the perpendicular.
    """
    config = CarConfig(observation=("state",))
    env = config.build(8)
    rows = np.arange(env.num_rows)
    env.reset(env.starts("test", env.num_rows, seed=1), rows)
    expert = PurePursuit(config)
    worst, steering = np.zeros(len(AHEAD)), []
    for _ in range(60):
        privileged = env.privileged(rows)
        names = env.spec.observation[STATE].names
        columns = [names.index(name) for name in LANE_POSE.names]
        found = path_of(env.observe(rows)[STATE][:, columns])
        away = np.linalg.norm(found - privileged["privileged.path"], axis=-1)
        worst = np.maximum(worst, away.max(axis=0))
        seen = {**privileged, "privileged.path": found}
        steering.append(np.abs(expert.action({}, seen) - expert.action({}, privileged)))
        env.step(expert.action({}, privileged), rows)
    assert worst[AHEAD <= 0.65].max() < 0.02
    assert worst[AHEAD <= 1.25].max() < 0.03
    assert np.mean(steering) < 0.005
    assert np.max(steering) < 0.05


def test_a_picture_is_annotated_with_the_lane_pose():
    _, _, frames = driven()
    annotated = lane_frames(frames)
    assert annotated.action_spec == LANE_POSE
    names = frames.observation_spec[STATE].names
    for column, name in enumerate(LANE_POSE.names):
        assert np.array_equal(
            annotated.expert_action[:, column], frames.observation[STATE][:, names.index(name)]
        )
    blind = replace(frames, observation_spec={RETINA: frames.observation_spec[RETINA]})
    with pytest.raises(CapabilityError, match="observation=\\('state', 'retina'\\)"):
        lane_frames(blind)


def test_what_learnt_to_see_steers_and_reads_the_camera_alone(tmp_path):
    """Overfitted to a few frames, the pipeline steers like the expert there."""
    config, _, frames = driven(num_rows=2, steps=20)
    network = teach_to_see(
        frames,
        tmp_path,
        policy=PolicyConfig(encoder=SmallConv(), observation=(RETINA,)),
        training=TrainConfig(num_steps=300, batch_size=40, warmup_steps=10),
        seed=0,
    )
    assert network.features == (RETINA,)
    assert (tmp_path / "policy").is_dir()
    driver = LanePursuit(network, config)
    assert not driver.sees_privileged
    rows = np.arange(len(frames))
    decision = driver.act(
        {RETINA: frames.observation[RETINA]}, {}, rows, RowStreams(np.zeros(len(rows), "u8"))
    )
    assert np.abs(decision.action - frames.expert_action).mean() < 0.1 * frames.expert_action.std()
    assert (decision.actor == Actor.POLICY).all()
    assert not decision.label_valid.any()


def test_a_policy_that_steers_does_not_see_lanes():
    config, _, frames = driven(num_rows=2, steps=2)
    policy = PolicyModule.build(PolicyConfig(encoder=StateMLP()), PolicySpec.of_frames(frames))
    with pytest.raises(CapabilityError, match="does not see lanes"):
        LanePursuit(policy, config)
