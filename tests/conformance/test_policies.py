"""Every encoder and every head that ships, through the exported battery."""

import pytest

from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.spec import PolicyConfig
from steadyhand.testing import check_encoder, check_head, check_policy, toys

ENCODERS, HEADS = toys(EncoderConfig), toys(HeadConfig)


def _name(config: object) -> str:
    return repr(config).replace(" ", "")


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
        Tokens(num_centres=4),
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


@pytest.mark.filterwarnings("ignore::steadyhand.testing.LawLeftOut")
@pytest.mark.parametrize("head", HEADS, ids=_name)
def test_every_head_memorises(head: HeadConfig) -> None:
    assert check_head(head) == head.exempt


@pytest.mark.parametrize("encoder", ENCODERS, ids=_name)
def test_every_encoder_memorises(encoder: EncoderConfig) -> None:
    assert check_encoder(encoder) == encoder.exempt == {}
