"""Demonstrations on a linear system, on which every corrective label is a formula."""

from dataclasses import replace

import numpy as np

from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.correction.ccil import corrective_labels
from steadyhand.correction.ccil_config import CcilConfig, KeepAll
from steadyhand.correction.true_dynamics import TrueDynamics
from steadyhand.data.episode import Branch, Episode, demonstration
from steadyhand.policies.dynamics_config import DynamicsConfig, Unlimited
from steadyhand.policies.spec import PolicySpec
from steadyhand.training.config import TrainConfig

A = np.array([[1.0, 0.2], [-0.3, 0.9]])
B = np.array([[0.1], [0.5]])
SPEC = PolicySpec(
    observation={STATE: FeatureSpec(shape=(2,))}, action=FeatureSpec(shape=(1,)), control_dt=0.1
)
FAST = TrainConfig(
    num_steps=300, batch_size=64, learning_rate=3e-2, weight_decay=0.0, warmup_steps=0, log_every=1000
)
LINEAR = DynamicsConfig(hidden=(), lipschitz=Unlimited())


def linear_step(state: np.ndarray, action: np.ndarray) -> np.ndarray:
    return state @ A.T + action @ B.T


LINEAR_SYSTEM = TrueDynamics(step=linear_step)


def episodes(count: int = 3, length: int = 12, *, step: object = linear_step, seed: int = 0) -> list[Episode]:
    """Random actions on a known system; states are those of float32 actions, rounded."""
    rng = np.random.default_rng(seed)
    out: list[Episode] = []
    for _ in range(count):
        action = rng.normal(size=(length, 1)).astype(np.float32)
        state = [rng.normal(size=(1, 2))]
        for t in range(length):
            assert callable(step)
            state.append(step(state[-1], action[t : t + 1].astype(np.float64)))
        track = np.concatenate(state).astype(np.float32)
        out.append(
            demonstration({STATE: track[:-1]}, action, control_dt=0.1, final_observation={STATE: track[-1]})
        )
    return out


def states_of(labels: list[Episode]) -> np.ndarray:
    return np.concatenate([label.observation[STATE] for label in labels]).astype(np.float64)


def branch_of(label: Episode) -> Branch:
    assert label.branch is not None
    return label.branch


def all_labels(config: CcilConfig, demos: list[Episode], *, oracle: object = LINEAR_SYSTEM) -> list[Episode]:
    config = replace(config, rejection=KeepAll())
    return corrective_labels(demos, SPEC, config, seed=0, oracle=oracle)[0]  # pyright: ignore[reportArgumentType]


def final_of(episode: Episode) -> np.ndarray:
    assert episode.final_observation is not None
    return episode.final_observation[STATE]


def track_of(episode: Episode) -> np.ndarray:
    return np.concatenate([episode.observation[STATE], final_of(episode)[None]]).astype(np.float64)
