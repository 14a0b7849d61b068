"""Where random numbers come from, which device and how many threads, and when torch's wrappers are passed."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.core.seeding import RowStreams
from steadyhand.policies.devices import chosen_device, device_name
from steadyhand.policies.noise import GeneratorNoise, NoNoise, RowNoise, scoped
from steadyhand.policies.shortcuts import call, takes_shortcuts, without_shortcuts
from steadyhand.policies.threads import use_threads

# --- noise ----------------------------------------------------------------------------------------------


def test_each_row_draws_from_its_own_stream() -> None:
    noise, streams = RowNoise(RowStreams.from_seed(7, 2)), RowStreams.from_seed(7, 2)
    normal, uniform = noise.normal(2, 3, 4), noise.uniform(2, 5)
    np.testing.assert_allclose(normal, streams.normal(3, 4), rtol=1e-6)
    np.testing.assert_allclose(uniform, streams.uniform(5), rtol=1e-6)
    assert (normal.shape, uniform.shape, uniform.dtype) == ((2, 3, 4), (2, 5), torch.float32)


def test_uniform_numbers_stay_below_one_in_single_precision() -> None:
    class Edge(RowStreams):
        def uniform(self, *shape: int) -> Any:
            return np.full((1, *shape), 1.0 - 1e-12)

    drawn = RowNoise(Edge.from_seed(0, 1)).uniform(1, 1)
    assert drawn.item() == 1.0 - 2.0**-24 < 1.0


def test_no_noise_is_the_centre_of_either_law() -> None:
    assert NoNoise().normal(2, 3).tolist() == [[0.0] * 3] * 2
    assert NoNoise().uniform(2, 3).tolist() == [[0.5] * 3] * 2
    assert not NoNoise().augments


def test_a_generator_gives_numbers_of_both_laws() -> None:
    noise, generator = GeneratorNoise.seeded(5), torch.Generator().manual_seed(5)
    assert torch.equal(noise.normal(2, 3), torch.randn(2, 3, generator=generator))
    assert torch.equal(noise.uniform(2, 3), torch.rand(2, 3, generator=generator))
    assert noise.augments
    assert not GeneratorNoise.seeded(5, augments=False).augments


def test_a_seeded_block_leaves_the_global_generator_where_it_was() -> None:
    before = torch.get_rng_state()
    with scoped(3):
        one = torch.rand(2)
    with scoped(3):
        assert torch.equal(one, torch.rand(2))
    assert torch.equal(before, torch.get_rng_state())


# --- devices and threads --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cuda", "mps", "there"),
    [(False, False, ["cpu"]), (False, True, ["mps", "cpu"]), (True, True, ["cuda", "mps", "cpu"])],
)
def test_the_fastest_device_that_is_there_is_taken(monkeypatch, cuda, mps, there) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert chosen_device("auto").type == there[0]
    for name in ("cpu", "mps", "cuda"):
        if name in there:
            assert chosen_device(name) == torch.device(name)
        else:
            with pytest.raises(ConfigError, match=f"available: auto, {', '.join(there)}"):
                chosen_device(name)


def test_a_device_says_what_it_is(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Model {device.index}")
    assert device_name(torch.device("cuda", 1)) == "cuda (Model 1)"
    assert device_name(torch.device("cpu")) == "cpu"


def test_a_block_has_its_own_number_of_threads() -> None:
    before = torch.get_num_threads()
    with use_threads(before + 2):
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before


# --- shortcuts ------------------------------------------------------------------------------------------


class Wrapped(nn.Module):
    """Counts how often it is called through torch's wrapper."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        return super().__call__(*args)

    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * x


HOOKS = [
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
]


@pytest.mark.parametrize("hook", [None, *HOOKS])
def test_a_layer_is_called_past_torchs_wrapper_unless_it_has_a_hook(hook: str | None) -> None:
    layer = Wrapped()
    handle = None if hook is None else getattr(layer, hook)(lambda *_: None)
    assert call(layer, torch.ones(1, requires_grad=True)).item() == 2.0
    assert layer.calls == (0 if hook is None else 1)
    if handle is not None:
        handle.remove()
        call(layer, torch.ones(1))
        assert layer.calls == 1


def test_shortcuts_are_taken_outside_of_the_block_that_switches_them_off() -> None:
    layer = Wrapped()
    assert takes_shortcuts()
    with without_shortcuts():
        assert not takes_shortcuts()
        with without_shortcuts():
            call(layer, torch.ones(1))
        assert not takes_shortcuts()
    assert takes_shortcuts()
    assert layer.calls == 1
