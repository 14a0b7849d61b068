"""Every setting that has a least or a greatest value takes that value, and refuses the next one beyond it."""

from dataclasses import dataclass, field
from importlib import import_module
from math import inf, nan
from typing import Any

import pytest

from steadyhand.core.errors import SteadyhandError

NEARLY = 1e-9
"""Closer to a bound than any rounding in a check."""


@dataclass(frozen=True)
class Bound:
    """A setting at its bound.

    Attributes:
        part: Module below `steadyhand`, and class.
        name: The field.
        good: Values that are documented as allowed, the outermost ones.
        bad: The nearest ones beyond.
        rest: Other settings that the case needs.
    """

    part: str
    name: str
    good: tuple[Any, ...]
    bad: tuple[Any, ...]
    rest: dict[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        return f"{self.part.partition(':')[2]}.{self.name}"

    def make(self, value: object) -> object:
        module, _, name = self.part.partition(":")
        return getattr(import_module(f"steadyhand.{module}"), name)(**{**self.rest, self.name: value})


def count(part: str, *names: str, least: int = 1, **rest: Any) -> list[Bound]:
    """Whole numbers from `least` on."""
    return [Bound(part, name, (least, least + 1), (least - 1, -5), rest) for name in names]


def positive(part: str, *names: str, **rest: Any) -> list[Bound]:
    """Numbers above zero."""
    return [Bound(part, name, (NEARLY, 1.0), (0.0, -NEARLY, nan), rest) for name in names]


def not_negative(part: str, *names: str, **rest: Any) -> list[Bound]:
    """Numbers from zero on."""
    return [Bound(part, name, (0.0, 1.0), (-NEARLY, nan), rest) for name in names]


def share(part: str, *names: str, zero: bool = False, one: bool = False, **rest: Any) -> list[Bound]:
    """Numbers between zero and one, which are allowed themselves or not."""
    good = (0.0 if zero else NEARLY, 1.0 if one else 1.0 - NEARLY)
    bad = (-NEARLY if zero else 0.0, 1.0 + NEARLY if one else 1.0, nan)
    return [Bound(part, name, good, bad, rest) for name in names]


GATES = "correction.gates.config"
BOUNDS = [
    *share("correction.ccil:Quantile", "share", one=True),
    *share("correction.ccil_config:CcilConfig", "holdout", zero=True),
    *count("correction.ccil_config:CcilConfig", "labels_per_step", label="disturbed"),
    *count("correction.ccil_config:CcilConfig", "max_iterations"),
    Bound("correction.ccil_config:CcilConfig", "labels_per_step", (1,), (0, 2), {"label": "implicit"}),
    *not_negative("correction.ccil_config:CcilConfig", "delta"),
    *positive("correction.ccil_config:CcilConfig", "tolerance", "weight"),
    *count("correction.classic:SmileConfig", "rounds"),
    *share("correction.classic:SmileConfig", "alpha", one=True),
    Bound("correction.classic:SmileConfig", "episodes_per_round", (1, 7), (0, 8), {"labels_per_round": 7}),
    *count("correction.dagger:DaggerConfig", "rounds", "episodes_per_round", "query_every"),
    Bound("correction.dagger:DaggerConfig", "labels_per_round", (3,), (2,), {"episodes_per_round": 3}),
    *positive("correction.dart:DartConfig", "alpha"),
    *count("correction.dart_noise:WholeEpisodes", "every", least=2),
    *count("correction.dart_noise:Thinned", "keep_every", least=2),
    Bound("correction.gated_remedies:HgDagger", "patience", (1.0, 2.0), (1.0 - NEARLY,)),
    Bound("correction.gated_remedies:HgDagger", "stretch", (1.0, 2.0), (1.0 - NEARLY,)),
    *share(f"{GATES}:SafeGate", "unsafe", "share"),
    *count(f"{GATES}:SafeGate", "drives"),
    *share(f"{GATES}:EnsembleGate", "share"),
    *count(f"{GATES}:EnsembleGate", "drives"),
    *count(f"{GATES}:EnsembleGate", "members", least=2),
    *share(f"{GATES}:LazyGate", "share"),
    Bound(f"{GATES}:LazyGate", "back", (0.2, 0.5), (0.0, 0.5 + 1e-6), {"unsafe": 0.5}),
    *share(f"{GATES}:ThriftyGate", "share"),
    *count(f"{GATES}:ThriftyGate", "drives"),
    *count(f"{GATES}:ThriftyGate", "members", least=2),
    *share(f"{GATES}:LossGate", "level"),
    *count(f"{GATES}:LossGate", "patience", "draws", "held_out", "drives"),
    *share(f"{GATES}:NearestGate", "level"),
    *count(f"{GATES}:NearestGate", "num_neighbours", "held_out", "drives"),
    *not_negative("correction.human:Discrepancy", "smoothing"),
    *not_negative("correction.human:RoadEdge", "horizon", "smoothing"),
    *share("correction.human:SimulatedHuman", "miss_rate", zero=True, one=True),
    *share("correction.human:SimulatedHuman", "release", one=True),
    *not_negative("correction.human:SimulatedHuman", "reaction_delay", "min_hold", "calm"),
    *share("correction.mixture:ExponentialDecay", "p", zero=True),
    *count("correction.mixture:LinearDecay", "rounds"),
    *not_negative("correction.noise:GaussianNoise", "sigma"),
    *positive("correction.noise:OrnsteinUhlenbeck", "theta"),
    *not_negative("correction.segments:SegmentWindows", "before", "after"),
    Bound("correction.segments:SegmentWindows", "before", (1e9,), (inf, nan)),
    *share("data.stats:SpreadFloor", "relative"),
    *positive("policies.dynamics:Spectral", "per_layer"),
    *positive("policies.dynamics:SlopePenalty", "limit", "radius"),
    *not_negative("policies.dynamics:SlopePenalty", "weight"),
    *count("policies.dynamics:SlopePenalty", "num_samples"),
    *count("policies.dynamics:SlopePenalty", "power_steps", least=0),
    Bound("policies.dynamics:DynamicsConfig", "hidden", ((1,), ()), ((0,), (4, 0))),
    *positive("policies.dynamics:DynamicsConfig", "slack"),
    *count("policies.encoders.causal:CausalTransformer", "num_layers"),
    Bound("policies.encoders.causal:CausalTransformer", "num_heads", (1, 8), (0, 3), {"width": 8}),
    Bound("policies.encoders.pilotnet:PilotNet", "hidden", ((1,),), ((),)),
    *count("policies.encoders.recurrent:Recurrent", "hidden", "num_layers"),
    Bound("policies.heads.act:Act", "width", (8,), (6, 0), {"num_heads": 2}),
    *not_negative("policies.heads.act:Act", "kl_weight"),
    *share("policies.heads.act:Act", "dropout", zero=True),
    *count("policies.heads.act:Act", "latent_dim", "feedforward", "num_posterior_layers"),
    *count("policies.heads.act:Act", "num_encoder_layers", "num_decoder_layers"),
    *count("policies.heads.bins:Bins", "num_bins", least=2),
    *not_negative("policies.heads.bins:Bins", "temperature"),
    *count("policies.heads.bins:Bins", "width"),
    Bound(
        "policies.heads.diffusion:Diffusion", "num_sample_steps", (1, 50), (0, 51), {"num_train_steps": 50}
    ),
    *share("policies.heads.diffusion:Diffusion", "eta", zero=True, one=True),
    *count("policies.heads.diffusion:Diffusion", "likelihood_draws"),
    Bound("policies.heads.energy:Energy", "num_others", (3, 6), (0, 2, 4)),
    *count("policies.heads.energy:Energy", "num_stored", "cloud_size"),
    *count("policies.heads.energy:Energy", "num_refinements", least=0),
    Bound("policies.heads.energy:Energy", "hidden", ((1,),), ((),)),
    *count("policies.heads.flow:Flow", "num_sample_steps", "likelihood_steps"),
    Bound("policies.heads.gaussian:Gaussian", "min_std", (NEARLY, 0.49), (0.0, 0.5), {"init_std": 0.5}),
    *count("policies.heads.hill:GaussianHill", "num_units", least=3),
    *positive("policies.heads.hill:GaussianHill", "spread"),
    *count("policies.heads.inpainting:Inpainting", "candidates"),
    Bound("policies.heads.inpainting:Inpainting", "max_guidance", (0.0, 9.0), (-NEARLY, inf, nan)),
    Bound("policies.heads.judging:Judging", "quantile", (0.5 + NEARLY, 1.0 - NEARLY), (0.5, 1.0)),
    *count("policies.heads.judging:Judging", "settle"),
    *not_negative("policies.heads.latent:Latent", "kl_weight"),
    *positive("policies.heads.latent:Latent", "std"),
    *not_negative("policies.heads.ridge:Ridge", "alpha"),
    *positive("policies.heads.ridge:Ridge", "min_std"),
    Bound("policies.heads.log_linear:LogLinear", "num_bumps", (2, 9), (1, 10), {"num_bins": 9}),
    *share("policies.heads.mip:Mip", "time"),
    *count("policies.heads.mixture:Mixture", "num_modes"),
    Bound("policies.heads.mixture:Mixture", "min_std", (NEARLY, 0.49), (0.0, 0.5), {"init_std": 0.5}),
    *count("policies.heads.nearest:Nearest", "num_neighbours"),
    *positive("policies.heads.nearest:Nearest", "temperature"),
    *count("policies.heads.tokens:Tokens", "num_centres", "num_iterations"),
    *not_negative("policies.heads.tokens:Tokens", "gamma", "offset_scale"),
    *count("policies.heads.primitives:Primitives", "num_primitives", least=2),
    *positive("policies.heads.tabular:Tabular", "prior"),
    Bound("policies.nets.denoising_mlp:DenoisingMLP", "time_width", (2, 4), (3,)),
    Bound("policies.nets.denoising_mlp:DenoisingMLP", "hidden", ((1,),), ((),)),
    *count("policies.nets.denoising_transformer:DenoisingTransformer", "num_layers"),
    Bound("policies.nets.unet1d:UNet", "kernel_size", (1, 3), (2,)),
    Bound("policies.nets.unet1d:UNet", "time_width", (2,), (3,)),
    Bound("policies.nets.unet1d:UNet", "channels", ((8,), (8, 16)), ((), (4,), (8, 12)), {"num_groups": 8}),
    *positive("experts.pure_pursuit:PurePursuit", "lookahead"),
    *not_negative("experts.pure_pursuit:PurePursuit", "lookahead_time"),
    *share("envs.tabular.config:TabularConfig", "slip", zero=True, one=True),
    *share("envs.tabular.config:TabularConfig", "context_ratio", one=True),
    *positive("envs.gymnasium_config:GymnasiumConfig", "control_dt", env_id="CartPole-v1"),
    *count("envs.gymnasium_config:GymnasiumConfig", "max_episode_steps", env_id="CartPole-v1"),
    *not_negative("policies.spec:PolicyConfig", "input_noise"),
    *positive("policies.spec:PolicyConfig", "input_clip"),
    *count("policies.spec:PolicyConfig", "n_obs_steps"),
    Bound("policies.spec:PolicyConfig", "chunk_start", (0, -2), (1, -3), {"n_obs_steps": 3, "horizon": 8}),
    Bound("policies.spec:PolicyConfig", "n_action_steps", (1, 8), (0, 9), {"horizon": 8}),
    *count("policies.encoders.resnet:ResNet18", "channels", "num_keypoints", "width"),
    *count("policies.heads.latent:Latent", "latent_dim", "num_draws"),
    Bound("rollout.executors.config:Ensemble", "decay", (0.0, 1.0), (-NEARLY, inf, nan)),
    Bound("rollout.executors.config:Receding", "n_action_steps", (2, None), (1, 0), {"delay": 2}),
    Bound("rollout.executors.config:RealTime", "execution_horizon", (2, None), (1, 0), {"delay": 2}),
    *count("rollout.executors.config:RealTime", "delay", least=0),
    *share("policies.scores.risk:RiskConfig", "discount", "positive_share", "polyak", zero=True, one=True),
    *count("policies.scores.risk:RiskConfig", "num_steps", "batch_size", "target_every"),
    *positive("training.config:TrainConfig", "learning_rate"),
    *share("training.config:TrainConfig", "final_share", zero=True, one=True),
    *not_negative("training.config:TrainConfig", "checkpoint_every_s", "encoder_learning_rate"),
    *not_negative("training.config:TrainConfig", "encoder_weight_decay", "weight_decay"),
    *count("training.config:TrainConfig", "num_steps", "batch_size", "num_threads", "log_every"),
    Bound("training.config:TrainConfig", "accumulate", (1, 16), (0, 17), {"batch_size": 16}),
    Bound("training.config:TrainConfig", "fall_steps", (11,), (10,), {"warmup_steps": 10}),
]


@pytest.mark.parametrize(("bound", "value"), [(one, value) for one in BOUNDS for value in one.good], ids=str)
def test_a_setting_takes_its_outermost_value(bound, value):
    assert getattr(bound.make(value), bound.name) == value


@pytest.mark.parametrize(("bound", "value"), [(one, value) for one in BOUNDS for value in one.bad], ids=str)
def test_a_setting_refuses_what_lies_beyond_by_value(bound, value):
    with pytest.raises(SteadyhandError) as refusal:
        bound.make(value)
    assert type(refusal.value) is not SteadyhandError
