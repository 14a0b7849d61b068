"""Schedule, average and threads against their formulas."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from steadyhand.core.digests import sealed, unsealed
from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.noise import scoped
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.policies.threads import use_threads
from steadyhand.testing import toy_frames
from steadyhand.training.adamw import AdamW
from steadyhand.training.config import EmaConfig, TrainConfig
from steadyhand.training.loop import fit
from steadyhand.training.optim import Ema, adamw, learning_rate, set_learning_rate


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


def test_linear_schedule_falls_to_its_share_and_stays_there() -> None:
    """robomimic's transformer: linear to a tenth, over a part of the run."""
    config = TrainConfig(
        num_steps=50, warmup_steps=0, schedule="linear", learning_rate=2.0, final_share=0.1, fall_steps=20
    )
    rates = [learning_rate(config, step) for step in range(50)]
    assert [rates[i + 1] - rates[i] for i in range(20)] == pytest.approx([-2.0 * 0.9 / 20] * 20)
    assert rates[0] == pytest.approx(2.0)
    assert rates[20:] == pytest.approx([0.2] * 30)


def test_cosine_falls_to_its_share() -> None:
    config = TrainConfig(num_steps=100, warmup_steps=0, final_share=0.1, learning_rate=1.0)
    assert learning_rate(config, 50) == pytest.approx((1.0 + 0.1) / 2)
    assert learning_rate(config, 100) == pytest.approx(0.1)


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
    with ema.swapped():
        torch.testing.assert_close(module.weight.detach(), expected)


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
    assert torch.equal(ema.moving()["weight"], raw)
    ema.swap()
    assert not module.weight.any()


def test_frozen_parameters_are_neither_optimised_nor_averaged() -> None:
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    assert set(Ema(module, EmaConfig()).moving()) == {"weight"}
    assert len(adamw(module, TrainConfig()).param_groups[0]["params"]) == 1


