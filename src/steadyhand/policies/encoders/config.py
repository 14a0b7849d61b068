"""Every encoder that ships, as one closed union; the class name is the "type" in a run.json."""

from steadyhand.policies.encoders.image import FlatImage, SmallConv
from steadyhand.policies.encoders.state import StateMLP

EncoderConfig = StateMLP | FlatImage | SmallConv
