"""Drives written as letters, for what reads who had control."""

import numpy as np

from steadyhand.core.protocol import Actor
from steadyhand.data.episode import Episode


def drive(who, *, dt=0.1, terminated=False, success=True):
    """Return an episode from letters: r the robot drives, h somebody took over, D a demonstration."""
    length = len(who)
    taken = np.array([letter == "h" for letter in who])
    actors = {"r": Actor.POLICY, "h": Actor.HUMAN, "D": Actor.EXPERT}
    action = np.arange(length, dtype=np.float32)[:, None]
    return Episode(
        observation={"observation.state": action},
        action=action,
        expert_action=action,
        expert_action_valid=taken | np.array([letter == "D" for letter in who]),
        actor=np.array([actors[letter] for letter in who], dtype=np.uint8),
        intervention=taken,
        weight=np.ones(length, dtype=np.float32),
        reward=np.zeros(length, dtype=np.float32),
        terminated=terminated,
        truncated=not terminated,
        success=success,
        control_dt=dt,
    )
