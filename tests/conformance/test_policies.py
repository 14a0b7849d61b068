"""Every encoder and every head that ships, through the exported battery."""

from dataclasses import replace

import pytest

from steadyhand.core.parts import resolved
from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.image import FlatImage, SmallConv
from steadyhand.policies.encoders.pilotnet import PilotNet
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.bins import Bins
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.energy import Energy
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.hill import GaussianHill
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.heads.latent import Latent
from steadyhand.policies.heads.log_linear import LogLinear
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.nearest import Nearest
from steadyhand.policies.heads.primitives import Primitives
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.heads.ridge import Ridge
from steadyhand.policies.heads.tabular import Tabular
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.nets.denoising_transformer import DenoisingTransformer
from steadyhand.policies.spec import PolicyConfig
from steadyhand.testing import check_encoder, check_head, check_policy

ENCODERS: list[EncoderConfig] = [
    StateMLP(hidden=(16,)),
    StateMLP(hidden=(16,), join="steps"),
    FlatImage(hidden=(16,)),
    SmallConv(channels=(4, 8), width=16, shift=1),
    PilotNet(convolutions=((4, 5, 2), (8, 3, 1)), hidden=(32, 10)),
    ResNet18(channels=2, stem="small", num_keypoints=4, width=8, crop=(10, 12)),
    ResNet18(channels=2, stem="small", pool="map", width=8),
    Recurrent(hidden=16),
    CausalTransformer(width=16, num_layers=1, num_heads=2),
]
HEADS: list[HeadConfig] = [
    Regression(),
    Regression(error="l1", hidden=(16,)),
    Gaussian(),
    Gaussian(std="global"),
    Gaussian(std="fixed", hidden=(16,)),
    Gaussian(squash=True, init_std=0.5),
    Categorical(hidden=(16,)),
    Mixture(num_modes=3),
    Mixture(num_modes=3, joint=False, tanh_mean=True),
    Bins(num_bins=32, dependence="independent", decode="uniform"),
    Bins(num_bins=32, width=64),
    Tokens(num_centres=4),
    Tokens(num_centres=4, joint=False, hidden=(16,)),
    Latent(encoder=(16,), decoder=(16,)),
    Act(
        width=16,
        num_heads=2,
        feedforward=32,
        latent_dim=4,
        num_posterior_layers=1,
        num_encoder_layers=1,
        num_decoder_layers=1,
        dropout=0.0,
    ),
    LogLinear(),
    Ridge(),
    Tabular(),
    Nearest(),
    GaussianHill(),
    GaussianHill(error="cross_entropy", hidden=(16,)),
    Flow(net=DenoisingMLP(hidden=(128, 128, 128), time_width=16), likelihood_steps=2),
    Flow(
        net=DenoisingTransformer(width=16, num_layers=1, num_heads=2, dropout=0.0),
        num_sample_steps=2,
        likelihood_steps=2,
    ),
    Diffusion(net=DenoisingMLP(hidden=(256, 256), time_width=16)),
    Diffusion(net=DenoisingMLP(hidden=(128, 128), time_width=16), prediction="sample"),
    Mip(net=DenoisingMLP(hidden=(128, 128, 128), time_width=16)),
    Primitives(),
    Energy(),
    Judging(head=Gaussian()),
    Judging(head=Mixture(num_modes=3)),
]


NUM_STEPS: dict[type[HeadConfig], int] = {Flow: 600, Diffusion: 1000, Mip: 1000, Tokens: 800}
"""Training steps for memorising, where a head needs more than the battery's own."""
SLOW_NETS = (DenoisingTransformer,)
"""Nets that memorise only in several thousand steps; their heads do so here with another net."""


def _name(config: object) -> str:
    return repr(config).replace(" ", "")


