"""Cloning, ACT, BeT and nets that drive, by name: the constants of their papers, and sizes for a laptop."""

from dataclasses import dataclass, replace
from typing import ClassVar

from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.image import FlatImage
from steadyhand.policies.encoders.pilotnet import PilotNet
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.hill import GaussianHill
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.config import Published
from steadyhand.recipes.denoising import Features, Made, Pictures, pictures_of, resnet, stem
from steadyhand.training.config import TrainConfig

_FAST = TrainConfig(num_steps=3000, batch_size=64, clip_norm=10.0)
_PLAIN_ADAM = TrainConfig(
    num_steps=200_000,
    batch_size=100,
    learning_rate=1e-4,
    weight_decay=0.0,
    schedule="constant",
    warmup_steps=0,
)
"""robomimic's optimiser; AdamW without decay is Adam."""


@dataclass(frozen=True, kw_only=True)
class BcMlpRecipe(Published):
    """Cloning as regression with an MLP: robomimic's BC for vectors (Mandlekar et al., 2021).

    2000 epochs of 100 steps.

    Deviation: no tanh at the output; observations are standardised.
    """

    reads: ClassVar[str] = "a vector"

    def constants(self, observation: Features) -> Made:
        """Return policy and training."""
        del observation
        if self.is_paper:
            return PolicyConfig(encoder=StateMLP(hidden=(1024, 1024))), _PLAIN_ADAM
        return PolicyConfig(encoder=StateMLP(hidden=(256, 256))), TrainConfig(num_steps=5000)


@dataclass(frozen=True, kw_only=True)
class BcRnnGmmRecipe(Published):
    """An LSTM with a mixture of Gaussians at every step: robomimic's BC-RNN-GMM (Mandlekar et al., 2021).

    With pictures 600 epochs of 500 steps, and 16 windows in a batch.

    Deviation: the means begin at k-means centres; windows that begin before their episode are padded in
    front; observations are standardised; pictures: GroupNorm, as in Diffusion Policy, and crops of 7/8
    instead of 76 of 84.
    """

    def constants(self, observation: Features) -> Made:
        """Return policy and training."""
        steps, pictures = 10, pictures_of(observation)
        images = resnet(self.size, pictures) if pictures else None
        encoder = Recurrent(hidden=128, num_layers=1, images=images)
        if self.is_paper:
            encoder = Recurrent(hidden=1000 if pictures else 400, num_layers=2, images=images)
        policy = PolicyConfig(
            encoder=encoder,
            head=Mixture(num_modes=5, joint=False, min_std=1e-4, tanh_mean=True),
            n_obs_steps=steps,
            horizon=steps,
            chunk_start=1 - steps,
            history="reset",
        )
        if not self.is_paper:
            return policy, _FAST
        return policy, replace(_PLAIN_ADAM, num_steps=300_000, batch_size=16) if pictures else _PLAIN_ADAM


@dataclass(frozen=True, kw_only=True)
class ActRecipe(Published):
    """Action chunks from a transformer with a latent variable: ACT (Zhao et al., 2023).

    2000 epochs of one window from each of 40 episodes, in batches of 8.

    Deviation: all seven decoder layers are trained, of which the published code trains one; the loss divides
    by valid steps; an epoch draws every step, not one of each episode; a ResNet begins at random unless
    policy.encoder.weights names a file, and its norms are frozen either way.
    """

    def constants(self, observation: Features) -> Made:
        """Return policy and training."""
        pictures = pictures_of(observation)
        encoder: EncoderConfig = StateMLP(hidden=())
        if self.is_paper:
            if pictures:
                encoder = replace(_resnet_map(pictures), norm="frozen_batch", width=512)
            policy = PolicyConfig(encoder=encoder, head=Act(), horizon=100, n_action_steps=100)
            training = replace(
                _PLAIN_ADAM, num_steps=10_000, batch_size=8, learning_rate=1e-5, weight_decay=1e-4
            )
        else:
            if pictures:
                encoder = replace(_resnet_map(pictures), width=128, channels=16)
            head = Act(
                width=128,
                num_heads=4,
                feedforward=256,
                num_encoder_layers=2,
                num_decoder_layers=2,
                num_posterior_layers=2,
            )
            policy = PolicyConfig(encoder=encoder, head=head, horizon=16, n_action_steps=8)
            training = replace(_FAST, learning_rate=3e-4, weight_decay=1e-4)
        return replace(policy, normalisation={"action": "z_score"}), training