class Parts(nn.Module):
    """One of everything that the rule on weight decay tells apart."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"conv": nn.Conv2d(1, 2, 3), "norm": nn.GroupNorm(1, 2)})
        self.linear = nn.Linear(2, 3)
        self.norm = nn.LayerNorm(3)
        self.table = nn.Embedding(4, 3)
        self.position = nn.Parameter(torch.ones(5, 3))
        self.recurrent = nn.LSTM(3, 2)


DECAYING = {"encoder.conv.weight", "linear.weight", "recurrent.weight_ih_l0", "recurrent.weight_hh_l0"}


def settings_of(config: TrainConfig) -> dict[str, tuple[float, float]]:
    """Return name -> (learning rate, weight decay) as the optimiser has them."""
    module = Parts()
    optimizer = adamw(module, config)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_without_rules_there_is_one_group_in_the_order_of_the_module() -> None:
    module = Parts()
    groups = adamw(module, TrainConfig()).param_groups
    assert len(groups) == 1
    assert all(one is two for one, two in zip(groups[0]["params"], module.parameters(), strict=True))


def test_exempt_are_biases_norms_embeddings_and_positions() -> None:
    settings = settings_of(TrainConfig(weight_decay=0.1, decay_exempt=True))
    assert {name for name, (_, decay) in settings.items() if decay == 0.1} == DECAYING
    assert {decay for name, (_, decay) in settings.items() if name not in DECAYING} == {0.0}
    assert len(settings) == len(list(Parts().parameters()))


def test_the_encoder_can_have_settings_of_its_own() -> None:
    config = TrainConfig(
        learning_rate=1e-3,
        weight_decay=0.1,
        encoder_learning_rate=1e-4,
        encoder_weight_decay=1e-6,
        decay_exempt=True,
    )
    settings = settings_of(config)
    assert settings["encoder.conv.weight"] == (1e-4, 1e-6)
    assert settings["encoder.norm.weight"] == (1e-4, 0.0)
    assert settings["linear.weight"] == (1e-3, 0.1)
    assert settings["norm.weight"] == (1e-3, 0.0)


def test_every_group_follows_the_schedule_from_its_own_peak() -> None:
    config = TrainConfig(num_steps=10, warmup_steps=0, learning_rate=1.0, encoder_learning_rate=0.25)
    optimizer = adamw(Parts(), config)
    for step in (0, 5, 9):
        set_learning_rate(optimizer, config, step)
        encoder, rest = sorted(group["lr"] for group in optimizer.param_groups)
        assert rest == learning_rate(config, step)
        assert encoder == pytest.approx(0.25 * rest)


def test_a_step_without_gradient_shows_decay_and_nothing_else() -> None:
    """One step of AdamW at zero gradient multiplies by 1 - learning rate x weight decay."""
    module = Parts()
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    optimizer = adamw(module, TrainConfig(learning_rate=0.1, weight_decay=0.5, decay_exempt=True))
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in module.named_parameters():
        factor = 1 - 0.1 * 0.5 if name in DECAYING else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


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


PICTURE = FeatureSpec(shape=(16, 20, 3), dtype="uint8", kind="image")
FILTERS = ResNet18(channels=2, stem="small", num_keypoints=4, width=8)
"""Its filters lie channels last in memory, and so do their moments."""


@pytest.mark.parametrize(
    ("observed", "made_of"),
    [
        ({STATE: FeatureSpec(shape=(3,))}, PolicyConfig()),
        ({"observation.image": PICTURE}, PolicyConfig(encoder=FILTERS)),
    ],
    ids=["vectors", "pictures"],
)
def test_a_resumed_run_with_groups_equals_the_whole_one(
    tmp_path: Path, observed: dict[str, FeatureSpec], made_of: PolicyConfig
) -> None:
    """The moments are kept by place in the groups, so the groups must come back in the same order."""
    frames = toy_frames(observed, FeatureSpec(shape=(2,)))
    config = TrainConfig(
        num_steps=12,
        batch_size=8,
        weight_decay=0.1,
        decay_exempt=True,
        encoder_learning_rate=1e-4,
        checkpoint_every=4,
        validation_every=4,
    )

    def run(folder: Path, *, stop_at: int | None = None, resume: bool = False) -> PolicyModule:
        def evaluate(module: nn.Module, step: int) -> dict[str, float]:
            if step == stop_at:
                raise InterruptedError
            return {}

        policy = PolicyModule.build(made_of, PolicySpec.of_frames(frames))
        policy.fit_statistics(frames)
        source = WindowSource(frames, policy.window)
        fit(policy, source, config=config, folder=folder, evaluate=evaluate, resume=resume)
        return policy

    whole = run(tmp_path / "whole")
    with pytest.raises(InterruptedError):
        run(tmp_path / "cut", stop_at=8)
    assert [path.name for path in (tmp_path / "cut" / "state").iterdir()] == ["step-00000004"]
    resumed = run(tmp_path / "cut", resume=True)
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_state_from_before_a_setting_existed_counts_as_its_default(tmp_path: Path) -> None:
    frames = toy_frames({STATE: FeatureSpec(shape=(3,))}, FeatureSpec(shape=(2,)))
    policy = PolicyModule.build(PolicyConfig(), PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    source, config = WindowSource(frames, policy.window), TrainConfig(num_steps=2, batch_size=4)
    fit(policy, source, config=config, folder=tmp_path)
    path = tmp_path / "state" / "step-00000002" / "state.json"
    state = unsealed(json.loads(path.read_text()), path=path)
    del state["config"]["decay_exempt"]
    path.write_text(json.dumps(sealed(state)))
    assert fit(policy, source, config=config, folder=tmp_path, resume=True).steps == 2
    other = replace(config, decay_exempt=True)
    with pytest.raises(ConfigError, match="another decay_exempt"):
        fit(policy, source, config=other, folder=tmp_path, resume=True)


def test_our_step_is_that_of_torch_bit_for_bit_and_goes_on_from_its_state():
    def module() -> nn.Module:
        with scoped(0):
            return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))

    ours, theirs = module(), module()
    groups = [{"params": list(ours.parameters()), "lr": 1e-2, "weight_decay": 0.1}]
    mine = AdamW(groups, betas=(0.9, 0.95))
    reference = torch.optim.AdamW(
        theirs.parameters(), lr=1e-2, weight_decay=0.1, betas=(0.9, 0.95), fused=True
    )
    generator = torch.Generator().manual_seed(1)
    for step in range(40):
        x = torch.randn(6, 5, generator=generator)
        for model, optimizer in ((ours, mine), (theirs, reference)):
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 / (1 + step)
            optimizer.zero_grad()
            model(x).square().mean().backward()
            if step % 7 == 3:  # one rests, as a branch of a net that a batch does not reach
                next(model.parameters()).grad = None
            optimizer.step()
        if step == 20:  # a restart from what was saved
            state = {index: dict(entry) for index, entry in mine.state_dict()["state"].items()}
            mine = AdamW(groups, betas=(0.9, 0.95))
            mine.load_state_dict({"state": state})
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(ours.parameters()), next(module().parameters()))


def test_a_state_of_another_network_is_refused():
    one = [{"params": [nn.Parameter(torch.zeros(3))], "lr": 0.1, "weight_decay": 0.0}]
    entry = {"step": torch.ones(()), "exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(2)}
    with pytest.raises(ConfigError, match="does not fit"):
        AdamW(one, betas=(0.9, 0.999)).load_state_dict({"state": {0: entry}})
