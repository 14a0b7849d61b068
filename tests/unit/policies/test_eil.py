"""EIL: constraints and margins, convexity, and HG-DAgger as what is left without the value terms."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import resolved
from steadyhand.core.protocol import Actor
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec, discrete_spec
from steadyhand.correction.segments import SegmentWindows
from steadyhand.correction.weighting import EilMarks
from steadyhand.data.episode import Episode, demonstration
from steadyhand.data.frames import Frames
from steadyhand.policies.artifact import tensors_of
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Target
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
from steadyhand.policies.heads.judgement import bad_loss, good_loss, ranking_loss
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.heads.latent import Latent
from steadyhand.policies.heads.log_linear import LogLinear
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.primitives import Primitives
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.heads.ridge import Ridge
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.kinds import BAD, EXPLICIT, GOOD
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.noise import GeneratorNoise, scoped
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.recipes.learner import PolicyLearner, marked
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit

DT = 0.1
CONTINUOUS = EnvSpec(
    env_id="toy",
    observation={STATE: FeatureSpec(shape=(2,))},
    action=FeatureSpec(shape=(1,)),
    control_dt=DT,
    max_episode_steps=100,
)
DISCRETE = replace(CONTINUOUS, action=discrete_spec(3))
WINDOWS = EilMarks(windows=SegmentWindows(before=0.3, after=0.2))
SMALL = DenoisingMLP(hidden=(16,), time_width=8)
JUDGED = [
    Regression(),
    Gaussian(),
    Categorical(),
    Mixture(num_modes=2),
    Mixture(num_modes=2, joint=False),
    Bins(num_bins=8, width=16),
    Diffusion(net=SMALL, num_train_steps=10),
    Flow(net=SMALL),
    Mip(net=SMALL),
    Tokens(num_centres=3),
    Latent(encoder=(8,), decoder=(8,)),
    Act(
        width=8,
        num_heads=2,
        feedforward=8,
        latent_dim=2,
        num_posterior_layers=1,
        num_encoder_layers=1,
        num_decoder_layers=1,
    ),
    LogLinear(),
    GaussianHill(),
]


def gated_drive(seed, *, discrete=False, length=30):
    """The robot drives, two takeovers; what the human does there is the label."""
    random = np.random.default_rng(seed)
    state = random.normal(size=(length, 2)).astype(np.float32)
    action = random.integers(0, 3, (length, 1)) if discrete else random.normal(size=(length, 1))
    action = action.astype(np.int64 if discrete else np.float32)
    taken = np.zeros(length, dtype=bool)
    taken[8:14] = taken[20:24] = True
    return Episode(
        observation={STATE: state},
        action=action,
        expert_action=action,
        expert_action_valid=taken,
        actor=np.where(taken, Actor.HUMAN, Actor.POLICY).astype(np.uint8),
        intervention=taken,
        weight=np.ones(length, dtype=np.float32),
        reward=np.zeros(length, dtype=np.float32),
        truncated=True,
        success=True,
        control_dt=DT,
    )


def data(*, discrete=False):
    first = gated_drive(0, discrete=discrete)
    shown = demonstration(first.observation, first.action, control_dt=DT)
    return [shown, gated_drive(1, discrete=discrete), gated_drive(2, discrete=discrete)]


def learnt(folder, head, episodes, marks, *, spec=CONTINUOUS, horizon=1):
    policy = PolicyConfig(encoder=StateMLP(hidden=(8,)), head=head, horizon=horizon)
    learner = PolicyLearner(spec, policy=policy, training=TrainConfig(num_steps=25, batch_size=16))
    learner.fit(episodes, folder=folder, seed=3, warm_start=None, marks=marks)
    return tensors_of(learner.policy(folder))


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


HG_DAGGER = [
    (Primitives(num_primitives=5), CONTINUOUS, 1),
    (Primitives(num_primitives=5, hidden=(8,)), CONTINUOUS, 4),
    (Primitives(), DISCRETE, 2),
    (Energy(hidden=(16,), num_others=6, num_stored=8), CONTINUOUS, 2),
    (Judging(head=Regression(), settle=5), CONTINUOUS, 3),
    (Judging(head=Mixture(num_modes=2), settle=5), CONTINUOUS, 3),
]


@pytest.mark.parametrize(("head", "spec", "horizon"), HG_DAGGER, ids=lambda x: type(x).__name__)
def test_without_the_value_terms_eil_is_hg_dagger_to_the_last_bit(tmp_path, head, spec, horizon):
    episodes = data(discrete=spec is DISCRETE)
    eil = replace(WINDOWS, good=0.0, bad=0.0).marks(episodes)
    assert any((one.kind == GOOD).any() and (one.kind == BAD).any() for one in eil)
    without = learnt(tmp_path / "eil", head, episodes, eil, spec=spec, horizon=horizon)
    hg_dagger = learnt(tmp_path / "hg", head, episodes, None, spec=spec, horizon=horizon)
    assert same(without, hg_dagger)
    value_terms = learnt(
        tmp_path / "value", head, episodes, WINDOWS.marks(episodes), spec=spec, horizon=horizon
    )
    assert not same(value_terms, hg_dagger)


@pytest.mark.parametrize("head", [Regression(), Gaussian(), Mixture(num_modes=2), Tokens(num_centres=3)])
def test_a_judging_head_without_the_value_terms_is_the_head_that_it_wraps(tmp_path, head):
    episodes = data()
    marks = replace(WINDOWS, good=0.0, bad=0.0).marks(episodes)
    wrapped = learnt(tmp_path / "wrapped", Judging(head=head), episodes, marks, horizon=3)
    alone = learnt(tmp_path / "alone", head, episodes, None, horizon=3)
    for name, value in alone.items():
        assert torch.equal(wrapped[name.replace("head.", "head.head.", 1)], value), name


def test_losses_and_their_margins():
    score = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
    assert good_loss(score, 0.0, 1.0).tolist() == [0.0, 0.5, 1.0, 1.5, 3.0]
    assert bad_loss(score, 0.0, 1.0).tolist() == [3.0, 1.5, 1.0, 0.5, 0.0]
    others = torch.tensor([[-2.0, 0.0, 5.0]] * 5)
    assert ranking_loss(score, others, 1.0)[3].tolist() == [3.5, 1.5, 0.0]
    constant = torch.zeros(1)  # Q = B everywhere satisfies every constraint that has no margin
    assert good_loss(constant, 0.0, 0.0) == bad_loss(constant, 0.0, 0.0) == 0.0
    assert ranking_loss(constant, torch.zeros(1, 4), 0.0).sum() == 0.0


def linear_problem(*, head=None, num_steps=60):
    """Return a linear Q, a context and a target of all three kinds, for 4 primitives in 3 dimensions."""
    with scoped(0):
        built = (head or Primitives(num_primitives=4)).build(
            ContextSpec(num_tokens=1, width=3), ChunkSpec(horizon=1, action_dim=1)
        )
        context = Context.single(torch.randn(num_steps, 3))
        kind = torch.arange(num_steps)[:, None] % 3
        # Bad where the first feature is positive; what is shown has the sign of the second.
        sign = torch.where(kind == EXPLICIT, context.tokens[:, 0, 1:2], -context.tokens[:, 0, :1]).sign()
        actions = torch.where(kind == BAD, 1.0, torch.where(kind == GOOD, -1.0, sign))
    context.tokens[:, 0, 0] = torch.where(kind[:, 0] == BAD, 1.0, -1.0) * context.tokens[:, 0, 0].abs()
    target = Target(
        actions=actions[..., None],
        is_pad=torch.zeros(num_steps, 1, dtype=torch.bool),
        weight=torch.ones(num_steps, 1),
        kind=kind,
    )
    if isinstance(head, Primitives | None):
        built.library.copy_(torch.tensor([[-1.0], [-0.3], [0.3], [1.0]]))
    return built, context, target


def total(head, context, target):
    return head.loss(context, target, GeneratorNoise.seeded(0)).value.mean()


@pytest.mark.parametrize("head", [Primitives(num_primitives=4), Energy(hidden=(16,))])
def test_the_trivial_solution_is_no_minimiser(head):
    built, context, target = linear_problem(head=head)
    with torch.no_grad():
        for parameter in (built.net if isinstance(head, Primitives) else built).parameters():
            if isinstance(head, Primitives) or parameter.shape[:1] == (1,) or parameter.ndim == 0:
                parameter.zero_()  # Q = B = 0 for every state and action
    trivial = total(built, context, target)
    assert trivial.item() > 0.5
    trivial.backward()
    optimizer = torch.optim.Adam(built.parameters(), lr=1e-2)
    optimizer.step()  # the gradient there is not zero, and going along it pays
    assert total(built, context, target) < trivial
    for _ in range(600):
        optimizer.zero_grad()
        total(built, context, target).backward()
        optimizer.step()
    assert total(built, context, target) < 0.2 * trivial


def test_the_loss_of_a_linear_score_is_convex_in_its_weights():
    built, context, target = linear_problem()
    flat = torch.nn.utils.parameters_to_vector(built.parameters()).detach()

    def loss(theta):
        torch.nn.utils.vector_to_parameters(theta, built.parameters())
        with torch.no_grad():
            rows = built.loss(context, target, GeneratorNoise.seeded(0)).value[:, 0].double()
        return torch.stack([rows[target.kind[:, 0] == kind].sum() for kind in (EXPLICIT, GOOD, BAD)])

    random = torch.Generator().manual_seed(1)
    curved = torch.zeros(3, dtype=torch.bool)
    for _ in range(200):
        one, two = torch.randn(2, len(flat), generator=random)
        share = torch.rand((), generator=random)
        chord = share * loss(one) + (1 - share) * loss(two)
        inside = loss(share * one + (1 - share) * two)
        assert (inside <= chord + 1e-4).all()
        curved |= inside < chord - 1e-2
    assert curved.all()  # none of the three is linear, for which this would be no test


def robot_drive(seed, taken):
    """A drive without a single good step if the robot never has control for longer than a window."""
    drive = gated_drive(seed, length=len(taken))
    return replace(
        drive,
        intervention=taken,
        expert_action_valid=taken,
        actor=np.where(taken, Actor.HUMAN, Actor.POLICY).astype(np.uint8),
    )


def test_good_steps_do_not_drown_bad_ones():
    """Fifty times the good steps leave the objective over all data what it was: the mean of three means."""
    spec = PolicySpec(observation=CONTINUOUS.observation, action=CONTINUOUS.action, control_dt=DT)
    config = PolicyConfig(encoder=StateMLP(hidden=(8,)), head=Primitives(num_primitives=5))
    bad = robot_drive(1, np.arange(30) % 6 >= 3)
    good = robot_drive(2, np.zeros(30, dtype=bool))
    episodes = [data()[0], bad, good]
    policy = PolicyModule.build(config, spec, seed=0)
    first = Frames.from_episodes(
        episodes, observation_spec=CONTINUOUS.observation, action_spec=CONTINUOUS.action
    )
    policy.fit_statistics(first)

    def losses(chosen, marks):
        frames = Frames.from_episodes(
            chosen, observation_spec=CONTINUOUS.observation, action_spec=CONTINUOUS.action
        )
        frames, kind = marked(frames, chosen, marks)
        source = WindowSource(frames, policy.window, kind=kind)
        rows = policy.loss_rows(source.batch(source.steps), GeneratorNoise.seeded(0))
        return rows.mean().item()

    alone = [
        losses(
            episodes,
            replace(WINDOWS, **{"good": 0.0, "bad": 0.0, "explicit": 0.0, name: 1.0}).marks(episodes),
        )
        for name in ("good", "bad", "explicit")
    ]
    for repeats in (1, 50):
        chosen = [*episodes, *[good] * (repeats - 1)]
        assert losses(chosen, WINDOWS.marks(chosen)) == pytest.approx(np.mean(alone), rel=1e-4)


def test_bad_actions_are_avoided_and_good_ones_kept_where_nobody_showed_anything():
    """Labels at x = 0 only; right of it the robot's choice 1 was bad, left of it its choice 2 was good."""
    x = np.linspace(-1, 1, 81, dtype=np.float32)[:, None]
    kind = np.where(np.abs(x[:, 0]) < 0.1, EXPLICIT, np.where(x[:, 0] > 0, BAD, GOOD))
    action = np.where(kind == GOOD, 2, 1)[:, None].astype(np.int64)
    spec = EnvSpec(
        env_id="line",
        observation={STATE: FeatureSpec(shape=(1,))},
        action=discrete_spec(3),
        control_dt=DT,
        max_episode_steps=100,
    )
    episode = demonstration({STATE: x}, action, control_dt=DT)
    frames = Frames.from_episodes([episode], observation_spec=spec.observation, action_spec=spec.action)
    config = PolicyConfig(encoder=StateMLP(hidden=(32,)), head=Primitives())
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames), seed=0)
    policy.fit_statistics(frames)
    source = WindowSource(frames, policy.window, kind=kind)
    fit(policy, source, config=TrainConfig(num_steps=300, batch_size=81, learning_rate=1e-2))
    batch = source.batch(np.arange(81))
    context = policy.encode(batch.observation, batch.obs_is_pad, None)
    scores = policy.head.scores(context)[:, 0].detach().numpy()
    assert (scores[kind == BAD, 1] > 0).mean() > 0.9
    assert (scores[kind == GOOD, 2] < 0).mean() > 0.9
    answer = policy.predict_chunk(batch.observation)[:, 0, 0].numpy()
    assert (answer[kind == EXPLICIT] == 1).all()
    assert (answer[x[:, 0] > 0.4] != 1).all()


