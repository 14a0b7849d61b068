"""PilotNet: from pixels to steering (Bojarski et al., 2016)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from steadyhand.core.settings import Count, Range, SomeWidths, Whole
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.choices import Activation, Convolution
from steadyhand.policies.encoders.config import PictureEncoder

if TYPE_CHECKING:
    from steadyhand.policies.encoders.pilotnet_encoder import PilotNetEncoder


@dataclass(frozen=True, kw_only=True)
class PilotNet(PictureEncoder):
    """Five convolutions and three fully connected layers per camera, up to the layer of 10 units.

    With a picture of 66 x 200 x 3, one step and `Regression()` of one number it has the paper's 252,219
    parameters. The paper's figure names 1164 flattened values; its shapes give 1152.

    Deviation: the paper names no activation, ReLU is ours; its random shifts and rotations of the view are
    part of data collection, not of the network.

    Attributes:
        convolutions: (channels, kernel size, stride) of each, without padding.
        hidden: Width of each fully connected layer; the last is the width of a token.
        activation: Activation after every layer.
        shift: Largest random shift of an image in training [pixels]; 0, as in the paper, switches it off.
        resize: (height, width) that pictures are scaled down to first, each pixel the mean of the area that
            it covers; None takes them as they come. A policy does that to the camera's pictures itself.
    """

    convolutions: Annotated[tuple[Convolution, ...], Range(ge=1)] = (
        (24, 5, 2),
        (36, 5, 2),
        (48, 5, 2),
        (64, 3, 1),
        (64, 3, 1),
    )
    hidden: SomeWidths = (100, 50, 10)
    activation: Activation = "relu"
    shift: Whole = 0
    resize: tuple[Count, Count] | None = None

    @classmethod
    def toys(cls) -> tuple["PilotNet", ...]:
        """Return small forms; see `Part`."""
        return (cls(convolutions=((4, 5, 2), (8, 3, 1)), hidden=(32, 10)),)

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "PilotNetEncoder":
        """Return the encoder for these features."""
        from steadyhand.policies.encoders.pilotnet_encoder import PilotNetEncoder

        return PilotNetEncoder(self, observation, n_obs_steps=n_obs_steps)
