from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import resolved
from steadyhand.core.specs import IMAGES, STATE, FeatureSpec, image_spec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.policies.artifact import load_policy, save_policy
from steadyhand.policies.contract import ChunkSpec, Context
from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.image import FlatImage, SmallConv
from steadyhand.policies.encoders.objects import ObjectTransformer
from steadyhand.policies.encoders.pilotnet import PilotNet
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.recurrent_encoder import RecurrentEncoder
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.nets.resnet import ResNet
from steadyhand.policies.noise import GeneratorNoise, scoped
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec

LEFT, RIGHT = IMAGES + "left", IMAGES + "right"
SMALL = image_spec(18, 20, 3)
TINY = ResNet18(channels=2, stem="small", num_keypoints=4, width=6)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def build(config: EncoderConfig, observation: dict[str, FeatureSpec], *, steps: int = 1):
    with scoped(0):
        return config.build(observation, n_obs_steps=steps)


def draw(observation: dict[str, FeatureSpec], *, rows: int, steps: int, seed: int = 0) -> dict[str, Tensor]:
    generator = np.random.default_rng(seed)
    return {
        name: torch.as_tensor(
            generator.integers(0, 256, (rows, steps, *spec.shape), dtype=np.uint8)
            if spec.kind == "image"
            else generator.normal(size=(rows, steps, *spec.shape)).astype(np.float32)
        )
        for name, spec in observation.items()
    }


def no_pad(rows: int, steps: int) -> Tensor:
    return torch.zeros(rows, steps, dtype=torch.bool)


# --- flat -----------------------------------------------------------------------------------------------


def test_two_flat_images_share_one_layer_as_in_the_first_alvinn() -> None:
    features = {LEFT: image_spec(30, 32, 1), RIGHT: image_spec(8, 32, 1)}
    encoder = build(FlatImage(hidden=(29,), num_images=2), features)
    assert count(encoder) == (30 * 32 + 8 * 32 + 1) * 29
    seen = draw(features, rows=3, steps=1)
    pixels = torch.cat([seen[name].float().flatten(1) for name in (LEFT, RIGHT)], dim=1)
    layer = encoder.trunk[0]
    expected = torch.tanh((pixels / 127.5 - 1.0) @ layer.weight.T + layer.bias)
    assert torch.allclose(encoder(seen, no_pad(3, 1), None).tokens[:, 0], expected, atol=1e-5)


# --- things in no order ---------------------------------------------------------------------------------


@pytest.mark.parametrize("join", ["one", "all"])
@pytest.mark.parametrize("beside", [True, False])
def test_the_order_of_things_changes_nothing(join, *, beside: bool) -> None:
    features = THINGS if beside else {"observation.objects": THINGS["observation.objects"]}
    encoder = build(ObjectTransformer(width=16, join=join), features, steps=2)
    seen = draw(features, rows=3, steps=2)
    turned = torch.tensor([4, 2, 0, 5, 1, 3])
    shuffled = {**seen, "observation.objects": seen["observation.objects"][:, :, turned]}
    before, after = (encoder(one, no_pad(3, 2), None).tokens for one in (seen, shuffled))
    if join == "all":
        assert before.shape == (3, 7, 16)
        before = torch.cat([before[:, :1], before[:, 1:][:, turned]], dim=1)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0.0)
    moved = {**seen, "observation.objects": seen["observation.objects"] + torch.eye(6, 3)}
    assert not torch.allclose(encoder(moved, no_pad(3, 2), None).tokens[:, 0], before[:, 0], atol=1e-3)


