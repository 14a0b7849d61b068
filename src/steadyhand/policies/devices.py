"""Where tensors live."""

import torch

from steadyhand.core.errors import ConfigError


def chosen_device(name: str) -> torch.device:
    """Return a device by name; "auto" takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: It is not there.
    """
    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    if torch.cuda.is_available():
        there.insert(0, "cuda")
    if name == "auto":
        return torch.device(there[0])
    if name not in there:
        raise ConfigError(
            "There is no such device here.",
            got=name,
            available=["auto", *there],
            hint="take one that is there; a CPU build of torch sees no GPU",
        )
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return what a device calls itself, such as "cuda (NVIDIA A100)"."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type