def judging_regression(levels, *, horizon=1):
    head = Judging(head=Regression(), margin=0.5, settle=3).build(
        ContextSpec(num_tokens=1, width=2), ChunkSpec(horizon=horizon, action_dim=1)
    )
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()  # it answers 0: the score of an action is its square
    head.levels.copy_(torch.tensor(levels))
    head.num_seen.fill_(3)
    return head


def target_of(actions, kind, weight=None):
    actions = torch.tensor(actions)
    return Target(
        actions=actions[..., None],
        is_pad=torch.zeros(actions.shape, dtype=torch.bool),
        weight=torch.ones(actions.shape) if weight is None else torch.tensor(weight),
        kind=None if kind is None else torch.tensor(kind),
    )


def test_value_terms_of_any_head_are_hinges_of_its_own_loss():
    head = judging_regression([0.2, 1.0]).eval()  # B = 1, m = 0.5 (1 - 0.2) = 0.4
    context = Context.single(torch.randn(6, 2))
    actions = [[0.5], [2.0], [0.5], [2.0], [0.5], [2.0]]
    kind = [[EXPLICIT], [EXPLICIT], [GOOD], [GOOD], [BAD], [BAD]]
    value = head.loss(context, target_of(actions, kind), GeneratorNoise.seeded(0)).value[:, 0]
    assert value.tolist() == pytest.approx([0.25, 4.0, 0.0, 4.0 - 1.0 + 0.4, 1.0 - 0.25 + 0.4, 0.0])


