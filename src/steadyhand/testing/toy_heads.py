"""Every policy class at toy width: what the conformance test of remedies teaches."""

from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class ToyHead:
    """A column of the table of remedies and policy classes.

    Attributes:
        head: The policy class.
        is_discrete: Whether it chooses one of some classes; else it answers with numbers.
    """

    head: HeadConfig
    is_discrete: bool = False


def _net() -> DenoisingMLP:
    return DenoisingMLP(hidden=(16,), time_width=8)


TOY_HEADS: Mapping[str, ToyHead] = {
    "Regression": ToyHead(head=Regression()),
    "Gaussian": ToyHead(head=Gaussian()),
    "Mixture": ToyHead(head=Mixture(num_modes=2)),
    "Bins": ToyHead(head=Bins(num_bins=8, width=8)),
    "Tokens": ToyHead(head=Tokens(num_centres=3, num_iterations=3)),
    "Latent": ToyHead(head=Latent(latent_dim=2, encoder=(8,), decoder=(8,), num_draws=2)),
    "Act": ToyHead(
        head=Act(
            width=8,
            num_heads=2,
            feedforward=8,
            latent_dim=2,
            num_posterior_layers=1,
            num_encoder_layers=1,
            num_decoder_layers=1,
            dropout=0.0,
        )
    ),
    "Diffusion": ToyHead(head=Diffusion(net=_net(), num_train_steps=10, num_sample_steps=2)),
    "Flow": ToyHead(head=Flow(net=_net(), num_sample_steps=2)),
    "Mip": ToyHead(head=Mip(net=_net())),
    "GaussianHill": ToyHead(head=GaussianHill(num_units=8)),
    "Energy": ToyHead(head=Energy(num_others=6, num_stored=8, num_refinements=1)),
    "Primitives": ToyHead(head=Primitives(num_primitives=4)),
    "Judging": ToyHead(head=Judging(head=Gaussian(), settle=1)),
    "LogLinear": ToyHead(head=LogLinear(num_bins=8, num_bumps=4)),
    "Ridge": ToyHead(head=Ridge()),
    "Nearest": ToyHead(head=Nearest()),
    "Categorical": ToyHead(head=Categorical(), is_discrete=True),
    "Tabular": ToyHead(head=Tabular(), is_discrete=True),
    "Primitives, discrete": ToyHead(head=Primitives(), is_discrete=True),
    "LogLinear, discrete": ToyHead(head=LogLinear(), is_discrete=True),
    "Nearest, discrete": ToyHead(head=Nearest(), is_discrete=True),
}
"""Name -> policy class; those that do both stand here twice."""
