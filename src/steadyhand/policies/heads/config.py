"""Every head that ships, as one closed union; the class name is the "type" in a run.json."""

from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.bins import Bins
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.energy import Energy
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.hill import GaussianHill
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.heads.latent import Latent
from steadyhand.policies.heads.linear import Linear
from steadyhand.policies.heads.log_linear import LogLinear
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.nearest import Nearest
from steadyhand.policies.heads.primitives import Primitives
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.heads.tabular import Tabular
from steadyhand.policies.heads.tokens import Tokens

HeadConfig = (
    Regression
    | Gaussian
    | Categorical
    | Mixture
    | Bins
    | Diffusion
    | Flow
    | Mip
    | Tokens
    | Latent
    | Act
    | LogLinear
    | Linear
    | Tabular
    | Nearest
    | GaussianHill
    | Primitives
    | Energy
    | Judging
)
