"""The encoder behind `PilotNet`."""

from collections.abc import Mapping

from jaxtyping import Float, UInt8
from torch import Tensor

from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.encoders.cameras import CameraEncoder
from steadyhand.policies.encoders.pilotnet import PilotNet
from steadyhand.policies.nets.crop import Augmentation
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.nets.pilotnet import PilotConvolutions, yuv


class PilotNetEncoder(CameraEncoder):
    """Encoder that `PilotNet` builds. Vector features get one layer and tokens of their own."""

    def __init__(self, config: PilotNet, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> None:
        super().__init__(
            observation,
            n_obs_steps=n_obs_steps,
            reader="PilotNet",
            width=config.hidden[-1],
            augmentation=Augmentation(shift=config.shift),
        )
        self._set_towers(
            PilotConvolutions(
                *observation[name].shape,
                convolutions=config.convolutions,
                hidden=config.hidden,
                activation=config.activation,
            )
            for name in self._cameras
        )
        if self.vectors.width:
            sizes = (self.vectors.width, config.hidden[-1])
            self.state = mlp(sizes, activation=config.activation, activate_last=True)

    def _scaled(self, image: UInt8[Tensor, "N h w c"]) -> Float[Tensor, "N h w c"]:
        return yuv(image)
