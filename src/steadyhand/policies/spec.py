"""What a policy is made of (config) and what it is made for (spec)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError, SteadyhandError
from steadyhand.core.parts import require_part
from steadyhand.core.settings import Count, NotNegative, Positive, Range, Settings
from steadyhand.core.specs import ACTION, STATE, EnvSpec, FeatureSpec, table_of_shapes
from steadyhand.data.frames import Frames, WindowSpec
from steadyhand.data.stats import SpreadFloor
from steadyhand.policies.choices import Mode, Representation
from steadyhand.policies.encoders.config import EncoderConfig, default_encoder
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.regression import Regression


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(Settings):
    """Everything about a policy but its weights and its task.

        step        t-1   t   t+1  t+2  t+3
        observed     o    o                   n_obs_steps = 2
        predicted         a    a    a    a    horizon = 4, chunk_start = 0
        executed          a    a              n_action_steps = 2

    Attributes:
        encoder: Turns the observation window into tokens. None takes one that reads every feature there is:
            SmallConv if one of them is an image, StateMLP otherwise.
        head: Turns tokens into a chunk of actions.
        observation: Features to read; empty means all that the encoder can read, vectors and cameras.
        n_obs_steps: Observed steps, the current one included.
        horizon: Predicted steps of a chunk, at least 1.
        n_action_steps: Executed steps of each chunk.
        chunk_start: First predicted step relative to the current one, from -(n_obs_steps - 1) to 0. Diffusion
            Policy's chunks begin in the past; those steps are learnt, and dropped at prediction.
        normalisation: Feature name -> mode, where it differs from z_score (observation) or min_max (action).
            A policy that is built names the mode of every feature here.
        spread_floor: Which dimensions hardly move, so that nothing is divided by their spread.
        input_clip: Normalised inputs are held within plus and minus so many units (standard deviations under
            z_score, half ranges under min_max). None holds nothing: a linear policy answers rightly far from
            its data, and a clip would hide how far that is.
        action_representation: "absolute", "delta" or "relative" to the state at the chunk's first step.
        state_feature: What delta and relative actions are relative to.
        state_dims: State dimension for each action dimension, -1 for one that stays absolute; empty pairs
            them in order.
        history: "sliding": a chunk is predicted from the last `n_obs_steps` steps. "reset": from the steps
            since the history was last emptied, which is every `n_obs_steps` steps (robomimic's BC-RNN).
        input_noise: Standard deviation of the Gaussian noise added to continuous observation features while
            training, in normalised units (NoiseBC; docs/methods/noise-bc.md).
    """

    encoder: EncoderConfig | None = None
    head: HeadConfig = field(default_factory=Regression)
    observation: tuple[str, ...] = ()
    n_obs_steps: Count = 1
    horizon: Count = 1
    n_action_steps: Annotated[Count, Range(le="num_future_steps")] = 1
    chunk_start: Annotated[int, Range(le=0)] = 0
    normalisation: dict[str, Mode] = field(default_factory=dict[str, Mode])
    spread_floor: SpreadFloor = field(default_factory=SpreadFloor)
    input_clip: Positive | None = None
    action_representation: Representation = "absolute"
    state_feature: str = STATE
    state_dims: tuple[int, ...] = ()
    history: Literal["sliding", "reset"] = "sliding"
    input_noise: NotNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_part(HeadConfig, self.head)
        if self.encoder is not None:
            require_part(EncoderConfig, self.encoder)
        if self.chunk_start <= -self.n_obs_steps:
            raise ConfigError(
                "chunk_start must lie within the observed steps.",
                got=self.chunk_start,
                expected=f"{1 - self.n_obs_steps} to 0",
            )
        if self.action_representation == "delta" and self.chunk_start < 0:
            raise ConfigError(
                "Delta actions cannot begin in the past: the first steps of an episode would add up wrongly.",
                got=f"chunk_start = {self.chunk_start}",
                hint="use chunk_start=0 or relative actions",
            )

    @property
    def num_future_steps(self) -> int:
        """Predicted steps from the current one on: the length of what `Policy.predict_chunk` returns."""
        return self.horizon + self.chunk_start

    @property
    def window(self) -> WindowSpec:
        """Steps of one training example, relative to the current step."""
        return WindowSpec(
            obs_offsets=tuple(range(1 - self.n_obs_steps, 1)),
            action_offsets=tuple(range(self.chunk_start, self.chunk_start + self.horizon)),
        )


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """What goes in and out of a policy.

    Attributes:
        observation: Feature name -> spec.
        action: Spec of the action.
        control_dt: Time between two actions [s].
    """

    observation: dict[str, FeatureSpec]
    action: FeatureSpec
    control_dt: float

    def __repr__(self) -> str:
        return table_of_shapes(
            f"<PolicySpec: every {self.control_dt:g} s>", {**self.observation, ACTION: self.action}
        )

    @classmethod
    def of_env(cls, spec: EnvSpec) -> "PolicySpec":
        """Return the spec of policies for an env."""
        return cls(observation=dict(spec.observation), action=spec.action, control_dt=spec.control_dt)

    @classmethod
    def of_frames(cls, frames: Frames) -> "PolicySpec":
        """Return the spec of policies for a data set."""
        return cls(
            observation=dict(frames.observation_spec),
            action=frames.action_spec,
            control_dt=frames.control_dt,
        )

    def select(self, names: tuple[str, ...]) -> "PolicySpec":
        """Return the spec with only the named observation features, in that order."""
        missing = [name for name in names if name not in self.observation]
        if missing:
            raise ConfigError(
                "The policy is to read a feature that is not there.",
                got=missing[0],
                available=self.observation,
            )
        chosen = {name: self.observation[name] for name in names}
        return PolicySpec(observation=chosen, action=self.action, control_dt=self.control_dt)


def read_features(config: PolicyConfig, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
    """Return the features that the policy reads: those it names, or all that its encoder can read.

    Raises:
        ConfigError: One is named that is not there or that the encoder cannot read, or nothing is left.
    """
    missing = [name for name in config.observation if name not in observation]
    if missing:
        raise ConfigError(
            "The policy is to read a feature that is not there.",
            got=", ".join(missing),
            available=observation,
        )
    if config.encoder is None:
        return config.observation or tuple(observation)
    readable = config.encoder.readable(observation)
    unreadable = [name for name in config.observation if name not in readable]
    if unreadable or not (config.observation or readable):
        raise ConfigError(
            f"The {type(config.encoder).__name__} encoder cannot read this observation.",
            got=", ".join(described(name, observation[name]) for name in unreadable or observation),
            available=readable,
            hint="use StateMLP, Recurrent or CausalTransformer for vectors, FlatImage for one image, "
            "SmallConv, PilotNet or ResNet18 for images and vectors",
        )
    return config.observation or readable


def resolved(config: PolicyConfig, observation: Mapping[str, FeatureSpec]) -> PolicyConfig:
    """Return the configuration with its encoder and its features filled in for what there is to see.

    Raises:
        ConfigError: A feature is named that is not there or that the encoder cannot read, or none is left.
    """
    names = read_features(config, observation)
    encoder = config.encoder or default_encoder({name: observation[name] for name in names})
    return replace(config, encoder=encoder, observation=names)


def described(name: str, spec: FeatureSpec) -> str:
    """Return a feature with its shape, such as "observation.images.front (image 96 x 96 x 3)"."""
    size = " x ".join(map(str, spec.shape))
    match spec.kind:
        case "image":
            return f"{name} (image {size})"
        case "discrete":
            return f"{name} ({spec.num_classes} classes)"
        case _:
            return f"{name} ({size})"


def require_readable(config: PolicyConfig) -> None:
    """Raise ConfigError if a configuration would not be read back as it is: then it must not be trained."""
    try:
        data = json.loads(json.dumps(to_data(config)))
        said = "it is read as another one" if from_data(data, PolicyConfig) != config else ""
    except (SteadyhandError, TypeError, ValueError) as error:
        said = str(error)
    if said:
        raise ConfigError(
            "These settings cannot be written and read, so that what they train could never be loaded.",
            got=said,
            expected="fields of numbers, texts, tuples, dictionaries and settings, each of its type",
            hint="a class that was defined anew is another one: then make its settings anew",
        )
