"""Diffusion Policy and its relatives by name: the constants of their papers, and sizes for a laptop."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.choices import Mode, Stem
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.nets.denoising_transformer import DenoisingTransformer
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.config import Published, Size
from steadyhand.training.config import EmaConfig, TrainConfig

Features = Mapping[str, FeatureSpec]
Pictures = Sequence[FeatureSpec]
"""The pictures among the features, of (height, width, channels)."""
Made = tuple[PolicyConfig, TrainConfig]

_SMALL_PICTURE = 64
"""A side up to which a ResNet's first layers would leave nothing to pool [pixels]."""
_SMALL_UNET = UNet(channels=(32, 64, 128), time_width=64)
"""A step of it takes a third of the time of the 4.5 M net that `UNet()` is."""


@dataclass(frozen=True, kw_only=True)
class Denoising(Published, ABC):
    """What Diffusion Policy and its relatives share: 2 observed steps, chunks of 16, 8 of them executed."""

    @abstractmethod
    def head(self, pictures: Pictures) -> HeadConfig:
        """Return the policy class."""

    def constants(self, observation: Features) -> Made:
        """Return policy and training. 5000 epochs of Push-T's 11,200 windows are 220,000 steps.

        From pictures: 3050 epochs in batches of 64. Small: fewer steps at a higher rate.
        """
        pictures = pictures_of(observation)
        vectors = [name for name, spec in observation.items() if spec.kind == "continuous"]
        modes: dict[str, Mode] = dict.fromkeys(vectors, "min_max") if self.is_paper else {}
        policy = PolicyConfig(
            encoder=resnet(self.size, pictures) if pictures else self.state(),
            head=self.head(pictures),
            n_obs_steps=2,
            horizon=16,
            n_action_steps=8,
            chunk_start=-1,
            normalisation=modes,
        )
        num_steps = 535_000 if pictures else 220_000
        training = TrainConfig(
            num_steps=num_steps if self.is_paper else 3000,
            batch_size=256 if self.is_paper and not pictures else 64,
            learning_rate=1e-4 if self.is_paper else 1e-3,
            weight_decay=1e-6,
            betas=(0.95, 0.999),
            warmup_steps=500 if self.is_paper else 100,
            ema=EmaConfig(power=0.75, inv_gamma=1.0, max_decay=0.9999),
        )
        return policy, training

    def state(self) -> StateMLP:
        """Return what a denoiser sees of vectors: themselves in the paper, a layer of features if small.

        FiLM is linear in what it sees, and in few steps a net was seen to make little of raw ranges.
        """
        return StateMLP(hidden=()) if self.is_paper else StateMLP(hidden=(256,))

    def unet(self, pictures: Pictures) -> UNet:
        """Return Diffusion Policy's net."""
        if not self.is_paper:
            return _SMALL_UNET
        if pictures:
            return UNet(channels=(512, 1024, 2048), time_width=128)
        return UNet(channels=(256, 512, 1024), time_width=256)

    def diffusion(self, net: UNet | DenoisingTransformer) -> Diffusion:
        """Return the head: the noise is predicted as in the paper, the clean chunk if small.

        An error of predicted noise is noise / signal times as large in the chunk, 7 times at level 90 of 100;
        a few thousand steps do not make it small enough (docs/results/policies.md).
        """
        if self.is_paper:
            return Diffusion(net=net, sampler="ddpm", num_train_steps=100, num_sample_steps=100, order=1)
        return Diffusion(
            net=net, prediction="sample", sampler="ddim", num_train_steps=100, num_sample_steps=10
        )


@dataclass(frozen=True, kw_only=True)
class DiffusionUnetRecipe(Denoising):
    """Diffusion Policy with the 1-D U-Net (Chi et al., 2023).

    Deviation: crops move a window as a whole; 5000 epochs are taken as those of Push-T; small: standardised
    vectors through a layer of features, DDIM in 10 steps of second order.
    """

    def head(self, pictures: Pictures) -> Diffusion:
        """Return the policy class."""
        return self.diffusion(self.unet(pictures))


