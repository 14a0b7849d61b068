"""The car for `learned_model.py`: its body's motion is to be learnt, its road is a map that is known."""

import numpy as np
from jaxtyping import Float64

from steadyhand.core.seeding import derive
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.car.dynamics import wrap
from steadyhand.envs.car.problem import ALONG, HEADING_ERROR, LATERAL, SLOT, SPEED, STEERING, on_road
from steadyhand.envs.car.spec import PREVIEW
from steadyhand.envs.car.track import CURVATURE as BEND
from steadyhand.experts.control.learned import Chart
from steadyhand.recipes.model_based import Act, Driven

CAR = CarConfig(observation=("state",), max_episode_steps=400)
STEPS = 200
"""Env steps of a drive; off the road it goes on from another start."""


def in_own_frame(
    x: Float64[np.ndarray, "N 10"], y: Float64[np.ndarray, "N 10"]
) -> Float64[np.ndarray, "N 5"]:
    """Return bodies `y` as seen from cars at `x`: forward, left and turned; steering and speed stay."""
    east, north = (y[:, :2] - x[:, :2]).T
    cos, sin = np.cos(x[:, 2]), np.sin(x[:, 2])
    turned = wrap(y[:, 2] - x[:, 2], np)
    return np.stack([cos * east + sin * north, cos * north - sin * east, turned, y[:, 3], y[:, 4]], axis=1)


def out_of_frame(x: Float64[np.ndarray, "N 10"], z: Float64[np.ndarray, "N 5"]) -> Float64[np.ndarray, "N 5"]:
    """Return bodies that cars at `x` see as `z`."""
    cos, sin = np.cos(x[:, 2]), np.sin(x[:, 2])
    east, north = x[:, 0] + cos * z[:, 0] - sin * z[:, 1], x[:, 1] + sin * z[:, 0] + cos * z[:, 1]
    return np.stack([east, north, wrap(x[:, 2] + z[:, 2], np), z[:, 3], z[:, 4]], axis=1)


class CarWorld:
    """Cars on their roads, the first of which collects.

    Args:
        num_rows: Number of cars.
        seed: Seed of the starts of what is collected.
    """

    def __init__(self, num_rows: int, *, seed: int) -> None:
        self._env = CAR.build(num_rows)
        self._seed = seed
        self.problem = self._env.problem()
        self.chart = Chart(
            enter=in_own_frame, read=lambda x, z: on_road(x, out_of_frame(x, z), CAR, self._env.atlas)
        )

    def seen(self, x: Float64[np.ndarray, "B 10"]) -> Float64[np.ndarray, "B 9"]:
        """Return the env's own "observation.state" in states."""
        lane = self._env.atlas.lane(x[:, SLOT].astype(np.int64))
        ahead = lane.samples((x[:, ALONG, None] + np.array(PREVIEW)).astype(np.float32))[..., BEND]
        near = x[:, [LATERAL, HEADING_ERROR, STEERING, SPEED]]
        return np.concatenate([near, ahead], axis=1)

    def collect(self, act: Act, number: int) -> Driven:
        """Drive for `STEPS` steps from starts of the family "train"."""
        env, row = self._env, np.arange(1)
        starts = iter(env.starts("train", STEPS, seed=derive(self._seed, "collect", number)))
        env.reset([next(starts)], row)
        states, actions, after, total = [], [], [], 0.0
        for _ in range(STEPS):
            states.append(self._state(row))
            actions.append(act(states[-1]))
            done = env.step(actions[-1].astype(np.float32), row)
            after.append(self._state(row))
            total += float(done.reward[0])
            if done.terminated[0] or done.truncated[0]:
                env.reset([next(starts)], row)
        return Driven(
            state=np.concatenate(states),
            action=np.concatenate(actions),
            next_state=np.concatenate(after),
            total=total,
        )

    def returns(self, act: Act) -> list[float]:
        """Return how far every car gets from its test start, on its centre line [m]."""
        env, rows = self._env, np.arange(self._env.num_rows)
        env.reset(env.starts("test", env.num_rows), rows)
        total, drives = np.zeros(len(rows)), np.ones(len(rows), dtype=bool)
        for _ in range(CAR.max_episode_steps):
            wish = act(self._state(rows))  # of all, so that rows keep their places in the planner
            going = rows[drives]
            done = env.step(wish[going].astype(np.float32), going)
            total[going] += done.reward
            drives[going] = ~(done.terminated | done.truncated)
            if not drives.any():
                break
        return np.round(total, 3).tolist()

    def _state(self, rows: np.ndarray) -> Float64[np.ndarray, "B 10"]:
        return self._env.x_of(self._env.privileged(rows))
