"""What the named methods are made of: the constants of their papers, and sizes for a laptop."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.image import FlatImage
from steadyhand.policies.encoders.pilotnet import PilotNet
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.hill import GaussianHill
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.nets.denoising_transformer import DenoisingTransformer
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.methods import Size
from steadyhand.training.config import EmaConfig, TrainConfig

Pictures = Sequence[FeatureSpec]
"""The pictures among the features, of (height, width, channels)."""
Made = tuple[PolicyConfig, TrainConfig]
Make = Callable[[Size, Pictures], Made]

_SMALL_PICTURE = 64
"""A side up to which a ResNet's first layers would leave nothing to pool [pixels]."""
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


_SMALL_UNET = UNet(channels=(32, 64, 128), time_width=64)
"""A step of it takes a third of the time of the 4.5 M net that `UNet()` is."""


def bc_mlp(size: Size, _: Pictures) -> Made:
    """Return robomimic's BC for vectors: 2000 epochs of 100 steps."""
    if size == "paper":
        return PolicyConfig(encoder=StateMLP(hidden=(1024, 1024))), _PLAIN_ADAM
    return PolicyConfig(encoder=StateMLP(hidden=(256, 256))), TrainConfig(num_steps=5000)


def bc_rnn_gmm(size: Size, pictures: Pictures) -> Made:
    """Return robomimic's BC-RNN-GMM; with pictures 600 epochs of 500 steps, and 16 windows in a batch."""
    steps, is_paper = 10, size == "paper"
    images = _resnet(size, pictures) if pictures else None
    encoder = Recurrent(hidden=128, num_layers=1, images=images)
    if is_paper:
        encoder = Recurrent(hidden=1000 if pictures else 400, num_layers=2, images=images)
    policy = PolicyConfig(
        encoder=encoder,
        head=Mixture(num_modes=5, joint=False, min_std=1e-4, tanh_mean=True),
        n_obs_steps=steps,
        horizon=steps,
        chunk_start=1 - steps,
        history="reset",
    )
    if not is_paper:
        return policy, _FAST
    return policy, replace(_PLAIN_ADAM, num_steps=300_000, batch_size=16) if pictures else _PLAIN_ADAM


def act(size: Size, pictures: Pictures) -> Made:
    """Return ACT: 2000 epochs of one window from each of 40 episodes, in batches of 8."""
    encoder: EncoderConfig = StateMLP(hidden=())
    if size == "paper":
        if pictures:
            encoder = replace(_resnet_map(pictures), norm="frozen_batch", width=512)
        head, steps = Act(), 100
        training = replace(_PLAIN_ADAM, num_steps=10_000, batch_size=8, learning_rate=1e-5, weight_decay=1e-4)
        return _act_policy(encoder, head, horizon=steps, n_action_steps=steps), training
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
    training = replace(_FAST, learning_rate=3e-4, weight_decay=1e-4)
    return _act_policy(encoder, head, horizon=16, n_action_steps=8), training


def _act_policy(encoder: EncoderConfig, head: Act, *, horizon: int, n_action_steps: int) -> PolicyConfig:
    return PolicyConfig(
        encoder=encoder,
        head=head,
        horizon=horizon,
        n_action_steps=n_action_steps,
        normalisation={"action": "z_score"},
    )


def bet(size: Size, _: Pictures) -> Made:
    """Return BeT: paper, Franka kitchen (50 epochs in batches of 64); small, BlockPush's sizes."""
    is_paper = size == "paper"
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


def diffusion_unet(size: Size, pictures: Pictures) -> Made:
    """Return Diffusion Policy with the U-Net."""
    return _denoising(_diffusion(size, _unet(size, pictures)), size, pictures), _chi(size, pictures)


def diffusion_transformer(size: Size, pictures: Pictures) -> Made:
    """Return Diffusion Policy with the transformer: Push-T from states, robomimic from pictures."""
    dropout = 0.3 if pictures and size == "paper" else 0.01
    net = DenoisingTransformer(width=128, num_layers=4, num_heads=4, dropout=dropout)
    if size == "paper":
        net = DenoisingTransformer(width=256, num_layers=8, num_heads=4, dropout=dropout)
    policy = _denoising(_diffusion(size, net), size, pictures)
    if not pictures:
        policy = replace(policy, encoder=replace(_state(size), join="steps"))
    elif size == "paper":
        policy = replace(policy, horizon=10)
    training = replace(
        _chi(size, pictures),
        betas=(0.9, 0.95),
        weight_decay=1e-3 if pictures else 0.1,
        encoder_weight_decay=1e-6 if pictures else None,
        decay_exempt=True,
    )
    if size == "paper":
        steps = training.num_steps if pictures else 8 * training.num_steps // 5
        training = replace(training, num_steps=steps, warmup_steps=1000)
    return policy, training


def flow_unet(size: Size, pictures: Pictures) -> Made:
    """Return flow matching with Diffusion Policy's net and training; small: it predicts the clean chunk."""
    net = _unet(size, pictures)
    head = Flow(net=net, time="beta", num_sample_steps=10, order=1)
    if size == "small":
        head = Flow(net=net, prediction="sample", time="beta", num_sample_steps=10)
    return _denoising(head, size, pictures), _chi(size, pictures)


