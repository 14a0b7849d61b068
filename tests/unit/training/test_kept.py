"""Which weights a run keeps, how it stops, how it is made longer, and what a step may be computed with."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from interrupts import heard
from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import STATE, FeatureSpec, discrete_spec
from steadyhand.policies.artifact import load_policy, save_policy, tensors_of
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.devices import chosen_device
from steadyhand.policies.heads.bins import Bins
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.energy import Energy
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.latent import Latent
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.nets.unet1d import UNet
from steadyhand.policies.noise import Noise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.policies.trainable import LossRows, Trainable
from steadyhand.testing import toy_frames
from steadyhand.training.checkpoint import Checkpoints
from steadyhand.training.config import EmaConfig, TrainConfig
from steadyhand.training.loop import FitResult, fit

FRAMES = toy_frames({STATE: FeatureSpec(shape=(3,))}, FeatureSpec(shape=(2,)))
CONSTANT = TrainConfig(num_steps=30, batch_size=6, schedule="constant", ema=EmaConfig(), warmup_steps=5)


def fitted(
    config: TrainConfig, *, folder: Path | None = None, resume: bool = False, head: HeadConfig | None = None
) -> tuple[PolicyModule, FitResult]:
    policy = PolicyModule.build(PolicyConfig(head=head or Regression()), PolicySpec.of_frames(FRAMES), seed=1)
    policy.fit_statistics(FRAMES)
    source = WindowSource(FRAMES, policy.window)
    validation = WindowSource(FRAMES, policy.window, steps=np.arange(8))
    return policy, fit(policy, source, config=config, validation=validation, folder=folder, resume=resume)


def assert_same(one: nn.Module, two: nn.Module) -> None:
    first, second = tensors_of(one), tensors_of(two)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


class Falling(Trainable[Tensor]):
    """A number that training moves to 10 and that is best at 4 for whoever validates it."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))

    def loss_rows(self, batch: Tensor, noise: Noise) -> LossRows:
        del noise
        wanted = 10.0 if torch.is_grad_enabled() else 4.0
        return LossRows(
            numerator=(self.value - wanted).square() * torch.ones(len(batch)),
            denominator=torch.ones(len(batch)),
        )


class Ten:
    """A source of ten numbers."""

    steps = np.arange(10)

    def batch(self, steps: Int64[np.ndarray, " B"]) -> Tensor:
        return torch.from_numpy(steps).float()


OVERFITTING = TrainConfig(
    num_steps=100, batch_size=5, learning_rate=0.1, weight_decay=0.0, warmup_steps=0, schedule="constant",
    validation_every=10,
)  # fmt: skip


@pytest.mark.parametrize("on_disk", [True, False])
def test_the_best_weights_are_delivered_where_they_are_wanted(tmp_path: Path, on_disk: bool) -> None:
    folder = tmp_path if on_disk else None
    last, best = Falling(), Falling()
    result = fit(last, Ten(), config=OVERFITTING, validation=Ten(), folder=folder)
    history = {line["step"]: line["validation_loss"] for line in result.history if "validation_loss" in line}
    lowest = min(history, key=history.__getitem__)
    assert result.best_step == lowest < result.steps == result.kept_step
    assert result.rise == pytest.approx((history[100] - history[lowest]) / history[lowest])
    chosen = fit(best, Ten(), config=replace(OVERFITTING, keep="best"), validation=Ten(), folder=folder)
    assert chosen.kept_step == lowest
    assert (best.value.item() - 4.0) ** 2 == pytest.approx(history[lowest], rel=1e-4)
    assert last.value.item() > best.value.item() + 1.0


def test_no_best_without_validation() -> None:
    with pytest.raises(ConfigError, match="Without validation"):
        fit(Falling(), Ten(), config=replace(OVERFITTING, keep="best"))


def test_a_validation_that_never_rose_is_no_rise() -> None:
    result = fit(Falling(), Ten(), config=replace(OVERFITTING, num_steps=20), validation=Ten())
    assert result.rise == 0.0