def test_things_are_normalised_alike_so_that_what_always_lies_in_one_place_still_tells_it() -> None:
    places = np.array([[0.0, 3.0], [0.0, -3.0], [5.0, 1.0]], dtype=np.float32)
    seen = np.repeat(places[None], 8, axis=0)  # nothing ever moves
    features = {"observation.objects": FeatureSpec(shape=(3, 2))}
    config = PolicyConfig(encoder=ObjectTransformer(width=8, num_layers=1, num_heads=2))
    done = np.arange(16, dtype=np.float32).reshape(8, 2)
    episode = demonstration({"observation.objects": seen}, done, control_dt=0.1)
    action = FeatureSpec(shape=(2,))
    frames = Frames.from_episodes([episode], observation_spec=features, action_spec=action)
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    normalised = policy.affines["observation.objects"](torch.from_numpy(places)).numpy()
    expected = (places - places.mean(axis=0)) / places.std(axis=0)
    np.testing.assert_allclose(normalised, expected, atol=1e-5)
    assert policy.config.normalisation["observation.objects"] == "z_score_shared"
    assert policy.hardly_moving() == ()


def test_without_things_there_is_nothing_to_read() -> None:
    assert ObjectTransformer().readable(VECTOR) == ()
    with pytest.raises(ConfigError, match="lists things"):
        build(ObjectTransformer(), VECTOR)


# --- recurrent and causal -------------------------------------------------------------------------------

STEPWISE = [
    Recurrent(hidden=12, num_layers=2),
    Recurrent(cell="gru", hidden=12, num_layers=1),
    CausalTransformer(width=12, num_layers=2, num_heads=2),
]
VECTOR = {STATE: FeatureSpec(shape=(5,))}
THINGS = {STATE: FeatureSpec(shape=(2,)), "observation.objects": FeatureSpec(shape=(6, 3))}


def kind(config: object) -> str:
    return getattr(config, "cell", type(config).__name__)


@pytest.mark.parametrize("config", STEPWISE, ids=kind)
def test_padding_in_front_is_as_if_the_window_began_later(config: EncoderConfig) -> None:
    num_steps = 7
    encoder = build(config, VECTOR, steps=num_steps)
    observation = draw(VECTOR, rows=num_steps, steps=num_steps)
    padded = torch.arange(num_steps)[:, None] > torch.arange(num_steps)  # row i begins with i padded steps
    context = encoder(observation, padded, None)
    for row in range(num_steps):
        cut = {name: value[row : row + 1, row:] for name, value in observation.items()}
        short = build(config, VECTOR, steps=num_steps - row)
        state = encoder.state_dict()
        if "step" in state:  # positions count from the first valid step
            state["step"] = state["step"][: num_steps - row]
        short.load_state_dict(state)
        expected = short(cut, no_pad(1, num_steps - row), None).tokens[0]
        torch.testing.assert_close(context.tokens[row, row:], expected, atol=1e-6, rtol=0.0)
        assert not context.tokens[row, :row].any()
    assert context.is_pad is not None
    assert torch.equal(context.is_pad, padded)


@pytest.mark.parametrize("config", STEPWISE, ids=kind)
def test_a_token_knows_its_step_and_the_past_but_not_the_future(config: EncoderConfig) -> None:
    encoder = build(config, VECTOR, steps=6)
    observation = draw(VECTOR, rows=1, steps=6)
    value = observation[STATE].requires_grad_()
    tokens = encoder({STATE: value}, no_pad(1, 6), None).tokens
    for step in range(6):
        (gradient,) = torch.autograd.grad(tokens[0, step].square().sum(), value, retain_graph=True)
        seen = gradient[0].abs().sum(-1) > 0
        assert seen.tolist() == [earlier <= step for earlier in range(6)]
    assert encoder.spec.num_steps == 6


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_carried_state_equals_the_window_since_the_last_reset(cell: str) -> None:
    every, num_steps = 10, 35
    encoder = build(Recurrent(cell=cell, hidden=16), VECTOR, steps=every)
    assert isinstance(encoder, RecurrentEncoder)
    observation = draw(VECTOR, rows=3, steps=num_steps)[STATE]
    carry = None
    for now in range(num_steps):
        if now % every == 0:
            carry = None
        token, carry = encoder.scan({STATE: observation[:, now : now + 1]}, no_pad(3, 1), carry)
        steps = torch.arange(now - every + 1, now + 1)
        window = observation[:, steps.clamp(min=0)]
        is_pad = (steps < now - now % every).expand(3, -1)
        tokens = encoder({STATE: window}, is_pad, None).tokens
        torch.testing.assert_close(token[:, 0], tokens[:, -1], atol=1e-6, rtol=0.0)


