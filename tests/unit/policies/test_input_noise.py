"""NoiseBC: Gaussian noise on normalised inputs, while training and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from steadyhand.core.specs import IMAGES, STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.policies.batch import Batch, WindowSource
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.ridge import Ridge
from steadyhand.policies.noise import GeneratorNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.testing import toy_frames
from steadyhand.testing.conformance import check_policy
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit

CAMERA = IMAGES + "front"
ACTION = FeatureSpec(shape=(2,))
OBSERVATION = {
    STATE: FeatureSpec(shape=(3,)),
    "observation.gear": discrete_spec(4),
    CAMERA: image_spec(16, 18, 3),
}


class Ear:
    """Notes what an encoder is given."""

    def __init__(self, policy: PolicyModule) -> None:
        self.heard: dict[str, Tensor] = {}
        policy.encoder.register_forward_pre_hook(self._note)

    def _note(self, _: object, inputs: tuple[dict[str, Tensor], ...]) -> None:
        self.heard = dict(inputs[0])


def ready(config: PolicyConfig, observation: dict[str, FeatureSpec]) -> tuple[PolicyModule, Batch]:
    frames = toy_frames(observation, ACTION)
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    return policy, WindowSource(frames, policy.window).batch(np.arange(len(frames)))


def test_every_law_of_a_policy_holds() -> None:
    check_policy(PolicyConfig(encoder=StateMLP(hidden=(16,)), n_obs_steps=2, horizon=3, input_noise=0.5))


def test_only_continuous_features_are_disturbed_by_gaussian_noise_of_this_deviation() -> None:
    policy, batch = ready(PolicyConfig(encoder=SmallConv(), input_noise=0.3), OBSERVATION)
    ear, shifts = Ear(policy), list[Tensor]()
    policy.encode(batch.observation, batch.obs_is_pad, None)
    clean = ear.heard
    noise = GeneratorNoise.seeded(0)
    for _ in range(200):
        policy.encode(batch.observation, batch.obs_is_pad, noise)
        assert torch.equal(ear.heard[CAMERA], clean[CAMERA])
        assert torch.equal(ear.heard["observation.gear"], clean["observation.gear"])
        shifts.append(ear.heard[STATE] - clean[STATE])
    drawn = torch.cat(shifts).flatten()
    count = len(drawn)
    assert abs(float(drawn.mean())) < 4 * 0.3 / count**0.5
    assert float(drawn.std()) == pytest.approx(0.3, rel=4 / (2 * count) ** 0.5)
    beyond = float((drawn.abs() > 2 * 0.3).float().mean())
    assert beyond == pytest.approx(0.0455, abs=0.01)  # a normal distribution's tails


def test_nothing_is_disturbed_in_validation_and_prediction() -> None:
    config = PolicyConfig(encoder=StateMLP(hidden=(16,)), n_obs_steps=2, horizon=2)
    observation = {STATE: FeatureSpec(shape=(3,))}
    plain, batch = ready(config, observation)
    noisy, _ = ready(replace(config, input_noise=0.7), observation)
    for augments, same in ((False, True), (True, False)):
        losses = [
            policy.loss_rows(batch, GeneratorNoise.seeded(0, augments=augments)).numerator
            for policy in (plain, noisy)
        ]
        assert torch.equal(losses[0], losses[1]) == same
    chunks = [policy.predict_chunk(batch.observation, batch.obs_is_pad) for policy in (plain, noisy)]
    assert torch.equal(chunks[0], chunks[1])


def test_without_input_noise_no_number_is_drawn() -> None:
    policy, batch = ready(PolicyConfig(), {STATE: FeatureSpec(shape=(3,))})
    noise = GeneratorNoise.seeded(0)
    policy.loss_rows(batch, noise)
    assert torch.equal(noise.normal(3), GeneratorNoise.seeded(0).normal(3))


def test_noise_on_the_input_of_a_linear_policy_is_ridge_regression() -> None:
    """E (w (x + n) - x)^2 with x and n of variances 1 and s^2 is least at w = 1 / (1 + s^2)."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(512, 1)).astype(np.float32)
    observation, action = {STATE: FeatureSpec(shape=(1,))}, FeatureSpec(shape=(1,))
    frames = Frames.from_episodes(
        [demonstration({STATE: values}, values, control_dt=0.1)],
        observation_spec=observation,
        action_spec=action,
    )
    config = PolicyConfig(encoder=StateMLP(hidden=()), normalisation={"action": "z_score"}, input_noise=1.0)
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    training = TrainConfig(
        num_steps=300, batch_size=512, learning_rate=3e-2, weight_decay=0.0, log_every=1000
    )
    fit(policy, WindowSource(frames, policy.window), config=training)
    window = np.array([[[-1.0]], [[1.0]]], dtype=np.float32)
    low, high = policy.predict_chunk({STATE: window})[:, 0, 0].tolist()
    assert (high - low) / 2 == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_linear_has_it_as_its_penalty(sigma: float) -> None:
    """E sum (y - w (x + n))^2 = sum (y - w x)^2 + N s^2 w^2: the ridge N s^2, w = 1 / (1 + s^2)."""
    values = np.random.default_rng(0).normal(size=(512, 1)).astype(np.float32)
    frames = Frames.from_episodes(
        [demonstration({STATE: values}, values, control_dt=0.1)],
        observation_spec={STATE: FeatureSpec(shape=(1,))},
        action_spec=FeatureSpec(shape=(1,)),
    )
    config = PolicyConfig(
        encoder=StateMLP(hidden=()),
        head=Ridge(alpha=512 * sigma * sigma),
        normalisation={"action": "z_score"},
    )
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    fit(policy, WindowSource(frames, policy.window), config=TrainConfig())
    low, high = policy.predict_chunk({STATE: np.array([[[-1.0]], [[1.0]]], dtype=np.float32)})[
        :, 0, 0
    ].tolist()
    assert (high - low) / 2 == pytest.approx(1.0 / (1.0 + sigma**2), rel=1e-4)
