"""Schedule, average and threads against their formulas."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from steadyhand.core.errors import ConfigError
from steadyhand.policies.noise import scoped
from steadyhand.policies.threads import use_threads
from steadyhand.training.config import EmaConfig, TrainConfig
from steadyhand.training.optim import Ema, adamw, learning_rate


def test_warm_up_rises_linearly_and_cosine_falls_to_zero() -> None:
    config = TrainConfig(num_steps=100, warmup_steps=10, learning_rate=2.0)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(2.0 / 11)
    assert [rates[i + 1] - rates[i] for i in range(10)] == pytest.approx([2.0 / 11] * 10)
    assert max(rates) == rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(1.0)
    assert all(one > two for one, two in pairwise(rates[10:]))
    assert learning_rate(config, 100) == pytest.approx(0.0, abs=1e-12)


def test_constant_schedule_stays() -> None:
    config = TrainConfig(num_steps=5, warmup_steps=0, schedule="constant", learning_rate=0.5)
    assert [learning_rate(config, step) for step in range(5)] == [0.5] * 5


def test_warm_up_longer_than_the_run_is_no_division_by_zero() -> None:
    config = TrainConfig(num_steps=3, warmup_steps=3)
    assert all(math.isfinite(learning_rate(config, step)) for step in range(4))


def test_average_follows_its_recursion() -> None:
    with scoped(0):
        module = nn.Linear(2, 3)
    config = EmaConfig(power=0.75, inv_gamma=2.0, max_decay=0.8)
    ema = Ema(module, config)
    expected = module.weight.detach().clone()
    for step in range(20):
        with torch.no_grad():
            module.weight += 0.1 * (step + 1)
        ema.update(step)
        decay = min(1 - (1 + step / 2.0) ** -0.75, 0.8)
        expected = decay * expected + (1 - decay) * module.weight.detach()
    torch.testing.assert_close(ema.state()["weight"], expected)


def test_the_first_update_takes_the_weights_as_they_are() -> None:
    assert EmaConfig().decay(0) == 0.0
    assert EmaConfig().decay(10**9) == 0.9999


def test_swapping_exchanges_and_swapping_back_restores() -> None:
    module = nn.Linear(2, 2)
    ema = Ema(module, EmaConfig())
    raw = module.weight.detach().clone()
    nn.init.zeros_(module.weight)
    ema.swap()
    assert torch.equal(module.weight, raw)
    assert not ema.state()["weight"].any()
    ema.swap()
    assert not module.weight.any()


def test_frozen_parameters_are_neither_optimised_nor_averaged() -> None:
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    assert set(Ema(module, EmaConfig()).state()) == {"weight"}
    assert len(adamw(module, TrainConfig()).param_groups[0]["params"]) == 1


def test_threads_are_restored_even_after_an_error() -> None:
    before = torch.get_num_threads()
    inside: list[int] = []

    def fail() -> None:
        with use_threads(before + 1):
            inside.append(torch.get_num_threads())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert inside == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "wrong", [{"num_steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"num_threads": 0}], ids=str
)
def test_impossible_settings_raise(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="positive"):
        TrainConfig(**wrong)