def test_a_padded_step_resets_the_carried_state_of_its_row_alone() -> None:
    encoder = build(Recurrent(hidden=8), VECTOR, steps=2)
    assert isinstance(encoder, RecurrentEncoder)
    observation = draw(VECTOR, rows=2, steps=4)[STATE]
    _, carry = encoder.scan({STATE: observation[:, :2]}, no_pad(2, 2))
    is_pad = torch.tensor([[True, False], [False, False]])
    tokens, after = encoder.scan({STATE: observation[:, 2:]}, is_pad, carry)
    fresh, _ = encoder.scan({STATE: observation[:1, 3:]}, no_pad(1, 1))
    whole, whole_after = encoder.scan({STATE: observation[1:]}, no_pad(1, 4))
    torch.testing.assert_close(tokens[0, 1:], fresh[0], atol=1e-6, rtol=0.0)
    torch.testing.assert_close(tokens[1], whole[0, 2:], atol=1e-6, rtol=0.0)
    torch.testing.assert_close(after[0][:, 1], whole_after[0][:, 0], atol=1e-6, rtol=0.0)


def test_lstm_follows_its_equations() -> None:
    encoder = build(Recurrent(hidden=3, num_layers=1), VECTOR, steps=2)
    weights = {name.removeprefix("net.layers."): value for name, value in encoder.state_dict().items()}
    x = draw(VECTOR, rows=1, steps=2)
    h, c = torch.zeros(3), torch.zeros(3)
    for step in x[STATE][0]:
        gates = weights["weight_ih_l0"] @ step + weights["bias_ih_l0"]
        gates = gates + weights["weight_hh_l0"] @ h + weights["bias_hh_l0"]
        i, f, g, o = gates.chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    torch.testing.assert_close(encoder(x, no_pad(1, 2), None).tokens[0, -1], h)


def test_recurrent_trunk_has_the_size_of_robomimics() -> None:
    # 2.0 M for square: each LSTM layer has 4 gates with weights from input and state, and two offsets.
    encoder = build(Recurrent(), {STATE: FeatureSpec(shape=(23,))}, steps=10)
    assert count(encoder) == 4 * 400 * (23 + 400 + 2) + 4 * 400 * (400 + 400 + 2) == 1_963_200


def test_weights_that_share_one_block_of_memory_are_saved_apart() -> None:
    # What cuDNN does on a GPU, done by hand.
    layers = build(Recurrent(hidden=4, num_layers=1), VECTOR).net.layers
    block = torch.randn(count(layers))
    start = 0
    for parameter in layers.parameters():
        parameter.data = block[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    state = layers.state_dict()
    assert len({value.untyped_storage().data_ptr() for value in state.values()}) == len(state)
    kept = layers.state_dict(keep_vars=True)
    assert all(kept[name] is parameter for name, parameter in layers.named_parameters())


@pytest.mark.parametrize(
    ("config", "sizes", "published"),
    [
        (CausalTransformer(width=72, num_layers=4, num_heads=4), (16, 2, 24, 5), 259_488),
        (CausalTransformer(), (60, 9, 64, 10), 1_131_720),
    ],
)
def test_behavior_transformer_has_its_published_size(
    config: CausalTransformer, sizes: tuple[int, int, int, int], published: int
) -> None:
    num_values, action_dim, num_bins, window = sizes
    encoder = build(config, {STATE: FeatureSpec(shape=(num_values,))}, steps=window)
    head = nn.Linear(config.width, num_bins * (1 + action_dim), bias=False)
    assert count(encoder) + count(head) == published


def test_causal_transformer_starts_like_gpt() -> None:
    encoder = build(CausalTransformer(width=240, num_layers=1, num_heads=2), VECTOR, steps=20)
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif "norm" in name:
            assert bool((parameter == 1.0).all())
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.06), name


