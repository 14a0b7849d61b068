"""Files of Stable-Baselines3, whose package is a stand-in here: it is an extra."""

import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from point_env import PointEnv
from steadyhand.core.errors import ArtifactError, CapabilityError
from steadyhand.experts.stable_baselines import load_model
from steadyhand.recipes.experts import expert_from_text


def saved(path: Path, module: str, **data: object) -> Path:
    """Write what SB3 writes, as far as it is read here."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {"__module__": module}, **data}))
    return path


class Back:
    """Drives a point halfway back."""

    def predict(self, observation: np.ndarray, *, deterministic: bool) -> tuple[np.ndarray, None]:
        assert deterministic
        return -0.5 * observation, None


def package(name: str) -> SimpleNamespace:
    return SimpleNamespace(**{name: SimpleNamespace(load=lambda path, device: Back())})


@pytest.mark.parametrize(
    ("module", "data", "name"),
    [
        ("stable_baselines3.common.policies", {"clip_range": 0.2}, "PPO"),
        ("stable_baselines3.common.policies", {}, "A2C"),
        ("stable_baselines3.sac.policies", {}, "SAC"),
        ("stable_baselines3.td3.policies", {}, "TD3"),
        ("stable_baselines3.dqn.policies", {}, "DQN"),
    ],
)
def test_a_file_is_loaded_by_the_algorithm_that_it_names(
    module: str, data: dict[str, object], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", package(name))
    assert isinstance(load_model(saved(tmp_path / "model.zip", module, **data)), Back)


def test_a_file_is_an_expert_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", package("SAC"))
    path = saved(tmp_path / "model.zip", "stable_baselines3.sac.policies")
    expert = expert_from_text(str(path), None).build(PointEnv(2))
    seen = {"observation.state": np.array([[0.4], [-0.2]], dtype=np.float32)}
    np.testing.assert_allclose(expert.action(seen, {}), [[-0.2], [0.1]])


def test_without_the_package_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    path = saved(tmp_path / "model.zip", "stable_baselines3.sac.policies")
    with pytest.raises(CapabilityError, match=r"steadyhand\[rl\]"):
        load_model(path)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("data", "{}")
    for path in (tmp_path / "text.zip", tmp_path / "other.zip", tmp_path / "absent.zip"):
        with pytest.raises(ArtifactError):
            load_model(path)
    with pytest.raises(ArtifactError, match="not known here"):
        load_model(saved(tmp_path / "new.zip", "sb3_contrib.tqc.policies"))