def mip(size: Size, pictures: Pictures) -> Made:
    """Return the minimal iterative policy."""
    net = UNet(channels=(256, 512, 512)) if size == "paper" else _SMALL_UNET
    policy = _denoising(Mip(net=net, time=0.9), size, pictures)
    if size == "paper":
        return policy, TrainConfig(
            num_steps=300_000,
            batch_size=1024,
            learning_rate=1e-4,
            weight_decay=1e-5,
            ema=EmaConfig(max_decay=0.995),
            clip_norm=10.0,
        )
    return policy, replace(_chi(size, pictures), clip_norm=10.0)


def pilotnet(size: Size, _: Pictures) -> Made:
    """Return PilotNet; one size."""
    num_steps = 20_000 if size == "paper" else 2000
    training = TrainConfig(num_steps=num_steps, batch_size=64, learning_rate=3e-4, clip_norm=1.0)
    return PolicyConfig(encoder=PilotNet(), head=Regression()), training


def alvinn(size: Size, _: Pictures) -> Made:
    """Return ALVINN's net."""
    encoder = FlatImage(hidden=(4,) if size == "paper" else (29,))
    head = GaussianHill(num_units=30, spread=10.0, error="mse")
    return PolicyConfig(encoder=encoder, head=head), TrainConfig(num_steps=3000, batch_size=64)


def alvinn_1989(size: Size, _: Pictures) -> Made:
    """Return ALVINN's first net, one size; paper: 40 epochs of 1,200 pictures."""
    encoder = FlatImage(hidden=(29,), num_images=2)
    head = GaussianHill(num_units=45, spread=10.0, error="mse")
    num_steps = 40 * 1200 // 64 if size == "paper" else 3000
    return PolicyConfig(encoder=encoder, head=head), TrainConfig(num_steps=num_steps, batch_size=64)


def _state(size: Size) -> StateMLP:
    """Return what a denoiser sees of vectors: themselves in the paper, a layer of features if small.

    FiLM is linear in what it sees, and in few steps a net was seen to make little of raw ranges.
    """
    return StateMLP(hidden=()) if size == "paper" else StateMLP(hidden=(256,))


def _resnet(size: Size, pictures: Pictures) -> ResNet18:
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
        stem="small" if _are_small(pictures) else "imagenet",
        crop=crop,
    )


def _resnet_map(pictures: Pictures) -> ResNet18:
    """Return ACT's encoder, one net for cameras of one shape."""
    return ResNet18(
        pool="map",
        stem="small" if _are_small(pictures) else "imagenet",
        share=len({feature.shape for feature in pictures}) == 1,
        image_range="imagenet" if all(feature.shape[2] == 3 for feature in pictures) else "signed",
    )


def _are_small(pictures: Pictures) -> bool:
    return min(min(feature.shape[:2]) for feature in pictures) <= _SMALL_PICTURE


def _denoising(head: HeadConfig, size: Size, pictures: Pictures) -> PolicyConfig:
    encoder: EncoderConfig = _resnet(size, pictures) if pictures else _state(size)
    return PolicyConfig(
        encoder=encoder, head=head, n_obs_steps=2, horizon=16, n_action_steps=8, chunk_start=-1
    )


def _diffusion(size: Size, net: UNet | DenoisingTransformer) -> Diffusion:
    """Return the head: the noise is predicted as in the paper, the clean chunk if small.

    An error of predicted noise is noise / signal times as large in the chunk, 7 times at level 90 of 100; a
    few thousand steps do not make it small enough (docs/results/policies.md).
    """
    if size == "paper":
        return Diffusion(net=net, sampler="ddpm", num_train_steps=100, num_sample_steps=100, order=1)
    return Diffusion(net=net, prediction="sample", sampler="ddim", num_train_steps=100, num_sample_steps=10)


def _chi(size: Size, pictures: Pictures) -> TrainConfig:
    """Return Diffusion Policy's training. 5000 epochs of Push-T's 11,200 windows are 220,000 steps.

    From pictures: 3050 epochs in batches of 64. Small: fewer steps at a higher rate.
    """
    is_paper = size == "paper"
    num_steps = 535_000 if pictures else 220_000
    return TrainConfig(
        num_steps=num_steps if is_paper else 3000,
        batch_size=256 if is_paper and not pictures else 64,
        learning_rate=1e-4 if is_paper else 1e-3,
        weight_decay=1e-6,
        betas=(0.95, 0.999),
        warmup_steps=500 if is_paper else 100,
        ema=EmaConfig(power=0.75, inv_gamma=1.0, max_decay=0.9999),
    )


def _unet(size: Size, pictures: Pictures) -> UNet:
    if size == "small":
        return _SMALL_UNET
    if pictures:
        return UNet(channels=(512, 1024, 2048), time_width=128)
    return UNet(channels=(256, 512, 1024), time_width=256)
