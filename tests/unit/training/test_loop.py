"""The loop: reproducible, resumable after kill -9, honest about divergence."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from steadyhand.core.errors import ArtifactError, CapabilityError, ConfigError
from steadyhand.policies.artifact import tensors_of
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.noise import Noise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.policies.trainable import BatchFit, LossRows, Trainable
from steadyhand.training.config import EmaConfig, TrainConfig
from steadyhand.training.loop import DivergedError, fit

SCRIPT = Path(__file__).with_name("killed_run.py")


def load_script() -> ModuleType:
    """Import the script that is also run as a process of its own."""
    spec = importlib.util.spec_from_file_location("killed_run", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


killed_run = load_script()
FRAMES = killed_run.FRAMES


def new_policy() -> PolicyModule:
    policy = PolicyModule.build(PolicyConfig(), PolicySpec.of_frames(FRAMES))
    policy.fit_statistics(FRAMES)
    return policy


def bits(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors_of(module).items()}


def assert_same(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def lines_of(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "steps_per_s"} for line in lines]


@dataclass
class Numbers:
    """A source of the numbers 0 to 9."""

    steps: np.ndarray

    def batch(self, steps: Int64[np.ndarray, " B"]) -> Tensor:
        return torch.from_numpy(steps).float()


class Scalar(Trainable[Tensor]):
    """Learns the mean of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))
        self.frozen = nn.Parameter(torch.zeros(()), requires_grad=False)
        self.drawn: list[float] = []
        self.seen: list[Tensor] = []

    def loss_rows(self, batch: Tensor, noise: Noise) -> LossRows:
        self.drawn.append(noise.uniform(1).item())
        self.seen.append(batch)
        return LossRows(numerator=(self.value - batch).square(), denominator=torch.ones(len(batch)))

    def prepare(self, batches: Callable[[], Iterator[Tensor]], fit: BatchFit[Tensor], noise: Noise) -> None:
        self.passes = [torch.cat(list(batches())).tolist() for _ in range(2)]
        fit(
            nn.ParameterList([self.frozen]),
            lambda batch, _: (self.frozen - batch).square().mean(),
            num_steps=400,
            learning_rate=0.1,
        )


def numbers() -> Numbers:
    return Numbers(np.arange(10))


def test_it_finds_the_mean_and_prepares_first() -> None:
    scalar = Scalar()
    config = TrainConfig(num_steps=600, batch_size=10, learning_rate=0.1, weight_decay=0.0)
    result = fit(scalar, numbers(), config=config)
    assert scalar.value.item() == pytest.approx(4.5, abs=0.01)
    assert scalar.passes == [list(range(10))] * 2
    assert scalar.frozen.item() == pytest.approx(4.5, abs=0.3)
    assert not scalar.frozen.requires_grad
    assert result.steps == 600
    assert result.train_loss == pytest.approx(8.25, abs=0.1)
    assert result.validation_loss is None


def test_the_noise_of_a_step_is_its_own() -> None:
    one, two = Scalar(), Scalar()
    fit(one, numbers(), config=TrainConfig(num_steps=20, batch_size=4))
    fit(two, numbers(), config=TrainConfig(num_steps=10, batch_size=4))
    assert one.drawn[:10] == two.drawn
    assert len(set(one.drawn)) == 20


def test_only_training_steps_are_drawn_and_all_of_them() -> None:
    scalar = Scalar()
    fit(scalar, Numbers(np.array([1, 3, 8])), config=TrainConfig(num_steps=3, batch_size=4))
    drawn = torch.cat(scalar.seen).tolist()
    assert {number: drawn.count(number) for number in set(drawn)} == {1.0: 4, 3.0: 4, 8.0: 4}


def test_the_same_run_gives_the_same_bits_and_another_seed_does_not() -> None:
    policies = [new_policy() for _ in range(3)]
    for policy, seed in zip(policies, (0, 0, 1), strict=True):
        fit(
            policy,
            WindowSource(FRAMES, policy.window),
            config=TrainConfig(num_steps=20, seed=seed, batch_size=4),
        )
    assert_same(bits(policies[0]), bits(policies[1]))
    assert not torch.equal(*(next(policies[i].parameters()) for i in (0, 2)))


