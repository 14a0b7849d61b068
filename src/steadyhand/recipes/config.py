"""What a recipe is: the base class of all methods that go by one name, ours and yours.

policy, training = FlowUnetRecipe().build(spec.observation)                for a laptop
policy, training = FlowUnetRecipe(size="paper").build(spec.observation)    as published
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from steadyhand.core.errors import SpecError
from steadyhand.core.parts import Part, located, spoken_name

if TYPE_CHECKING:
    from steadyhand.core.specs import FeatureSpec
    from steadyhand.policies.choices import Mode
    from steadyhand.policies.spec import PolicyConfig
    from steadyhand.training.config import TrainConfig

Size = Literal["small", "paper"]


class RecipeConfig(Part, ABC):
    """A method under one name: how a policy is made and trained, for what there is to see.

    @dataclass(frozen=True, kw_only=True)
    class Wide(RecipeConfig):
        width: int = 512

        def constants(self, observation):
            return PolicyConfig(encoder=StateMLP(hidden=(self.width,))), TrainConfig(num_steps=5000)

    Attributes:
        reads: What it needs to see, in words.
    """

    kind: ClassVar[str] = "recipe"
    word_mark: ClassVar[str] = "_"
    ours: ClassVar[Mapping[str, str]] = {
        **located("steadyhand.recipes.published", "BcMlpRecipe", "BcRnnGmmRecipe", "ActRecipe", "BetRecipe"),
        **located(
            "steadyhand.recipes.denoising",
            "DiffusionUnetRecipe",
            "DiffusionTransformerRecipe",
            "FlowUnetRecipe",
            "MipRecipe",
        ),
        **located("steadyhand.recipes.published", "PilotnetRecipe", "AlvinnRecipe", "Alvinn1989Recipe"),
    }
    reads: ClassVar[str] = "a vector or a picture"

    @property
    def spoken(self) -> str:
        """What a person calls it, such as "flow_unet"."""
        return spoken_name(RecipeConfig, type(self))

    @abstractmethod
    def constants(self, observation: Mapping[str, "FeatureSpec"]) -> "tuple[PolicyConfig, TrainConfig]":
        """Return policy and training for these features; the policy may leave open which of them it sees."""

    def build(
        self, observation: Mapping[str, "FeatureSpec"], action: "FeatureSpec | None" = None
    ) -> "tuple[PolicyConfig, TrainConfig]":
        """Return policy and training; the policy names what it sees, all that its encoder can read.

        Whether a picture has the right size shows when the policy is built.

        Args:
            observation: The features that there are.
            action: The action, if it is to be checked here; building the policy checks it too.

        Raises:
            SpecError: The recipe reads none of the features, or does not act like this.
        """
        from steadyhand.policies.spec import described, resolved

        policy, training = self.constants(observation)
        encoder = policy.encoder
        if encoder is not None and not encoder.readable(observation):
            raise SpecError(
                f"The recipe {self.spoken} cannot read this observation.",
                got=", ".join(
                    f"{key} ({spec.kind}, {list(spec.shape)})" for key, spec in observation.items()
                ),
                expected=f"{self.reads}, for the encoder {type(encoder).__name__}",
                hint="choose other features with --observation, or another recipe",
            )
        if action is not None and action.kind not in policy.head.actions:
            raise SpecError(
                f"The recipe {self.spoken} needs {' or '.join(policy.head.actions)} actions.",
                got=described("action", action),
                hint="take another, or leave --recipe out and take --head Categorical for discrete actions",
            )
        policy = resolved(policy, observation)
        vectors = [key for key in policy.observation if observation[key].kind == "continuous"]
        modes: dict[str, Mode] = dict.fromkeys(vectors, "z_score")
        return replace(policy, normalisation={**modes, **policy.normalisation}), training


@dataclass(frozen=True, kw_only=True)
class Published(RecipeConfig, ABC):
    """A method in two sizes, between which `--size` chooses.

    Attributes:
        size: For a laptop ("small"), or with the paper's constants ("paper").
    """

    size: Size = "small"

    @property
    def is_paper(self) -> bool:
        """Whether it is as published."""
        return self.size == "paper"