def test_every_part_of_ours_is_covered() -> None:
    assert {type(encoder) for encoder in ENCODERS} == {
        resolved(EncoderConfig, name) for name in EncoderConfig.ours
    }
    assert {type(head) for head in HEADS} == {resolved(HeadConfig, name) for name in HeadConfig.ours}


@pytest.mark.parametrize("head", HEADS, ids=_name)
@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__)
@pytest.mark.parametrize(("n_obs_steps", "horizon", "chunk_start"), [(1, 1, 0), (3, 4, -2)])
def test_every_pair_obeys_the_laws(
    encoder: EncoderConfig, head: HeadConfig, n_obs_steps: int, horizon: int, chunk_start: int
) -> None:
    check_policy(
        PolicyConfig(
            encoder=encoder,
            head=head,
            n_obs_steps=n_obs_steps,
            horizon=horizon,
            chunk_start=chunk_start,
        )
    )


@pytest.mark.parametrize(
    "head", [Mixture(num_modes=3, joint=False), Tokens(num_centres=4, joint=False), Regression()], ids=_name
)
@pytest.mark.parametrize(
    "encoder",
    [Recurrent(hidden=16), CausalTransformer(width=16, num_layers=1, num_heads=2)],
    ids=lambda encoder: type(encoder).__name__,
)
def test_every_pair_that_answers_step_by_step_obeys_the_laws(
    encoder: EncoderConfig, head: HeadConfig
) -> None:
    """Token h of the context belongs to step h of the chunk: one small layer for all of them."""
    check_policy(PolicyConfig(encoder=encoder, head=head, n_obs_steps=4, horizon=4, chunk_start=-3))


@pytest.mark.parametrize(
    "head",
    [
        Diffusion(net=DenoisingMLP(hidden=(32,), time_width=8), sampler="ddpm", num_train_steps=10),
        Tokens(num_centres=4, calibrated=True),
        Act(
            width=16,
            num_heads=2,
            feedforward=32,
            latent_dim=4,
            num_posterior_layers=1,
            num_encoder_layers=1,
            num_decoder_layers=2,
            dropout=0.1,
        ),
    ],
    ids=_name,
)
def test_other_forms_of_a_head_obey_the_laws(head: HeadConfig) -> None:
    check_policy(PolicyConfig(encoder=StateMLP(hidden=(16,)), head=head, n_obs_steps=2, horizon=4))


@pytest.mark.parametrize(
    "encoder",
    [
        ResNet18(channels=2, stem="small", pool="average", width=8),
        ResNet18(channels=2, stem="small", num_keypoints=4, width=8, join="tokens", share=True),
        Recurrent(cell="gru", hidden=8, images=SmallConv(channels=(4, 8), width=8)),
    ],
    ids=_name,
)
def test_other_forms_of_an_encoder_obey_the_laws(encoder: EncoderConfig) -> None:
    check_policy(PolicyConfig(encoder=encoder, n_obs_steps=3, horizon=2))


@pytest.mark.parametrize(
    "head", [head for head in HEADS if not isinstance(getattr(head, "net", None), SLOW_NETS)], ids=_name
)
def test_every_head_memorises(head: HeadConfig) -> None:
    if isinstance(head, Tokens):
        # Focal loss leaves the softmax unsure of what is certain; the shares that it stands for are sure.
        head = replace(head, calibrated=True)
    check_head(head, num_steps=NUM_STEPS.get(type(head), 400))


@pytest.mark.parametrize(
    "encoder",
    [
        StateMLP(hidden=(64, 64)),
        FlatImage(hidden=(64,)),
        SmallConv(channels=(8, 16), width=64),
        PilotNet(convolutions=((8, 5, 2), (16, 3, 1)), hidden=(64, 32)),
        ResNet18(channels=4, stem="small", num_keypoints=8, width=16),
        Recurrent(hidden=32, num_layers=1),
        CausalTransformer(width=32, num_layers=1, num_heads=2),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_every_encoder_memorises(encoder: EncoderConfig) -> None:
    check_encoder(encoder)
