import os
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from steadyhand.core.errors import ConfigError
from steadyhand.policies.nets.crop import Augmentation
from steadyhand.policies.nets.pilotnet import last_side, smallest_side, yuv
from steadyhand.policies.nets.pretrained import load_pretrained
from steadyhand.policies.nets.resnet import FrozenBatchNorm, ResNet, map_side
from steadyhand.policies.nets.spatial import SpatialSoftmax
from steadyhand.policies.noise import GeneratorNoise, NoNoise, scoped


def pictures(rows: int = 40, steps: int = 2, height: int = 7, width: int = 9) -> torch.Tensor:
    generator = np.random.default_rng(0)
    return torch.as_tensor(generator.integers(0, 256, (rows, steps, height, width, 3), dtype=np.uint8))


def test_a_crop_is_a_rectangle_of_the_picture_at_the_same_place_in_all_steps() -> None:
    image = pictures()
    cut = Augmentation(crop=(4, 5))(image, GeneratorNoise.seeded(0))
    drawn = (GeneratorNoise.seeded(0).uniform(40, 2) * torch.tensor([4, 5])).long().tolist()
    places = set()
    for row in range(len(image)):
        found = [
            (top, left)
            for top in range(4)
            for left in range(5)
            if torch.equal(cut[row], image[row, :, top : top + 4, left : left + 5])
        ]
        assert found == [tuple(drawn[row])]
        places.add(found[0])
    assert {top for top, _ in places} == set(range(4))
    assert {left for _, left in places} == set(range(5))


@pytest.mark.parametrize("noise", [None, NoNoise()])
def test_without_noise_the_crop_is_central_and_nothing_is_shifted(noise: NoNoise | None) -> None:
    image = pictures()
    assert torch.equal(Augmentation(crop=(4, 5))(image, noise), image[:, :, 1:5, 2:7])
    assert torch.equal(Augmentation(shift=2)(image, noise), image)


def test_a_shift_repeats_the_edge() -> None:
    image = pictures()
    moved = Augmentation(shift=2)(image, GeneratorNoise.seeded(1)).numpy()
    drawn = (GeneratorNoise.seeded(1).uniform(40, 2) * 5).long().tolist()
    framed = np.pad(image.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    places = set()
    for row in range(len(image)):
        found = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if np.array_equal(moved[row], framed[row, :, down : down + 7, right : right + 9])
        ]
        assert found == [tuple(drawn[row])]
        places.add(found[0])
    assert {down for down, _ in places} == {right for _, right in places} == set(range(5))


def test_a_crop_may_be_one_pixel_or_the_whole_picture() -> None:
    for crop in ((1, 1), (7, 9), (1, 9)):
        assert Augmentation(crop=crop).size(7, 9) == crop
    assert Augmentation().size(7, 9) == (7, 9)


@pytest.mark.parametrize("crop", [(8, 5), (5, 10), (0, 3), (3, 0)])
def test_a_crop_must_fit(crop: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="at most 7 x 9"):
        Augmentation(crop=crop).size(7, 9)


def test_spatial_softmax_finds_a_peak() -> None:
    net = SpatialSoftmax(2, num_keypoints=2, height=3, width=5)
    with torch.no_grad():
        net.keypoints.weight.copy_(100.0 * torch.eye(2)[:, :, None, None])
        net.keypoints.bias.zero_()
    maps = torch.zeros(1, 2, 3, 5)
    maps[0, 0, 0, 4] = 1.0  # top right
    maps[0, 1, 2, 1] = 1.0  # bottom, second of five columns
    torch.testing.assert_close(net(maps), torch.tensor([[1.0, -1.0, -0.5, 1.0]]))
    torch.testing.assert_close(net(torch.zeros(1, 2, 3, 5)), torch.zeros(1, 4))


@pytest.mark.parametrize(("height", "width"), [(1, 4), (3, 1), (1, 1), (2, 2)])
def test_keypoints_of_a_side_of_one_cell_lie_in_its_middle(height: int, width: int) -> None:
    net = SpatialSoftmax(3, num_keypoints=2, height=height, width=width)
    maps = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    share = net.keypoints(maps).flatten(2).softmax(2).view(2, 2, height, width)
    rows = torch.linspace(-1, 1, height) if height > 1 else torch.zeros(1)
    columns = torch.linspace(-1, 1, width) if width > 1 else torch.zeros(1)
    x, y = (share.sum(2) * columns).sum(2), (share.sum(3) * rows).sum(2)
    torch.testing.assert_close(net(maps), torch.stack([x, y], 2).flatten(1))


