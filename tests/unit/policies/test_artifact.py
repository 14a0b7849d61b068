"""Saved policies: bit for bit, and an error with a reason for everything that can be wrong with them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from steadyhand.core.digests import file_digest, sealed
from steadyhand.core.errors import ArtifactError, CapabilityError
from steadyhand.core.settings import Settings
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.data.frames import WindowSpec
from steadyhand.policies.artifact import (
    load_policy,
    load_tensors,
    read_policy_tensors,
    read_tensors,
    save_policy,
    tensors_of,
    write_tensors,
)
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.contract import Context, Head, Loss, Prefix, Target
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.noise import Noise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.testing import toy_frames

FRAMES = toy_frames(
    {STATE: FeatureSpec(shape=(3,), names=("x", "y", "v"), units=("m", "m", "m/s"))}, FeatureSpec(shape=(2,))
)
SAW = {
    "shape": [3],
    "dtype": "float32",
    "kind": "continuous",
    "low": None,
    "high": None,
    "num_classes": None,
    "start": 0,
    "drawn": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    policy = PolicyModule.build(PolicyConfig(horizon=2), PolicySpec.of_frames(FRAMES))
    policy.fit_statistics(FRAMES)
    policy.trained_on = WindowSource(FRAMES, policy.window).digest()
    save_policy(policy, tmp_path / "policy", extra={"success": 0.5})
    return tmp_path / "policy"


def edit_json(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change policy.json and seal it again: what only another program could have written."""
    data = json.loads((folder / "policy.json").read_text())
    data.pop("sha256")
    change(data)
    (folder / "policy.json").write_text(json.dumps(sealed(data)))


