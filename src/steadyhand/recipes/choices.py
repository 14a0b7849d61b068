"""Policies by the short names of the command line."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import made
from steadyhand.core.specs import FeatureSpec, full_names
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.spec import PolicyConfig, described, resolved
from steadyhand.recipes.methods import Size, recipe
from steadyhand.training.config import TrainConfig


def full_name(name: str, features: Mapping[str, FeatureSpec]) -> str:
    """Return the feature that `name` stands for: "state" for "observation.state", "front" for a camera.

    Raises:
        ConfigError: There is none.
    """
    for candidate in full_names(name):
        if candidate in features:
            return candidate
    raise ConfigError("There is no such feature.", got=name, available=features)


def refuse_depth(names: Sequence[str], depth: Container[str]) -> None:
    """Raise ConfigError where a policy is to see a depth map of the data."""
    for name in names:
        if any(candidate in depth for candidate in full_names(name)):
            raise ConfigError(
                "No policy here reads depth maps.",
                got=name,
                hint="leave it out; dataset.depth_maps(...) returns metres",
            )


def chosen_features(features: Mapping[str, FeatureSpec], names: Sequence[str]) -> dict[str, FeatureSpec]:
    """Return the named features, or all of them if none is named.

    Raises:
        ConfigError: A feature is not there.
    """
    chosen = dict.fromkeys(full_name(name, features) for name in names)
    return {name: features[name] for name in chosen or features}


@dataclass(frozen=True, kw_only=True)
class LearnerChoice:
    """What the command line says of a learner: a recipe, or parts by name; None where it says nothing.

    Attributes:
        observation: Features to see; empty takes all that the encoder or the recipe can read.
        recipe: Name of a recipe; empty puts a policy together from the parts below.
        size: Size of the recipe: "small" for a laptop, or "paper".
        encoder: "auto" takes one for every feature: SmallConv where there are pictures, StateMLP otherwise.
        head: "auto" takes Categorical for discrete actions, Regression otherwise.
        n_obs_steps: Observed steps, the current one included.
        horizon: Predicted steps of a chunk.
        n_action_steps: Executed steps of each prediction.
        steps: Gradient steps of the training.
        batch_size: Windows in a batch.
        learning_rate: After the warm-up.
    """

    observation: tuple[str, ...] = ()
    recipe: str = ""
    size: Size = "small"
    encoder: str = "auto"
    head: str = "auto"
    n_obs_steps: int = 1
    horizon: int = 1
    n_action_steps: int = 1
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None


def learner_of(
    choice: LearnerChoice,
    *,
    observation: Mapping[str, FeatureSpec],
    action: FeatureSpec,
    default: TrainConfig,
) -> tuple[PolicyConfig, TrainConfig]:
    """Return policy and training for the command line.

    Args:
        choice: What was said.
        observation: Features that there are.
        action: The action.
        default: Training of a policy that is put together from parts.

    Raises:
        ConfigError: There is no such recipe, part or feature, a recipe is named beside parts, or a feature
            is named that the recipe or the encoder cannot read.
        SpecError: The recipe does not fit observation or action.
    """
    named = chosen_features(observation, choice.observation) if choice.observation else {}
    if choice.recipe:
        _refuse_parts(choice)
        method = recipe(choice.recipe, observation=named or observation, action=action, size=choice.size)
        unread = [described(name, named[name]) for name in named if name not in method.policy.observation]
        if unread:
            raise ConfigError(
                f"The recipe {choice.recipe} cannot read what it is to see.",
                got=", ".join(unread),
                available=method.policy.observation,
                hint="name features that it can read with --observation, or take another recipe",
            )
        policy, training = method.policy, method.training
    elif choice.size != "small":
        raise ConfigError(
            "Only a recipe has sizes.", got=f"--size {choice.size}", hint="name one: --recipe flow_unet"
        )
    else:
        policy, training = _assembled(choice, tuple(named), observation, action), default
    return policy, with_numbers(training, choice)


def with_numbers(training: TrainConfig, choice: LearnerChoice) -> TrainConfig:
    """Return the training with the numbers that were wished for; a warm-up is at most a tenth of it."""
    chosen = {
        "num_steps": choice.steps,
        "batch_size": choice.batch_size,
        "learning_rate": choice.learning_rate,
    }
    training = replace(training, **{name: value for name, value in chosen.items() if value is not None})
    return replace(training, warmup_steps=min(training.warmup_steps, training.num_steps // 10))


def _assembled(
    choice: LearnerChoice, named: tuple[str, ...], observation: Mapping[str, FeatureSpec], action: FeatureSpec
) -> PolicyConfig:
    """Return the policy of these parts, which reads the named features, or all that its encoder can read."""
    is_discrete = action.kind == "discrete"
    head = ("Categorical" if is_discrete else "Regression") if choice.head == "auto" else choice.head
    config = PolicyConfig(
        encoder=None if choice.encoder == "auto" else made(EncoderConfig, choice.encoder),
        head=made(HeadConfig, head),
        observation=named,
        n_obs_steps=choice.n_obs_steps,
        horizon=choice.horizon,
        n_action_steps=choice.n_action_steps,
    )
    return resolved(config, observation)


def _refuse_parts(choice: LearnerChoice) -> None:
    names = ("encoder", "head", "n_obs_steps", "horizon", "n_action_steps")
    plain = LearnerChoice()
    given = [name for name in names if getattr(choice, name) != getattr(plain, name)]
    if given:
        raise ConfigError(
            "A recipe says what the policy is made of.",
            got=f"--recipe {choice.recipe} and {', '.join('--' + name.replace('_', '-') for name in given)}",
            hint="change the recipe with --set, such as --set policy.horizon=32",
        )