def residual(net: ResNet, image: torch.Tensor, *, stem: str, groups: Callable[[int], int]) -> torch.Tensor:
    """Return what a ResNet of 18 layers says, as in the paper's table 1."""
    state = net.state_dict()

    def conv(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.group_norm(x, groups(x.shape[1]), state[f"{name}.weight"], state[f"{name}.bias"])

    x = norm("bn1", conv("conv1", image.permute(0, 3, 1, 2), 2 if stem == "imagenet" else 1)).relu()
    if stem == "imagenet":
        x = F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, stride=2)
    for stage in range(1, 5):
        for block in range(2):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = norm(f"{at}.bn1", conv(f"{at}.conv1", x, stride)).relu()
            y = norm(f"{at}.bn2", conv(f"{at}.conv2", y))
            if stride == 2:
                x = norm(f"{at}.downsample.1", conv(f"{at}.downsample.0", x, stride))
            x = (x + y).relu()
    return x


@pytest.mark.parametrize(("stem", "kernel"), [("imagenet", 7), ("small", 3)])
def test_a_resnet_is_that_of_the_paper(stem: str, kernel: int) -> None:
    with scoped(0):
        net = ResNet(2, channels=8, norm="group", stem=stem)  # pyright: ignore[reportArgumentType]
    generator = torch.Generator().manual_seed(0)
    for name, parameter in net.named_parameters():
        if parameter.ndim == 4:  # drawn with the variance 2 / (outputs of a weight)
            number = parameter.shape[0] * parameter.shape[2] ** 2
            assert parameter.std().item() == pytest.approx((2 / number) ** 0.5, rel=0.2), name
        else:
            torch.nn.init.normal_(parameter, 1.0, 0.3, generator=generator)
    assert net.conv1.weight.shape == (8, 2, kernel, kernel)
    image = torch.randn(2, 41, 67, 2, generator=generator)
    wanted = residual(net, image, stem=stem, groups=lambda width: max(1, width // 16))
    torch.testing.assert_close(net(image), wanted, rtol=1e-4, atol=1e-4)
    assert wanted.shape[2:] == (map_side(41, stem=stem), map_side(67, stem=stem))  # pyright: ignore


def test_frozen_batch_norm_follows_its_formula() -> None:
    norm = FrozenBatchNorm(3)
    generator = torch.Generator().manual_seed(0)
    for buffer in norm.buffers():
        buffer.copy_(torch.rand(3, generator=generator) + 0.5)
    x = torch.randn(2, 3, 4, 4, generator=generator)
    scale = (norm.weight / (norm.running_var + 1e-5).sqrt())[:, None, None]
    expected = (x - norm.running_mean[:, None, None]) * scale + norm.bias[:, None, None]
    torch.testing.assert_close(norm.train()(x), expected)
    assert list(norm.parameters()) == []


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((255, 255, 255), (1.0, 0.0, 0.0)),
        ((0, 0, 0), (-1.0, 0.0, 0.0)),
        ((0, 0, 255), (2 * 0.114 - 1, 1.0, -0.114 / 0.701)),
        ((255, 0, 0), (2 * 0.299 - 1, -0.299 / 0.886, 1.0)),
        ((255, 255, 0), (2 * 0.886 - 1, -1.0, 0.114 / 0.701)),
    ],
)
def test_yuv_of_pure_colours(rgb: tuple[int, ...], expected: tuple[float, ...]) -> None:
    image = torch.tensor(rgb, dtype=torch.uint8).view(1, 1, 1, 3)
    torch.testing.assert_close(yuv(image).flatten(), torch.tensor(expected), atol=1e-6, rtol=0.0)


def test_pictures_of_one_channel_are_only_scaled() -> None:
    image = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1)
    assert yuv(image).flatten().tolist() == [-1.0, 1.0]


def test_smallest_side_leaves_exactly_one_cell() -> None:
    layers = ((24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1))
    side = smallest_side(layers)
    assert last_side(side, layers) == 1
    assert last_side(side - 1, layers) < 1
    assert (last_side(66, layers), last_side(200, layers)) == (1, 18)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pretrained_weights_that_are_a_pipe_are_refused_and_not_waited_for(tmp_path):
    pipe = tmp_path / "weights.safetensors"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="is no file"):
        load_pretrained(torch.nn.Linear(2, 2), pipe)