def test_the_average_is_what_is_left_and_what_is_validated() -> None:
    scalars = [Scalar(), Scalar()]
    evaluated: list[float] = []

    def evaluate(module: nn.Module, step: int) -> dict[str, float]:
        assert not module.training
        assert isinstance(module, Scalar)
        evaluated.append(module.value.item())
        return {"evaluated_at": float(step)}

    slow = EmaConfig(power=0.5, max_decay=0.9)
    base = TrainConfig(num_steps=50, batch_size=10, learning_rate=0.1, validation_every=25)
    fit(scalars[0], numbers(), config=base)
    result = fit(
        scalars[1], numbers(), config=replace(base, ema=slow), validation=numbers(), evaluate=evaluate
    )
    assert scalars[1].value < scalars[0].value
    assert evaluated[-1] == scalars[1].value.item()
    assert [line["evaluated_at"] for line in result.history if "evaluated_at" in line] == [25.0, 50.0]
    expected = 8.25 + (evaluated[-1] - 4.5) ** 2
    assert result.validation_loss == pytest.approx(expected, rel=1e-5)


def test_validation_does_not_change_the_run() -> None:
    one, two = new_policy(), new_policy()
    source = WindowSource(FRAMES, one.window)
    config = TrainConfig(num_steps=12, batch_size=4, ema=EmaConfig())
    fit(one, source, config=config)
    fit(two, source, config=replace(config, validation_every=3), validation=source)
    assert_same(bits(one), bits(two))


def test_divergence_names_the_step_and_the_last_good_state(tmp_path: Path) -> None:
    class Diverging(Scalar):
        def loss_rows(self, batch: Tensor, noise: Noise) -> LossRows:
            rows = super().loss_rows(batch, noise)
            factor = torch.nan if len(self.seen) == 14 else 1.0
            return LossRows(numerator=rows.numerator * factor, denominator=rows.denominator)

    config = TrainConfig(num_steps=40, batch_size=2, checkpoint_every=10, log_every=10)
    with pytest.raises(DivergedError, match=r"(?s)step 14 .*step-00000010"):
        fit(Diverging(), numbers(), config=config, folder=tmp_path)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-00000010"]


def test_missing_statistics_raise_before_any_step() -> None:
    policy = PolicyModule.build(PolicyConfig(), PolicySpec.of_frames(FRAMES))
    with pytest.raises(CapabilityError, match="fit_statistics"):
        fit(policy, WindowSource(FRAMES, policy.window), config=TrainConfig(num_steps=1))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """The bits and lines of a run that nobody killed."""
    folder = tmp_path_factory.mktemp("whole")
    return bits(killed_run.run(folder)), lines_of(folder)


@pytest.mark.parametrize("kill_at", [8, 33])
def test_kill_9_and_resume_equal_the_run_that_was_not_killed(
    tmp_path: Path, kill_at: int, whole: tuple[dict[str, Tensor], list[dict[str, float]]]
) -> None:
    """SIGKILL once step `kill_at` is logged; then resume."""
    process = subprocess.Popen([sys.executable, str(SCRIPT), str(tmp_path), "0.02"])
    path, limit = tmp_path / "metrics.jsonl", time.monotonic() + 60
    while time.monotonic() < limit and process.poll() is None:
        text = path.read_text() if path.exists() else ""
        if any(json.loads(line)["step"] >= kill_at for line in text.split("\n")[:-1]):
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    states = sorted(path.name for path in (tmp_path / "state").glob("step-*"))
    assert 1 <= len(states) <= 3  # the new one, the one before, and one about to be removed
    resumed = killed_run.run(tmp_path, resume=True)
    assert_same(bits(resumed), whole[0])
    assert lines_of(tmp_path) == whole[1]


def test_a_state_that_was_being_written_is_ignored(
    tmp_path: Path, whole: tuple[dict[str, Tensor], list[dict[str, float]]]
) -> None:
    killed_run.run(tmp_path)
    torn = tmp_path / "state" / ".step-00000099.tmp"
    torn.mkdir()
    (torn / "weights.safetensors").write_bytes(b"half")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 61, "lo')
    assert_same(bits(killed_run.run(tmp_path, resume=True)), whole[0])
    assert lines_of(tmp_path) == whole[1]


def test_the_last_two_states_are_kept_and_a_fresh_run_starts_over(tmp_path: Path) -> None:
    killed_run.run(tmp_path)
    names = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert names == ["step-00000056", "step-00000060"]
    result = fit(Scalar(), numbers(), config=TrainConfig(num_steps=2, batch_size=2), folder=tmp_path)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-00000002"]
    assert [line["step"] for line in lines_of(tmp_path)] == [2]
    assert result.history[-1]["samples"] == 4


