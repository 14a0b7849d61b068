"""Every encoder that ships, as one closed union; the class name is the "type" in a run.json."""

from collections.abc import Mapping

from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.encoders.cameras import is_image
from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.image import FlatImage, SmallConv
from steadyhand.policies.encoders.pilotnet import PilotNet
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP

EncoderConfig = StateMLP | FlatImage | SmallConv | PilotNet | ResNet18 | Recurrent | CausalTransformer


def default_encoder(observation: Mapping[str, FeatureSpec]) -> EncoderConfig:
    """Return an encoder that reads all of these: SmallConv if one is an image, StateMLP if none is."""
    return SmallConv() if any(is_image(spec) for spec in observation.values()) else StateMLP()