def edit_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the weights, and their digest with them."""
    path = folder / "weights.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    edit_json(folder, lambda data: data["files"].update({path.name: file_digest(path)}))


def test_a_policy_of_before_pictures_said_how_they_were_drawn_is_read(folder: Path) -> None:
    def forget(data: dict[str, Any]) -> None:
        for spec in (data["spec"]["action"], *data["spec"]["observation"].values()):
            del spec["drawn"]

    edit_json(folder, forget)
    assert load_policy(folder).spec.action.drawn == ""


def test_what_was_saved_is_readable_without_the_library(folder: Path) -> None:
    data = json.loads((folder / "policy.json").read_text())
    assert (data["format"], data["version"]) == ("steadyhand.policy", 3)
    assert data["config"]["encoder"]["type"] == "StateMLP"
    assert data["config"]["head"]["type"] == "Regression"
    assert data["spec"]["observation"] == {
        STATE: {**SAW, "names": ["x", "y", "v"], "units": ["m", "m", "m/s"]}
    }
    assert data["spec"]["action"] == {**SAW, "shape": [2], "names": None, "units": None}
    assert data["spec"]["control_dt"] == FRAMES.control_dt
    assert (data["data"]["episodes"], data["data"]["steps"]) == (FRAMES.num_episodes, len(FRAMES))
    assert load_policy(folder).trained_on == data["data"] == WindowSource(FRAMES, WindowSpec()).digest()
    state = FRAMES.observation[STATE].astype(np.float64)
    action = FRAMES.expert_action.astype(np.float64)
    statistics = data["normaliser"]
    assert (statistics[STATE]["mode"], statistics["action"]["mode"]) == ("z_score", "min_max")
    assert data["config"]["normalisation"] == {STATE: "z_score", "action": "min_max"}
    assert data["config"]["input_clip"] is None
    np.testing.assert_allclose(statistics[STATE]["offset"], state.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics[STATE]["scale"], state.std(0), rtol=1e-5)
    np.testing.assert_allclose(statistics["action"]["scale"], np.ptp(action, 0) / 2, rtol=1e-5)
    np.testing.assert_allclose(statistics[STATE]["floor"], [1e-4, 1e-4, 1e-3])
    weights = (folder / "weights.safetensors").read_bytes()
    assert data["files"] == {"weights.safetensors": f"{len(weights)}:{hashlib.sha256(weights).hexdigest()}"}
    assert data["extra"] == {"success": 0.5}


def test_saving_again_replaces_all_of_it(folder: Path) -> None:
    policy = load_policy(folder)
    assert not policy.training
    (folder / "stray").write_text("")
    nn.init.constant_(next(policy.parameters()), 0.25)
    save_policy(policy, folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "policy.json",
        "weights.safetensors",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["policy"]
    assert (next(load_policy(folder).parameters()) == 0.25).all()


def untrained() -> PolicyModule:
    return PolicyModule.build(PolicyConfig(), PolicySpec.of_frames(FRAMES))


def test_a_new_folder_is_made_with_its_parents_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    save_policy(untrained(), tmp_path / "a" / "b" / "policy")
    (tmp_path / "empty").mkdir()
    save_policy(untrained(), tmp_path / "empty")
    for folder in (tmp_path / "a" / "b" / "policy", tmp_path / "empty"):
        assert load_policy(folder).config.horizon == 1


def test_what_a_save_left_that_was_killed_does_no_harm(folder: Path) -> None:
    for name in (".policy.tmp", ".policy.old"):
        (folder.parent / name).mkdir()
        (folder.parent / name / "stray").write_text("")
    save_policy(load_policy(folder), folder)
    assert [path.name for path in folder.parent.iterdir()] == ["policy"]
    assert sorted(path.name for path in folder.iterdir()) == ["policy.json", "weights.safetensors"]


def test_a_policy_takes_the_place_of_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArtifactError, match="is a file"):
        save_policy(untrained(), tmp_path / "file")
    with pytest.raises(ArtifactError, match="holds other files"):
        save_policy(untrained(), tmp_path)
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(ArtifactError, match="folder of its own"):
        save_policy(untrained(), Path())


def test_a_file_that_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"x\.safetensors"):
        write_tensors(tmp_path / "no" / "x.safetensors", {"a": torch.zeros(2)})
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ArtifactError, match=path.name):
            read_tensors(path)


@pytest.mark.parametrize("text", ["[]", "3", '{"format": "steadyhand.policy"}'])
def test_other_json_is_no_policy(folder: Path, text: str) -> None:
    (folder / "policy.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"not a policy|version"):
        load_policy(folder)


@dataclass(frozen=True, kw_only=True)
class Layer(Settings):
    width: int = 8
    activation: str = "relu"


@dataclass(frozen=True, kw_only=True)
class Layered(StateMLP):
    """An encoder of somebody's own with settings within a tuple."""

    layers: tuple[Layer, ...] = (Layer(), Layer(width=4))


def test_settings_in_a_list_are_to_be_whole_too(tmp_path: Path) -> None:
    policy = PolicyModule.build(PolicyConfig(encoder=Layered()), PolicySpec.of_frames(FRAMES))
    save_policy(policy, tmp_path / "policy")
    assert load_policy(tmp_path / "policy", parts=[Layered]).config == policy.config
    edit_json(tmp_path / "policy", lambda data: data["config"]["encoder"]["layers"][1].pop("activation"))
    with pytest.raises(ArtifactError, match=r"encoder\.layers\.activation"):
        load_policy(tmp_path / "policy", parts=[Layered])