def test_the_bound_follows_the_explicit_losses_in_training_and_only_there():
    head = judging_regression([0.0, 0.0])
    head.num_seen.fill_(0)
    context = Context.single(torch.zeros(100, 2))
    ladder = torch.linspace(0.0, 1.0, 100)[:, None].sqrt()  # losses 0 to 1, evenly
    noise = GeneratorNoise.seeded(0)
    judged = target_of(ladder.tolist(), [[BAD]] * 100)
    assert not head.loss(context, judged, noise).value.any()  # no bound yet: nothing to say
    shown = target_of(ladder.tolist(), None)
    for count in range(3):
        assert not head.loss(context, judged, noise).value.any()  # too early
        assert head.num_seen == count
        head.loss(context, shown, noise)
    assert head.loss(context, judged, noise).value.any()
    assert head.levels.tolist() == pytest.approx([0.5, 0.9], abs=1e-5)
    assert head.margin.item() == pytest.approx(0.2, abs=1e-5)
    head.loss(context, judged, noise)
    head.eval()
    head.loss(context, target_of((2.0 * ladder).tolist(), None), noise)
    assert head.levels.tolist() == pytest.approx([0.5, 0.9], abs=1e-5)
    head.train()
    for _ in range(200):
        head.loss(context, target_of((2.0 * ladder).tolist(), None), noise)
    assert head.levels.tolist() == pytest.approx([2.0, 3.6], rel=1e-3)


