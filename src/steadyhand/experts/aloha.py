"""The scripted expert of ALOHA's two tasks: where both hands are to be, by inverse kinematics."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from steadyhand.core.protocol import Observation
from steadyhand.envs.worlds.aloha import (
    ARMS,
    CLOSED,
    LAID,
    OPEN,
    SIDES,
    Task,
    model_of,
    normalized,
)
from steadyhand.experts.base import Expert

Vector = Float64[np.ndarray, "3"]
Matrix = Float64[np.ndarray, "3 3"]

PINCH = 0.135
"""Where between the fingers an object is held, before the frame of the gripper along its axis [m]."""
PITCH = np.deg2rad(60.0)
"""How steeply a gripper comes down to the table [rad]."""
CLEARANCE = 0.023
"""Least height above the table of the point between the fingers, whose tips reach lower [m]."""
HOVER = 0.08
"""Height above an object from which a gripper comes down to it [m]."""
HIGHER = 0.07
"""How much higher than that it passes while it is far aside or turned away [m]."""
NEAR = 0.012
"""This close to an object the fingers close [m]."""
SWING = 0.3
"""How far a joint may be sent in one step [rad]."""
WAIST = 1.2
"""How far a waist turns where the search for joints begins [rad]."""
MEET = 0.0224
"""Position of a finger at which both fingers meet [m]."""
CUBE, PEG, SOCKET = 0.04, 0.02, 0.044
"""Widths of the objects between the fingers [m]."""
MEETING: dict[Task, Vector] = {
    "transfer-cube": np.array([0.0, 0.5, 0.25]),
    "insertion": np.array([-0.05, 0.5, 0.15]),
}
"""Where the cube is handed over, and where the socket is held [m]."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where something is: position [m] and rotation matrix."""

    at: Vector
    turn: Matrix

    def of(self, inner: "Pose") -> "Pose":
        """Return a pose that is given in the frame of this one."""
        return Pose(at=self.at + self.turn @ inner.at, turn=self.turn @ inner.turn)

    def inverse(self) -> "Pose":
        """Return the frame of the world in the frame of this one."""
        return Pose(at=-self.turn.T @ self.at, turn=self.turn.T)


@dataclass(frozen=True, kw_only=True)
class Hand:
    """One gripper as it is.

    Attributes:
        pose: Pose of the point between its fingers; x leads out of the hand, y from finger to finger.
        opening: From 0, closed, to 1.
    """

    pose: Pose
    opening: float

    def holds(self, thing: Pose, *, width: float) -> bool:
        """Whether the fingers have closed on an object of some width [m]; their contacts come and go."""
        inside = np.abs(self.pose.turn.T @ (thing.at - self.pose.at))
        gap = 2.0 * (self.opening * (OPEN - CLOSED) + CLOSED - MEET)
        return bool((inside < (0.04, 0.015, 0.04)).all() and abs(gap - width) < 0.004)


class AlohaDemonstrator(Expert):
    """Knows what either arm is to do next wherever arms and objects are.

    What it does hangs on the present state alone: an arm that does not hold its object comes down to it, one
    that does brings it to the meeting place, and it waits for the other one where it must. Poses of the
    grippers follow from poses that the objects are to have; joints follow by damped least squares within
    their limits. The motors give way, so the joints asked for lie beyond where they are to arrive.

    Args:
        task: Which task.
        reach: How far a gripper may be sent in one step [m].
        carry: The same for a hand that is closed [m].
        lead: How far beyond the joints of the aim the motors are sent, as a share of what is missing.
    """

    def __init__(self, task: Task, *, reach: float = 0.012, carry: float = 0.005, lead: float = 1.0) -> None:
        super().__init__()
        self._task: Task = task
        self._arms = Arms(task)
        self.reach = reach
        self.carry = carry
        self.lead = lead

    def action(self, observation: Observation, privileged: Observation) -> Float32[np.ndarray, "B 14"]:
        """Return the joints to go to, for each row."""
        del observation
        rows = zip(privileged[ARMS].astype(np.float64), privileged[LAID].astype(np.float64), strict=True)
        answers = [self._answer(joints, laid) for joints, laid in rows]
        return np.array(answers, dtype=np.float32).reshape(-1, 14)

    def _answer(
        self, joints: Float64[np.ndarray, "16"], laid: Float64[np.ndarray, " O"]
    ) -> Float64[np.ndarray, "14"]:
        poses = self._arms.poses(joints)
        hands = [
            Hand(
                pose=pose,
                opening=float(joints[8 * side + 6] - CLOSED) / (OPEN - CLOSED),
            )
            for side, pose in enumerate(poses)
        ]
        things = [_pose(one) for one in laid.reshape(-1, 7)]
        if self._task == "transfer-cube":
            aims = transfer(hands[0], hands[1], things[0])
        else:
            aims = insert(hands[0], hands[1], peg=things[0], socket=things[1])
        steps = [
            _toward(hand.pose, aim, self.reach if opening > 0 else self.carry)
            for hand, (aim, opening) in zip(hands, aims, strict=True)
        ]
        wanted = self._arms.joints(joints, steps)
        sent = normalized(joints + (1.0 + self.lead) * np.clip(wanted - joints, -SWING, SWING))
        sent[[6, 13]] = [opening for _, opening in aims]
        return np.clip(sent, self._arms.low, self._arms.high)


