"""The policy: what it reads, where its chunk begins, what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import CapabilityError, ConfigError, SpecError
from steadyhand.core.specs import IMAGES, STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.policies.batch import Batch, WindowSource
from steadyhand.policies.choices import Mode
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, Loss, Prefix, Target
from steadyhand.policies.encoders.image import FlatImage, SmallConv
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.ridge import Ridge
from steadyhand.policies.kinds import BAD, EXPLICIT, GOOD
from steadyhand.policies.noise import GeneratorNoise, Noise, NoNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.testing import toy_frames

CAMERA = IMAGES + "front"
OBSERVATION = {
    STATE: FeatureSpec(shape=(3,)),
    CAMERA: image_spec(8, 9, 3),
    "observation.gear": discrete_spec(4),
}
ACTION = FeatureSpec(shape=(2,))
FRAMES = toy_frames(OBSERVATION, ACTION)


def ready(config: PolicyConfig) -> tuple[PolicyModule, Batch]:
    policy = PolicyModule.build(config, PolicySpec.of_frames(FRAMES))
    policy.fit_statistics(FRAMES)
    return policy, WindowSource(FRAMES, policy.window).batch(np.arange(len(FRAMES)))


class EchoHead(Head):
    """Answers with the prefix that it is given, so that the policy's own arithmetic shows."""

    inpaints = True

    def __init__(self, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self.seen: list[Prefix] = []

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        return Loss(value=target.weight.mean(1, keepdim=True))

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Tensor:
        assert prefix is not None
        assert isinstance(noise, NoNoise)
        self.seen.append(prefix)
        return prefix.actions


def with_echo(config: PolicyConfig) -> PolicyModule:
    policy, _ = ready(config)
    policy.head = EchoHead(policy.head.chunk)
    return policy


def test_an_encoder_is_chosen_that_reads_everything_there_is() -> None:
    spec = PolicySpec.of_frames(FRAMES)
    assert PolicyModule.build(PolicyConfig(), spec).config.encoder == SmallConv()
    vectors = PolicyConfig(observation=(STATE, "observation.gear"))
    assert PolicyModule.build(vectors, spec).config.encoder == StateMLP()
    assert PolicyModule.build(PolicyConfig(observation=(CAMERA,)), spec).config.encoder == SmallConv()


def test_it_reads_what_its_encoder_can_read_unless_told() -> None:
    spec = PolicySpec.of_frames(FRAMES)
    assert PolicyModule.build(PolicyConfig(), spec).features == tuple(OBSERVATION)
    assert PolicyModule.build(PolicyConfig(encoder=StateMLP()), spec).features == (STATE, "observation.gear")
    assert PolicyModule.build(PolicyConfig(observation=(STATE,)), spec).features == (STATE,)
    assert PolicyModule.build(PolicyConfig(encoder=FlatImage()), spec).features == (CAMERA,)
    assert PolicyModule.build(PolicyConfig(encoder=SmallConv()), spec).features == tuple(OBSERVATION)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (PolicyConfig(observation=("observation.stat",)), ConfigError, "did you mean 'observation.state'"),
        (PolicyConfig(encoder=StateMLP(), observation=(CAMERA,)), ConfigError, "cannot read"),
        (PolicyConfig(encoder=FlatImage(), observation=(STATE,)), ConfigError, "cannot read"),
        (PolicyConfig(encoder=SmallConv(), observation=(STATE,)), ConfigError, "needs an image"),
        (PolicyConfig(normalisation={"observation.speed": "min_max"}), SpecError, "does not read"),
        (PolicyConfig(normalisation={"observation.gear": "min_max"}), ConfigError, "never normalised"),
        (PolicyConfig(head=Categorical()), SpecError, "discrete"),
    ],
    ids=[
        "unknown",
        "image to MLP",
        "vector to image",
        "conv without image",
        "unread mode",
        "discrete mode",
        "discrete head",
    ],
)
def test_what_does_not_fit_together_raises(
    config: PolicyConfig, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        PolicyModule.build(config, PolicySpec.of_frames(FRAMES))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_obs_steps": 0},
        {"chunk_start": 1},
        {"chunk_start": -1},
        {"n_action_steps": 2},
        {"n_action_steps": 0},
    ],
    ids=str,
)
def test_impossible_windows_raise(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        PolicyConfig(**wrong)


def test_a_chunk_that_begins_in_the_past_is_cut_at_the_current_step() -> None:
    config = PolicyConfig(n_obs_steps=3, horizon=5, chunk_start=-2, n_action_steps=3)
    assert config.window.obs_offsets == (-2, -1, 0)
    assert config.window.action_offsets == (-2, -1, 0, 1, 2)
    policy, batch = ready(config)
    context, _ = policy.context_and_target(batch, None)
    whole = policy.normaliser["action"].inverse(policy.head.mode(context))
    assert torch.equal(policy.predict_chunk(batch.observation, batch.obs_is_pad), whole[:, 2:])


def test_arrays_and_tensors_give_the_same_chunk() -> None:
    policy, batch = ready(PolicyConfig(n_obs_steps=2))
    arrays = {name: value.numpy() for name, value in batch.observation.items()}
    one = policy.predict_chunk(batch.observation, batch.obs_is_pad)
    assert torch.equal(one, policy.predict_chunk(arrays, batch.obs_is_pad.numpy()))
    assert not one.requires_grad


def test_wrong_observations_raise() -> None:
    policy, batch = ready(PolicyConfig(observation=(STATE,)))
    with pytest.raises(SpecError, match="lacks"):
        policy.predict_chunk({"observation.gear": batch.observation["observation.gear"]})
    with pytest.raises(SpecError, match="shape"):
        policy.predict_chunk({STATE: torch.zeros(2, 2, 3)})


@pytest.mark.parametrize("take", ["fit_statistics", "adapt_statistics"])
def test_statistics_refuse_other_data(take: str) -> None:
    policy, _ = ready(PolicyConfig(observation=(STATE,)))
    with pytest.raises(SpecError, match="differs"):
        getattr(policy, take)(toy_frames({STATE: FeatureSpec(shape=(4,))}, ACTION))
    with pytest.raises(SpecError, match="lack"):
        getattr(policy, take)(toy_frames({"observation.gear": discrete_spec(4)}, ACTION))


def test_statistics_refuse_an_encoder_that_cannot_learn() -> None:
    policy = PolicyModule.build(
        PolicyConfig(
            encoder=ResNet18(channels=2, norm="frozen_batch", stem="small", pool="average", width=4)
        ),
        PolicySpec.of_frames(FRAMES),
    )
    with pytest.raises(ConfigError, match="no normalisation"):
        policy.fit_statistics(FRAMES)


def test_what_has_no_range_of_labels_needs_no_room_for_more() -> None:
    far = replace(FRAMES, expert_action=100.0 * FRAMES.expert_action)
    solved = PolicyModule.build(PolicyConfig(head=Ridge()), PolicySpec.of_frames(FRAMES))
    solved.fit_statistics(FRAMES)
    assert not any(parameter.requires_grad for parameter in solved.encoder.parameters())
    assert solved.adapt_statistics(far) is False
    frames = toy_frames({STATE: FeatureSpec(shape=(3,))}, discrete_spec(3))
    classes = PolicyModule.build(PolicyConfig(head=Categorical()), PolicySpec.of_frames(frames))
    assert classes.adapt_statistics(frames) is False


def test_statistics_of_very_many_steps_are_those_of_every_second_window() -> None:
    """4096 windows of 2048 steps are twice as many as are held at once; only odd ones begin far away."""
    state = np.zeros((4096, 1), np.float32)
    state[1::2] = 100.0
    frames = Frames.from_episodes(
        [
            demonstration(
                {STATE: state}, np.tile(np.array([[-1.0], [3.0]], np.float32), (2048, 1)), control_dt=0.1
            )
        ],
        observation_spec={STATE: FeatureSpec(shape=(1,))},
        action_spec=FeatureSpec(shape=(1,)),
    )
    config = PolicyConfig(horizon=2048, n_action_steps=1, action_representation="relative")
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    assert (policy.affines["action"].offset.item(), policy.affines["action"].scale.item()) == (1.0, 2.0)


def test_a_policy_is_where_its_tensors_are() -> None:
    policy, _ = ready(PolicyConfig(observation=(STATE,)))
    assert policy.device.type == "cpu"
    assert policy.to("meta").device.type == "meta"
    frames = toy_frames({"observation.gear": discrete_spec(4)}, discrete_spec(3))
    classes = PolicyModule.build(
        PolicyConfig(head=Categorical(), encoder=StateMLP(hidden=())), PolicySpec.of_frames(frames)
    )
    assert classes.to("meta").device.type == "meta"
    classes.encoder, classes.head = nn.Identity(), EchoHead(classes.head.chunk)  # pyright: ignore
    assert classes.device.type == "cpu"  # there are no tensors at all


def test_statistics_come_from_the_given_steps_only() -> None:
    policy, _ = ready(PolicyConfig(observation=(STATE,), normalisation={STATE: "min_max"}))
    steps = np.arange(5)
    policy.fit_statistics(FRAMES, steps)
    seen = policy.normaliser["observation/state"](torch.from_numpy(FRAMES.observation[STATE][steps]))
    torch.testing.assert_close(seen.amax(0), torch.ones(3))
    torch.testing.assert_close(seen.amin(0), -torch.ones(3))


@pytest.mark.parametrize("horizon", [1, 2, 4])
def test_the_loss_is_the_weighted_mean_of_the_steps_inside_the_episode(horizon: int) -> None:
    policy, batch = ready(PolicyConfig(horizon=horizon))
    share = torch.tensor([1.0, 0.5, 2.0, 0.0])[:horizon]
    weight = batch.weight * torch.linspace(0, 3, len(batch))[:, None] * share
    rows = policy.loss_rows(replace(batch, weight=weight), NoNoise())
    predicted = policy.predict_chunk(batch.observation, batch.obs_is_pad)
    scale = policy.normaliser["action"].scale
    value = ((predicted - batch.actions) / scale).square().mean(-1)
    weight = weight * ~batch.action_is_pad
    torch.testing.assert_close(rows.mean(), (value * weight).sum() / weight.sum(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(rows.numerator, (value * weight).sum(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(rows.denominator, weight.sum(1))


def test_judged_steps_weigh_nothing_for_a_head_that_cannot_judge() -> None:
    policy, batch = ready(PolicyConfig(horizon=2))
    kind = torch.full((len(batch), 2), EXPLICIT)
    kind[0], kind[1, 1] = GOOD, BAD
    explicit = (kind == EXPLICIT).float()
    judged = policy.loss_rows(replace(batch, kind=kind), NoNoise())
    expected = policy.loss_rows(replace(batch, weight=batch.weight * explicit), NoNoise())
    assert torch.equal(judged.numerator, expected.numerator)
    assert torch.equal(judged.denominator, expected.denominator)
    nothing = policy.loss_rows(replace(batch, kind=torch.full_like(kind, BAD)), NoNoise())
    assert nothing.mean().item() == 0.0
    policy.head.judges = True
    _, target = policy.context_and_target(replace(batch, kind=kind), None)
    assert target.weight[0, 0] == 1.0


@pytest.mark.parametrize(("mode", "is_bounded"), [("min_max", True), ("z_score", False), ("quantile", False)])
def test_a_head_is_told_whether_actions_are_bounded(mode: Mode, is_bounded: bool) -> None:
    policy, _ = ready(PolicyConfig(normalisation={"action": mode}))
    assert policy.head.chunk.is_bounded == is_bounded


def test_a_loss_for_whole_windows_is_weighted_by_their_mean_weight() -> None:
    policy = with_echo(PolicyConfig(horizon=4))
    batch = WindowSource(FRAMES, policy.window).batch(np.array([0, 5, 6]))
    weight = torch.tensor([[1.0, 2.0, 3.0, 2.0], [4.0, 2.0, 9.0, 9.0], [5.0, 9.0, 9.0, 9.0]])
    rows = policy.loss_rows(replace(batch, weight=weight), NoNoise())
    assert batch.action_is_pad.sum(1).tolist() == [0, 2, 3]
    torch.testing.assert_close(rows.denominator, torch.tensor([2.0, 3.0, 5.0]))
    # The head's loss is the mean weight of the four steps; padded ones have none.
    torch.testing.assert_close(rows.numerator, torch.tensor([2.0 * 2.0, 1.5 * 3.0, 1.25 * 5.0]))


def test_log_prob_is_a_density_in_raw_units() -> None:
    """Integrates to one over raw actions: horizon 1, one dimension, trapezoidal rule."""
    frames = toy_frames({STATE: FeatureSpec(shape=(2,))}, FeatureSpec(shape=(1,)))
    frames = replace(frames, expert_action=frames.expert_action * 5.0 + 3.0)
    policy = PolicyModule.build(PolicyConfig(head=Gaussian(init_std=0.5)), PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    grid = torch.linspace(-40.0, 40.0, 4001)
    batch = WindowSource(frames, policy.window).batch(np.zeros(len(grid), dtype=np.int64))
    density = policy.log_prob(replace(batch, actions=grid[:, None, None])).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1.0, abs=1e-4)


def test_a_density_in_raw_units_leaves_padded_steps_out() -> None:
    """N(action; what is predicted, half of the action's scale) of each number of each step inside."""
    policy, batch = ready(PolicyConfig(horizon=3, head=Gaussian(std="fixed", init_std=0.5)))
    mean = policy.predict_chunk(batch.observation, batch.obs_is_pad)
    normal = torch.distributions.Normal(mean, 0.5 * policy.affines["action"].scale)
    each = normal.log_prob(batch.actions).sum(2) * ~batch.action_is_pad
    assert 0 < batch.action_is_pad.sum() < batch.action_is_pad.numel()
    torch.testing.assert_close(policy.log_prob(batch), each.sum(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("steps", "start"), [(1, 0), (2, 0), (3, -1), (3, -2)])
def test_actions_are_relative_to_the_state_at_the_first_step_of_the_chunk(steps: int, start: int) -> None:
    config = PolicyConfig(
        n_obs_steps=steps,
        horizon=4,
        chunk_start=start,
        observation=(STATE,),
        action_representation="relative",
        state_dims=(2, 0),
    )
    policy, batch = ready(config)
    inside = ~batch.obs_is_pad.any(1) & ~batch.action_is_pad.any(1)
    state = batch.observation[STATE][:, steps - 1 + start]
    _, target = policy.context_and_target(batch, None)
    raw = policy.affines["action"].inverse(target.actions)
    assert inside.any()
    torch.testing.assert_close(raw[inside], (batch.actions - state[:, None, [2, 0]])[inside])
    chunk = policy.predict_chunk(batch.observation, batch.obs_is_pad)
    relative = policy.affines["action"].inverse(policy.head.mode(policy.context_and_target(batch, None)[0]))
    torch.testing.assert_close(chunk[inside], (relative + state[:, None, [2, 0]])[inside, -start:])


@pytest.mark.parametrize(("kind", "scale"), [("absolute", 1e-3), ("relative", 1e-6)])
def test_bounds_tell_the_size_of_absolute_actions_alone(kind: str, scale: float) -> None:
    """Actions that tremble by 1e-6 about 0, as relative ones about a state that stays at 0."""
    tremble = np.tile(np.array([[-1e-6], [1e-6]], np.float32), (20, 1))
    bounded = FeatureSpec(shape=(1,), low=(-1.0,), high=(1.0,))
    frames = Frames.from_episodes(
        [demonstration({STATE: 0.0 * tremble}, tremble, control_dt=0.1)],
        observation_spec={STATE: FeatureSpec(shape=(1,))},
        action_spec=bounded,
    )
    config = PolicyConfig(action_representation=kind)  # pyright: ignore[reportArgumentType]
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    assert policy.affines["action"].scale.item() == pytest.approx(scale)


@pytest.mark.parametrize("kind", ["absolute", "relative", "delta"])
def test_a_prefix_in_raw_units_reaches_the_head_as_it_is_trained(kind: str) -> None:
    config = PolicyConfig(horizon=4, action_representation=kind, state_dims=(0, 2))  # pyright: ignore
    policy = with_echo(config)
    batch = WindowSource(FRAMES, policy.window).batch(np.array([0, 8]))
    prefix = Prefix(actions=batch.actions, weight=torch.tensor([[1.0, 1.0, 0.5, 0.0]] * 2))
    chunk = policy.predict_chunk(batch.observation, prefix=prefix)
    head = policy.head
    assert isinstance(head, EchoHead)
    _, wanted = policy.context_and_target(batch, None)
    torch.testing.assert_close(head.seen[0].actions, wanted.actions)
    torch.testing.assert_close(chunk, batch.actions)


def test_a_prefix_is_shifted_where_the_chunk_begins_in_the_past() -> None:
    policy = with_echo(PolicyConfig(n_obs_steps=2, horizon=3, chunk_start=-1))
    batch = WindowSource(FRAMES, policy.window).batch(np.array([9]))
    prefix = Prefix(actions=torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), weight=torch.ones(1, 2))
    chunk = policy.predict_chunk(batch.observation, prefix=prefix)
    head = policy.head
    assert isinstance(head, EchoHead)
    assert head.seen[0].weight.tolist() == [[0.0, 1.0, 1.0]]
    torch.testing.assert_close(chunk, prefix.actions)


def test_a_prefix_of_classes_is_refused_whatever_the_head_says() -> None:
    frames = toy_frames({"observation.gear": discrete_spec(4)}, discrete_spec(3))
    policy = PolicyModule.build(PolicyConfig(head=Categorical()), PolicySpec.of_frames(frames))
    policy.head = EchoHead(policy.head.chunk)
    prefix = Prefix(actions=torch.zeros(1, 1, 1), weight=torch.ones(1, 1))
    with pytest.raises(CapabilityError, match="prefix"):
        policy.predict_chunk({"observation.gear": np.zeros((1, 1, 1), np.int64)}, prefix=prefix)


def test_a_head_that_cannot_honour_a_prefix_says_so() -> None:
    policy, batch = ready(PolicyConfig(horizon=2))
    prefix = Prefix(actions=batch.actions, weight=torch.ones(len(batch), 2))
    with pytest.raises(CapabilityError, match="prefix"):
        policy.predict_chunk(batch.observation, prefix=prefix)


def test_the_seed_decides_the_parameters_and_leaves_the_global_generator_alone() -> None:
    spec = PolicySpec.of_frames(FRAMES)
    before = torch.get_rng_state()
    one, two, other = (PolicyModule.build(PolicyConfig(), spec, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(before, torch.get_rng_state())
    for first, second, third in zip(one.parameters(), two.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)
        assert not torch.equal(first, third)


def test_configurations_survive_json() -> None:
    config = PolicyConfig(
        encoder=SmallConv(channels=(4,)), head=Gaussian(std="fixed"), normalisation={STATE: "quantile"}
    )
    data = to_data(config)
    assert data["encoder"]["type"] == "SmallConv"
    assert data["head"]["type"] == "Gaussian"
    assert from_data(data, PolicyConfig) == config


def test_size_of_the_alvinn_net() -> None:
    """A 30 x 32 image, 64 hidden units, 2 outputs: 960 * 64 + 64 + 64 * 2 + 2 parameters."""
    frames = toy_frames({CAMERA: image_spec(30, 32, 1)}, ACTION, num_episodes=1, length=3)
    policy = PolicyModule.build(PolicyConfig(encoder=FlatImage(hidden=(64,))), PolicySpec.of_frames(frames))
    assert sum(parameter.numel() for parameter in policy.parameters()) == 960 * 64 + 64 + 64 * 2 + 2


def test_one_hot_codes_and_rotations_enter_as_they_are() -> None:
    spec = {
        "observation.gear": discrete_spec(3),
        "observation.rotation": FeatureSpec(shape=(2,), kind="rotation"),
    }
    encoder = StateMLP(hidden=()).build(spec, n_obs_steps=2)
    observation = {
        "observation.gear": torch.tensor([[[2], [0]]]),
        "observation.rotation": torch.tensor([[[0.5, -0.5], [1.0, 0.0]]]),
    }
    context = encoder(observation, torch.zeros(1, 2, dtype=torch.bool), None)
    assert encoder.spec == ContextSpec(num_tokens=1, width=10, state_width=5)
    assert context.state is not None
    assert context.state.tolist() == [[1, 0, 0, 1.0, 0.0]]
    assert context.tokens.tolist() == [[[0, 0, 1, 0.5, -0.5, 1, 0, 0, 1.0, 0.0]]]


def test_shift_moves_whole_windows_by_whole_pixels_only_with_noise() -> None:
    encoder = SmallConv(channels=(), width=4, shift=2).build({CAMERA: image_spec(8, 9, 3)}, n_obs_steps=2)
    image = torch.randint(
        0, 256, (6, 2, 8, 9, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    image[:, 1] = image[:, 0]
    pad = torch.zeros(6, 2, dtype=torch.bool)
    still = encoder({CAMERA: image}, pad, None).tokens
    centred = encoder({CAMERA: image}, pad, NoNoise()).tokens
    moved = encoder({CAMERA: image}, pad, GeneratorNoise.seeded(0)).tokens
    assert torch.equal(still, centred)
    assert not torch.equal(still, moved)
    torch.testing.assert_close(moved[:, 0], moved[:, 1])


def test_clipped_inputs_are_those_at_so_many_spreads_on_both_sides() -> None:
    policy, _ = ready(PolicyConfig(observation=(STATE,), input_clip=2.0, encoder=StateMLP(hidden=(8,))))
    free, _ = ready(PolicyConfig(observation=(STATE,), encoder=StateMLP(hidden=(8,))))
    free.load_state_dict(policy.state_dict())
    seen = FRAMES.observation[STATE]
    mean, spread = seen.mean(axis=0), seen.std(axis=0)

    def answer(of: PolicyModule, away: float) -> Tensor:
        return of.predict_chunk(
            {STATE: torch.from_numpy((mean + away * spread)[None, None].astype(np.float32))}
        )

    for side in (-1.0, 1.0):
        torch.testing.assert_close(answer(policy, 50.0 * side), answer(free, 2.0 * side))
        torch.testing.assert_close(answer(policy, 1.5 * side), answer(free, 1.5 * side))
        assert not torch.allclose(answer(free, 50.0 * side), answer(free, 2.0 * side))


def test_every_token_of_a_context_is_there_unless_it_says_otherwise() -> None:
    padding = Context(tokens=torch.zeros(2, 3, 4)).padding()
    assert torch.equal(padding, torch.zeros(2, 3, dtype=torch.bool))


def test_steps_without_a_weight_are_in_no_statistics_of_what_is_predicted() -> None:
    weight = np.ones(len(FRAMES), dtype=np.float32)
    weight[::3] = 0.0
    wild = np.where(weight[:, None] > 0, FRAMES.expert_action, np.float32(1e4))
    scales = []
    for representation in ("absolute", "relative"):
        for label in (FRAMES.expert_action, wild):
            frames = replace(FRAMES, weight=weight, expert_action=label)
            config = PolicyConfig(horizon=2, action_representation=representation, state_dims=(0, 1))
            policy = PolicyModule.build(config, PolicySpec.of_frames(frames))
            policy.fit_statistics(frames)
            scales.append(policy.normaliser["action"].scale)
    assert torch.equal(scales[0], scales[1])
    assert torch.equal(scales[2], scales[3])


def test_heads_count_classes_from_zero_and_envs_from_where_they_begin() -> None:
    frames = toy_frames({STATE: FeatureSpec(shape=(3,))}, discrete_spec(3, start=5))
    policy = PolicyModule.build(PolicyConfig(head=Categorical()), PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    batch = WindowSource(frames, policy.window).batch(np.arange(len(frames)))
    assert set(batch.actions.flatten().tolist()) == {5, 6, 7}
    _, target = policy.context_and_target(batch, NoNoise())
    assert torch.equal(target.actions, batch.actions - 5)
    assert set(policy.predict_chunk(batch.observation, batch.obs_is_pad).flatten().tolist()) <= {5, 6, 7}