def test_best_and_last_are_policies_on_disk(tmp_path: Path) -> None:
    config = replace(CONSTANT, validation_every=5, checkpoint_every=10)
    policy, result = fitted(config, folder=tmp_path)
    last = Checkpoints.last(tmp_path)
    assert last is not None
    assert last[0] == 30
    assert_same(load_policy(last[1]), policy)
    best = load_policy(tmp_path / "best")
    source = WindowSource(FRAMES, best.window, steps=np.arange(8))
    batch = source.batch(source.steps)
    error = best.predict_chunk(batch.observation, batch.obs_is_pad)
    assert torch.isfinite(error).all()
    chosen, again = fitted(replace(config, keep="best"), folder=tmp_path, resume=True)
    assert again.kept_step == result.best_step
    assert_same(chosen, best)


@pytest.mark.parametrize("ema", [None, EmaConfig()])
def test_an_intermediate_checkpoint_is_what_a_run_of_that_length_delivers(
    tmp_path: Path, ema: EmaConfig | None
) -> None:
    config = replace(CONSTANT, checkpoint_every=15, ema=ema)
    fitted(config, folder=tmp_path)
    short, _ = fitted(replace(config, num_steps=15))
    assert_same(load_policy(tmp_path / "state" / "step-00000015"), short)


@pytest.mark.parametrize("extra", [{}, {"schedule": "linear", "fall_steps": 20}, {"keep": "best"}])
def test_a_longer_run_equals_one_of_that_length(tmp_path: Path, extra: dict[str, object]) -> None:
    config = replace(CONSTANT, validation_every=10, **extra)
    fitted(replace(config, num_steps=20), folder=tmp_path)
    longer, result = fitted(config, folder=tmp_path, resume=True)
    whole, straight = fitted(config)
    assert_same(longer, whole)
    assert (result.steps, result.validation_loss) == (straight.steps, straight.validation_loss)
    assert result.best_validation_loss == straight.best_validation_loss


def test_a_warm_start_that_widened_the_action_range_resumes_with_the_wider_range(tmp_path: Path) -> None:
    first, _ = fitted(CONSTANT)
    save_policy(first, tmp_path / "first")
    far = replace(FRAMES, action=3.0 * FRAMES.action, expert_action=3.0 * FRAMES.expert_action)

    def further(*, resume: bool) -> PolicyModule:
        policy = load_policy(tmp_path / "first")
        config = replace(CONSTANT, checkpoint_every=15)
        fit(policy, WindowSource(far, policy.window), config=config, folder=tmp_path / "run", resume=resume)
        return policy

    whole = further(resume=False)
    assert not torch.equal(whole.affines["action"].scale, first.affines["action"].scale)
    shutil.rmtree(tmp_path / "run" / "state" / "step-00000030")
    assert_same(further(resume=True), whole)


def test_a_run_whose_learning_rate_fell_cannot_be_made_longer(tmp_path: Path) -> None:
    config = replace(CONSTANT, schedule="cosine")
    fitted(config, folder=tmp_path)
    with pytest.raises(ConfigError, match="cannot be made longer") as caught:
        fitted(replace(config, num_steps=40), folder=tmp_path, resume=True)
    assert "--from RUN" in str(caught.value)


def test_checkpoints_by_time_change_neither_weights_nor_lines(tmp_path: Path) -> None:
    whole, straight = fitted(replace(CONSTANT, log_every=7), folder=tmp_path / "whole")
    often = replace(CONSTANT, log_every=7, checkpoint_every_s=1e-9)
    timed, result = fitted(often, folder=tmp_path / "timed")
    assert len(list((tmp_path / "timed/state").iterdir())) == 2
    assert_same(timed, whole)

    def plain(one: FitResult) -> list[dict[str, float]]:
        return [
            {name: value for name, value in line.items() if name != "steps_per_s"} for line in one.history
        ]

    assert plain(result) == plain(straight)


def test_a_state_between_two_lines_knows_the_losses_of_the_next_one(tmp_path: Path) -> None:
    config = replace(CONSTANT, log_every=30, checkpoint_every_s=1e-9)
    _, straight = fitted(config, folder=tmp_path)
    shutil.rmtree(tmp_path / "state" / "step-00000030")
    (tmp_path / "metrics.jsonl").write_text("")
    _, resumed = fitted(config, folder=tmp_path, resume=True)
    assert len(resumed.history) == 1
    assert resumed.history[0]["loss"] == straight.history[0]["loss"]