Aim = tuple[Pose, float]
"""Where a gripper is to go, and how far it is to be open."""


def transfer(left: Hand, right: Hand, cube: Pose) -> tuple[Aim, Aim]:
    """Return the aims of both hands: the right one brings the cube, the left one takes it from there."""
    meeting = MEETING["transfer-cube"]
    facing = Pose(at=meeting + np.array([-0.1, 0.0, 0.0]), turn=_about(0, np.pi / 2))
    if not right.holds(cube, width=CUBE):
        return (facing, 1.0), pick(right, cube, side=1, turns=4)
    brought = Pose(at=meeting + right.pose.at - cube.at, turn=_downward(1, 0.0))
    there = float(np.abs(cube.at - meeting).max()) < 0.03
    if not there:
        return (facing, 1.0), (brought, 0.0)
    taking = Pose(at=cube.at + np.array([0.005, 0.0, -0.005]), turn=facing.turn)
    aside = float(np.linalg.norm((left.pose.at - taking.at)[1:]))
    taking.at[0] -= min(0.1, max(0.0, 5.0 * (aside - 0.01)))
    is_near = float(np.linalg.norm(left.pose.at - cube.at)) < 0.02
    return (taking, 0.0 if is_near else 1.0), (brought, 0.0)


def insert(left: Hand, right: Hand, *, peg: Pose, socket: Pose) -> tuple[Aim, Aim]:
    """Return the aims of both hands: each takes its object to the middle, and they are pushed together."""
    left_aim = pick(left, socket, side=0, turns=2)
    right_aim = pick(right, peg, side=1, turns=2)
    has_socket, has_peg = left.holds(socket, width=SOCKET), right.holds(peg, width=PEG)
    place = MEETING["insertion"]
    if has_socket:
        goal = Pose(at=place, turn=_flipped(socket.turn))
        left_aim = (goal.of(socket.inverse().of(left.pose)), 0.0)
    if has_peg:
        turn = _flipped(peg.turn)
        apart = 0.2
        ready = has_socket and float(np.abs(socket.at - place).max()) < 0.03
        middle = socket.at if ready else place
        if ready:
            off = socket.turn.T @ (peg.at - socket.at)
            lean = float(np.arccos(np.clip(abs(socket.turn[:, 0] @ peg.turn[:, 0]), 0.0, 1.0)))
            aside = float(np.linalg.norm(off[1:])) + 0.06 * lean
            apart = min(0.2, 0.085 + 15.0 * max(0.0, aside - 0.005))
        axis = socket.turn[:, 0] if ready else np.array([1.0, 0.0, 0.0])
        axis = axis * np.sign(axis[0])
        goal = Pose(at=middle + apart * axis, turn=turn)
        right_aim = (goal.of(peg.inverse().of(right.pose)), 0.0)
    return left_aim, right_aim


def pick(hand: Hand, thing: Pose, *, side: int, turns: int) -> Aim:
    """Return the aim of a hand that is to take an object from the table.

    Args:
        hand: The hand.
        thing: The object.
        side: 0 for the left arm, 1 for the right one.
        turns: How many of a full turn's equal parts leave the object looking the same.
    """
    yaw = _folded(_yaw(thing.turn), turns)
    turn = _downward(side, yaw)
    low = Pose(at=np.array([thing.at[0], thing.at[1], max(thing.at[2], CLEARANCE)]), turn=turn)
    off = hand.pose.at - low.at
    aside = float(np.linalg.norm(off[:2])) + 0.05 * _angle(hand.pose.turn.T @ turn)
    near = NEAR if hand.opening > 0.9 else 1.5 * NEAR  # a hand that has begun to close goes on
    if aside < near and abs(off[2]) < near:
        return low, 0.0
    closed = min(1.0, max(0.0, 10.0 * (0.9 - hand.opening)))
    low.at[2] += HOVER * max(closed, min(1.0, max(0.0, (aside - 0.006) / 0.01)))
    low.at[2] += min(HIGHER, max(0.0, aside - 0.03))  # a hand that turns as it comes sags below its aim
    return low, 1.0


