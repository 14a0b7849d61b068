"""Small episodes with every column in use."""

from collections.abc import Mapping

import numpy as np

from steadyhand.core.specs import FeatureSpec, image_spec
from steadyhand.data.episode import Branch, Episode, EpisodeOrigin

STATE_SPEC = FeatureSpec(shape=(3,), names=("x", "y", "z"), units=("m", "m", "m"), low=(-np.inf, 0.0, -1.0))
GRID_SPEC = FeatureSpec(shape=(2, 4))
ACTION_SPEC = FeatureSpec(shape=(2,), low=(-1.0, -1.0), high=(1.0, 1.0))
OBSERVATION = {"observation.state": STATE_SPEC, "observation.grid": GRID_SPEC}
CAMERAS = {
    **OBSERVATION,
    "observation.images.front": image_spec(16, 24, 3),
    "observation.images.grey": image_spec(17, 19, 1),
}


def smooth_image(height: int, width: int, channels: int, phase: float) -> np.ndarray:
    """Return a picture that video codecs keep nearly intact."""
    rows, columns = np.mgrid[0:height, 0:width]
    value = 100 + 60 * np.sin(rows / 9 + phase) + 60 * np.cos(columns / 11 - phase)
    return np.repeat(value[..., None], channels, axis=2).clip(0, 255).astype(np.uint8)


def observation_of(
    specs: Mapping[str, FeatureSpec], length: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for name, spec in specs.items():
        if spec.kind == "image":
            height, width, channels = spec.shape
            phase = rng.uniform(0, 6)
            out[name] = np.stack([smooth_image(height, width, channels, phase + t) for t in range(length)])
        else:
            out[name] = rng.normal(size=(length, *spec.shape)).astype(np.float32)
    return out


def episode(
    seed: int,
    *,
    length: int = 5,
    specs: Mapping[str, FeatureSpec] = OBSERVATION,
    control_dt: float = 0.1,
    branch: Branch | None = None,
) -> Episode:
    rng = np.random.default_rng(seed)
    action = rng.normal(size=(length, 2)).astype(np.float32)
    valid = rng.random(length) < 0.6
    label = np.where(valid[:, None], action + 1, action).astype(np.float32)
    final = {name: value[0] for name, value in observation_of(specs, 1, rng).items()}
    return Episode(
        observation=observation_of(specs, length, rng),
        action=action,
        expert_action=label,
        expert_action_valid=valid,
        actor=rng.integers(0, 4, length).astype(np.uint8),
        intervention=rng.random(length) < 0.5,
        weight=rng.random(length).astype(np.float32),
        reward=rng.normal(size=length).astype(np.float32),
        final_observation=final if seed % 3 else None,
        terminated=seed % 2 == 0,
        truncated=seed % 2 == 1,
        success=[True, False, None][seed % 3],
        task=["reach", "push the block"][seed % 2],
        control_dt=control_dt,
        provenance=EpisodeOrigin(source="rollout", seed=seed, start='{"a": 1}', round=2, outcome="time"),
        branch=branch,
    )


def record_steps(store, key: int, episode: Episode, steps: range | None = None) -> None:
    for t in steps or range(len(episode)):
        store.record(
            key,
            observation={name: value[t] for name, value in episode.observation.items()},
            action=episode.action[t],
            expert_action=episode.expert_action[t],
            expert_action_valid=episode.expert_action_valid[t],
            actor=episode.actor[t],
            intervention=episode.intervention[t],
            weight=episode.weight[t],
            reward=episode.reward[t],
        )


def end_of(episode: Episode) -> dict[str, object]:
    return {
        "final_observation": episode.final_observation,
        "terminated": episode.terminated,
        "truncated": episode.truncated,
        "success": episode.success,
        "task": episode.task,
        "provenance": episode.provenance,
        "branch": episode.branch,
    }


def assert_same(found: Episode, wanted: Episode, *, image_tolerance: int = 0) -> None:
    assert set(found.observation) == set(wanted.observation)
    for name, value in wanted.observation.items():
        assert found.observation[name].dtype == value.dtype
        gap = np.abs(found.observation[name].astype(float) - value.astype(float)).max()
        assert gap <= (image_tolerance if value.dtype == np.uint8 else 0), name
    for name in (
        "action",
        "expert_action",
        "expert_action_valid",
        "actor",
        "intervention",
        "weight",
        "reward",
    ):
        assert getattr(found, name).dtype == getattr(wanted, name).dtype
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)
    if wanted.final_observation is None:
        assert found.final_observation is None
    else:
        assert found.final_observation is not None
        for name, value in wanted.final_observation.items():
            np.testing.assert_array_equal(found.final_observation[name], value)
    for name in ("terminated", "truncated", "success", "task", "provenance", "branch"):
        assert getattr(found, name) == getattr(wanted, name), name