def test_dropout_acts_only_in_training() -> None:
    config = CausalTransformer(width=12, num_layers=1, num_heads=2)
    encoder = build(config, VECTOR, steps=3)
    observation, is_pad = draw(VECTOR, rows=2, steps=3), no_pad(2, 3)
    quiet = encoder(observation, is_pad, None).tokens
    assert torch.equal(quiet, encoder(observation, is_pad, None).tokens)
    assert not torch.equal(quiet, encoder(observation, is_pad, GeneratorNoise.seeded(0)).tokens)
    still = replace(config, embedding_dropout=0.0, attention_dropout=0.0, dropout=0.0)
    noisy = build(still, VECTOR, steps=3)(observation, is_pad, GeneratorNoise.seeded(0)).tokens
    torch.testing.assert_close(quiet, noisy)


@pytest.mark.parametrize("images", [SmallConv(channels=(4,), width=8), TINY, replace(TINY, join="tokens")])
def test_pictures_enter_step_by_step(images: SmallConv | ResNet18) -> None:
    features = {**VECTOR, LEFT: SMALL, RIGHT: SMALL}
    config = Recurrent(hidden=8, images=images)
    encoder = build(config, features, steps=3)
    assert encoder.features.width == 5 + 2 * images.width
    observation = draw(features, rows=2, steps=3)
    tokens = encoder(observation, no_pad(2, 3), None).tokens
    observation[RIGHT] = observation[RIGHT].clone()
    observation[RIGHT][:, 1] = 255 - observation[RIGHT][:, 1]
    changed = encoder(observation, no_pad(2, 3), None).tokens
    assert torch.equal(tokens[:, 0], changed[:, 0])
    assert bool((tokens[:, 1:] != changed[:, 1:]).any(-1).all())
    assert from_data(to_data(config), Recurrent, source="test") == config
    assert config.readable(features) == tuple(features)


# --- PilotNet -------------------------------------------------------------------------------------------


def test_pilotnet_has_its_published_size() -> None:
    encoder = build(PilotNet(), {LEFT: image_spec(66, 200, 3)})
    head = Regression().build(encoder.spec, ChunkSpec(horizon=1, action_dim=1))
    assert count(encoder) + count(head) == 252_219
    first = encoder.towers[0].connected[0]
    assert first.in_features == 1152


def test_pilotnet_names_the_smallest_picture_it_can_read() -> None:
    with pytest.raises(ConfigError, match="at least 61 x 61"):
        build(PilotNet(), {LEFT: image_spec(60, 200, 3)})
    encoder = build(PilotNet(), {LEFT: image_spec(61, 61, 1)})
    observation = draw({LEFT: image_spec(61, 61, 1)}, rows=2, steps=1)
    assert encoder(observation, no_pad(2, 1), None).tokens.shape == (2, 1, 10)


# --- ResNet18 -------------------------------------------------------------------------------------------


def test_resnet18_has_its_published_size() -> None:
    assert count(ResNet(3, channels=64, norm="group", stem="imagenet")) == 11_176_512
    assert count(ResNet(3, channels=64, norm="frozen_batch", stem="imagenet")) == 11_166_912


def test_diffusion_policy_encoder_has_the_size_in_the_logs_of_lerobot() -> None:
    # 262,709,026 for Push-T with one camera and 2 state values, 251,511,938 of them in the U-Net, which
    # sees 2 steps of 64 + 2 values.
    features = {STATE: FeatureSpec(shape=(2,)), LEFT: image_spec(96, 96, 3)}
    encoder = build(ResNet18(crop=(84, 84)), features, steps=2)
    assert count(encoder) == 262_709_026 - 251_511_938
    assert encoder.spec.num_tokens * encoder.spec.width == 2 * (64 + 2)