class Arms:
    """Kinematics of both arms.

    Args:
        task: Which task; the arms are the same in both.
    """

    def __init__(self, task: Task) -> None:
        self._mujoco: Any = import_module("mujoco")
        self._model: Any = model_of(task)
        self._data: Any = self._mujoco.MjData(self._model)
        self._bodies = [self._model.body(f"vx300s_{side}/gripper_link").id for side in SIDES]
        low, high = self._model.actuator_ctrlrange.T
        self._bounds = low, high
        self.low, self.high = (np.float64(np.float32(normalized(bound))) for bound in (low, high))

    def poses(self, joints: Float64[np.ndarray, "16"]) -> list[Pose]:
        """Return the pose between the fingers of either hand."""
        self._data.qpos[:16] = joints
        self._mujoco.mj_kinematics(self._model, self._data)
        return [self._pose(body) for body in self._bodies]

    def joints(
        self, joints: Float64[np.ndarray, "16"], aims: list[Pose], *, rounds: int = 12, damping: float = 0.03
    ) -> Float64[np.ndarray, "16"]:
        """Return joints near some others that bring either hand as close to its aim as limits allow.

        Args:
            joints: The present ones; the search begins at them with the forearm turned back, its turn left
                to the wrist, so that an arm that has twisted itself untwists.
            aims: Pose between the fingers of the left and the right hand.
            rounds: Most steps of damped least squares.
            damping: Weight of a step's length against what it mends.
        """
        found = joints.copy()
        for first in (0, 8):
            found[first] = np.clip(found[first], -WAIST, WAIST)
            found[first + 5] = _folded(found[first + 5] + found[first + 3], 1)
            found[first + 3] = 0.0
        jacobian = np.zeros((6, self._model.nv))
        for _ in range(rounds):
            poses = self.poses(found)
            self._mujoco.mj_comPos(self._model, self._data)
            missing = [_missing(pose, aim) for pose, aim in zip(poses, aims, strict=True)]
            if max(float(np.abs(one).max()) for one in missing) < 1e-4:
                break
            for side, (pose, gap) in enumerate(zip(poses, missing, strict=True)):
                own = slice(8 * side, 8 * side + 6)
                self._mujoco.mj_jac(
                    self._model, self._data, jacobian[:3], jacobian[3:], pose.at, self._bodies[side]
                )
                part = jacobian[:, own]
                step = part.T @ np.linalg.solve(part @ part.T + damping**2 * np.eye(6), gap)
                found[own] = np.clip(found[own] + step, self._bounds[0][own], self._bounds[1][own])
        return found

    def _pose(self, body: int) -> Pose:
        turn = self._data.xmat[body].reshape(3, 3).copy()
        return Pose(at=self._data.xpos[body] + PINCH * turn[:, 0], turn=turn)


def _toward(pose: Pose, aim: Pose, reach: float) -> Pose:
    """Return a pose on the way to an aim that is at most so far away."""
    way = aim.at - pose.at
    turn = _rotation_vector(aim.turn @ pose.turn.T)
    share = min(1.0, reach / max(float(np.linalg.norm(way)), 0.15 * float(np.linalg.norm(turn)), 1e-9))
    return Pose(at=pose.at + share * way, turn=_rotation(share * turn) @ pose.turn)


def _missing(pose: Pose, aim: Pose) -> Float64[np.ndarray, "6"]:
    return np.concatenate([aim.at - pose.at, _rotation_vector(aim.turn @ pose.turn.T)])


def _rotation_vector(turn: Matrix) -> Vector:
    """Return axis times angle of a rotation matrix [rad]."""
    sines = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
    angle = _angle(turn)
    if angle > np.pi - 1e-3:  # the axis is the column of turn + 1 that is longest
        columns = turn + np.eye(3)
        axis = columns[:, int(np.argmax(np.diag(columns)))]
        return angle * axis / float(np.linalg.norm(axis))
    return sines * (1.0 if angle < 1e-6 else angle / np.sin(angle))


def _rotation(vector: Vector) -> Matrix:
    """Return the rotation matrix of axis times angle [rad]."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def _angle(turn: Matrix) -> float:
    return float(np.arccos(np.clip((np.trace(turn) - 1.0) / 2.0, -1.0, 1.0)))


def _about(axis: int, angle: float) -> Matrix:
    return _rotation(angle * np.eye(3)[axis])


def _downward(side: int, yaw: float) -> Matrix:
    """Return how a hand comes down to an object that is turned by `yaw` [rad]."""
    return _about(2, yaw + np.pi * side) @ _about(1, float(PITCH))


def _yaw(turn: Matrix) -> float:
    return float(np.arctan2(turn[1, 0], turn[0, 0]))


def _folded(yaw: float, turns: int) -> float:
    """Return the smallest angle that looks alike for an object with so many equal sides [rad]."""
    part = 2.0 * np.pi / turns
    return float((yaw + part / 2) % part - part / 2)


def _flipped(turn: Matrix) -> Matrix:
    """Return the level pose along the x axis that is nearest: as it was laid, or the other way round."""
    return _about(2, _yaw(turn) - _folded(_yaw(turn), 2))


def _pose(numbers: Float64[np.ndarray, "7"]) -> Pose:
    w, x, y, z = numbers[3:] / max(float(np.linalg.norm(numbers[3:])), 1e-9)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return Pose(at=numbers[:3].copy(), turn=turn)