def test_resuming_another_run_is_refused(tmp_path: Path) -> None:
    base = TrainConfig(num_steps=4, batch_size=2)
    fit(Scalar(), numbers(), config=base, folder=tmp_path)
    fit(Scalar(), numbers(), config=replace(base, log_every=2), folder=tmp_path, resume=True)
    for other in (
        replace(base, learning_rate=0.5),
        replace(base, num_steps=3),
        replace(base, ema=EmaConfig()),
    ):
        with pytest.raises(ConfigError, match="started with another"):
            fit(Scalar(), numbers(), config=other, folder=tmp_path, resume=True)
    with pytest.raises(ConfigError, match="other training data"):
        fit(Scalar(), Numbers(np.arange(9)), config=base, folder=tmp_path, resume=True)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors"])
def test_a_corrupt_state_is_refused(tmp_path: Path, name: str) -> None:
    config = TrainConfig(num_steps=4, batch_size=2)
    fit(Scalar(), numbers(), config=config, folder=tmp_path)
    path = tmp_path / "state" / "step-00000004" / name
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ArtifactError, match=name):
        fit(Scalar(), numbers(), config=config, folder=tmp_path, resume=True)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
def test_one_flipped_bit_of_a_state_is_found(tmp_path: Path, name: str) -> None:
    config = TrainConfig(num_steps=4, batch_size=2)
    fit(Scalar(), numbers(), config=config, folder=tmp_path)
    path = tmp_path / "state" / "step-00000004" / name
    data = bytearray(path.read_bytes())
    place = data.index(b'"step": 4') + 8 if name == "state.json" else len(data) - 2  # a digit; a number
    data[place] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match=f"{name} is damaged"):
        fit(Scalar(), numbers(), config=config, folder=tmp_path, resume=True)


def test_validation_neither_drops_out_nor_moves_pictures() -> None:
    class Ear(Trainable[Tensor]):
        """Hears whether its noise augments."""

        def __init__(self) -> None:
            super().__init__()
            self.value = nn.Parameter(torch.ones(()))
            self.heard: dict[bool, set[bool]] = {True: set(), False: set()}

        def loss_rows(self, batch: Tensor, noise: Noise) -> LossRows:
            self.heard[torch.is_grad_enabled()].add(noise.augments)
            return LossRows(numerator=self.value * torch.ones(len(batch)), denominator=torch.ones(len(batch)))

    ear, eight = Ear(), Numbers(np.arange(8))
    fit(ear, eight, config=TrainConfig(num_steps=2, batch_size=4), validation=eight)
    assert ear.heard == {True: {True}, False: {False}}


def test_resuming_on_the_same_steps_with_other_content_is_refused(tmp_path: Path) -> None:
    config = TrainConfig(num_steps=4, batch_size=2)
    policy = new_policy()
    fit(policy, WindowSource(FRAMES, policy.window), config=config, folder=tmp_path)
    fit(new_policy(), WindowSource(FRAMES, policy.window), config=config, folder=tmp_path, resume=True)
    for changed in (
        replace(FRAMES, expert_action=-FRAMES.expert_action),
        replace(FRAMES, weight=FRAMES.weight * 2),
        replace(FRAMES, observation={name: value + 1 for name, value in FRAMES.observation.items()}),
    ):
        source = WindowSource(changed, policy.window)
        with pytest.raises(ConfigError, match=r"(?s)other training data.*steps of content"):
            fit(new_policy(), source, config=config, folder=tmp_path, resume=True)

    class Shifted(Numbers):
        """Knows no digest of itself."""

        def batch(self, steps: Int64[np.ndarray, " B"]) -> Tensor:
            return super().batch(steps) + 1

    fit(Scalar(), numbers(), config=config, folder=tmp_path / "scalar")
    with pytest.raises(ConfigError, match="other training data"):
        fit(Scalar(), Shifted(np.arange(10)), config=config, folder=tmp_path / "scalar", resume=True)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
def test_a_damaged_newest_state_is_passed_over_with_a_word(
    tmp_path: Path, name: str, whole: tuple[dict[str, Tensor], list[dict[str, float]]]
) -> None:
    killed_run.run(tmp_path)
    path = tmp_path / "state" / "step-00000060" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(UserWarning, match=f"(?s)step-00000060 is damaged and passed over.*{name}"):
        resumed = killed_run.run(tmp_path, resume=True)
    assert_same(bits(resumed), whole[0])
    assert lines_of(tmp_path) == whole[1]


def test_a_run_of_a_version_that_computes_other_numbers_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(num_steps=4, batch_size=2)
    fit(Scalar(), numbers(), config=config, folder=tmp_path)
    monkeypatch.setattr("steadyhand.training.checkpoint.NUMERICS", 99)
    with pytest.raises(ConfigError, match="computes other numbers"):
        fit(Scalar(), numbers(), config=config, folder=tmp_path, resume=True)