SCRIPT = Path(__file__).with_name("killed_run.py")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, -2), (signal.SIGTERM, -15)])
def test_a_signal_saves_the_state_and_then_acts(tmp_path: Path, number: int, status: int) -> None:
    """A plain process dies of the signal as it always would; no checkpoint but that of the signal is due."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(tmp_path), "0.1", "1000"],
        stderr=subprocess.DEVNULL,
        preexec_fn=heard,
    )
    path, limit = tmp_path / "metrics.jsonl", time.monotonic() + 300
    while time.monotonic() < limit and not (path.exists() and path.read_text().count("\n") >= 3):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    assert process.wait(300) == status
    last = Checkpoints.last(tmp_path)
    assert last is not None
    assert 12 <= last[0] < 60
    assert load_policy(last[1]).features == (STATE,)


HEADS = [Regression(), Gaussian(), Regression(error="l1")]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_a_batch_in_parts_equals_the_batch(head: HeadConfig, clip_norm: float | None) -> None:
    config = replace(CONSTANT, batch_size=8, clip_norm=clip_norm)
    whole, at_once = fitted(config, head=head)
    parts, result = fitted(replace(config, accumulate=3), head=head)
    assert result.train_loss == pytest.approx(at_once.train_loss, rel=1e-4)
    for name, value in tensors_of(whole).items():
        torch.testing.assert_close(tensors_of(parts)[name], value, rtol=2e-3, atol=2e-4)


def test_parts_of_unequal_weight_count_by_their_weight() -> None:
    """Rows that weigh nothing must not dilute: the gradient is a ratio of sums, not a mean of means."""
    weight = np.ones(len(FRAMES), dtype=np.float32)
    weight[::2] = 0.01
    frames = replace(FRAMES, weight=weight)
    results: list[dict[str, Tensor]] = []
    for accumulate in (1, 4):
        policy = PolicyModule.build(PolicyConfig(), PolicySpec.of_frames(frames), seed=1)
        policy.fit_statistics(frames)
        config = TrainConfig(
            num_steps=1,
            batch_size=8,
            learning_rate=1.0,
            weight_decay=0.0,
            warmup_steps=0,
            accumulate=accumulate,
        )
        fit(policy, WindowSource(frames, policy.window), config=config)
        results.append({name: p.grad for name, p in policy.named_parameters() if p.grad is not None})
    assert results[0]
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-4, atol=1e-6)


def test_bf16_trains_float32_weights_to_about_the_same_loss() -> None:
    config = replace(CONSTANT, num_steps=60, learning_rate=3e-3)
    exact, at_once = fitted(config)
    rough, result = fitted(replace(config, precision="bf16"))
    assert all(parameter.dtype == torch.float32 for parameter in rough.parameters())
    assert result.validation_loss == pytest.approx(at_once.validation_loss, rel=0.1)
    assert not torch.equal(next(exact.parameters()), next(rough.parameters()))


def test_a_device_is_there_or_refused_with_those_that_are() -> None:
    assert chosen_device("cpu") == torch.device("cpu")
    assert chosen_device("auto").type in ("cpu", "cuda", "mps")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="available: auto, cpu"):
            chosen_device("cuda")


SMALL = UNet(channels=(8, 16), time_width=8)
BF16 = [
    Gaussian(),
    Categorical(),
    Mixture(num_modes=2),
    Bins(),
    Diffusion(net=SMALL),
    Flow(net=SMALL),
    Mip(net=SMALL),
    Tokens(num_centres=2),
    Latent(),
    Energy(),
]


@pytest.mark.parametrize("head", BF16, ids=lambda head: type(head).__name__)
def test_heads_of_every_kind_train_in_bf16_parts(head: HeadConfig) -> None:
    action = discrete_spec(3) if isinstance(head, Categorical) else FRAMES.action_spec
    frames = toy_frames({STATE: FeatureSpec(shape=(3,))}, action)
    policy = PolicyModule.build(PolicyConfig(head=head, horizon=2), PolicySpec.of_frames(frames), seed=1)
    policy.fit_statistics(frames)
    config = replace(CONSTANT, num_steps=2, precision="bf16", accumulate=2)
    result = fit(policy, WindowSource(frames, policy.window), config=config)
    assert np.isfinite(result.train_loss)
    assert all(parameter.dtype == torch.float32 for parameter in policy.parameters())