@pytest.mark.parametrize("name", ["policy.json", "weights.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=name.split(".", maxsplit=1)[0]):
        load_policy(folder)


@pytest.mark.parametrize("name", ["policy.json", "weights.safetensors"])
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
    edit_json(folder, lambda data: data["config"].update(horizom=3))
    with pytest.raises(ArtifactError, match="horizom"):
        load_policy(folder)


@pytest.mark.parametrize(
    "place", [("config", "input_noise"), ("config", "encoder", "hidden"), ("spec", "control_dt")]
)
def test_a_setting_that_the_file_leaves_to_the_code_is_refused(folder: Path, place: tuple[str, ...]) -> None:
    def remove(data: dict[str, Any]) -> None:
        for name in place[:-1]:
            data = data[name]
        del data[place[-1]]

    edit_json(folder, remove)
    with pytest.raises(ArtifactError, match=place[-1]):
        load_policy(folder)


@pytest.mark.parametrize("part", ["config", "spec", "normaliser", "data", "files"])
def test_a_missing_part_is_named(folder: Path, part: str) -> None:
    edit_json(folder, lambda data: data.pop(part))
    with pytest.raises(ArtifactError, match=part):
        load_policy(folder)


def test_one_changed_digit_or_bit_is_refused(folder: Path) -> None:
    whole = (folder / "policy.json").read_text()
    (folder / "policy.json").write_text(whole.replace('"z_score"', '"min_max"', 1))
    with pytest.raises(ArtifactError, match="damaged"):
        load_policy(folder)
    (folder / "policy.json").write_text(whole)
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    policy = load_policy(folder)
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged"):
        load_policy(folder)
    with pytest.raises(ArtifactError, match="damaged"):
        read_policy_tensors(folder, policy)


def test_tensors_are_read_for_another_policy_of_the_same_parts(folder: Path) -> None:
    saved = load_policy(folder).state_dict()
    other = PolicyModule.build(PolicyConfig(horizon=2), PolicySpec.of_frames(FRAMES), seed=5)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    found = read_policy_tensors(folder, other)
    assert found.keys() == saved.keys()
    assert all(torch.equal(found[name], value) for name, value in saved.items())
    torch.testing.assert_close(other.state_dict(), before, equal_nan=True, rtol=0, atol=0)  # it only reads


def test_a_policy_of_the_first_format_is_refused_with_what_to_do(folder: Path) -> None:
    edit_json(folder, lambda data: data.update(version=1))
    with pytest.raises(ArtifactError, match="train the policy again"):
        load_policy(folder)


def test_a_policy_without_statistics_can_be_kept(tmp_path: Path) -> None:
    save_policy(PolicyModule.build(PolicyConfig(), PolicySpec.of_frames(FRAMES)), tmp_path / "policy")
    with pytest.raises(CapabilityError, match="no statistics"):
        load_policy(tmp_path / "policy").predict_chunk({STATE: np.zeros((1, 1, 3), np.float32)})


def test_missing_unexpected_and_misshapen_tensors_are_refused(folder: Path) -> None:
    original = load_file(folder / "weights.safetensors")
    name = sorted(original)[0]
    changes: list[tuple[str, Callable[[dict[str, Tensor]], object]]] = [
        ("lacks", lambda tensors: tensors.pop(name)),
        ("unknown", lambda tensors: tensors.update(stranger=torch.zeros(2))),
        ("does not fit", lambda tensors: tensors.update({name: torch.zeros(*tensors[name].shape, 1)})),
        ("does not fit", lambda tensors: tensors.update({name: tensors[name].double()})),
    ]
    for message, change in changes:
        save_file(original, folder / "weights.safetensors")
        edit_tensors(folder, change)
        with pytest.raises(ArtifactError, match=message):
            load_policy(folder)


def test_tied_weights_are_refused(tmp_path: Path) -> None:
    one = nn.Linear(3, 3)
    two = nn.Linear(3, 3)
    two.weight = one.weight
    with pytest.raises(ArtifactError, match="share memory"):
        tensors_of(nn.Sequential(one, two))
    single = nn.Parameter(torch.zeros(1))
    for module in (one, two):
        module.weight = nn.Parameter(torch.zeros(1))
        module.bias = single
    with pytest.raises(ArtifactError, match="share memory"):
        tensors_of(nn.Sequential(one, two))


def test_tensors_without_numbers_share_nothing() -> None:
    module = nn.Sequential(BankHead(0, other=0), BankHead(0, other=1))
    assert {name: value.numel() for name, value in tensors_of(module).items()} == {
        "0.bank": 0,
        "0.other": 0,
        "1.bank": 0,
        "1.other": 1,
    }


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
