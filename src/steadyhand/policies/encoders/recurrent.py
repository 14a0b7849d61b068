"""Recurrent encoder: the trunk of robomimic's BC-RNN (Mandlekar et al., 2021)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.pictures import Size
from steadyhand.policies.choices import Cell
from steadyhand.policies.encoders.config import EncoderConfig, PictureEncoder, step_readable

if TYPE_CHECKING:
    from steadyhand.policies.encoders.recurrent_encoder import RecurrentEncoder


@dataclass(frozen=True, kw_only=True)
class Recurrent(EncoderConfig):
    """LSTM or GRU over the observed steps: one token for each, which knows that step and those before.

    The state is zero before the first step that is not padding. robomimic trains on windows of 10 steps and
    resets the state every 10 steps when it drives: n_obs_steps=10, horizon=10, chunk_start=-9 and
    history="reset".

    Attributes:
        cell: Kind of layer (Hochreiter and Schmidhuber, 1997; Cho et al., 2014).
        hidden: Width of the state and of a token. robomimic: 400, with images 1000.
        num_layers: Number of stacked layers.
        images: Reads the pictures; its features go into the first layer beside the vectors.
    """

    cell: Cell = "lstm"
    hidden: int = 400
    num_layers: int = 2
    images: PictureEncoder | None = None

    def __post_init__(self) -> None:
        for name, size in (("hidden", self.hidden), ("num_layers", self.num_layers)):
            if size < 1:
                raise ConfigError(f"Recurrent: {name} must be positive.", got=size, expected=">= 1")
        if self.images is not None:
            self.images.require_every_step(reader="Recurrent")

    def readable(self, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
        """Return the features that this encoder can read: images only if it has an encoder for them."""
        return step_readable(observation, self.images)

    @property
    def picture_size(self) -> Size | None:
        """(height, width) that the encoder of its pictures has them scaled down to."""
        return None if self.images is None else self.images.picture_size

    def require_trainable(self) -> None:
        """Raise ConfigError if the encoder of its pictures could not learn."""
        if self.images is not None:
            self.images.require_trainable()

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "RecurrentEncoder":
        """Return the encoder for these features."""
        from steadyhand.policies.encoders.recurrent_encoder import RecurrentEncoder

        return RecurrentEncoder(self, observation, n_obs_steps=n_obs_steps)