def test_act_encoder_has_one_token_for_each_cell() -> None:
    config = ResNet18(norm="frozen_batch", pool="map", width=512, share=True, image_range="imagenet")
    features = {STATE: FeatureSpec(shape=(14,)), LEFT: image_spec(480, 640, 3)}
    encoder = build(config, features)
    assert encoder.spec.num_tokens == 15 * 20 + 1
    assert encoder.groups == ((LEFT, 0, 300), ("vectors", 300, 301))
    assert encoder.position[:300].tolist() == [[r, c] for r in range(15) for c in range(20)]
    backbone, projection, state = 11_166_912, 512 * 512 + 512, 14 * 512 + 512
    assert count(encoder) == backbone + projection + state
    two = build(config, {**features, RIGHT: image_spec(480, 640, 3)})
    assert count(two) == count(encoder)
    assert two.spec.num_tokens == 601


def test_map_tokens_are_cells_of_the_current_picture() -> None:
    features = {LEFT: image_spec(24, 32, 3), STATE: FeatureSpec(shape=(2,))}
    encoder = build(replace(TINY, pool="map"), features, steps=2)
    observation = draw(features, rows=2, steps=2)
    context = encoder(observation, no_pad(2, 2), None)
    trunk, project = encoder.towers[0]
    cells = project.project(trunk(observation[LEFT][:, 1].float() / 127.5 - 1.0))
    assert cells.shape[2:] == (3, 4)
    for index, (row, column) in enumerate(context.position[:12].long().tolist()):
        torch.testing.assert_close(context.tokens[:, index], cells[:, :, row, column])
    observation[LEFT][:, 0] = 0
    assert torch.equal(encoder(observation, no_pad(2, 2), None).tokens, context.tokens)


@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("size", [(18, 20), (33, 64), (65, 47)])
def test_map_size_is_what_the_network_makes(stem: str, size: tuple[int, int]) -> None:
    encoder = build(replace(TINY, stem=stem, pool="map"), {LEFT: image_spec(*size, 3)})
    observation = draw({LEFT: image_spec(*size, 3)}, rows=1, steps=1)
    assert encoder(observation, no_pad(1, 1), None).tokens.shape[1] == encoder.spec.num_tokens


def test_steps_are_pictures_and_raw_vectors_side_by_side() -> None:
    features = {**VECTOR, LEFT: SMALL, RIGHT: SMALL}
    encoder = build(TINY, features, steps=2)
    observation = draw(features, rows=3, steps=2)
    context = encoder(observation, no_pad(3, 2), None)
    assert context.tokens.shape == (3, 2, 2 * 6 + 5)
    assert torch.equal(context.tokens[..., 12:], observation[STATE])
    assert torch.equal(context.state, observation[STATE][:, -1])
    assert encoder.spec.num_steps == 2


def test_imagenet_range_standardises() -> None:
    # A picture of the mean colour, in whole pixel values, is nearly zero; one deviation more is nearly one.
    encoder = build(replace(TINY, image_range="imagenet"), {LEFT: SMALL})
    mean = torch.tensor([124, 116, 104], dtype=torch.uint8).expand(1, 2, 2, 3)
    more = torch.tensor([182, 173, 161], dtype=torch.uint8).expand(1, 2, 2, 3)
    assert encoder._scaled(mean).abs().max() < 0.01
    assert (encoder._scaled(more) - 1.0).abs().max() < 0.02


def write_weights(folder: Path, **extra: Tensor) -> tuple[Path, dict[str, Tensor]]:
    """Write what torchvision's resnet18 holds, with random values."""
    names = ResNet(3, channels=64, norm="frozen_batch", stem="imagenet").state_dict()
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.rand(value.shape, generator=generator) for name, value in names.items()}
    unread = {"fc.weight": torch.zeros(1000, 512), "bn1.num_batches_tracked": torch.tensor(0)}
    save_file({**state, **unread, **extra}, folder / "resnet18.safetensors")
    return folder / "resnet18.safetensors", state