def test_a_chunk_is_judged_by_its_current_step_and_by_steps_of_that_kind_alone():
    head = judging_regression([0.2, 1.0], horizon=4).eval()
    context = Context.single(torch.zeros(1, 2))
    kind = [[BAD, BAD, EXPLICIT, EXPLICIT]]
    value = head.loss(context, target_of([[0.5, 0.5, 3.0, 3.0]], kind), GeneratorNoise.seeded(0)).value
    assert value[0].tolist() == pytest.approx([1.15, 1.15, 0.0, 0.0])
    primitives = Primitives(num_primitives=2).build(
        ContextSpec(num_tokens=1, width=2), ChunkSpec(horizon=4, action_dim=1)
    )
    primitives.library.copy_(torch.tensor([[0.5] * 4, [3.0] * 4]))
    one, two = (
        primitives.loss(
            context, target_of([[0.5, 0.5, *rest]], kind, [[1.0, 1.0, 2.0, 4.0]]), GeneratorNoise.seeded(0)
        ).value
        for rest in ((3.0, 3.0), (-9.0, 7.0))
    )
    assert torch.equal(one, two)
    score = primitives.scores(context)[0, 0, 0]
    assert one.item() == pytest.approx(max(0.0, 1.0 - score.item()) * 2.0 / 8.0, rel=1e-5)


