"""Every limit of a setting: its smallest or largest value is taken, the next one is refused."""

from dataclasses import MISSING, fields
from functools import partial
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from steadyhand.core.errors import ConfigError, DataError, SpecError
from steadyhand.core.parts import load_all
from steadyhand.core.specs import EnvSpec, FeatureSpec
from steadyhand.core.success import SuccessRule
from steadyhand.correction.budget import Budget
from steadyhand.correction.ccil_config import CcilConfig, Quantile
from steadyhand.correction.classic import SmileConfig
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.dart import DartConfig
from steadyhand.correction.dart_noise import Thinned, WholeEpisodes
from steadyhand.correction.gated_remedies import SafeDagger
from steadyhand.correction.gates.config import (
    EnsembleGate,
    LazyGate,
    LossGate,
    NearestGate,
    SafeGate,
    ThriftyGate,
)
from steadyhand.correction.human import Discrepancy, RoadEdge, SimulatedHuman
from steadyhand.correction.marks import Marks
from steadyhand.correction.mixture import ExponentialDecay, LinearDecay
from steadyhand.correction.noise import CorrelatedNoise, GaussianNoise, OrnsteinUhlenbeck
from steadyhand.correction.offline import NoiseInjection
from steadyhand.correction.on_the_fly import OnTheFlyConfig
from steadyhand.correction.pattern_buffer import PatternBuffer
from steadyhand.correction.segments import SegmentWindows
from steadyhand.correction.view_config import AlvinnViews, SideCameras
from steadyhand.correction.weighting import EilMarks, InterventionWeighting, Sirius, SourceMixture
from steadyhand.data.spec import StoreSpec
from steadyhand.data.stats import SpreadFloor
from steadyhand.experts.config import ForksExpert
from steadyhand.policies.dynamics_config import DynamicsConfig, SlopePenalty, Spectral
from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.pilotnet import PilotNet
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.bins import Bins
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.energy import Energy
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.hill import GaussianHill
from steadyhand.policies.heads.inpainting import Inpainting
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.heads.latent import Latent
from steadyhand.policies.heads.log_linear import LogLinear
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.nearest import Nearest
from steadyhand.policies.heads.primitives import Primitives
from steadyhand.policies.heads.ridge import Ridge
from steadyhand.policies.heads.tabular import Tabular
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.nets.denoising_transformer import DenoisingTransformer
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.risk_config import RiskConfig
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.parts import KINDS, kind_named

INF, NAN = float("inf"), float("nan")
BELOW_0, BELOW_1, ABOVE_0, ABOVE_1 = -1e-9, 1.0 - 1e-9, 1e-9, 1.0 + 1e-9
"""The nearest numbers that count as other than 0 and 1."""

COUNT = ([1, 2], [0, -1])
FROM_TWO = ([2], [1, 0])
OPEN_SHARE = ([ABOVE_0, BELOW_1], [0.0, 1.0, NAN])
SHARE = ([0.0, 1.0], [BELOW_0, ABOVE_1, NAN])
TO_ONE = ([ABOVE_0, 1.0], [0.0, ABOVE_1, NAN])
BELOW_ONE = ([0.0, BELOW_1], [BELOW_0, 1.0, NAN])
POSITIVE = ([ABOVE_0], [0.0, BELOW_0, NAN])
NOT_NEGATIVE = ([0.0], [BELOW_0, NAN])
FINITE = ([0.0, 1e9], [BELOW_0, INF, NAN])
EVEN = ([2, 4], [1, 3])
FACTOR = ([1.0], [BELOW_1])

vector, picture = FeatureSpec(shape=(2,)), FeatureSpec(shape=(4, 4, 3), dtype="uint8", kind="image")
classes = partial(FeatureSpec, shape=(), dtype="int64", kind="discrete")
env = partial(EnvSpec, env_id="x", observation={"observation.state": vector}, action=vector)
env = partial(env, control_dt=0.1, max_episode_steps=5)
store = partial(StoreSpec, observation={"observation.state": vector}, action=vector, control_dt=0.1)
buffer = partial(PatternBuffer, 5, eviction="oldest", generator=np.random.default_rng(0))
rounds = partial(DaggerConfig, rounds=3, labels_per_round=8, episodes_per_round=2)
windows = partial(PolicyConfig, n_obs_steps=3, horizon=4, chunk_start=-2)

