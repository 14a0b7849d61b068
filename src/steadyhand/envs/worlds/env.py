"""Copies of a world, stepped one after the other, as a `BatchEnv`."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8

from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.core.seeding import derive
from steadyhand.core.specs import EnvSpec, FeatureSpec, image_spec
from steadyhand.envs.base import FAMILIES, BatchEnv, Family, Start, StepResult, require_family
from steadyhand.envs.worlds.config import WorldConfig
from steadyhand.envs.worlds.world import Facts, World

SEED_BLOCK = 2**29
"""Seeds of train, validation and test lie in different blocks of this size."""

_SEEN = "observation."
_DRAWN = "observation.images."


class WorldEnv(BatchEnv):
    """N copies of a world.

    Args:
        config: Which world, and what it shows.
        num_rows: Number of copies.

    Raises:
        ConfigError: The world has no such sense or camera.
    """

    checks_itself = True

    def __init__(self, config: WorldConfig, *, num_rows: int) -> None:
        if num_rows < 1:
            raise SpecError("An env needs at least one row.", got=num_rows, expected=">= 1")
        self.config = config
        self.num_rows = num_rows
        self.worlds: list[World] = [config.world()]
        self.facts = facts = self.worlds[0].facts
        self._senses = [name for name in config.observation if name in facts.senses]
        self._cameras = [name for name in config.observation if name in facts.cameras]
        known = (*facts.senses, *facts.cameras)
        for name in config.observation:
            if name not in known:
                raise ConfigError(f"{facts.env_id} has no such sense or camera.", got=name, available=known)
        self.spec = _spec(facts, config, self._senses, self._cameras)
        self.worlds += [config.world() for _ in range(num_rows - 1)]
        self._low, self._high = (np.array(bound, dtype=np.float32) for bound in _bounds(facts.action))
        self._ended = np.ones(num_rows, dtype=bool)
        self._steps = np.zeros(num_rows, dtype=np.int64)
        self._told: dict[int, Mapping[str, np.ndarray]] = {}

    def starts(self, family: Family, count: int, *, seed: int = 0) -> tuple[Start, ...]:
        """Return `count` starts of a family; a longer list begins with the shorter one."""
        require_family(family)
        base = FAMILIES.index(family) * SEED_BLOCK
        return tuple(
            Start(family=family, seed=base + derive(seed, family, index) % SEED_BLOCK)
            for index in range(count)
        )

    def reset(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        """Put each of `rows` at its start."""
        self._check_starts(starts, rows, options=self.worlds[0].OPTIONS)
        for start, row in zip(starts, rows.tolist(), strict=True):
            self._told.pop(row, None)
            self.worlds[row].reset(start)
        self._ended[rows] = False
        self._steps[rows] = 0

    def step(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> StepResult:
        """Advance `rows` by control_dt; actions out of bounds are clipped."""
        self._check_rows(rows)
        self._check_step(actions, rows, self._ended[rows])
        actions = np.clip(actions.astype(np.float32, copy=False), self._low, self._high)
        for row in rows.tolist():
            self._told.pop(row, None)
        turns = [self.worlds[row].step(action) for row, action in zip(rows.tolist(), actions, strict=True)]
        self._steps[rows] += 1
        terminated = np.array([turn.terminated for turn in turns], dtype=bool)
        truncated = (self._steps[rows] >= self.spec.max_episode_steps) & ~terminated
        ended = self._ended[rows] = terminated | truncated
        return StepResult(
            reward=np.array([turn.reward for turn in turns], dtype=np.float32),
            terminated=terminated,
            truncated=truncated,
            success=np.array([turn.success for turn in turns], dtype=bool) & ended,
            told=None if self.spec.success.is_told else np.zeros(len(rows), dtype=bool),
        )

    def observe(
        self,
        rows: Int64[np.ndarray, " B"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return what `rows` see; pictures are drawn here, and only those that the env shows."""
        if view_offset is not None:
            raise self._lacks("displaced sensors (view_offset)")
        self._check_rows(rows)
        seen = self._numbers(rows, {f"{_SEEN}{name}": name for name in self._senses})
        height, width = self.config.picture_height, self.config.picture_width
        for camera in self._cameras:
            pictures = [self.worlds[row].draw(camera, height=height, width=width) for row in rows.tolist()]
            seen[f"{_DRAWN}{camera}"] = np.array(pictures, dtype=np.uint8).reshape(-1, height, width, 3)
        return seen

    def privileged(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return what only experts may see."""
        self._check_rows(rows)
        return self._numbers(rows, {name: name for name in self.facts.privileged})

    def tasks(self, rows: Int64[np.ndarray, " B"]) -> tuple[str, ...]:
        """Return what each row is to do, in words."""
        return tuple(self.worlds[row].instruction() for row in rows.tolist())

    def state(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return a snapshot of `rows`; it may be restored into another env of the same config."""
        self._check_rows(rows)
        shots = [self.worlds[row].snapshot() for row in rows.tolist()]
        whole = [shot for shot in shots if shot is not None]
        if len(whole) < len(shots):
            raise self._lacks("snapshots (state / restore)", such_as="tabletop")
        parts = {name: np.array([shot[name] for shot in whole]) for name in (whole[0] if whole else ())}
        return {**parts, "steps": self._steps[rows], "ended": self._ended[rows]}

    def restore(self, state: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into the state of a snapshot, bit for bit."""
        self._check_rows(rows)
        for place, row in enumerate(rows.tolist()):
            own = {name: values[place] for name, values in state.items() if name not in ("steps", "ended")}
            self._told.pop(row, None)
            self.worlds[row].put_back(own)
        self._steps[rows] = state["steps"]
        self._ended[rows] = state["ended"]

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the picture of the first camera."""
        if not self.facts.cameras:
            raise self._lacks("a picture (render)")
        return self.worlds[row].draw(self.facts.cameras[0], height=height, width=width)

    def close(self) -> None:
        """Free every copy."""
        for world in self.worlds:
            world.close()

    def _numbers(self, rows: Int64[np.ndarray, " B"], wanted: Mapping[str, str]) -> dict[str, np.ndarray]:
        told = [self._read(row) for row in rows.tolist()] if wanted else []
        specs = {**self.spec.observation, **self.spec.privileged}
        return {
            feature: np.array([one[name] for one in told], dtype=specs[feature].dtype).reshape(
                len(rows), *specs[feature].shape
            )
            for feature, name in wanted.items()
        }

    def _read(self, row: int) -> Mapping[str, np.ndarray]:
        """Return the numbers of a row, which is asked once a step: policies and experts read the same."""
        if row not in self._told:
            self._told[row] = self.worlds[row].numbers()
        return self._told[row]


def _spec(facts: Facts, config: WorldConfig, senses: Sequence[str], cameras: Sequence[str]) -> EnvSpec:
    picture = image_spec(config.picture_height, config.picture_width, 3)
    return EnvSpec(
        env_id=facts.env_id,
        observation={f"{_SEEN}{name}": facts.senses[name] for name in senses}
        | {f"{_DRAWN}{name}": picture for name in cameras},
        privileged=dict(facts.privileged),
        action=facts.action,
        control_dt=facts.control_dt,
        max_episode_steps=config.max_episode_steps or config.step_limit,
        task=facts.task,
        success=facts.success,
    )


def _bounds(action: FeatureSpec) -> tuple[object, object]:
    low = np.full(action.shape, -np.inf) if action.low is None else action.low
    high = np.full(action.shape, np.inf) if action.high is None else action.high
    return low, high
