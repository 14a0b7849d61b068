"""Every denoising net that ships, as one closed union."""

from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.nets.denoising_transformer import DenoisingTransformer
from steadyhand.policies.nets.unet1d import UNet

DenoiserConfig = UNet | DenoisingTransformer | DenoisingMLP
