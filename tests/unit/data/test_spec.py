"""What a store holds: which specs it can hold, how they come back, and values that do not fit them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steadyhand.core.errors import DataError
from steadyhand.core.specs import STATE, FeatureSpec, image_spec
from steadyhand.data.spec import SPEC_PATH, StoreSpec, load_spec, pack_observation, put, save_spec
from toy_episodes import ACTION_SPEC, CAMERAS

SPEC = StoreSpec(observation=CAMERAS, action=ACTION_SPEC, control_dt=0.1)
LARGEST = float(np.finfo(np.float64).max)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"observation": {}}, "at least one observation"),
        ({"observation": {"state": FeatureSpec(shape=(2,))}}, "LeRobot does not know"),
        ({"observation": {"observation.a/b": FeatureSpec(shape=(2,))}}, "observation.a/b"),
        *[({"observation": {f"{STATE}": image_spec(4, 5, n)}}, f"has {n} channels") for n in (2, 4)],
        *[({"action": FeatureSpec(shape=shape)}, "must be a vector") for shape in ((2, 2), ())],
        *[({"control_dt": dt}, "must be positive") for dt in (0.0, -1.0, np.inf, np.nan)],
    ],
)
def test_what_a_store_cannot_hold(change: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        replace(SPEC, **change)


@pytest.mark.parametrize(("control_dt", "fps"), [(0.1, 10), (1.0, 1), (0.4, 2), (0.34, 3), (3.0, 1)])
def test_whole_steps_a_second(control_dt: float, fps: int) -> None:
    assert replace(SPEC, control_dt=control_dt).fps == fps


def test_specs_come_back_with_their_bounds_from_plain_json(tmp_path: Path) -> None:
    state = FeatureSpec(shape=(4,), low=(-np.inf, -1.0, -LARGEST, 0.0), high=(np.inf, 2.0, 3.0, 1e300))
    spec = replace(SPEC, observation={**CAMERAS, STATE: state}, env_id="toy", robot_type="arm")
    save_spec(tmp_path, spec)
    text = (tmp_path / SPEC_PATH).read_text()
    json.loads(text, parse_constant=pytest.fail)
    expected = replace(state, low=(-np.inf, -1.0, -np.inf, 0.0))
    assert load_spec(tmp_path) == replace(spec, observation={**spec.observation, STATE: expected})
    assert load_spec(tmp_path / "elsewhere") is None


def test_a_spec_without_a_digest_is_read_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    save_spec(tmp_path, SPEC)
    path = tmp_path / SPEC_PATH
    data = json.loads(path.read_text())
    for change in ({"env_id": "other"}, {"sha256": "0" * 64}):
        path.write_text(json.dumps({**data, **change}))
        with pytest.raises(DataError):
            load_spec(tmp_path)
    del data["sha256"]
    path.write_text(json.dumps(data))
    found = load_spec(tmp_path)
    assert found is not None
    assert found.action == ACTION_SPEC
    for wrong in ("[]", "{}", json.dumps({**data, "control_dt": -1.0})):
        path.write_text(wrong)
        with pytest.raises(DataError):
            load_spec(tmp_path)


def test_a_packed_step_has_a_field_for_every_column() -> None:
    step = np.zeros(3, SPEC.step_dtype())
    assert step["observation"]["observation.grid"].shape == (3, 2, 4)
    assert step["observation"]["observation.images.front"].dtype == np.uint8
    assert (step["action"].shape, step["expert_action"].shape) == ((3, 2), (3, 2))
    assert SPEC.cameras == ["observation.images.front", "observation.images.grey"]
    plain = {"expert_action_valid": "b1", "actor": "u1", "intervention": "b1", "weight": "f4", "reward": "f4"}
    assert {name: step.dtype[name].str[1:] for name in plain} == plain


def test_what_is_packed_is_what_was_seen() -> None:
    spec = StoreSpec(
        observation={STATE: FeatureSpec(shape=(3,)), "observation.images.top": image_spec(4, 5, 3)},
        action=ACTION_SPEC,
        control_dt=0.1,
    )
    out = np.zeros(2, spec.observation_dtype())
    seen = {
        STATE: np.arange(6, dtype=np.float32).reshape(2, 3),
        "observation.images.top": np.arange(120, dtype=np.uint8).reshape(2, 4, 5, 3),
    }
    pack_observation(spec, seen, out)
    for name, value in seen.items():
        np.testing.assert_array_equal(out[name], value)
    for wrong in ({STATE: seen[STATE]}, {**seen, "observation.more": seen[STATE]}):
        with pytest.raises(DataError, match="other features"):
            pack_observation(spec, wrong, out)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((2, 2), np.float32),
        np.zeros((2, 3), np.float64),
        np.zeros((2, 3), np.int32),
        np.array([[0.0, 1.0, np.nan]] * 2, np.float32),
        np.array([[np.inf, 1.0, 0.0], [0.0, 0.0, 0.0]], np.float32),
    ],
)
def test_what_does_not_fit_is_refused_and_not_written(value: np.ndarray) -> None:
    out = np.ones(2, [("action", "<f4", (3,))])
    with pytest.raises(DataError, match="speed"):
        put(out, "action", value, name="speed")
    assert (out["action"] == 1.0).all()