@pytest.mark.parametrize("head", JUDGED, ids=lambda head: type(head).__name__)
def test_every_trained_head_can_judge(head):
    discrete = isinstance(head, Categorical)
    spec, episodes = (DISCRETE if discrete else CONTINUOUS), data(discrete=discrete)
    config = PolicyConfig(encoder=StateMLP(hidden=(8,)), head=Judging(head=head, settle=1), horizon=2)
    assert from_data(to_data(config), PolicyConfig) == config
    frames = Frames.from_episodes(episodes, observation_spec=spec.observation, action_spec=spec.action)
    frames, kind = marked(frames, episodes, WINDOWS.marks(episodes))
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames), seed=0)
    policy.fit_statistics(frames)
    source = WindowSource(frames, policy.window, kind=kind)
    fit(policy, source, config=TrainConfig(num_steps=4, batch_size=32, warmup_steps=0))
    assert policy.head.num_seen > 0
    policy.train()
    for chosen in (GOOD, BAD):
        steps = source.steps[kind[source.steps] == chosen]
        batch = source.batch(steps)
        policy.head.levels.copy_(torch.tensor([-1e3, -1e3] if chosen == GOOD else [1e3, 1e3]))
        policy.zero_grad()
        policy.loss_rows(batch, GeneratorNoise.seeded(0)).mean().backward()
        gradients = [p.grad for p in policy.parameters() if p.grad is not None]
        assert any(bool(gradient.any()) for gradient in gradients)
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_every_head_with_a_gradient_is_among_those_that_can_judge():
    assert {type(head) for head in JUDGED} == {
        head for name in HeadConfig.ours if (head := resolved(HeadConfig, name)).judgement == "wrapped"
    }


def test_a_codebook_holds_nothing_that_was_bad():
    chunk = ChunkSpec(horizon=1, action_dim=1)
    head = Judging(head=Tokens(num_centres=2)).build(ContextSpec(num_tokens=1, width=2), chunk)
    actions = [[0.1], [0.1], [-0.1], [-0.1], [9.0], [9.0]]
    target = target_of(actions, [[EXPLICIT]] * 4 + [[BAD]] * 2)
    context = Context.single(torch.zeros(6, 2))

    def no_fit(module, loss, *, num_steps, learning_rate):
        raise AssertionError("nothing is to be trained here")

    head.prepare(lambda: iter([(context, target)]), no_fit, GeneratorNoise.seeded(0))
    assert sorted(head.head.centres.flatten().tolist()) == pytest.approx([-0.1, 0.1])


def test_what_cannot_be_is_refused():
    stored = to_data(Judging())
    with pytest.raises(ConfigError, match="Ridge"):
        from_data({**stored, "head": {"type": "Ridge", **to_data(Ridge())}}, Judging)


def test_stored_actions_of_an_energy_span_the_data_and_not_its_beginning(tmp_path):
    """128 of 1000 chunks that run from -1 to 1: their ends are among them, or nearly so."""
    line = np.linspace(-1, 1, 1000, dtype=np.float32)[:, None]
    shown = demonstration({STATE: np.repeat(line, 2, axis=1)}, line, control_dt=DT)
    policy = PolicyConfig(encoder=StateMLP(hidden=(8,)), head=Energy(hidden=(8,), num_stored=128))
    learner = PolicyLearner(CONTINUOUS, policy=policy, training=TrainConfig(num_steps=1, batch_size=16))
    learner.fit([shown], folder=tmp_path, seed=0, warm_start=None)
    stored = learner.policy(tmp_path).head.stored[:, 0].sort().values
    assert stored[0] < -0.95
    assert stored[-1] > 0.95
    assert stored.diff().max() < 3 * 2 / 128