def test_pretrained_weights_come_from_a_local_file_and_travel_with_the_policy(tmp_path: Path) -> None:
    path, state = write_weights(tmp_path)
    config = ResNet18(norm="frozen_batch", pool="average", weights=path)
    spec = PolicySpec(
        observation={LEFT: image_spec(16, 16, 3)}, action=FeatureSpec(shape=(2,)), control_dt=0.1
    )
    policy = PolicyModule.build(PolicyConfig(encoder=config), spec)
    for name, value in policy.encoder.towers[0][0].state_dict().items():
        assert torch.equal(value, state[name]), name
    save_policy(policy, tmp_path / "policy")
    path.unlink()
    loaded = load_policy(tmp_path / "policy")
    assert loaded.config == policy.config
    assert torch.equal(loaded.encoder.towers[0][0].conv1.weight, state["conv1.weight"])
    with pytest.raises(ConfigError, match="nothing is downloaded"):
        PolicyModule.build(PolicyConfig(encoder=config), spec)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path, _ = write_weights(tmp_path, extra=torch.zeros(1))
    features = {LEFT: image_spec(16, 16, 3)}
    config = ResNet18(norm="frozen_batch", pool="average", weights=path)
    with pytest.raises(ConfigError, match="missing: none; unexpected: extra"):
        build(config, features)
    with pytest.raises(ConfigError, match=r"unexpected: bn1\.running_mean, bn1\.running_var.* more"):
        build(replace(config, norm="group"), features)
    (tmp_path / "resnet18.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="not a safetensors file"):
        build(config, features)
    path, _ = write_weights(tmp_path)
    with pytest.raises(ConfigError, match=r"conv1\.weight .* wrong shape"):
        build(config, {LEFT: image_spec(16, 16, 1)})


# --- all cameras ----------------------------------------------------------------------------------------

CAMERAS = [
    SmallConv(channels=(4, 8), width=6, crop=(16, 16)),
    PilotNet(convolutions=((4, 5, 2), (8, 3, 1)), hidden=(6,)),
    replace(TINY, join="tokens"),
    replace(TINY, join="tokens", share=True),
    replace(TINY, join="tokens", pool="average"),
]


@pytest.mark.parametrize("config", CAMERAS, ids=repr)
def test_each_camera_and_the_vectors_fill_their_own_tokens(config: EncoderConfig) -> None:
    features = {LEFT: SMALL, **VECTOR, RIGHT: SMALL}
    encoder = build(config, features, steps=2)
    observation = draw(features, rows=3, steps=2)
    context = encoder(observation, no_pad(3, 2), None)
    assert context.groups == ((LEFT, 0, 2), (RIGHT, 2, 4), ("vectors", 4, 6))
    assert context.tokens.shape == (3, 6, 6)
    assert context.position.tolist() == [[s, t] for s in range(3) for t in range(2)]
    for name, first, last in context.groups:
        key = STATE if name == "vectors" else name
        other = {**observation, key: draw(features, rows=3, steps=2, seed=9)[key]}
        changed = (encoder(other, no_pad(3, 2), None).tokens != context.tokens).flatten(2).any(-1)
        assert not changed[:, :first].any()
        assert not changed[:, last:].any()
        assert changed[:, first:last].any()


@pytest.mark.parametrize(
    "config",
    [SmallConv(crop=(14, 16)), replace(TINY, crop=(14, 16))],
    ids=lambda config: type(config).__name__,
)
def test_crop_is_random_in_training_and_central_otherwise(config: EncoderConfig) -> None:
    encoder = build(config, {LEFT: SMALL})
    observation = draw({LEFT: SMALL}, rows=4, steps=1)
    quiet: Context = encoder(observation, no_pad(4, 1), None)
    centre = {LEFT: observation[LEFT][:, :, 2:16, 2:18]}
    uncropped = build(replace(config, crop=None), {LEFT: image_spec(14, 16, 3)})
    torch.testing.assert_close(quiet.tokens, uncropped(centre, no_pad(4, 1), None).tokens)
    noisy = encoder(observation, no_pad(4, 1), GeneratorNoise.seeded(0)).tokens
    assert not torch.allclose(noisy, quiet.tokens)
    again = encoder(observation, no_pad(4, 1), GeneratorNoise.seeded(0)).tokens
    assert torch.equal(noisy, again)


@pytest.mark.parametrize(
    ("config", "features", "message"),
    [
        (SmallConv(), VECTOR, "SmallConv needs an image"),
        (PilotNet(), VECTOR, "PilotNet needs an image"),
        (ResNet18(), VECTOR, "ResNet18 needs an image"),
        (StateMLP(), {LEFT: SMALL}, "needs a feature that is not an image"),
        (FlatImage(), {LEFT: SMALL, RIGHT: SMALL}, "exactly one image"),
        (FlatImage(num_images=2), {LEFT: SMALL}, "exactly 2 images"),
        (Recurrent(), {LEFT: SMALL}, r"Recurrent\(images=SmallConv\(\)\)"),
        (CausalTransformer(), {LEFT: SMALL}, r"CausalTransformer\(images=SmallConv\(\)\)"),
        (Recurrent(images=TINY), VECTOR, "ResNet18 needs an image"),
        (ResNet18(crop=(84, 84)), {LEFT: SMALL}, "at most 18 x 20"),
        (ResNet18(), {LEFT: SMALL}, "a side of more than 32 pixels"),
        (replace(TINY, share=True), {LEFT: SMALL, RIGHT: image_spec(18, 24, 3)}, "share a network"),
        (replace(TINY, image_range="imagenet"), {LEFT: image_spec(18, 20, 1)}, "3 channels"),
    ],
)
def test_what_cannot_be_read_is_refused(
    config: EncoderConfig, features: dict[str, FeatureSpec], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(config, features)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Recurrent(hidden=0),
        lambda: Recurrent(images=replace(TINY, pool="map")),
        lambda: CausalTransformer(width=10, num_heads=3),
        lambda: CausalTransformer(num_layers=0),
        lambda: CausalTransformer(dropout=1.0),
        lambda: ResNet18(width=0),
    ],
)
def test_impossible_configs_are_refused(make) -> None:
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize("name", sorted(EncoderConfig.ours))
def test_an_encoder_stores_its_parameters_alone(name: str) -> None:
    reads_pictures = name not in ("StateMLP", "Recurrent", "CausalTransformer")
    features = {LEFT: image_spec(96, 96, 3)} if reads_pictures else VECTOR
    features = THINGS if name == "ObjectTransformer" else features
    encoder = build(TINY if name == "ResNet18" else resolved(EncoderConfig, name)(), features)
    assert encoder.state_dict().keys() == dict(encoder.named_parameters()).keys()


