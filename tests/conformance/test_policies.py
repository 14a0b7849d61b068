"""Every encoder and every head that ships, through the exported battery."""

from typing import get_args

import pytest

from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.image import FlatImage, SmallConv
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.spec import PolicyConfig
from steadyhand.testing import check_encoder, check_head, check_policy

ENCODERS: list[EncoderConfig] = [
    StateMLP(hidden=(16,)),
    FlatImage(hidden=(16,)),
    SmallConv(channels=(4, 8), width=16, shift=1),
]
HEADS: list[HeadConfig] = [
    Regression(),
    Regression(error="l1", hidden=(16,)),
    Gaussian(),
    Gaussian(std="global"),
    Gaussian(std="fixed", hidden=(16,)),
    Categorical(hidden=(16,)),
]


def _name(config: object) -> str:
    return repr(config).replace(" ", "")


def test_every_member_of_the_unions_is_covered() -> None:
    assert {type(encoder) for encoder in ENCODERS} == set(get_args(EncoderConfig))
    assert {type(head) for head in HEADS} == set(get_args(HeadConfig))


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


@pytest.mark.parametrize("head", HEADS, ids=_name)
def test_every_head_memorises(head: HeadConfig) -> None:
    check_head(head)


@pytest.mark.parametrize(
    "encoder",
    [StateMLP(hidden=(64, 64)), FlatImage(hidden=(64,)), SmallConv(channels=(8, 16), width=64)],
    ids=lambda encoder: type(encoder).__name__,
)
def test_every_encoder_memorises(encoder: EncoderConfig) -> None:
    check_encoder(encoder)
