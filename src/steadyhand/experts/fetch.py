"""Scripts for the Fetch tasks, which answer at any state: what is next follows from where things are."""

from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Observation
from steadyhand.envs.worlds.fetch import SCENE, FetchTask
from steadyhand.experts.base import Expert

Scripted = Literal["pick-and-place", "push", "reach"]
Places = Float64[np.ndarray, "B 3"]


class FetchScript(Expert):
    """Brings the thing, or the gripper, to the goal.

    To pick and place, the open gripper goes above the block, down round it, closes, and carries it. To push,
    the closed gripper goes round the block to its far side, as seen from the goal, and follows it there.

    Args:
        task: What is to be done; there is no script for "slide", whose puck must be hit just hard enough.

    Raises:
        CapabilityError: The task is "slide".
    """

    GAIN: ClassVar[float] = 10.0
    """Share of the highest speed for each metre that is missing [1/m]."""
    ABOVE: ClassVar[float] = 0.08
    """Height over a thing at which the gripper passes [m]."""

    def __init__(self, task: FetchTask) -> None:
        super().__init__()
        if task == "slide":
            raise CapabilityError(
                "No script slides the puck of Fetch.",
                got="task='slide'",
                available=("pick-and-place", "push", "reach"),
                hint="train an expert by reinforcement learning, or take another task",
            )
        self._task: Scripted = task

    def action(self, observation: Observation, privileged: Observation) -> Float32[np.ndarray, "B 4"]:
        """Return the next motion of each row."""
        del observation
        scene = privileged[SCENE].astype(np.float64)
        gripper, fingers, thing, goal = scene[:, :3], scene[:, 3:5], scene[:, 5:8], scene[:, 8:]
        match self._task:
            case "reach":
                target, opened = goal, np.zeros(len(scene), dtype=bool)
            case "pick-and-place":
                target, opened = self._carry(gripper, fingers.sum(axis=1), thing, goal)
            case "push":
                target, opened = self._push(gripper, thing, goal), np.zeros(len(scene), dtype=bool)
        motion = np.clip(self.GAIN * (target - gripper), -1.0, 1.0)
        return np.column_stack([motion, np.where(opened, 1.0, -1.0)]).astype(np.float32)

    def _carry(
        self, gripper: Places, width: Float64[np.ndarray, " B"], thing: Places, goal: Places
    ) -> tuple[Places, Bool[np.ndarray, " B"]]:
        """Return where the gripper is to go, and whether it is to be open."""
        apart = thing - gripper
        aside = np.linalg.norm(apart[:, :2], axis=1)
        round_it = (aside < 0.02) & (np.abs(apart[:, 2]) < 0.02)
        held = round_it & (width < 0.055)
        above = thing + np.array([0.0, 0.0, self.ABOVE])
        down = aside < 0.015 + 0.2 * np.maximum(-apart[:, 2] - 0.02, 0.0)
        target = np.where(down[:, None], thing, above)
        target = np.where(round_it[:, None], thing, target)
        return np.where(held[:, None], goal, target), ~round_it

    def _push(self, gripper: Places, thing: Places, goal: Places) -> Places:
        """Return where the gripper is to go."""
        way = goal - thing
        way[:, 2] = 0.0
        far = np.linalg.norm(way, axis=1, keepdims=True)
        along = way / np.maximum(far, 1e-6)
        behind = thing - 0.07 * along
        lag = ((gripper - thing) * along).sum(axis=1, keepdims=True)
        aside = gripper - thing - lag * along
        aside[:, 2] = 0.0
        is_low = gripper[:, 2:] < thing[:, 2:] + 0.03
        is_behind = is_low & (lag < -0.02) & (np.linalg.norm(aside, axis=1, keepdims=True) < 0.02)
        is_over = np.linalg.norm((gripper - behind)[:, :2], axis=1, keepdims=True) < 0.02
        over = np.concatenate([behind[:, :2], thing[:, 2:] + self.ABOVE], axis=1)
        follow = thing + (np.minimum(far, 0.06) - 0.03) * along - aside
        follow[:, 2] = thing[:, 2]
        target = np.where(is_behind, follow, np.where(is_over, behind, over))
        return np.where(far < 0.01, gripper, target)
