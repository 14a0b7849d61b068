"""Every encoder that ships, as one closed union; the class name is the "type" in a run.json."""

from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.image import FlatImage, SmallConv
from steadyhand.policies.encoders.pilotnet import PilotNet
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP

EncoderConfig = StateMLP | FlatImage | SmallConv | PilotNet | ResNet18 | Recurrent | CausalTransformer
