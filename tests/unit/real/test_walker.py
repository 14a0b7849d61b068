"""An expert network that somebody else trained, read from its file of weights, walks."""

from pathlib import Path

import pytest

from steadyhand.envs.catalogue import make
from steadyhand.experts.config import WeightsExpert
from steadyhand.rollout.evaluate import evaluate

pytest.importorskip("mujoco")


def test_expert_walks(shared_data: Path) -> None:
    env = make("Walker2d-v4", num_rows=2)
    expert = WeightsExpert(path=shared_data / "mujoco-experts" / "expert_mlp_Walker2d.npz")
    controller = expert.build(env)
    driven = evaluate(env, controller, env.starts("test", 2), name="expert", seed=0)
    assert driven.returns.mean() > 4800
    assert driven.lengths.tolist() == [1000, 1000]
    env.close()
