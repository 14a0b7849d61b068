"""What the encoders of images share: cameras, vector features beside them, and the order of the tokens."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import VECTORS, Context, ContextSpec, Encoder, Observation
from steadyhand.policies.encoders.config import is_image
from steadyhand.policies.encoders.vectors import Vectors
from steadyhand.policies.nets.crop import Augmentation
from steadyhand.policies.noise import Noise


def cameras_of(observation: Mapping[str, FeatureSpec], *, reader: str) -> dict[str, FeatureSpec]:
    """Return the images among these features.

    Raises:
        ConfigError: There are none.
    """
    cameras = {name: spec for name, spec in observation.items() if is_image(spec)}
    if not cameras:
        raise ConfigError(
            f"{reader} needs an image.",
            got=", ".join(observation) or "no features",
            hint="use the StateMLP encoder",
        )
    return cameras


def source_grid(num_sources: int, num_steps: int) -> Float[Tensor, "S 2"]:
    """Return (source, step) of each token, source by source, each in order of time."""
    sources, steps = (torch.arange(n, dtype=torch.float32) for n in (num_sources, num_steps))
    return torch.cartesian_prod(sources, steps)


class CameraEncoder(Encoder):
    """One token for each camera and step, and one for the vector features and step.

    Tokens lie camera by camera, each in order of time; those of the vector features come last.

    Args:
        observation: Feature name -> spec, at least one image.
        n_obs_steps: Number O of observed steps.
        reader: Name of the encoder, for errors.
        width: Width of a token.
        augmentation: What is done to pictures first.
    """

    position: Tensor
    state: nn.Module

    def __init__(
        self,
        observation: Mapping[str, FeatureSpec],
        *,
        n_obs_steps: int,
        reader: str,
        width: int,
        augmentation: Augmentation,
    ) -> None:
        super().__init__()
        cameras = cameras_of(observation, reader=reader)
        self._cameras = tuple(cameras)
        self._augmentation = augmentation
        self.vectors = Vectors(observation)
        sources = [*cameras, *([VECTORS] if self.vectors.width else [])]
        self.groups = tuple((name, i * n_obs_steps, (i + 1) * n_obs_steps) for i, name in enumerate(sources))
        self.register_buffer("position", source_grid(len(sources), n_obs_steps), persistent=False)
        self.spec = ContextSpec(
            num_tokens=len(sources) * n_obs_steps, width=width, state_width=self.vectors.width
        )

    def _set_towers(self, towers: Iterable[nn.Module]) -> None:
        """Take one net for each camera, or one for all of them."""
        self.towers = nn.ModuleList(towers)

    @abstractmethod
    def _scaled(self, image: UInt8[Tensor, "N h w c"]) -> Float[Tensor, "N h w c"]:
        """Return pixels as the towers want them."""

    def _seen(self, observation: Observation, noise: Noise | None) -> list[Tensor]:
        """Return what the towers say of each camera: (B, O, ...)."""
        found: list[Tensor] = []
        for index, name in enumerate(self._cameras):
            image = self._augmentation(observation[name], noise)
            tower = self.towers[index % len(self.towers)]
            found.append(tower(self._scaled(image.flatten(0, 1))).unflatten(0, image.shape[:2]))
        return found

    def forward(self, observation: Observation, is_pad: Bool[Tensor, "B O"], noise: Noise | None) -> Context:
        """Encode; in training (`noise` given) each window is moved or cut by its own random amount."""
        del is_pad
        parts = self._seen(observation, noise)
        last = None
        if self.vectors.width:
            vectors = self.vectors(observation)
            last = vectors[:, -1]
            parts.append(self.state(vectors))
        return self._placed(torch.cat(parts, dim=1), last)

    def _placed(self, tokens: Float[Tensor, "B S C"], state: Float[Tensor, "B V"] | None) -> Context:
        """Return the context; of single steps (`StepFeatures`) positions and groups are unknown."""
        if tokens.shape[1] != self.spec.num_tokens:
            return Context(tokens=tokens, state=state)
        return Context(tokens=tokens, position=self.position, groups=self.groups, state=state)
