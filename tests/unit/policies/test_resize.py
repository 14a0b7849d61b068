"""An encoder that reads small pictures of a large camera: one answer from the cache and from the camera."""

from pathlib import Path

import numpy as np
import pytest
import torch

from steadyhand.core.errors import DataError, SpecError
from steadyhand.core.specs import FeatureSpec, image_spec
from steadyhand.data.dataset import open_dataset
from steadyhand.data.store import EpisodeStore
from steadyhand.policies.artifact import load_policy, save_policy
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.encoders.config import default_encoder, picture_size
from steadyhand.policies.encoders.image import FlatImage, SmallConv
from steadyhand.policies.encoders.pilotnet import PilotNet
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from toy_episodes import ACTION_SPEC, episode

SPECS = {"observation.images.top": image_spec(90, 130, 3), "observation.state": FeatureSpec(shape=(3,))}
ENCODERS = {
    "small": SmallConv(resize=(24, 32)),
    "pilot": PilotNet(resize=(66, 80)),
    "recurrent": Recurrent(hidden=8, images=SmallConv(resize=(24, 32))),
    "resnet": ResNet18(resize=(40, 40), channels=8, stem="small", num_keypoints=4),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "d"
    with EpisodeStore.create(root, observation=SPECS, action=ACTION_SPEC, control_dt=0.1) as store:
        for seed in range(2):
            store.append(episode(seed, length=5, specs=SPECS))
        store.compact()
        store.append(episode(2, length=3, specs=SPECS))
    return root


@pytest.mark.parametrize("name", ENCODERS)
def test_cached_and_live_pictures_give_the_same_bits(data: Path, tmp_path: Path, name: str) -> None:
    encoder = ENCODERS[name]
    size = picture_size(encoder)
    assert size is not None
    large = open_dataset(data).frames()
    small = open_dataset(data).frames(picture_size=size)
    assert small.observation["observation.images.top"].shape == (13, *size, 3)
    policy = PolicyModule.build(PolicyConfig(encoder=encoder, n_obs_steps=2), PolicySpec.of_frames(small))
    policy.fit_statistics(small)
    save_policy(policy, tmp_path / "policy")
    policy = load_policy(tmp_path / "policy")
    assert policy.spec.observation == SPECS

    def batch(frames):
        return WindowSource(frames, policy.window).batch(np.arange(2, 13))

    from_cache, from_camera = batch(small), batch(large)
    pad = from_cache.obs_is_pad
    live = policy.predict_chunk({k: v.numpy() for k, v in from_camera.observation.items()}, pad)
    assert torch.equal(policy.predict_chunk(from_cache.observation, pad), live)
    assert torch.equal(policy.predict_chunk(from_camera.observation, pad), live)
    one = {k: v.numpy()[4:5] for k, v in from_camera.observation.items()}
    torch.testing.assert_close(policy.predict_chunk(one, pad[4:5]), live[4:5])
    with torch.no_grad():
        context, _ = policy.context_and_target(from_camera, None)
        cached, _ = policy.context_and_target(from_cache, None)
    assert torch.equal(context.tokens, cached.tokens)


def test_the_network_is_as_large_as_the_small_picture_asks_for() -> None:
    spec = PolicySpec(observation=SPECS, action=ACTION_SPEC, control_dt=0.1)
    resize = PolicyModule.build(PolicyConfig(encoder=SmallConv(resize=(24, 32))), spec)
    native = PolicyModule.build(
        PolicyConfig(encoder=SmallConv()),
        PolicySpec(
            observation={**SPECS, "observation.images.top": image_spec(24, 32, 3)},
            action=ACTION_SPEC,
            control_dt=0.1,
        ),
    )
    shapes = [{k: v.shape for k, v in p.state_dict().items()} for p in (resize, native)]
    assert shapes[0] == shapes[1]


def test_other_sizes_than_the_camera_s_and_the_encoder_s_are_refused() -> None:
    only = {"observation.images.top": SPECS["observation.images.top"]}
    spec = PolicySpec(observation=only, action=ACTION_SPEC, control_dt=0.1)
    policy = PolicyModule.build(PolicyConfig(encoder=FlatImage(resize=(9, 13))), spec)
    with pytest.raises(SpecError, match="90, 130, 3"):
        policy.predict_chunk({"observation.images.top": np.zeros((1, 1, 45, 65, 3), np.uint8)})
    with pytest.raises(DataError, match="only be made smaller"):
        PolicyModule.build(PolicyConfig(encoder=FlatImage(resize=(91, 13))), spec)


def test_pictures_of_a_large_camera_are_scaled_down_unless_something_else_is_asked_for() -> None:
    assert default_encoder({"observation.images.top": image_spec(480, 640, 3)}) == SmallConv(resize=(96, 96))
    assert default_encoder({"observation.images.top": image_spec(96, 128, 3)}) == SmallConv()
