"""The policies whose speed is measured, each as the library that is known for it builds and trains it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.policies.contract import Context, ContextSpec, Encoder, Observation
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.noise import Noise
from steadyhand.policies.spec import PolicyConfig
from steadyhand.training.config import TrainConfig

ENVIRONMENT_STATE = "observation.environment_state"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A script that measures another library, and how it is called.

    Attributes:
        name: Name of the library, which is also that of its virtual environment.
        script: Prints a JSON line last.
        arguments: Arguments of the script, but for the number of steps.
        steps: Timed gradient steps.
        least: Fewest of them that the script can do.
    """

    name: str
    script: str
    arguments: tuple[str, ...]
    steps: int
    least: int = 5


@dataclass(frozen=True, kw_only=True)
class Case:
    """A policy class on data of a shape.

    Attributes:
        name: What the lines call it.
        make: Returns the policy's config; called late, so that a missing part skips only its case.
        observed: Feature name -> width.
        acted: Width of an action.
        batch: Windows in a training batch.
        training: How it is trained, as the peer does it.
        peers: What to compare with.
        compiled: Whether to measure torch.compile too.
    """

    name: str
    make: Callable[[], PolicyConfig]
    observed: Mapping[str, int]
    acted: int
    batch: int
    training: TrainConfig
    peers: tuple[Peer, ...] = ()
    compiled: bool = False


@dataclass(frozen=True, kw_only=True)
class TwoTokens(EncoderConfig):
    """State and environment state as a token each, as LeRobot's ACT has them; its projection comes later."""

    def readable(self, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
        """Return all features."""
        return tuple(observation)

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "TwoTokensEncoder":
        """Return the encoder for these features."""
        del n_obs_steps
        return TwoTokensEncoder(sum(spec.size for spec in observation.values()))


class TwoTokensEncoder(Encoder):
    """Encoder that `TwoTokens` builds."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spec = ContextSpec(num_tokens=2, width=width, state_width=width)

    def forward(self, observation: Observation, is_pad: Bool[Tensor, "B O"], noise: Noise | None) -> Context:
        """Encode."""
        del is_pad, noise
        one, two = (value[:, -1] for value in observation.values())
        tokens = [
            nn.functional.pad(one, (0, two.shape[1])),
            nn.functional.pad(two, (one.shape[1], 0)),
        ]
        return Context(tokens=torch.stack(tokens, dim=1), state=torch.cat([one, two], dim=1))


def mlp() -> PolicyConfig:
    return PolicyConfig(encoder=StateMLP(hidden=(256, 256)))


def rnn_gmm() -> PolicyConfig:
    """Robomimic's BC-RNN-GMM: LSTM of 2 x 400 over 10 steps, five modes at each of them."""
    from steadyhand.policies.encoders.recurrent import Recurrent
    from steadyhand.policies.heads.mixture import Mixture

    return PolicyConfig(
        encoder=Recurrent(hidden=400, num_layers=2),
        head=Mixture(num_modes=5, joint=False, tanh_mean=True),
        n_obs_steps=10,
        horizon=10,
        chunk_start=-9,
        history="reset",
    )


def act(width: int, feedforward: int) -> Callable[[], PolicyConfig]:
    def make() -> PolicyConfig:
        from steadyhand.policies.heads.act import Act

        head = Act(width=width, feedforward=feedforward, num_decoder_layers=1)
        return PolicyConfig(encoder=TwoTokens(), head=head, horizon=20, n_action_steps=20)

    return make


def denoising(kind: str, channels: tuple[int, ...]) -> Callable[[], PolicyConfig]:
    def make() -> PolicyConfig:
        from steadyhand.policies.heads.diffusion import Diffusion
        from steadyhand.policies.heads.flow import Flow
        from steadyhand.policies.nets.unet1d import UNet

        net = UNet(channels=channels)
        head = Diffusion(net=net) if kind == "diffusion" else Flow(net=net)
        return PolicyConfig(
            encoder=StateMLP(hidden=()),
            head=head,
            n_obs_steps=2,
            horizon=16,
            chunk_start=-1,
            n_action_steps=8,
        )

    return make


def cases() -> Iterator[Case]:
    robomimic = Peer(name="robomimic", script="train_robomimic.py", arguments=(), steps=100)
    adam = TrainConfig(learning_rate=1e-4, weight_decay=0.0, schedule="constant", warmup_steps=0)
    yield Case(
        name="MLP",
        make=mlp,
        observed={STATE: 17},
        acted=6,
        batch=256,
        training=TrainConfig(learning_rate=1e-3, weight_decay=0.0),
        peers=(
            Peer(name="robomimic", script="train_robomimic.py", arguments=("--policy", "mlp"), steps=1500),
        ),
        compiled=True,
    )
    for batch, steps in ((16, 200), (64, 100)):
        arguments = ("--policy", "rnn_gmm", "--batch-size", str(batch))
        yield Case(
            name=f"RNN-GMM, batch {batch}",
            make=rnn_gmm,
            observed={STATE: 5},
            acted=2,
            batch=batch,
            training=adam,
            peers=(replace(robomimic, arguments=arguments, steps=steps),),
        )
    lerobot = Peer(name="lerobot", script="train_lerobot.py", arguments=(), steps=25)
    two = {STATE: 2, ENVIRONMENT_STATE: 3}
    act_training = replace(adam, learning_rate=1e-5, weight_decay=1e-4, clip_norm=10.0)
    for preset, width, feedforward, steps in (("small", 256, 1024, 25), ("pusht", 512, 3200, 8)):
        arguments = ("--policy", "act", "--obs", "state", "--preset", preset, "--chunks", "4")
        yield Case(
            name=f"ACT, {width} wide",
            make=act(width, feedforward),
            observed=two,
            acted=2,
            batch=64,
            training=act_training,
            peers=(replace(lerobot, arguments=arguments, steps=steps, least=4),),
        )
    diffusion = ("--policy", "diffusion", "--obs", "state", "--preset", "small", "--infer", "9")
    diffusion = (*diffusion, "--scheduler", "DDIM", "--denoise", "10")
    denoising_training = TrainConfig(
        learning_rate=1e-4, weight_decay=1e-6, betas=(0.95, 0.999), warmup_steps=500, clip_norm=10.0
    )
    for kind in ("diffusion", "flow"):
        for channels, size in (((64, 128, 256), "4.5 M"), ((128, 256, 512), "16.4 M")):
            is_theirs = (kind, size) == ("diffusion", "16.4 M")
            yield Case(
                name=f"{kind}, U-Net {size}",
                make=denoising(kind, channels),
                observed=two,
                acted=2,
                batch=64,
                training=denoising_training,
                peers=(
                    replace(lerobot, arguments=diffusion),
                    replace(lerobot, arguments=(*diffusion, "--fixed-batch")),
                )
                if is_theirs
                else (),
                compiled=True,
            )
