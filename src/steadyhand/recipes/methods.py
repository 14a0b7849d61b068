"""The named methods: each a policy and a training run with the constants of its paper, and a small variant.

    recipe("diffusion_unet", observation=spec.observation)               for a laptop
    recipe("diffusion_unet", observation=spec.observation, size="paper")  as published
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.image import FlatImage
from steadyhand.policies.encoders.pilotnet import PilotNet
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.hill import GaussianHill
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.nets.denoising_transformer import DenoisingTransformer
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.normaliser import Mode
from steadyhand.policies.spec import PolicyConfig
from steadyhand.training.config import EmaConfig, TrainConfig

Size = Literal["small", "paper"]
Made = tuple[PolicyConfig, TrainConfig]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A named method.

    Attributes:
        name: For `--recipe`.
        summary: One line about it.
        source: The paper whose constants the size "paper" has.
        deviation: Where that differs from the paper.
        make: Given the size and whether there are pictures, returns policy and training.
        scaling: How vector features are normalised.
    """

    name: str
    summary: str
    source: str
    deviation: str
    make: Callable[[Size, bool], Made]
    scaling: Mode = "z_score"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A method for given features; `policy.observation` names what it reads."""

    name: str
    policy: PolicyConfig
    training: TrainConfig


def recipe(name: str, *, observation: Mapping[str, FeatureSpec], size: Size = "small") -> Recipe:
    """Return a named method that reads what it can of an observation.

    Args:
        name: One of `RECIPES`.
        observation: The features that there are.
        size: "paper": the published constants. "small": the same method at a size for a CPU.

    Raises:
        ConfigError: There is no such recipe.
        SpecError: The recipe reads none of the features.
    """
    if name not in RECIPES:
        raise ConfigError("There is no such recipe.", got=name, available=RECIPES)
    has_images = any(feature.kind == "image" for feature in observation.values())
    policy, training = RECIPES[name].make(size, has_images)
    readable = policy.encoder.readable(observation)
    if not readable:
        raise SpecError(
            f"The recipe {name} cannot read this observation.",
            got=", ".join(f"{key} {spec.kind} {list(spec.shape)}" for key, spec in observation.items()),
            expected=f"what the {type(policy.encoder).__name__} encoder reads",
            hint="choose other features with --observation, or another recipe",
        )
    modes: dict[str, Mode] = {
        key: RECIPES[name].scaling for key in readable if observation[key].kind == "continuous"
    }
    policy = replace(policy, observation=readable, normalisation={**modes, **policy.normalisation})
    return Recipe(name=name, policy=policy, training=training)


def _bc_mlp(size: Size, _: bool) -> Made:
    if size == "paper":
        policy = PolicyConfig(encoder=StateMLP(hidden=(1024, 1024)))
        return policy, TrainConfig(
            num_steps=200_000,
            batch_size=100,
            learning_rate=1e-4,
            weight_decay=0.0,
            schedule="constant",
            warmup_steps=0,
        )
    return PolicyConfig(encoder=StateMLP(hidden=(256, 256))), TrainConfig(num_steps=5000)


def _bc_rnn_gmm(size: Size, _: bool) -> Made:
    steps = 10
    is_paper = size == "paper"
    policy = PolicyConfig(
        encoder=Recurrent(hidden=400 if is_paper else 128, num_layers=2 if is_paper else 1),
        head=Mixture(num_modes=5, joint=False, min_std=1e-4, tanh_mean=True),
        n_obs_steps=steps,
        horizon=steps,
        chunk_start=1 - steps,
        history="reset",
    )
    if is_paper:
        return policy, TrainConfig(
            num_steps=200_000,
            batch_size=100,
            learning_rate=1e-4,
            weight_decay=0.0,
            schedule="constant",
            warmup_steps=0,
        )
    return policy, TrainConfig(num_steps=3000, batch_size=64, clip_norm=10.0)


def _act(size: Size, has_images: bool) -> Made:
    scores: dict[str, Mode] = {"action": "z_score"}
    if size == "paper":
        encoder: EncoderConfig = (
            ResNet18(norm="frozen_batch", pool="map", width=512, share=True)
            if has_images
            else StateMLP(hidden=())
        )
        policy = PolicyConfig(
            encoder=encoder, head=Act(), horizon=100, n_action_steps=100, normalisation=scores
        )
        return policy, TrainConfig(
            num_steps=10_000,
            batch_size=8,
            learning_rate=1e-5,
            weight_decay=1e-4,
            schedule="constant",
            warmup_steps=0,
        )
    encoder = (
        ResNet18(norm="group", pool="map", width=128, channels=16, share=True)
        if has_images
        else StateMLP(hidden=())
    )
    head = Act(
        width=128,
        num_heads=4,
        feedforward=256,
        num_encoder_layers=2,
        num_decoder_layers=2,
        num_posterior_layers=2,
    )
    policy = PolicyConfig(encoder=encoder, head=head, horizon=16, n_action_steps=8, normalisation=scores)
    return policy, TrainConfig(
        num_steps=3000, batch_size=64, learning_rate=3e-4, weight_decay=1e-4, clip_norm=10.0
    )


def _bet(size: Size, _: bool) -> Made:
    is_paper = size == "paper"
    steps = 10 if is_paper else 5
    trunk = CausalTransformer(width=120, num_layers=6, num_heads=6) if is_paper else CausalTransformer(
        width=72, num_layers=4, num_heads=4
    )
    policy = PolicyConfig(
        encoder=trunk,
        head=Tokens(num_centres=64 if is_paper else 24, joint=False, offset_scale=1000.0),
        n_obs_steps=steps,
        horizon=steps,
        chunk_start=1 - steps,
    )
    training = TrainConfig(
        num_steps=50_000 if is_paper else 3000,
        batch_size=64,
        learning_rate=1e-4 if is_paper else 1e-3,
        weight_decay=0.1,
        betas=(0.9, 0.95),
        decay_exempt=True,
        schedule="constant" if is_paper else "cosine",
        clip_norm=1.0,
    )
    return policy, training


def _generative_policy(head: Diffusion | Flow | Mip, size: Size, has_images: bool) -> PolicyConfig:
    encoder: EncoderConfig = StateMLP(hidden=())
    if has_images:
        base = 64 if size == "paper" else 16
        encoder = ResNet18(norm="group", pool="spatial_softmax", channels=base)
    return PolicyConfig(
        encoder=encoder,
        head=head,
        n_obs_steps=2,
        horizon=16,
        n_action_steps=8,
        chunk_start=-1,
    )


def _chi_training(size: Size, *, transformer: bool = False) -> TrainConfig:
    """Chi et al. (2023), tables in their appendix; small: fewer steps at a higher rate."""
    is_paper = size == "paper"
    return TrainConfig(
        num_steps=200_000 if is_paper else 3000,
        batch_size=256 if is_paper else 64,
        learning_rate=1e-4 if is_paper else 1e-3,
        weight_decay=1e-3 if transformer else 1e-6,
        betas=(0.9, 0.95) if transformer else (0.95, 0.999),
        decay_exempt=transformer,
        warmup_steps=(1000 if transformer else 500) if is_paper else 100,
        ema=EmaConfig(power=0.75),
    )


def _unet(size: Size, has_images: bool) -> UNet:
    if size == "small":
        return UNet(channels=(64, 128, 256), time_width=128)
    if has_images:
        return UNet(channels=(512, 1024, 2048), time_width=128)
    return UNet(channels=(256, 512, 1024), time_width=256)


def _diffusion_unet(size: Size, has_images: bool) -> Made:
    head = Diffusion(
        net=_unet(size, has_images),
        sampler="ddpm" if size == "paper" else "ddim",
        num_sample_steps=100 if size == "paper" else 10,
    )
    return _generative_policy(head, size, has_images), _chi_training(size)


def _diffusion_transformer(size: Size, has_images: bool) -> Made:
    is_paper = size == "paper"
    net = (
        DenoisingTransformer(width=256, num_layers=8, num_heads=4, dropout=0.01)
        if is_paper
        else DenoisingTransformer(width=128, num_layers=4, num_heads=4, dropout=0.01)
    )
    head = Diffusion(
        net=net, sampler="ddpm" if is_paper else "ddim", num_sample_steps=100 if is_paper else 10
    )
    return _generative_policy(head, size, has_images), _chi_training(size, transformer=True)


def _flow_unet(size: Size, has_images: bool) -> Made:
    head = Flow(net=_unet(size, has_images), num_sample_steps=10)
    return _generative_policy(head, size, has_images), _chi_training(size)


def _mip(size: Size, has_images: bool) -> Made:
    net = UNet(channels=(128, 256, 256)) if size == "paper" else UNet(channels=(64, 128, 256))
    policy = _generative_policy(Mip(net=net), size, has_images)
    if size == "paper":
        return policy, TrainConfig(
            num_steps=300_000,
            batch_size=1024,
            learning_rate=1e-4,
            weight_decay=1e-5,
            ema=EmaConfig(max_decay=0.995),
            clip_norm=10.0,
        )
    return policy, replace(_chi_training(size), clip_norm=10.0)


def _pilotnet(size: Size, _: bool) -> Made:
    training = TrainConfig(
        num_steps=20_000 if size == "paper" else 2000, batch_size=64, learning_rate=3e-4, clip_norm=1.0
    )
    return PolicyConfig(encoder=PilotNet(), head=Regression()), training


def _alvinn(size: Size, _: bool) -> Made:
    encoder = FlatImage(hidden=(4,) if size == "paper" else (29,))
    return PolicyConfig(encoder=encoder, head=GaussianHill()), TrainConfig(num_steps=3000, batch_size=64)


RECIPES: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="bc_mlp",
            summary="cloning as regression with an MLP",
            source="robomimic's BC (Mandlekar et al., 2021)",
            deviation="AdamW without decay, which is Adam",
            make=_bc_mlp,
        ),
        Entry(
            name="bc_rnn_gmm",
            summary="an LSTM with a mixture of Gaussians at every step",
            source="robomimic's BC-RNN-GMM (Mandlekar et al., 2021)",
            deviation="windows begin at every step of an episode; those that begin before it are padded in front",
            make=_bc_rnn_gmm,
        ),
        Entry(
            name="act",
            summary="action chunks from a transformer with a latent variable",
            source="ACT (Zhao et al., 2023)",
            deviation="all seven decoder layers are used, of which the published code trains one; the loss "
            "divides by valid steps; an epoch draws every step, not one of each episode",
            make=_act,
        ),
        Entry(
            name="bet",
            summary="Behavior Transformer: a k-means token and an offset for each step",
            source="BeT on Franka kitchen (Shafiullah et al., 2022); small: BlockPush's sizes",
            deviation="small: learning rate 1e-3 and few steps",
            make=_bet,
        ),
        Entry(
            name="diffusion_unet",
            summary="Diffusion Policy with the 1-D U-Net",
            source="Chi et al., 2023",
            deviation="none; small: DDIM with 10 steps",
            make=_diffusion_unet,
            scaling="min_max",
        ),
        Entry(
            name="diffusion_transformer",
            summary="Diffusion Policy with the transformer",
            source="Chi et al., 2023",
            deviation="as diffusion_unet",
            make=_diffusion_transformer,
            scaling="min_max",
        ),
        Entry(
            name="flow_unet",
            summary="flow matching with the same U-Net, 10 Euler steps",
            source="Lipman et al., 2023; time as in pi0 (Black et al., 2024); net of Chi et al., 2023",
            deviation="trained as diffusion_unet is",
            make=_flow_unet,
            scaling="min_max",
        ),
        Entry(
            name="mip",
            summary="two-step regression: no distribution, but on the manifold",
            source="Much Ado About Noising (arXiv:2512.01809, 2025)",
            deviation="as in its code, not its formula: see the method page",
            make=_mip,
            scaling="min_max",
        ),
        Entry(
            name="pilotnet",
            summary="a 66 x 200 camera to steering",
            source="Bojarski et al., 2016",
            deviation="the paper names neither optimiser nor schedule: AdamW with cosine",
            make=_pilotnet,
        ),
        Entry(
            name="alvinn",
            summary="a 30 x 32 retina to 30 steering units",
            source="Pomerleau, 1991 (4 hidden units); small: the 29 of 1989",
            deviation="AdamW instead of backpropagation with momentum; no views or buffer, which are remedies",
            make=_alvinn,
        ),
    )
}