LIMITS: list[tuple[Any, str, tuple[list[Any], list[Any]]]] = [
    (FeatureSpec, "shape", ([(1,), (2, 1), ()], [(0,), (2, 0)])),
    (partial(FeatureSpec, kind="image", dtype="uint8"), "shape", ([(1, 1, 1)], [(4, 4), (1, 4, 4, 3)])),
    (partial(FeatureSpec, kind="image", shape=(4, 4, 3)), "dtype", (["uint8"], ["float32", "int64"])),
    (partial(FeatureSpec, shape=(2,)), "num_classes", ([None], [1, 2])),
    (classes, "num_classes", ([1, 2], [0, None])),
    (partial(classes, num_classes=2), "dtype", (["int64"], ["int32", "float32"])),
    (partial(classes, num_classes=2), "start", ([0, 1, -1], [])),
    (partial(FeatureSpec, shape=(2,)), "start", ([0], [1, -1])),
    *(
        (partial(FeatureSpec, shape=(2,)), name, ([("a", "b"), None], [("a",), ("a", "b", "c")]))
        for name in ("names", "units")
    ),
    (partial(FeatureSpec, shape=(2,)), "low", ([(0.0, -INF)], [(0.0,), (0.0, 0.0, 0.0), (0.0, NAN)])),
    (partial(FeatureSpec, shape=(2,)), "high", ([(0.0, INF)], [(0.0,), (0.0, 0.0, 0.0), (NAN, 0.0)])),
    (env, "control_dt", ([1e-9, 1e9], [0.0, -1.0, INF, NAN])),
    (env, "max_episode_steps", COUNT),
    (env, "observation", ([{"x": vector}], [{}])),
    (SuccessRule, "keys", ([("a",)], [()])),
    (SuccessRule, "threshold", ([None], [0.0, 1.0])),
    *((partial(SuccessRule, kind=kind), "threshold", ([0.0], [None])) for kind in ("return", "mean_reward")),
    (store, "control_dt", ([1e-9, 1e9], [0.0, -1.0, INF, NAN])),
    (store, "observation", ([{"observation.x": picture}], [{}, {"x": vector}, {"observation..": vector}])),
    (store, "action", ([vector], [picture, classes(num_classes=2)])),
    (SpreadFloor, "absolute", FINITE),
    (SpreadFloor, "relative", OPEN_SHARE),
    (SpreadFloor, "units", ([{"rad": 0.0}], [{"rad": -1.0}, {"rad": INF}])),
    (SpreadFloor, "features", ([{"a": 0.0}], [{"a": 1.0, "b": NAN}])),
    (WholeEpisodes, "every", FROM_TWO),
    (Thinned, "keep_every", FROM_TWO),
    (rounds, "rounds", COUNT),
    (rounds, "labels_per_round", ([2, 3], [1, 0])),
    (rounds, "episodes_per_round", ([1, 8], [0, 9])),
    (rounds, "query_every", COUNT),
    *((DartConfig, name, NOT_NEGATIVE) for name in ("floor", "initial_sigma", "initial_epsilon")),
    (DartConfig, "watch", ([0], [-1])),
    (DartConfig, "alpha", ([None, ABOVE_0], [0.0, NAN])),
    *((DartConfig, name, ([None, 1], [0])) for name in ("horizon", "window")),
    (DartConfig, "theta", TO_ONE),
    (DartConfig, "rounds", COUNT),
    (SmileConfig, "rounds", COUNT),
    (partial(SmileConfig, labels_per_round=5), "episodes_per_round", ([1, 5], [0, 6])),
    (SmileConfig, "alpha", TO_ONE),
    (SafeDagger, "patience", FACTOR),
    (SafeDagger, "stretch", FACTOR),
    (SafeDagger, "rounds", COUNT),
    *((OnTheFlyConfig, name, POSITIVE) for name in ("seconds", "cycle_seconds", "learning_rate")),
    *((OnTheFlyConfig, name, COUNT) for name in ("epochs_per_cycle", "batch_size")),
    (partial(OnTheFlyConfig, views=AlvinnViews(num_views=14)), "capacity", ([16], [14, 0])),
    (SafeGate, "unsafe", OPEN_SHARE),
    *((partial(LazyGate, back=1e-10), name, OPEN_SHARE) for name in ("unsafe", "share")),
    (partial(LazyGate, unsafe=0.25), "back", ([ABOVE_0, 0.75], [0.0, 0.75 + 1e-9, 1.0])),
    *((gate, "share", OPEN_SHARE) for gate in (SafeGate, EnsembleGate, ThriftyGate)),
    *(
        (gate, name, COUNT)
        for gate in (SafeGate, LazyGate, EnsembleGate, ThriftyGate)
        for name in ("num_held_out", "drives")
    ),
    *((gate, "members", FROM_TWO) for gate in (EnsembleGate, ThriftyGate)),
    *((gate, "level", OPEN_SHARE) for gate in (LossGate, NearestGate)),
    *((LossGate, name, COUNT) for name in ("patience", "draws", "held_out", "drives")),
    *((NearestGate, name, COUNT) for name in ("num_neighbours", "held_out", "drives")),
    (AlvinnViews, "num_views", COUNT),
    *((AlvinnViews, name, FINITE) for name in ("shift", "rotation", "weight")),
    *(
        (SideCameras, name, FINITE)
        for name in ("offset", "human_lateral_std", "human_heading_std", "factor", "weight")
    ),
    (SideCameras, "num_random", ([0], [-1])),
    (partial(SideCameras, gain=1.0), "offset", POSITIVE),
    *((Budget, name, COUNT) for name in ("episodes", "long_episodes")),
    (partial(Budget, labels=12), "rounds", ([1, 12], [0, 5])),
    (partial(Budget, rounds=3), "labels", ([3, 6], [0, 4, 2])),
    (Quantile, "share", TO_ONE),
    (CcilConfig, "labels_per_step", ([1], [0, 2])),
    (partial(CcilConfig, label="disturbed"), "labels_per_step", ([1, 2], [0])),
    (CcilConfig, "holdout", BELOW_ONE),
    (CcilConfig, "delta", NOT_NEGATIVE),
    *((CcilConfig, name, POSITIVE) for name in ("tolerance", "weight")),
    (CcilConfig, "max_iterations", COUNT),
    *((partial(one, num_labels=5), "num_episodes", ([1, 5], [0, 6])) for one in (CcilConfig, NoiseInjection)),
    (NoiseInjection, "clean_fraction", SHARE),
    (ForksExpert, "left_share", SHARE),
    (InterventionWeighting, "share", SHARE),
    (partial(Sirius, before=0.25), "share", ([0.0, 0.75], [BELOW_0, 0.76])),
    (partial(Sirius, share=0.75), "before", ([0.0, 0.25], [BELOW_0, 0.26])),
    (partial(SourceMixture, interventions=0.0, rest=0.0), "previous", ([ABOVE_0], [0.0, BELOW_0, INF])),
    (partial(SourceMixture, previous=0.0, rest=0.0), "interventions", ([1.0], [0.0, BELOW_0])),
    (partial(EilMarks, good=0.0, bad=0.0), "explicit", ([1.0], [0.0, BELOW_0])),
    (partial(EilMarks, good=1.0, explicit=1.0), "bad", ([0.0], [-1e-9, INF])),
    (GaussianNoise, "sigma", FINITE),
    (OrnsteinUhlenbeck, "sigma", FINITE),
    (OrnsteinUhlenbeck, "theta", TO_ONE),
    (partial(CorrelatedNoise, covariance=((1.0,),)), "theta", TO_ONE),
    (
        CorrelatedNoise,
        "covariance",
        (
            [((1.0, 1.0), (1.0, 1.0)), ((0.0,),)],
            [((1.0, 2.0), (2.0, 1.0)), ((1.0, 0.5), (0.0, 1.0)), ((1.0, 0.0),), ((INF,),), ((-1e-6,),)],
        ),
    ),
    (ExponentialDecay, "p", BELOW_ONE),
    (LinearDecay, "rounds", COUNT),
    *((risk, "threshold", POSITIVE) for risk in (Discrepancy, RoadEdge)),
    *((risk, "sigma", FINITE) for risk in (Discrepancy, RoadEdge)),
    *((risk, "smoothing", NOT_NEGATIVE) for risk in (Discrepancy, RoadEdge)),
    (RoadEdge, "horizon", NOT_NEGATIVE),
    (SimulatedHuman, "miss_rate", SHARE),
    (SimulatedHuman, "release", TO_ONE),
    *(
        (SimulatedHuman, name, NOT_NEGATIVE)
        for name in ("reaction_delay", "judging_period", "calm", "min_hold")
    ),
    *((SegmentWindows, name, FINITE) for name in ("before", "after")),
    (buffer, "candidates", COUNT),
    (UNet, "num_groups", ([1, 8, 64], [0, 3])),
    (partial(UNet, num_groups=1), "channels", ([(1,), (1, 2)], [(), (0,), (8, 0)])),
    (partial(UNet, num_groups=2), "channels", ([(2, 4)], [(2, 3), (3, 2)])),
    (UNet, "kernel_size", ([1, 3], [2, 4])),
    (UNet, "time_width", EVEN),
    (DenoisingTransformer, "num_layers", COUNT),
    (DenoisingTransformer, "width", ([4, 8], [3, 6])),
    *((DenoisingTransformer, name, BELOW_ONE) for name in ("embedding_dropout", "dropout")),
    (DenoisingMLP, "hidden", ([(1,)], [()])),
    (DenoisingMLP, "time_width", EVEN),
    (Spectral, "per_layer", POSITIVE),
    *((SlopePenalty, name, POSITIVE) for name in ("limit", "radius")),
    (SlopePenalty, "weight", NOT_NEGATIVE),
    (SlopePenalty, "num_samples", COUNT),
    (SlopePenalty, "power_steps", ([0], [-1])),
    (DynamicsConfig, "hidden", ([(), (1, 1)], [(0,), (4, 0)])),
    (DynamicsConfig, "slack", ([None, ABOVE_0], [0.0, NAN])),
    (Latent, "latent_dim", ([None, 1], [0])),
    (Latent, "num_draws", COUNT),
    (Latent, "std", POSITIVE),
    (Latent, "kl_weight", NOT_NEGATIVE),
    (Bins, "num_bins", FROM_TWO),
    (Bins, "temperature", NOT_NEGATIVE),
    (Bins, "width", COUNT),
    (partial(Diffusion, num_train_steps=20), "num_sample_steps", ([1, 20], [0, 21])),
    (Diffusion, "eta", SHARE),
    (Diffusion, "likelihood_draws", COUNT),
    *((Tokens, name, COUNT) for name in ("num_centres", "num_iterations")),
    *((Tokens, name, ([0.0], [BELOW_0])) for name in ("gamma", "offset_scale")),
    (Act, "width", ([8, 16], [0, 2, 6, 10])),
    *(
        (Act, name, COUNT)
        for name in (
            "latent_dim",
            "feedforward",
            "num_posterior_layers",
            "num_encoder_layers",
            "num_decoder_layers",
        )
    ),
    (Act, "kl_weight", NOT_NEGATIVE),
    (Act, "dropout", BELOW_ONE),
    *((head, "margin", ([ABOVE_0], [BELOW_0, NAN])) for head in (Energy, Primitives, Judging)),
    (Energy, "num_others", ([3, 6], [0, 2, 4, -3])),
    (Energy, "hidden", ([(1,)], [()])),
    (Energy, "num_stored", COUNT),
    (Energy, "cloud_size", COUNT),
    (Energy, "num_refinements", ([0], [-1])),
    *((Flow, name, COUNT) for name in ("num_sample_steps", "likelihood_steps")),
    (partial(LogLinear, num_bins=5), "num_bumps", ([2, 5], [1, 6])),
    (Tabular, "prior", POSITIVE),
    *(
        (partial(head, init_std=0.5), "min_std", ([ABOVE_0, 0.4999], [0.0, 0.5, NAN]))
        for head in (Gaussian, Mixture)
    ),
    (GaussianHill, "num_units", ([3], [2])),
    (GaussianHill, "spread", POSITIVE),
    (Primitives, "num_primitives", FROM_TWO),
    (Inpainting, "candidates", COUNT),
    (Inpainting, "max_guidance", FINITE),
    (Judging, "head", ([Gaussian()], [Ridge(), Primitives(), Tabular()])),
    (Judging, "quantile", ([0.5 + 1e-9, BELOW_1], [0.5, 1.0, NAN])),
    (Judging, "settle", COUNT),
    (Ridge, "alpha", NOT_NEGATIVE),
    (Ridge, "min_std", POSITIVE),
    (Mip, "time", OPEN_SHARE),
    (Mixture, "num_modes", COUNT),
    (Nearest, "num_neighbours", COUNT),
    (Nearest, "temperature", POSITIVE),
    (PolicyConfig, "input_noise", NOT_NEGATIVE),
    (PolicyConfig, "input_clip", ([None, ABOVE_0], [0.0, NAN])),
    (PolicyConfig, "n_obs_steps", COUNT),
    (partial(PolicyConfig, n_obs_steps=3, horizon=4), "chunk_start", ([-2, 0], [-3, 1])),
    (windows, "n_action_steps", ([1, 2], [0, 3])),
    (windows, "action_representation", (["absolute", "relative"], ["delta"])),
    *((RiskConfig, name, SHARE) for name in ("discount", "positive_share", "polyak")),
    *((RiskConfig, name, COUNT) for name in ("num_steps", "batch_size", "target_every")),
    *((CausalTransformer, name, BELOW_ONE) for name in ("embedding_dropout", "attention_dropout", "dropout")),
    (CausalTransformer, "num_layers", COUNT),
    (partial(CausalTransformer, num_heads=1), "width", ([1, 3], [0])),
    (partial(CausalTransformer, width=6), "num_heads", ([1, 6], [0, 4])),
    (PilotNet, "convolutions", ([((1, 1, 1),)], [(), ((0, 1, 1),), ((1, 0, 1),), ((1, 1, 0),)])),
    (PilotNet, "hidden", ([(1,)], [()])),
    *((Recurrent, name, COUNT) for name in ("hidden", "num_layers")),
    *((ResNet18, name, COUNT) for name in ("channels", "num_keypoints", "width")),
]


