"""The learner and its training, as the keyword arguments of `train` and `correct`."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypedDict, TypeVar

from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import made, require_part
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.spec import PolicyConfig, described, resolved
from steadyhand.recipes.choices import chosen_features
from steadyhand.recipes.config import Published, RecipeConfig, Size
from steadyhand.training.config import Device, Keep, TrainConfig

DEFAULT = TrainConfig(num_steps=3000, batch_size=64)
"""Default training, the same as that of `steadyhand correct`, so that a clone and a remedy train alike."""

CHUNK = 16
"""Default horizon of a head whose net is a UNet, whose levels halve the chunk."""

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")


class Learning(TypedDict, total=False):
    """What a learner is made of and how it is trained; what is not given has a default.

    Attributes:
        encoder: How observations are read, such as `sh.encoders.StateMLP()`, or a name. By default one that
            reads every feature: SmallConv where there are pictures, StateMLP otherwise.
        head: The policy class, such as `sh.heads.Flow()`, or a name. By default Categorical for discrete
            actions, Regression otherwise.
        recipe: A published method, such as `sh.recipes.ActRecipe()` or "act", instead of encoder, head and
            numbers of steps.
        size: Size of a recipe that is named: "small" for a laptop, which is the default, or "paper".
        observation: Features that the policy sees, such as ["state"]; by default all that the encoder or the
            recipe can read.
        n_obs_steps: Observed steps, the current one included; 1 by default.
        horizon: Predicted steps; 1 by default, 16 for a head whose net is a UNet.
        n_action_steps: Executed steps of each prediction; by default half of the horizon, at least 1.
        steps: Gradient steps; 3000 by default, or the recipe's; large data sets want more.
        batch_size: Windows in a batch; 64 by default, or the recipe's.
        learning_rate: Learning rate after the warm-up; 0.001 by default, or the recipe's.
        keep: Weights that the policy ends up with: the "last" ones, which is the default, or the "best" ones,
            those of the lowest held-out loss.
        device: Where to compute: "cpu", which is the default, "cuda", "mps" or "auto".
        policy: Settings of the policy, instead of a recipe or parts.
        training: Settings of the training; `steps`, `batch_size` and `learning_rate` override them.
    """

    encoder: EncoderConfig | str | None
    head: HeadConfig | str | None
    recipe: RecipeConfig | str | None
    size: Size | None
    observation: Sequence[str] | None
    n_obs_steps: int | None
    horizon: int | None
    n_action_steps: int | None
    steps: int | None
    batch_size: int | None
    learning_rate: float | None
    keep: Keep | None
    device: Device | None
    policy: PolicyConfig | None
    training: TrainConfig | None


def spelled_out(function: F) -> F:
    """Let `help` show the keywords of `Learning` where a function takes them as they are."""
    signature = inspect.signature(function)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in Learning.__annotations__.items()
    ]
    function.__signature__ = signature.replace(parameters=[*own, *more])  # pyright: ignore[reportFunctionMemberAccess]
    return function


def settings_of(
    learning: Learning,
    observation: Mapping[str, FeatureSpec],
    action: FeatureSpec,
    *,
    default: TrainConfig = DEFAULT,
    num_checkpoints: int = 10,
) -> tuple[PolicyConfig, TrainConfig]:
    """Return the settings of policy and training for an observation and an action.

    Args:
        learning: What the caller chose.
        observation: Feature -> spec, of all features that there are.
        action: Spec of the action.
        default: Training of a policy that is put together from parts, unless `learning` says how.
        num_checkpoints: Number of checkpoints and of validations, unless `learning` has settings of the
            training; 0 keeps those of `default`.

    Raises:
        ConfigError: There is no such recipe, part or feature, two things are said at once, or a feature is
            named that the recipe or the encoder cannot read.
        SpecError: The recipe does not fit observation or action.
    """
    unknown = [name for name in learning if name not in Learning.__annotations__]
    if unknown:
        raise ConfigError(
            "There is no such keyword.", got=", ".join(unknown), available=Learning.__annotations__
        )
    _check_kinds(learning)
    training = _given(learning.get("training"), default)
    if recipe := recipe_of(learning):
        _refuse_parts(learning, beside=f"recipe={recipe.spoken!r}")
        policy, training = _of_recipe(recipe, learning, observation, action)
    else:
        policy = _policy(learning, observation, action)
    training = with_numbers(training, learning)
    if num_checkpoints and learning.get("training") is None:
        every = max(1, training.num_steps // num_checkpoints)
        training = replace(training, checkpoint_every=every, validation_every=every)
    where, kept = _given(learning.get("device"), training.device), _given(learning.get("keep"), training.keep)
    return policy, replace(training, device=where, keep=kept)


def _given(said: T | None, default: T) -> T:
    return default if said is None else said


def _check_kinds(learning: Learning) -> None:
    """Raise ConfigError where settings are of the wrong kind."""
    for name, kind in (("policy", PolicyConfig), ("training", TrainConfig)):
        if not isinstance(given := learning.get(name), kind | None):
            raise ConfigError(
                f"{name} takes settings.",
                got=f"{name} = {given!r}",
                expected=f"a {kind.__name__}, from {kind.__module__}",
                hint="head, encoder, recipe, steps and batch_size take names and numbers",
            )
    if not _is_list(names := learning.get("observation")):
        raise ConfigError(
            "observation takes a list of features.", got=repr(names), hint='such as observation=["state"]'
        )


def _is_list(names: object) -> bool:
    return names is None or (isinstance(names, Iterable) and not isinstance(names, str))


def with_numbers(training: TrainConfig, learning: Learning) -> TrainConfig:
    """Return the training with the chosen numbers; its warm-up is then at most a tenth of its steps."""
    words = {"num_steps": "steps", "batch_size": "batch_size", "learning_rate": "learning_rate"}
    chosen = {name: learning.get(word) for name, word in words.items()}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if learning.get("training") is not None and not chosen:
        return training
    training = replace(training, **chosen)
    return replace(training, warmup_steps=min(training.warmup_steps, training.num_steps // 10))


def recipe_of(learning: Learning) -> RecipeConfig | None:
    """Return the recipe that was said, of the size that was said; None where none was.

    Raises:
        ConfigError: There is no such recipe, or a size was said of what has one.
    """
    recipe, size = learning.get("recipe"), learning.get("size")
    recipe = made(RecipeConfig, recipe) if isinstance(recipe, str) else recipe
    if recipe is not None:
        require_part(RecipeConfig, recipe)
    if size is None:
        return recipe
    if isinstance(recipe, Published):
        return replace(recipe, size=size)
    raise ConfigError(
        "Only a recipe has sizes, and not every one.", got=f"size {size}", hint="name one, such as flow_unet"
    )


def _of_recipe(
    recipe: RecipeConfig, learning: Learning, observation: Mapping[str, FeatureSpec], action: FeatureSpec
) -> tuple[PolicyConfig, TrainConfig]:
    names = learning.get("observation") or ()
    named = chosen_features(observation, names) if names else {}
    policy, training = recipe.build(named or observation, action)
    unread = [described(one, named[one]) for one in named if one not in policy.observation]
    if unread:
        raise ConfigError(
            f"The recipe {recipe.spoken} cannot read what it is to see.",
            got=", ".join(unread),
            available=policy.observation,
            hint="name features that it can read (on the command line with --observation), or take another "
            "recipe",
        )
    return policy, training


def _policy(learning: Learning, observation: Mapping[str, FeatureSpec], action: FeatureSpec) -> PolicyConfig:
    if (policy := learning.get("policy")) is not None:
        _refuse_parts(learning, beside="policy=")
        return resolved(policy, observation)
    encoder = learning.get("encoder")
    head = _given(learning.get("head"), "Categorical" if action.kind == "discrete" else "Regression")
    names = learning.get("observation") or ()
    head = made(HeadConfig, head) if isinstance(head, str) else head
    horizon = _given(learning.get("horizon"), CHUNK if isinstance(getattr(head, "net", None), UNet) else 1)
    config = PolicyConfig(
        encoder=made(EncoderConfig, encoder) if isinstance(encoder, str) else encoder,
        head=head,
        observation=tuple(chosen_features(observation, names)) if names else (),
        n_obs_steps=_given(learning.get("n_obs_steps"), 1),
        horizon=horizon,
        n_action_steps=_given(learning.get("n_action_steps"), max(1, int(horizon) // 2)),
    )
    return resolved(config, observation)


def _refuse_parts(learning: Learning, *, beside: str) -> None:
    names = ["encoder", "head", "n_obs_steps", "horizon", "n_action_steps"]
    names += ["observation", "recipe"] if beside == "policy=" else ["policy", "training"]
    given = [name for name in names if learning.get(name) is not None]
    if given:
        raise ConfigError(
            "Two things say what the policy is made of.",
            got=f"{beside} and {', '.join(given)}",
            hint="leave one of them out; dataclasses.replace changes the settings of a policy, on the "
            "command line --set, such as --set policy.horizon=32",
        )
