"""SQIL's batches: what a step is worth, and what lies behind the end of an episode."""

import importlib
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from steadyhand.data.episode import demonstration

pytest.importorskip("stable_baselines3", reason="SQIL needs the extra rl")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("terminated", [False, True])
def test_half_a_batch_is_demonstrations_and_a_time_limit_is_no_end(
    terminated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sqil = importlib.import_module("sqil")
    seen = np.arange(4, dtype=np.float32)[:, None]
    shown = demonstration(
        {"observation.state": seen[:3]},
        np.array([[-2.0], [0.0], [2.0]], dtype=np.float32),
        control_dt=0.1,
        final_observation={"observation.state": seen[3]},
        terminated=terminated,
        truncated=not terminated,
    )
    box = gymnasium.spaces.Box(-9, 9, (1,), np.float32), gymnasium.spaces.Box(-2, 2, (1,), np.float32)
    buffer = sqil.HalfDemonstrations(100, *box, "cpu", demonstrations=[shown], discount=0.9)
    own = np.full((1, 1), -5.0, dtype=np.float32)
    for info, ends in (({}, False), ({"TimeLimit.truncated": True}, True), ({}, True)):
        buffer.add(own, own, own / 10, np.array([77.0]), np.array([ends]), [info])
    batch = buffer.sample(400)
    is_own = (batch.observations == -5.0).numpy()[:, 0]
    assert is_own.sum() == 200
    assert not batch.rewards.numpy()[is_own].any(), "what the env pays is not looked at"
    # One of the learner's three steps ends by the rules of the task; one that time cut goes on.
    assert 0.15 < batch.dones.numpy()[is_own].mean() < 0.52
    columns = ("observations", "actions", "next_observations", "rewards", "dones")
    rows = np.stack([getattr(batch, name).numpy()[~is_own, 0] for name in columns], axis=1)
    theirs = {row[0]: tuple(row[1:]) for row in rows.tolist()}
    # An end pays 1 and then .9 + .81 + ... = 9 for ever; a cut pays 1, and the value behind it counts.
    last = (1.0, 3.0, 10.0, 1.0) if terminated else (1.0, 3.0, 1.0, 0.0)
    assert theirs[0.0] == (-1.0, 1.0, 1.0, 0.0)
    assert theirs[1.0] == (0.0, 2.0, 1.0, 0.0)
    assert theirs[2.0] == pytest.approx(last, rel=1e-6)