def _name(case):
    build, field, _ = case
    return f"{build.func.__name__ if isinstance(build, partial) else build.__name__}-{field}"


@pytest.mark.parametrize("case", LIMITS, ids=_name)
def test_the_outermost_value_is_taken_and_the_next_is_refused(case):
    build, field, (taken, refused) = case
    for value in taken:
        build(**{field: value})
    for value in refused:
        with pytest.raises((ConfigError, SpecError, DataError)):
            pytest.fail(f"{field} = {value!r} is taken: {build(**{field: value})}")


def test_training_weights_are_finite_and_not_negative():
    assert Marks(weight=np.zeros(2, np.float32)).weight.sum() == 0.0
    for wrong in (-1e-9, INF, NAN):
        with pytest.raises(DataError):
            Marks(weight=np.array([1.0, wrong], np.float32))


def test_a_buffer_holds_at_least_one_pattern():
    assert len(PatternBuffer(1, eviction="oldest", generator=np.random.default_rng(0))) == 0
    with pytest.raises(ConfigError):
        PatternBuffer(0, eviction="oldest", generator=np.random.default_rng(0))


@pytest.mark.parametrize("name", KINDS)
def test_no_part_forgets_to_check_the_types_of_its_settings(name):
    for part in load_all(kind_named(name)):
        hints = get_type_hints(part, include_extras=True)
        needed = [one for one in fields(part) if one.default is MISSING and one.default_factory is MISSING]
        for one in () if needed else fields(part):
            kind = hints[one.name]
            wrong = (
                {float: NAN, int: -(10**9)}.get(get_args(kind)[0]) if get_origin(kind) is Annotated else None
            )
            if wrong is not None:
                with pytest.raises(ConfigError, match=one.name):
                    pytest.fail(f"{wrong} is taken: {part(**{one.name: wrong})}")