@dataclass(frozen=True, kw_only=True)
class DiffusionTransformerRecipe(Denoising):
    """Diffusion Policy with the transformer (Chi et al., 2023).

    The constants are those of Push-T for vectors, of robomimic for pictures.

    Deviation: as diffusion_unet.
    """

    def head(self, pictures: Pictures) -> Diffusion:
        """Return the policy class."""
        dropout = 0.3 if pictures and self.is_paper else 0.01
        if self.is_paper:
            return self.diffusion(DenoisingTransformer(width=256, num_layers=8, num_heads=4, dropout=dropout))
        return self.diffusion(DenoisingTransformer(width=128, num_layers=4, num_heads=4, dropout=dropout))

    def constants(self, observation: Features) -> Made:
        """Return policy and training."""
        policy, training = super().constants(observation)
        pictures = pictures_of(observation)
        if not pictures:
            policy = replace(policy, encoder=replace(self.state(), join="steps"))
        elif self.is_paper:
            policy = replace(policy, horizon=10)
        training = replace(
            training,
            betas=(0.9, 0.95),
            weight_decay=1e-3 if pictures else 0.1,
            encoder_weight_decay=1e-6 if pictures else None,
            decay_exempt=True,
        )
        if self.is_paper:
            steps = training.num_steps if pictures else 8 * training.num_steps // 5
            training = replace(training, num_steps=steps, warmup_steps=1000)
        return policy, training


@dataclass(frozen=True, kw_only=True)
class FlowUnetRecipe(Denoising):
    """Flow matching with Diffusion Policy's U-Net and training, in 10 steps (Lipman et al., 2023).

    The time is drawn as in pi0 (Black et al., 2024), the net is that of Chi et al., 2023.

    Deviation: no paper has this combination; small: as diffusion_unet, it predicts the clean chunk.
    """

    def head(self, pictures: Pictures) -> Flow:
        """Return the policy class."""
        net = self.unet(pictures)
        if self.is_paper:
            return Flow(net=net, time="beta", num_sample_steps=10, order=1)
        return Flow(net=net, prediction="sample", time="beta", num_sample_steps=10)


@dataclass(frozen=True, kw_only=True)
class MipRecipe(Denoising):
    """Two-step regression, no distribution but on the manifold: MIP (Much Ado About Noising, 2025).

    Deviation: the loss and the net of its code (256, 512, 512), where the text has inputs scaled by t* and
    about 20 M parameters; the average of the weights grows up to its 0.995.
    """

    def head(self, pictures: Pictures) -> Mip:
        """Return the policy class."""
        del pictures
        return Mip(net=UNet(channels=(256, 512, 512)) if self.is_paper else _SMALL_UNET, time=0.9)

    def constants(self, observation: Features) -> Made:
        """Return policy and training."""
        policy, training = super().constants(observation)
        if not self.is_paper:
            return policy, replace(training, clip_norm=10.0)
        training = TrainConfig(
            num_steps=300_000,
            batch_size=1024,
            learning_rate=1e-4,
            weight_decay=1e-5,
            ema=EmaConfig(max_decay=0.995),
            clip_norm=10.0,
        )
        return policy, training


def pictures_of(observation: Features) -> Pictures:
    """Return the pictures among the features."""
    return [feature for feature in observation.values() if feature.kind == "image"]


def resnet(size: Size, pictures: Pictures) -> ResNet18:
    """Return Diffusion Policy's encoder; paper: with crops of 7/8 of a side, 84 of 96 on Push-T."""
    shapes = {feature.shape for feature in pictures}
    crop = None
    if size == "paper" and len(shapes) == 1:
        height, width, _ = shapes.pop()
        crop = (height * 7 // 8, width * 7 // 8)
    return ResNet18(
        channels=64 if size == "paper" else 16,
        norm="group",
        pool="spatial_softmax",
        stem=stem(pictures),
        crop=crop,
    )


def stem(pictures: Pictures) -> Stem:
    """Return the first layers of a ResNet that leave something to pool."""
    return "small" if min(min(feature.shape[:2]) for feature in pictures) <= _SMALL_PICTURE else "imagenet"