@dataclass(frozen=True, kw_only=True)
class BetRecipe(Published):
    """Behavior Transformer, a k-means token and an offset for each step: BeT (Shafiullah et al., 2022).

    Paper: Franka kitchen, 50 epochs in batches of 64; small: BlockPush's net.

    Deviation: small: offsets weigh 1000 and not 1e5, learning rate 1e-3, few steps.
    """

    reads: ClassVar[str] = "a vector"

    def constants(self, observation: Features) -> Made:
        """Return policy and training."""
        del observation
        is_paper = self.is_paper
        steps = 10 if is_paper else 5
        small = CausalTransformer(width=72, num_layers=4, num_heads=4)
        policy = PolicyConfig(
            encoder=CausalTransformer(width=120, num_layers=6, num_heads=6) if is_paper else small,
            head=Tokens(num_centres=64 if is_paper else 24, joint=False, gamma=2.0, offset_scale=1000.0),
            n_obs_steps=steps,
            horizon=steps,
            chunk_start=1 - steps,
        )
        training = TrainConfig(
            num_steps=95_000 if is_paper else 3000,
            batch_size=64,
            learning_rate=1e-4 if is_paper else 1e-3,
            weight_decay=0.1,
            betas=(0.9, 0.95),
            decay_exempt=True,
            schedule="constant" if is_paper else "cosine",
            warmup_steps=0 if is_paper else 100,
            clip_norm=1.0,
        )
        return policy, training


@dataclass(frozen=True, kw_only=True)
class PilotnetRecipe(Published):
    """A 66 x 200 camera to steering: PilotNet (Bojarski et al., 2016), whose net has one size.

    Deviation: the paper names neither activation, optimiser nor schedule: ReLU, AdamW with cosine; its side
    cameras and shifted views are part of data collection.
    """

    reads: ClassVar[str] = "a picture"

    def constants(self, observation: Features) -> Made:
        """Return policy and training."""
        del observation
        num_steps = 20_000 if self.is_paper else 2000
        training = TrainConfig(num_steps=num_steps, batch_size=64, learning_rate=3e-4, clip_norm=1.0)
        return PolicyConfig(encoder=PilotNet(), head=Regression()), training


@dataclass(frozen=True, kw_only=True)
class AlvinnRecipe(Published):
    """A 30 x 32 retina to 30 steering units: ALVINN (Pomerleau, 1991).

    It has the 4 hidden units of 1991; small: the 29 of 1989.

    Deviation: AdamW instead of backpropagation with momentum; the 14 transformed views and the buffer of 200
    patterns are part of data collection.
    """

    reads: ClassVar[str] = "a picture"

    def constants(self, observation: Features) -> Made:
        """Return policy and training."""
        del observation
        encoder = FlatImage(hidden=(4,) if self.is_paper else (29,))
        head = GaussianHill(num_units=30, spread=10.0, error="mse")
        return PolicyConfig(encoder=encoder, head=head), TrainConfig(num_steps=3000, batch_size=64)


@dataclass(frozen=True, kw_only=True)
class Alvinn1989Recipe(Published):
    """A 30 x 32 retina and an 8 x 32 range picture to 45 steering units: ALVINN (Pomerleau, 1989).

    The net has one size; paper: 40 epochs of 1,200 pictures.

    Deviation: no 46th output, the road's intensity, which the net reads back at the next frame: light does
    not vary here, so it would carry nothing; the hill's width of 1991; AdamW instead of backpropagation; the
    1,200 simulated pictures are part of data collection.
    """

    reads: ClassVar[str] = "a picture"

    def constants(self, observation: Features) -> Made:
        """Return policy and training."""
        del observation
        encoder = FlatImage(hidden=(29,), num_images=2)
        head = GaussianHill(num_units=45, spread=10.0, error="mse")
        num_steps = 40 * 1200 // 64 if self.is_paper else 3000
        return PolicyConfig(encoder=encoder, head=head), TrainConfig(num_steps=num_steps, batch_size=64)


def _resnet_map(pictures: Pictures) -> ResNet18:
    """Return ACT's encoder, one net for cameras of one shape."""
    return ResNet18(
        pool="map",
        stem=stem(pictures),
        share=len({feature.shape for feature in pictures}) == 1,
        image_range="imagenet" if all(feature.shape[2] == 3 for feature in pictures) else "signed",
    )
