"""Diffusion: a chunk is reached from noise by removing it in steps."""

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, assert_never

from steadyhand.core.errors import ConfigError
from steadyhand.core.settings import Count, Range, Share
from steadyhand.policies.choices import Order
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.inpainting import Inpainting
from steadyhand.policies.nets.denoisers import DenoiserConfig
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.diffusion_head import DiffusionHead


Prediction = Literal["epsilon", "sample"]
Method = Literal["ddim", "ddpm"]
Spacing = Literal["even", "leading"]

_FIRST = 0.95
"""Level at which evenly spaced sampling begins, as a share of the levels: there the signal is .062."""


@dataclass(frozen=True, kw_only=True)
class Diffusion(HeadConfig):
    """Diffusion Policy (Chi et al., 2023): DDPM's loss (Ho et al., 2020), DDIM's sampler (Song et al., 2021).

    Attributes:
        net: Settings of the denoiser.
        prediction: What the net predicts: the noise ("epsilon") or the chunk ("sample").
        num_train_steps: Number of noise levels in training, on the squared-cosine schedule.
        sampler: "ddim": `num_sample_steps` of them; "ddpm": all of them, with noise at each (eta 1, the
            smaller of DDPM's two variances).
        num_sample_steps: Number of evaluations of the net in DDIM.
        order: Order of DDIM without noise: 1 as published; 2 keeps the spread better at no cost, see
            `DenoisingSampler`.
        eta: Noise that DDIM adds at each step; 0 is deterministic after the first draw.
        spacing: Which levels DDIM visits. "even": from 95 to 0 of 100; "leading": 90, 80, .., 0, as
            published, where noise that stands for level 90 lacks its share of the data's mean (signal .14).
        inpainting: How a prefix of committed actions is honoured.
        likelihood_draws: Number of draws of the noise at each of the `num_train_steps` levels behind one
            `log_prob`.
    """

    memorises_in: ClassVar[int] = 1000

    net: DenoiserConfig = field(default_factory=DenoisingMLP)
    prediction: Prediction = "epsilon"
    num_train_steps: Count = 100
    sampler: Method = "ddim"
    num_sample_steps: Annotated[int, Range(ge=1, le="num_train_steps")] = 10
    order: Order = 2
    eta: Share = 0.0
    spacing: Spacing = "even"
    inpainting: Inpainting = field(default_factory=Inpainting)
    likelihood_draws: Count = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sampler == "ddpm":
            self._check_ddpm()

    def _check_ddpm(self) -> None:
        """Raise ConfigError if an option of DDIM was changed, which DDPM would ignore."""
        default = {item.name: item.default for item in fields(self)}
        allowed: dict[str, tuple[object, ...]] = {
            "num_sample_steps": (default["num_sample_steps"], self.num_train_steps),
            "eta": (default["eta"],),
            "spacing": (default["spacing"],),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ConfigError(
                    f"{name} is an option of DDIM; DDPM visits every level with the noise of its posterior.",
                    got=f"{name}={getattr(self, name)!r} with sampler='ddpm'",
                    expected=" or ".join(map(repr, values)),
                    hint=f'leave {name} out, or use sampler="ddim"',
                )

    @property
    def sample_steps(self) -> tuple[int, ...]:
        """Diffusion steps that the sampler visits, noisiest first."""
        count = self.num_sample_steps
        if self.sampler == "ddpm":
            return tuple(range(self.num_train_steps - 1, -1, -1))
        match self.spacing:
            case "even":
                # Not from the last: its signal is .0005, and an error in epsilon counts as 1 / signal.
                first = max(min(round(_FIRST * self.num_train_steps), self.num_train_steps - 1), count - 1)
                return tuple(round(first * (1.0 - k / max(count - 1, 1))) for k in range(count))
            case "leading":
                stride = self.num_train_steps // count
                return tuple(stride * k for k in range(count - 1, -1, -1))
            case _:
                assert_never(self.spacing)

    @classmethod
    def toys(cls) -> tuple["Diffusion", ...]:
        """Return small forms; see `Part`."""
        return (
            cls(net=DenoisingMLP(hidden=(256, 256), time_width=16)),
            cls(net=DenoisingMLP(hidden=(128, 128), time_width=16), prediction="sample"),
        )

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "DiffusionHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.diffusion_head import DiffusionHead

        return DiffusionHead(self, context, chunk)
