"""What encoders say, number for number, and where their tokens lie."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import IMAGES, STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.policies.contract import Context
from steadyhand.policies.encoders.causal import CausalTransformer
from steadyhand.policies.encoders.config import EncoderConfig, as_encoded, default_encoder
from steadyhand.policies.encoders.image import FlatImage, SmallConv
from steadyhand.policies.encoders.pilotnet import PilotNet
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.noise import scoped

LEFT, RIGHT, GEAR = IMAGES + "left", IMAGES + "right", "observation.gear"
PICTURE = image_spec(18, 20, 3)
VECTOR = {STATE: FeatureSpec(shape=(5,))}
TINY = ResNet18(channels=2, stem="small", num_keypoints=4, width=6)


def build(config: EncoderConfig, features: dict[str, FeatureSpec], *, steps: int = 1) -> Any:
    with scoped(0):
        return config.build(features, n_obs_steps=steps)


def draw(features: dict[str, FeatureSpec], *, rows: int, steps: int) -> dict[str, Tensor]:
    rng = np.random.default_rng(0)
    return {
        name: torch.as_tensor(
            rng.integers(0, 256, (rows, steps, *spec.shape), dtype=np.uint8)
            if spec.kind == "image"
            else rng.normal(size=(rows, steps, *spec.shape)).astype(np.float32)
        )
        for name, spec in features.items()
    }


def said(encoder: Any, seen: dict[str, Tensor]) -> Context:
    rows, steps = next(iter(seen.values())).shape[:2]
    return encoder(seen, torch.zeros(rows, steps, dtype=torch.bool), None)


# --- vectors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_an_mlp_reads_the_window_or_each_step(size: int, steps: int) -> None:
    features = {STATE: FeatureSpec(shape=(size,))}
    seen = draw(features, rows=4, steps=steps)
    window = build(StateMLP(hidden=(3,), activation="tanh"), features, steps=steps)
    layer, context = window.trunk[0], said(window, seen)
    torch.testing.assert_close(
        context.tokens[:, 0], (seen[STATE].flatten(1) @ layer.weight.T + layer.bias).tanh()
    )
    each = build(StateMLP(hidden=(3, 2), activation="tanh", join="steps"), features, steps=steps)
    first, second = each.trunk[0], each.trunk[2]
    tokens = said(each, seen)
    wanted = ((seen[STATE] @ first.weight.T + first.bias).tanh() @ second.weight.T + second.bias).tanh()
    torch.testing.assert_close(tokens.tokens, wanted)
    assert tokens.position is not None
    assert tokens.position.tolist() == [[0.0, step] for step in range(steps)]
    assert (window.spec.num_tokens, window.spec.width, window.spec.num_steps) == (1, 3, None)
    assert (each.spec.num_tokens, each.spec.width, each.spec.num_steps) == (steps, 2, steps)
    for one in (context, tokens):
        assert torch.equal(one.state, seen[STATE][:, -1])  # pyright: ignore[reportArgumentType]


def test_classes_are_counted_from_where_they_begin() -> None:
    features = {GEAR: discrete_spec(3, start=4), "observation.pose": FeatureSpec(shape=(2, 2))}
    encoder = build(StateMLP(hidden=()), features)
    pose = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[5.0, 6.0], [7.0, 8.0]]]])
    context = said(encoder, {GEAR: torch.tensor([[[4]], [[6]]]), "observation.pose": pose})
    assert context.tokens.tolist() == [[[1, 0, 0, 1, 2, 3, 4]], [[0, 0, 1, 5, 6, 7, 8]]]
    assert encoder.spec.width == 7


# --- step by step ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [Recurrent(hidden=4), CausalTransformer(width=4, num_layers=1, num_heads=2)]
)
@pytest.mark.parametrize("steps", [1, 2])
def test_one_number_is_enough_and_tokens_lie_in_order_of_time(config: EncoderConfig, steps: int) -> None:
    features = {STATE: FeatureSpec(shape=(1,))}
    encoder = build(config, features, steps=steps)
    context = said(encoder, draw(features, rows=3, steps=steps))
    assert context.tokens.shape == (3, steps, 4)
    assert context.position is not None
    assert context.position.tolist() == [[0.0, step] for step in range(steps)]
    assert bool(encoder.without_gradient) == (steps == 1)
    assert config.readable({LEFT: PICTURE, **features}) == (STATE,)


def test_the_causal_transformer_adds_positions_and_ends_with_a_norm() -> None:
    encoder = build(CausalTransformer(width=4, num_layers=2, num_heads=2), VECTOR, steps=3)
    torch.nn.init.normal_(encoder.step)
    seen = draw(VECTOR, rows=2, steps=3)
    x = seen[STATE] @ encoder.embed.weight.T + encoder.embed.bias + encoder.step
    for layer in encoder.layers:
        x = layer(x, mask=torch.ones(3, 3, dtype=torch.bool).tril())
    torch.testing.assert_close(said(encoder, seen).tokens, torch.nn.functional.layer_norm(x, (4,)))


def test_two_steps_are_causal_too() -> None:
    encoder = build(CausalTransformer(width=4, num_layers=1, num_heads=2), VECTOR, steps=2)
    seen = draw(VECTOR, rows=1, steps=2)
    before = said(encoder, seen).tokens
    seen[STATE][:, 1] += 1.0
    after = said(encoder, seen).tokens
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, 1], after[:, 1])


@pytest.mark.parametrize("images", [SmallConv(channels=(4,), width=8), TINY, replace(TINY, join="tokens")])
def test_features_of_a_step_are_its_vectors_and_then_camera_after_camera(images: Any) -> None:
    features = {LEFT: PICTURE, **VECTOR, RIGHT: PICTURE}
    net = build(Recurrent(hidden=4, images=images), features, steps=3).features
    seen = draw(features, rows=2, steps=3)
    found, state = net(seen, torch.zeros(2, 3, dtype=torch.bool), None)
    width = images.width
    alone = net.images(
        {LEFT: seen[LEFT], RIGHT: seen[RIGHT]}, torch.zeros(2, 3, dtype=torch.bool), None
    ).tokens
    for step in range(3):
        parts = [seen[STATE][:, step]]
        if alone.shape[1] == 3:  # one token a step, cameras side by side in it
            parts.append(alone[:, step])
        else:  # all steps of one camera, then all of the other
            parts += [alone[:, step], alone[:, 3 + step]]
        assert torch.equal(found[:, step], torch.cat(parts, 1))
    assert found.shape[2] == net.width == 5 + 2 * width
    assert torch.equal(state, seen[STATE][:, 2])


# --- flat and convolutional -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "shares"), [(1, (1.0,)), (2, (0.5, 0.5)), (3, (0.299, 0.587, 0.114)), (4, 4 * (0.25,))]
)
@pytest.mark.parametrize("steps", [1, 2])
def test_a_flat_image_is_grey(channels: int, shares: tuple[float, ...], steps: int) -> None:
    features = {LEFT: image_spec(4, 6, channels)}
    encoder = build(FlatImage(hidden=(3, 2), image_range="unit"), features, steps=steps)
    seen = draw(features, rows=3, steps=steps)
    grey = sum(share * seen[LEFT][..., index].double() / 255.0 for index, share in enumerate(shares))
    y = grey.flatten(1).float()  # pyright: ignore
    for layer in (encoder.trunk[0], encoder.trunk[2]):
        y = (y @ layer.weight.T + layer.bias).tanh()
    torch.testing.assert_close(said(encoder, seen).tokens, y[:, None])
    assert (encoder.spec.num_tokens, encoder.spec.width) == (1, 2)


@pytest.mark.parametrize("number", [1, 2])
def test_a_flat_image_says_how_many_it_reads(number: int) -> None:
    wanted = {1: "one image", 2: "2 images"}[number]
    with pytest.raises(ConfigError, match=f"exactly {wanted}"):
        build(FlatImage(num_images=number), {})


@pytest.mark.parametrize("channels", [(4, 6), ()])
def test_a_token_of_a_small_conv_is_a_layer_over_its_map(channels: tuple[int, ...]) -> None:
    features = {LEFT: image_spec(9, 14, 2), **VECTOR}
    encoder = build(SmallConv(channels=channels, width=3, activation="tanh"), features, steps=2)
    seen = draw(features, rows=3, steps=2)
    stack, layer, _ = encoder.towers[0]
    maps = stack(seen[LEFT].flatten(0, 1).float() / 127.5 - 1.0)
    assert maps.shape == (6, 6 * 3 * 4 if channels else 2 * 9 * 14)
    pictures = (maps @ layer.weight.T + layer.bias).tanh().view(3, 2, 3)
    last = encoder.state[0]
    vectors = (seen[STATE] @ last.weight.T + last.bias).tanh()
    torch.testing.assert_close(said(encoder, seen).tokens, torch.cat([pictures, vectors], 1))


def test_pilotnet_has_its_activation_after_every_layer() -> None:
    features = {LEFT: image_spec(11, 17, 1)}
    config = PilotNet(convolutions=((4, 5, 2), (3, 3, 1)), hidden=(6, 5), activation="tanh")
    encoder = build(config, features)
    seen, tower = draw(features, rows=3, steps=1), encoder.towers[0]
    y = (seen[LEFT][:, 0].float() / 127.5 - 1.0).permute(0, 3, 1, 2)
    for layer, stride in ((tower.convolutions[0], 2), (tower.convolutions[2], 1)):
        y = torch.nn.functional.conv2d(y, layer.weight, layer.bias, stride=stride).tanh()
    y = y.flatten(1)
    for layer in (tower.connected[0], tower.connected[2]):
        y = (y @ layer.weight.T + layer.bias).tanh()
    torch.testing.assert_close(said(encoder, seen).tokens, y[:, None])


def test_cameras_of_different_sizes_and_channels_have_nets_of_their_own() -> None:
    features = {LEFT: image_spec(16, 16, 1), RIGHT: image_spec(18, 40, 3)}
    for config in (
        TINY,
        replace(TINY, pool="map"),
        SmallConv(channels=(4,), width=6),
        PilotNet(hidden=(6,), convolutions=((4, 5, 2),)),
    ):
        encoder = build(config, features)
        context = said(encoder, draw(features, rows=2, steps=1))
        assert context.tokens.shape == (2, encoder.spec.num_tokens, encoder.spec.width)
        assert len(encoder.towers) == 2
    with pytest.raises(ConfigError, match="3 channels"):
        build(replace(TINY, image_range="imagenet"), features)
    with pytest.raises(ConfigError, match="share a network"):
        build(replace(TINY, share=True), {LEFT: image_spec(18, 20, 3), RIGHT: image_spec(18, 40, 3)})


# --- ResNet18 -------------------------------------------------------------------------------------------


def test_tokens_of_steps_are_pooled_pictures_and_raw_vectors() -> None:
    features = {LEFT: PICTURE, **VECTOR, RIGHT: PICTURE}
    seen = draw(features, rows=2, steps=3)
    for pool in ("spatial_softmax", "average"):
        encoder = build(replace(TINY, pool=pool), features, steps=3)
        context = said(encoder, seen)
        parts = []
        for camera, name in enumerate((LEFT, RIGHT)):
            trunk, keypoints, layer = encoder.towers[camera]
            maps = trunk(seen[name].flatten(0, 1).float() / 127.5 - 1.0)
            pooled = maps.mean((2, 3)) if pool == "average" else keypoints(maps)
            parts.append((pooled @ layer.weight.T + layer.bias).view(2, 3, 6))
        torch.testing.assert_close(context.tokens, torch.cat([*parts, seen[STATE]], 2), rtol=1e-5, atol=1e-5)
        assert context.groups == (("steps", 0, 3),)
        assert context.position is not None
        assert context.position.tolist() == [[0.0, step] for step in range(3)]
        assert encoder.spec.num_steps == 3


def test_a_map_ends_with_a_token_of_all_vectors() -> None:
    features = {LEFT: image_spec(24, 32, 3), **VECTOR, RIGHT: image_spec(16, 17, 3)}
    encoder = build(replace(TINY, pool="map"), features, steps=2)
    seen = draw(features, rows=3, steps=2)
    context = said(encoder, seen)
    assert context.groups == ((LEFT, 0, 12), (RIGHT, 12, 18), ("vectors", 18, 19))
    cells = [[r, c] for r in range(3) for c in range(4)] + [[r, c] for r in range(2) for c in range(3)]
    assert context.position is not None
    assert context.position.tolist() == [*cells, [0, 0]]
    vectors = seen[STATE].flatten(1) @ encoder.state.weight.T + encoder.state.bias
    torch.testing.assert_close(context.tokens[:, 18], vectors)
    trunk, project = encoder.towers[1]
    maps = project.project(trunk(seen[RIGHT][:, 1].float() / 127.5 - 1.0)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(context.tokens[:, 12:18], maps, rtol=1e-5, atol=1e-5)
    assert (encoder.spec.num_tokens, encoder.spec.width, encoder.spec.state_width) == (19, 6, 5)


def test_filters_lie_in_memory_as_pictures_do() -> None:
    encoder = build(TINY, {LEFT: PICTURE})
    weights = [parameter for parameter in encoder.towers.parameters() if parameter.ndim == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.mark.parametrize("shares", [True, False])
def test_cameras_of_one_size_may_share_a_network(shares: bool) -> None:
    encoder = build(replace(TINY, share=shares), {LEFT: PICTURE, RIGHT: PICTURE})
    assert len(encoder.towers) == (1 if shares else 2)


# --- what is chosen and scaled --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "resize"),
    [
        ([(97, 97)], (96, 96)),
        ([(97, 96)], None),
        ([(96, 97)], None),
        ([(480, 640), (97, 200)], (96, 96)),
        ([(480, 640), (64, 64)], None),
        ([(64, 64), (480, 640)], None),
    ],
)
def test_pictures_are_scaled_down_if_all_sides_are_larger(sizes, resize) -> None:
    features = {f"{IMAGES}{index}": image_spec(*size, 3) for index, size in enumerate(sizes)}
    assert default_encoder({**features, **VECTOR}) == SmallConv(resize=resize)
    assert default_encoder(VECTOR) == StateMLP()


def test_features_are_as_the_network_gets_them() -> None:
    features = {LEFT: image_spec(90, 130, 2), **VECTOR}
    assert as_encoded(features, None) == features
    assert as_encoded(features, (24, 32)) == {LEFT: image_spec(24, 32, 2), **VECTOR}


def test_frozen_statistics_without_weights_cannot_be_trained_whoever_reads_the_pictures() -> None:
    frozen = ResNet18(norm="frozen_batch")
    for config in (frozen, Recurrent(images=frozen), CausalTransformer(images=frozen)):
        with pytest.raises(ConfigError, match="no normalisation"):
            config.require_trainable()
    for config in (
        ResNet18(),
        Recurrent(images=TINY),
        Recurrent(),
        replace(frozen, weights=Path("some.safetensors")),
    ):
        config.require_trainable()
