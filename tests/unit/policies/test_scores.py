"""Scores against the definitions, computed a second time by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.parts import resolved
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.data.stats import distance_scale
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.contract import Target
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.bins import Bins
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.energy import Energy
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.hill import GaussianHill
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.heads.latent import Latent
from steadyhand.policies.heads.log_linear import LogLinear
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.nearest import Nearest
from steadyhand.policies.heads.primitives import Primitives
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.heads.ridge import Ridge
from steadyhand.policies.heads.tabular import Tabular
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.noise import GeneratorNoise, RowNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.scores import (
    ActionScale,
    Doubt,
    Neighbour,
    OwnLoss,
    PredictedDiscrepancy,
    Risk,
    Score,
    Seen,
    proposals,
)
from steadyhand.policies.scores.base import descriptor
from steadyhand.policies.scores.predicted import SAFE, UNSAFE, classifier_of, classifier_spec
from steadyhand.policies.scores.risk import Critics
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit

ACTION = FeatureSpec(shape=(2,), low=(-2.0, -1.0), high=(2.0, 1.0))
DIFFUSION = Diffusion(net=DenoisingMLP(hidden=(32, 32), time_width=16), num_sample_steps=3)
ENCODER = StateMLP(hidden=(16,))
SMALL_ACT = Act(
    width=16,
    num_heads=2,
    feedforward=32,
    latent_dim=4,
    num_posterior_layers=1,
    num_encoder_layers=1,
    num_decoder_layers=1,
    dropout=0.0,
)


def frames_of(*, is_discrete: bool = False, seed: int = 0) -> Frames:
    random = np.random.default_rng(seed)
    x = random.normal(size=(60, 3)).astype(np.float32)
    if is_discrete:
        return Frames.from_episodes(
            [demonstration({STATE: x}, random.integers(0, 4, (60, 1)), control_dt=0.1)],
            observation_spec={STATE: FeatureSpec(shape=(3,))},
            action_spec=discrete_spec(4),
        )
    action = np.tanh(x[:, :2]) + 0.1 * random.normal(size=(60, 2))
    return Frames.from_episodes(
        [demonstration({STATE: x}, action.astype(np.float32), control_dt=0.1)],
        observation_spec={STATE: FeatureSpec(shape=(3,))},
        action_spec=ACTION,
    )


def made(head: HeadConfig, *, seed: int = 0, steps: int = 2, **options: object) -> PolicyModule:
    """Return a policy with statistics, hardly trained: its answers are whatever the parameters say."""
    frames = frames_of(is_discrete=isinstance(head, Categorical | Tabular))
    config = replace(PolicyConfig(encoder=ENCODER, head=head), **options)
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames), seed=seed)
    source = WindowSource(frames, policy.window)
    policy.fit_statistics(frames, source.steps)
    fit(policy, source, config=TrainConfig(num_steps=steps, batch_size=32))
    return policy.eval()


def seen_of(num: int, *, num_steps: int = 1, seed: int = 1) -> Seen:
    random = np.random.default_rng(seed)
    return Seen(observation={STATE: random.normal(size=(num, num_steps, 3)).astype(np.float32)})


def actions(num: int) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(num, 2)).astype(np.float32)


SCALE = ActionScale.of(ACTION, np.zeros((1, 2)))


def test_a_distance_between_actions_counts_in_half_ranges_spreads_or_whole_classes():
    assert SCALE.discrepancy(np.array([[2.0, 1.0]]), np.array([[0.0, 0.0]])) == pytest.approx([2.0])
    free = ActionScale.of(FeatureSpec(shape=(2,)), np.array([[0.0, 5.0], [4.0, 5.0]]))
    assert free.scale == pytest.approx([2.0, 1.0])
    counted = ActionScale.of(discrete_spec(3, start=2), np.zeros((1, 1), dtype=np.int64))
    assert np.array_equal(counted(np.array([[2], [4]])) * np.sqrt(2.0), [[1, 0, 0], [0, 0, 1]])
    classes = ActionScale.of(discrete_spec(3), np.zeros((1, 1), dtype=np.int64))
    assert classes.discrepancy(np.array([[0], [2]]), np.array([[1], [2]])) == pytest.approx([1.0, 0.0])


def test_only_a_finite_range_of_some_width_is_a_scale():
    """Half of it, also below 1; the spread of the data where a bound is missing or leaves no room."""
    spec = FeatureSpec(shape=(4,), low=(-1.0, -np.inf, 0.0, 2.0), high=(2.0, np.inf, 0.5, 2.0))
    drawn = np.random.default_rng(0).normal(size=(50, 4)) * [1.0, 3.0, 1.0, 5.0]
    spread = distance_scale(drawn, spec, name="action")
    assert ActionScale.of(spec, drawn).scale == pytest.approx([1.5, spread[1], 0.25, spread[3]])
    for one_sided in (FeatureSpec(shape=(1,), low=(0.0,)), FeatureSpec(shape=(1,), high=(0.0,))):
        wanted = distance_scale(drawn[:, 1:2], one_sided, name="action")
        assert ActionScale.of(one_sided, drawn[:, 1:2]).scale == pytest.approx(wanted)
    assert ActionScale.of(discrete_spec(3), np.zeros((1, 1), dtype=np.int64)).scale.size == 0


def test_beyond_the_bounds_all_actions_are_the_same():
    one, other = np.array([[2.0, 0.5], [9.0, 9.0]]), np.array([[7.0, -0.5], [2.5, 1.0]])
    assert SCALE.discrepancy(one, other) == pytest.approx([1.0, 0.0])
    free = ActionScale(scale=np.array([2.0, 1.0]), num_classes=None)
    assert free.discrepancy(one, other) == pytest.approx([2.5**2 + 1.0, 3.25**2 + 8.0**2])


def test_windows_are_cut_and_joined_with_their_padding():
    one, two = seen_of(5, num_steps=2), seen_of(3, num_steps=2, seed=4)
    pad = np.arange(6).reshape(3, 2) < 1
    padded = Seen(observation=two.observation, is_pad=pad)
    assert one[1:3].is_pad is None
    assert np.array_equal(one[1:3].observation[STATE], one.observation[STATE][1:3])
    assert np.array_equal(padded[:2].is_pad, pad[:2])
    whole = Seen.joined([one, padded])
    assert len(whole) == 8
    assert np.array_equal(
        whole.observation[STATE], np.concatenate([one.observation[STATE], two.observation[STATE]])
    )
    assert np.array_equal(whole.is_pad, np.concatenate([np.zeros((5, 2), dtype=bool), pad]))
    assert np.array_equal(Seen.joined([one]).observation[STATE], one.observation[STATE])


def test_what_lies_before_an_episode_is_not_looked_at():
    policy, seen = made(Regression(), n_obs_steps=2), seen_of(3, num_steps=2)
    is_pad = np.array([[True, False], [False, False], [True, False]])
    other = seen.observation[STATE].copy()
    other[0, 0], other[2, 0] = 7.0, -9.0
    one, two, three = (
        descriptor(policy, each)
        for each in (
            Seen(observation=seen.observation, is_pad=is_pad),
            Seen(observation={STATE: other}, is_pad=is_pad),
            Seen(observation=seen.observation),
        )
    )
    assert one.shape == (3, 6)
    assert np.array_equal(one, two)
    assert np.array_equal(one[0, :3], one[0, 3:])
    assert np.array_equal(one[1], three[1])
    assert not np.array_equal(one[0], three[0])


def test_a_window_with_an_image_beside_vectors_is_described_by_the_encoder():
    name, random = "observation.images.front", np.random.default_rng(0)
    observation = {
        STATE: random.normal(size=(9, 3)).astype(np.float32),
        name: random.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8),
    }
    frames = Frames.from_episodes(
        [demonstration(observation, random.normal(size=(9, 2)).astype(np.float32), control_dt=0.1)],
        observation_spec={STATE: FeatureSpec(shape=(3,)), name: image_spec(16, 16, 3)},
        action_spec=ACTION,
    )
    config = PolicyConfig(encoder=SmallConv(channels=(4, 8), width=16, shift=1))
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames)).eval()
    policy.fit_statistics(frames)
    seen = Seen(observation={key: value[:, None] for key, value in observation.items()})
    tensors = {key: torch.from_numpy(value) for key, value in seen.observation.items()}
    with torch.no_grad():
        tokens = policy.encode(tensors, torch.zeros(9, 1, dtype=torch.bool), None).flat()
    assert descriptor(policy, seen) == pytest.approx(tokens.numpy(), rel=1e-5)


@pytest.mark.parametrize("head", [Regression(), DIFFUSION], ids=["regression", "diffusion"])
def test_doubt_is_zero_for_identical_members_and_positive_for_others(head):
    one, other = made(head), made(head, seed=1)
    streams = RowStreams.from_seed(0, 9)
    same = Doubt([one, made(head)], SCALE, measure="norm")(seen_of(9), actions(9), streams)
    assert same == pytest.approx(np.zeros(9), abs=1e-12)
    differ = Doubt([one, other], SCALE, measure="norm")(seen_of(9), actions(9), streams)
    assert (differ > 1e-6).mean() > 0.3  # Samples of a net that is hardly trained are cut off at the bounds.


def test_members_that_draw_their_own_noise_differ_even_if_they_are_the_same():
    one, streams = made(DIFFUSION), RowStreams.from_seed(0, 9)
    differ = Doubt([one, one], SCALE, measure="mean", noise="own")(seen_of(9), actions(9), streams)
    assert (differ > 1e-6).mean() > 0.3


def test_doubt_is_the_norm_or_mean_of_the_variances():
    members = [made(Regression(), seed=seed) for seed in range(4)]
    seen, streams = seen_of(7), RowStreams.from_seed(0, 7)
    answers = np.stack([m.predict_chunk(seen.observation)[:, 0].numpy() / [2.0, 1.0] for m in members])
    variance = ((answers - answers.mean(0)) ** 2).mean(0)
    norm = Doubt(members, SCALE, measure="norm")(seen, actions(7), streams)
    mean = Doubt(members, SCALE, measure="mean")(seen, actions(7), streams)
    assert norm == pytest.approx(np.sqrt((variance**2).sum(1)), rel=1e-5)
    assert mean == pytest.approx(variance.mean(1), rel=1e-5)
    with pytest.raises(ConfigError, match="two policies"):
        Doubt(members[:1], SCALE, measure="norm")


def test_doubt_of_discrete_actions_is_the_spread_of_the_votes():
    members = [made(Categorical(), seed=seed) for seed in range(5)]
    seen, scale = seen_of(20), ActionScale.of(discrete_spec(4), np.zeros((1, 1)))
    votes = np.stack([member.predict_chunk(seen.observation)[:, 0, 0].numpy() for member in members])
    share = (votes[..., None] == np.arange(4)).mean(0)
    doubt = Doubt(members, scale, measure="mean")(seen, np.zeros((20, 1), int), RowStreams.from_seed(0, 20))
    assert doubt == pytest.approx((0.5 * share * (1 - share)).mean(1))
    assert (doubt > 0).any()


HEADS: list[HeadConfig] = [
    Regression(),
    Regression(error="l1"),
    Gaussian(),
    Gaussian(std="global"),
    Gaussian(std="fixed"),
    Categorical(),
    Mixture(num_modes=3),
    Bins(num_bins=16),
    DIFFUSION,
    Flow(net=DenoisingMLP(hidden=(32, 32), time_width=16), num_sample_steps=3),
    Mip(net=DenoisingMLP(hidden=(32, 32), time_width=16)),
    Tokens(num_centres=4),
    Latent(encoder=(16,), decoder=(16,)),
    SMALL_ACT,
    LogLinear(),
    Ridge(),
    Tabular(),
    Nearest(),
    GaussianHill(),
    Primitives(),
    Energy(),
    Judging(head=Gaussian()),
    Judging(head=Regression()),
]


def test_every_head_is_judged():
    assert {type(head) for head in HEADS} == {resolved(HeadConfig, name) for name in HeadConfig.ours}


@pytest.mark.parametrize("head", HEADS, ids=lambda head: repr(head)[:40])
def test_heads_are_refused_exactly_where_the_loss_of_their_own_answer_is_the_same_everywhere(head):
    """Of the deterministic answer, so that luck plays no part; contexts that lie far apart."""
    policy = made(head)
    seen = seen_of(12)
    if isinstance(head, Tabular):  # It knows the states of its table apart, and takes all others for one.
        seen = Seen(observation={STATE: frames_of(is_discrete=True).observation[STATE][:12, None]})
        seen.observation[STATE][6:] += 9.0
    observation = {STATE: torch.from_numpy(seen.observation[STATE])}
    with torch.no_grad():
        context = policy.encode(observation, torch.zeros(12, 1, dtype=torch.bool), None)
        chunk = policy.head.mode(context)
        target = Target(actions=chunk, is_pad=torch.zeros(12, 1, dtype=torch.bool), weight=torch.ones(12, 1))

        class OneNoise(GeneratorNoise):
            """The same numbers for every row, and for every call."""

            def normal(self, *shape):
                return super().normal(1, *shape[1:]).expand(*shape)

            def uniform(self, *shape):
                return super().uniform(1, *shape[1:]).expand(*shape)

        value = policy.head.loss(context, target, OneNoise(torch.Generator().manual_seed(0), augments=False))
    is_constant = float(value.value.mean(1).std()) < 1e-6
    assert is_constant == (head.why_silent() is not None)
    if is_constant:
        with pytest.raises(CapabilityError, match="says nothing"):
            OwnLoss(policy)
    else:
        with pytest.raises(ConfigError, match="needs a draw"):
            OwnLoss(policy, num_draws=0)
        OwnLoss(policy, num_draws=1)
        score = OwnLoss(policy, num_draws=4)(seen, actions(12), RowStreams.from_seed(0, 12))
        assert score.shape == (12,)
        assert np.isfinite(score).all()


def test_the_own_loss_of_a_gaussian_is_the_log_of_its_spread():
    policy = made(Gaussian(), steps=30)
    seen = seen_of(8)
    with torch.no_grad():
        observation = {STATE: torch.from_numpy(seen.observation[STATE])}
        context = policy.encode(observation, torch.zeros(8, 1, dtype=torch.bool), None)
        _, std = policy.head.distribution(context)
    expected = std.log().sum((1, 2)).numpy() + np.log(2 * np.pi)
    score = OwnLoss(policy, num_draws=2)(seen, actions(8), RowStreams.from_seed(0, 8))
    assert score == pytest.approx(expected, rel=1e-5)


def test_the_own_loss_of_a_diffusion_is_its_expected_loss_at_one_sample():
    """Evenly spread times and independent ones have the same mean."""
    policy = made(DIFFUSION, steps=30)
    seen, count = seen_of(4), 4000
    streams = RowStreams.from_seed(3, 4)
    score = OwnLoss(policy, num_draws=count)(seen, actions(4), streams)
    again = OwnLoss(policy, num_draws=16)
    small = [_own(again, seen, RowStreams.from_seed(seed, 4), answer=streams) for seed in range(60)]
    observation = {STATE: torch.from_numpy(seen.observation[STATE])}
    with torch.no_grad():
        context = policy.encode(observation, torch.zeros(4, 1, dtype=torch.bool), None)
        chunk = policy.head.sample(context, RowNoise(streams.fork("answer")))
        target = Target(
            actions=chunk.repeat_interleave(count, 0),
            is_pad=torch.zeros(4 * count, 1, dtype=torch.bool),
            weight=torch.ones(4 * count, 1),
        )
        noise = GeneratorNoise.seeded(0, augments=False)
        value = policy.head.loss(context.rows(count), target, noise).value[:, 0].view(4, count)
    error = (value.std(1) / np.sqrt(count)).numpy()
    assert (np.abs(score - value.mean(1).numpy()) < 5 * error).all()
    both = np.hypot(error, np.std(small, axis=0) / np.sqrt(60))
    assert (np.abs(np.mean(small, axis=0) - value.mean(1).numpy()) < 5 * both).all()


def _own(score: OwnLoss, seen: Seen, streams: RowStreams, *, answer: RowStreams) -> np.ndarray:
    """Return the score with noises of `streams` and the answer of `answer`."""

    class Mixed(RowStreams):
        def fork(self, name):
            return answer.fork(name) if name == "answer" else streams.fork(name)

    return score(seen, np.zeros((len(seen), 2), np.float32), Mixed(streams.keys))


def test_the_distance_to_the_kth_neighbour_is_that_of_a_search_by_hand():
    policy = made(Regression(), n_obs_steps=2)
    bank, seen = seen_of(40, num_steps=2), seen_of(6, num_steps=2, seed=5)
    score = Neighbour(policy, bank, num_neighbours=5)(seen, actions(6), RowStreams.from_seed(0, 6))
    data = frames_of().observation[STATE]
    mean, std = data.mean(0), data.std(0)
    key, query = (((part.observation[STATE] - mean) / std).reshape(len(part), -1) for part in (bank, seen))
    distance = np.sort(np.linalg.norm(query[:, None] - key, axis=2), axis=1)
    assert score == pytest.approx(distance[:, 4], rel=1e-4)
    with pytest.raises(ConfigError, match="in the bank"):
        Neighbour(policy, seen, num_neighbours=7)


def test_images_are_compared_by_the_encoders_tokens():
    name, random = "observation.images.front", np.random.default_rng(0)
    pixels = random.integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)
    frames = Frames.from_episodes(
        [demonstration({name: pixels}, random.normal(size=(30, 2)).astype(np.float32), control_dt=0.1)],
        observation_spec={name: image_spec(16, 16, 3)},
        action_spec=ACTION,
    )
    config = PolicyConfig(encoder=SmallConv(channels=(4, 8), width=16, shift=1))
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames)).eval()
    policy.fit_statistics(frames)
    bank = Seen(observation={name: pixels[:, None]})
    score = Neighbour(policy, bank, num_neighbours=1)
    assert score(bank[0:4], actions(4), RowStreams.from_seed(0, 4)) == pytest.approx(np.zeros(4), abs=1e-5)
    with torch.no_grad():
        context = policy.encode(
            {name: torch.from_numpy(pixels[:, None])}, torch.zeros(30, 1, dtype=torch.bool), None
        )
    tokens = context.flat().numpy()
    other = np.full((1, 1, 16, 16, 3), 255, dtype=np.uint8)
    with torch.no_grad():
        white = policy.encode({name: torch.from_numpy(other)}, torch.zeros(1, 1, dtype=torch.bool), None)
    found = score(Seen(observation={name: other}), actions(1), RowStreams.from_seed(0, 1))
    assert found == pytest.approx(np.linalg.norm(tokens - white.flat().numpy(), axis=1).min(), rel=1e-4)


def test_a_predicted_discrepancy_is_the_probability_of_the_class_that_was_learnt():
    frames = frames_of()
    is_unsafe = frames.observation[STATE][:, :1] > 0.3
    labelled = replace(
        frames,
        action_spec=discrete_spec(2),
        action=is_unsafe.astype(np.int64),
        expert_action=is_unsafe.astype(np.int64),
    )
    policy = made(DIFFUSION, horizon=4, normalisation={"action": "z_score"})
    classifier = PolicyModule.build(classifier_of(policy.config), classifier_spec(policy.spec))
    source = WindowSource(labelled, classifier.window)
    classifier.fit_statistics(labelled, source.steps)
    fit(classifier, source, config=TrainConfig(num_steps=300, batch_size=32, learning_rate=1e-2))
    seen = Seen(observation={STATE: frames.observation[STATE][:, None]})
    score = PredictedDiscrepancy(classifier)(seen, actions(60), RowStreams.from_seed(0, 60))
    batch = source.batch(np.arange(60))
    log_prob = classifier.log_prob(replace(batch, actions=torch.full_like(batch.actions, UNSAFE)))
    assert score == pytest.approx(log_prob.exp().detach().numpy(), abs=1e-6)
    assert ((score > 0.5) == is_unsafe[:, 0]).mean() > 0.95
    with pytest.raises(CapabilityError, match="two classes"):
        PredictedDiscrepancy(policy)
    with pytest.raises(CapabilityError, match="two classes"):
        PredictedDiscrepancy(made(Categorical()))


def test_a_classifier_is_the_policy_with_two_classes_of_the_current_step():
    config = PolicyConfig(
        encoder=ENCODER,
        head=DIFFUSION,
        n_obs_steps=3,
        horizon=6,
        n_action_steps=2,
        chunk_start=-1,
        action_representation="relative",
        normalisation={"action": "min_max", STATE: "min_max"},
    )
    wanted = PolicyConfig(
        encoder=ENCODER, head=Categorical(), n_obs_steps=3, normalisation={STATE: "min_max"}
    )
    assert classifier_of(config) == wanted
    spec = classifier_spec(PolicySpec.of_frames(frames_of()))
    assert list(spec.action.classes) == [SAFE, UNSAFE] == [0, 1]


def test_risk_is_what_the_lower_chance_of_success_leaves():
    policy, seen, action = made(Regression()), seen_of(7), actions(7)
    critics = Critics(5, hidden=(8,))
    pair = np.concatenate([descriptor(policy, seen), action / np.float32([2.0, 1.0])], axis=1)
    with torch.no_grad():
        chances = critics(torch.from_numpy(pair)).numpy()
    found = Risk(policy, critics, SCALE)(seen, action, RowStreams.from_seed(0, 7))
    assert found == pytest.approx(1.0 - np.minimum(chances[:, 0], chances[:, 1]), rel=1e-5)


def scores() -> list[Score]:
    policy = made(DIFFUSION)
    classifier = PolicyModule.build(classifier_of(policy.config), classifier_spec(policy.spec))
    classifier.normaliser.load_state_dict(
        {k: v for k, v in policy.normaliser.state_dict().items() if not k.startswith("action")}
    )
    return [
        Doubt([policy, made(DIFFUSION, seed=1)], SCALE, measure="mean"),
        OwnLoss(policy, num_draws=3),
        OwnLoss(made(Mixture(num_modes=3)), num_draws=3),
        Neighbour(policy, seen_of(30), num_neighbours=3),
        PredictedDiscrepancy(classifier),
        Risk(policy, Critics(5, hidden=(8,)), SCALE),
    ]


@pytest.mark.parametrize("place", range(6))
def test_a_rows_score_does_not_depend_on_its_neighbours_and_draws_nothing_from_the_stream(place):
    score, seen, action = scores()[place], seen_of(8), actions(8)
    streams = RowStreams.from_seed(4, 8)
    whole = score(seen, action, streams)
    assert not streams.counters.any()
    alone = [
        score(seen[row : row + 1], action[row : row + 1], streams.take(np.array([row])))[0]
        for row in range(8)
    ]
    assert whole == pytest.approx(alone, rel=1e-4, abs=1e-6)


def test_proposals_are_what_the_executor_would_play():
    policy, streams = made(DIFFUSION), RowStreams.from_seed(0, 5)
    drawn = proposals(policy, seen_of(5), streams)
    assert not np.allclose(drawn, policy.predict_chunk(seen_of(5).observation)[:, 0])
    policy = made(Regression())
    drawn = proposals(policy, seen_of(5), streams)
    assert np.array_equal(drawn, policy.predict_chunk(seen_of(5).observation)[:, 0])