def test_the_state_of_a_context_is_the_current_step() -> None:
    seen = draw(VECTOR | {LEFT: SMALL}, rows=3, steps=3)
    for config in (StateMLP(hidden=(4,)), StateMLP(hidden=(4,), join="steps"), *STEPWISE, TINY, SmallConv()):
        features = (
            VECTOR if isinstance(config, StateMLP | Recurrent | CausalTransformer) else VECTOR | {LEFT: SMALL}
        )
        context = build(config, features, steps=3)(
            {name: seen[name] for name in features}, no_pad(3, 3), None
        )
        assert torch.equal(context.state, seen[STATE][:, -1]), config


def test_steps_and_cameras_add_their_widths() -> None:
    features = {LEFT: SMALL, RIGHT: SMALL, **VECTOR}
    encoder = build(replace(TINY, join="steps"), features, steps=2)
    assert (encoder.spec.num_tokens, encoder.spec.width, encoder.spec.state_width) == (
        2,
        2 * TINY.width + 5,
        5,
    )
    tokens = encoder(draw(features, rows=3, steps=2), no_pad(3, 2), None).tokens
    assert tokens.shape == (3, 2, 2 * TINY.width + 5)


def test_the_vectors_beside_pilotnets_pictures_pass_its_activation() -> None:
    encoder = build(PilotNet(convolutions=((4, 5, 2),), hidden=(16, 10)), {LEFT: SMALL, **VECTOR})
    outputs = encoder.state(torch.randn(64, 5, generator=torch.Generator().manual_seed(0)))
    assert outputs.shape == (64, 10)
    assert outputs.min() == 0.0
