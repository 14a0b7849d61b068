"""Every head that ships, as one closed union; the class name is the "type" in a run.json."""

from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.regression import Regression

HeadConfig = Regression | Gaussian | Categorical
