"""Saved policies: bit for bit, and an error with a reason for everything that can be wrong with them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from steadyhand.core.errors import ArtifactError
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.policies.artifact import load_policy, load_tensors, read_extra, save_policy, tensors_of
from steadyhand.policies.contract import Context, Head, Loss, Prefix, Target
from steadyhand.policies.noise import Noise
from steadyhand.policies.policy import Policy
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.testing import toy_frames

FRAMES = toy_frames(
    {STATE: FeatureSpec(shape=(3,), names=("x", "y", "v"), units=("m", "m", "m/s"))}, FeatureSpec(shape=(2,))
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    policy = Policy.build(PolicyConfig(horizon=2), PolicySpec.of_frames(FRAMES))
    policy.fit_statistics(FRAMES)
    save_policy(policy, tmp_path / "policy", extra={"success": 0.5})
    return tmp_path / "policy"


def edit_json(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    data = json.loads((folder / "policy.json").read_text())
    change(data)
    (folder / "policy.json").write_text(json.dumps(data))


def edit_tensors(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_what_was_saved_is_readable_without_the_library(folder: Path) -> None:
    data = json.loads((folder / "policy.json").read_text())
    assert data["config"]["encoder"]["type"] == "StateMLP"
    assert data["config"]["head"]["type"] == "Regression"
    assert data["spec"]["observation"][STATE]["units"] == ["m", "m", "m/s"]
    statistics = load_file(folder / "stats.safetensors")
    expected = FRAMES.observation[STATE].astype(np.float64).mean(0)
    np.testing.assert_allclose(statistics["normaliser.observation/state.offset"], expected, rtol=1e-5)
    assert read_extra(folder) == {"success": 0.5}


def test_saving_again_replaces_all_of_it(folder: Path) -> None:
    policy = load_policy(folder)
    assert not policy.training
    (folder / "stray").write_text("")
    nn.init.constant_(next(policy.parameters()), 0.25)
    save_policy(policy, folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "policy.json",
        "stats.safetensors",
        "weights.safetensors",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["policy"]
    assert (next(load_policy(folder).parameters()) == 0.25).all()


@pytest.mark.parametrize("name", ["policy.json", "weights.safetensors", "stats.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=name.split(".", maxsplit=1)[0]):
        load_policy(folder)


@pytest.mark.parametrize("name", ["policy.json", "weights.safetensors", "stats.safetensors"])
@pytest.mark.parametrize("length", [0, 7, 60])
def test_a_file_that_is_cut_short_is_refused(folder: Path, name: str, length: int) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ArtifactError):
        load_policy(folder)


def test_another_version_or_format_is_refused(folder: Path) -> None:
    edit_json(folder, lambda data: data.update(version=99))
    with pytest.raises(ArtifactError, match="version"):
        load_policy(folder)
    edit_json(folder, lambda data: data.update(format="other"))
    with pytest.raises(ArtifactError, match="not a policy"):
        load_policy(folder)


def test_an_unknown_setting_is_refused(folder: Path) -> None:
    edit_json(folder, lambda data: data["config"].update(horizom=3))  # pyright: ignore
    with pytest.raises(ArtifactError, match="horizom"):
        load_policy(folder)


@pytest.mark.parametrize("file", ["weights.safetensors", "stats.safetensors"])
def test_missing_unexpected_and_misshapen_tensors_are_refused(folder: Path, file: str) -> None:
    original = load_file(folder / file)
    name = sorted(original)[0]
    changes: list[tuple[str, Callable[[dict[str, Tensor]], object]]] = [
        ("lacks", lambda tensors: tensors.pop(name)),
        ("unknown", lambda tensors: tensors.update(stranger=torch.zeros(2))),
        ("does not fit", lambda tensors: tensors.update({name: torch.zeros(*tensors[name].shape, 1)})),
        ("does not fit", lambda tensors: tensors.update({name: tensors[name].double()})),
    ]
    for message, change in changes:
        save_file(original, folder / file)
        edit_tensors(folder / file, change)
        with pytest.raises(ArtifactError, match=message):
            load_policy(folder)


def test_tied_weights_are_refused(tmp_path: Path) -> None:
    one = nn.Linear(3, 3)
    two = nn.Linear(3, 3)
    two.weight = one.weight
    with pytest.raises(ArtifactError, match="share memory"):
        tensors_of(nn.Sequential(one, two))


class BankHead(Head):
    """Keeps as many rows as it was shown."""

    data_sized = ("bank",)
    bank: Tensor

    def __init__(self, rows: int, *, other: int = 2) -> None:
        super().__init__()
        self.register_buffer("bank", torch.arange(rows * 2.0).view(rows, 2))
        self.register_buffer("other", torch.zeros(other))

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        raise NotImplementedError

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Tensor:
        raise NotImplementedError


def test_only_declared_buffers_take_their_size_from_the_file() -> None:
    full, empty = nn.Sequential(BankHead(5)), nn.Sequential(BankHead(0))
    load_tensors(empty, tensors_of(full), source=Path("x"))
    assert torch.equal(empty.state_dict()["0.bank"], full.state_dict()["0.bank"])
    with pytest.raises(ArtifactError, match="other"):
        load_tensors(nn.Sequential(BankHead(0, other=3)), tensors_of(full), source=Path("x"))
