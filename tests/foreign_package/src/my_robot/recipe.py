"""A recipe: two parts of this package, and how they are trained."""

from collections.abc import Mapping
from dataclasses import dataclass

from my_robot.encoder import Fourier
from my_robot.head import Laplace
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.config import RecipeConfig
from steadyhand.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class WavesRecipe(RecipeConfig):
    """Waves in, the likeliest action out.

    Attributes:
        width: Number of waves.
    """

    width: int = 16

    def constants(self, observation: Mapping[str, FeatureSpec]) -> tuple[PolicyConfig, TrainConfig]:
        """Return policy and training."""
        del observation
        policy = PolicyConfig(encoder=Fourier(width=self.width), head=Laplace(), horizon=2)
        return policy, TrainConfig(num_steps=20, batch_size=16)
